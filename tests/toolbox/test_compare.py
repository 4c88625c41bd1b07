"""Tests for L{tests.toolbox.compare}: that it sees what differs."""

from __future__ import annotations

import io
import sqlite3
import unittest
import zipfile
from typing import Any

import numpy
from osgeo import gdal, ogr, osr

from tests.toolbox import compare


def read(path: str) -> bytes:
    """A file of GDAL's memory, which goes."""
    size = gdal.VSIStatL(path).size
    file = gdal.VSIFOpenL(path, "rb")
    data = bytes(gdal.VSIFReadL(1, size, file))
    gdal.VSIFCloseL(file)
    gdal.Unlink(path)
    return data


def vector(*features: tuple[str, str], field: str = "name", epsg: int = 32632) -> bytes:
    """A GeoPackage of points with a name."""
    path = "/vsimem/test-compare.gpkg"
    crs = osr.SpatialReference()
    crs.ImportFromEPSG(epsg)
    source = ogr.GetDriverByName("GPKG").CreateDataSource(path)
    layer = source.CreateLayer("points", crs, ogr.wkbUnknown)
    layer.CreateField(ogr.FieldDefn(field, ogr.OFTString))
    for name, shape in features:
        feature = ogr.Feature(layer.GetLayerDefn())
        feature[field] = name
        feature.SetGeometry(ogr.CreateGeometryFromWkt(shape))
        layer.CreateFeature(feature)
    del layer, source
    return read(path)


def raster(pixels: Any, nodata: float | None = None, left: float = 0) -> bytes:
    """A GeoTIFF."""
    path = "/vsimem/test-compare.tif"
    height, width = pixels.shape
    made = gdal.GetDriverByName("GTiff").Create(
        path, width, height, 1, gdal.GDT_Float32
    )
    made.SetGeoTransform((left, 1, 0, 10, 0, -1))
    if nodata is not None:
        made.GetRasterBand(1).SetNoDataValue(nodata)
    made.GetRasterBand(1).WriteArray(pixels)
    del made
    return read(path)


def archive(**members: bytes) -> bytes:
    """A ZIP archive."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as made:
        for name, data in members.items():
            made.writestr(name, data)
    return buffer.getvalue()


def database(*values: str) -> bytes:
    """A SQLite database."""
    connection = sqlite3.connect(":memory:")
    connection.execute("CREATE TABLE things (name)")
    connection.executemany("INSERT INTO things VALUES (?)", [(v,) for v in values])
    connection.commit()
    return connection.serialize()


A = ("a", "POINT (1 2)")
B = ("b", "POINT (3 4)")


class CompareTests(unittest.TestCase):
    """L{compare.files}, L{compare.values} and L{compare.structures}"""

    def assertSame(self, ours: bytes, theirs: bytes) -> None:
        """Nothing differs."""
        compare.files(ours, theirs)

    def assertDifferent(self, ours: bytes, theirs: bytes, text: str) -> None:
        """Something differs, and it is said what."""
        with self.assertRaisesRegex(compare.Different, text):
            compare.files(ours, theirs)

    def test_features(self) -> None:
        """The order of features, of parts and of the last digits is nothing."""
        self.assertSame(vector(A, B), vector(B, A))
        self.assertSame(
            vector(("a", "MULTIPOINT ((1 2), (3 4))")),
            vector(("a", "MULTIPOINT ((3 4), (1 2))")),
        )
        self.assertSame(vector(A), vector(("a", "POINT (1.00000000001 2)")))
        one = vector(A, B)
        self.assertDifferent(vector(A, ("c", B[1])), one, "feature .*'c'")
        self.assertDifferent(vector(A, ("b", "POINT (3 5)")), one, "feature")
        self.assertDifferent(vector(A), one, "number of features: '1', in QGIS '2'")
        self.assertDifferent(vector(A, A), one, "feature")
        self.assertDifferent(vector(A, B, field="title"), one, "fields")
        self.assertDifferent(vector(A, B, epsg=4326), one, "CRS: '4326'")

    def test_pixels(self) -> None:
        """One pixel is enough."""
        pixels = numpy.arange(12.0).reshape(3, 4)
        one = raster(pixels)
        self.assertSame(raster(pixels), one)
        other = pixels.copy()
        other[1, 1] += 0.01
        self.assertDifferent(raster(other), one, "1 of 12 pixels")
        self.assertDifferent(raster(pixels[:2]), one, "size")
        self.assertDifferent(raster(pixels, left=1), one, "place")
        self.assertDifferent(raster(pixels, nodata=0), one, "nodata")
        holed = pixels.copy()
        holed[0, 0] = numpy.nan
        self.assertSame(raster(holed), raster(holed))
        self.assertDifferent(raster(holed), one, "1 of 12")

    def test_archives(self) -> None:
        """Names and contents count."""
        self.assertSame(archive(a=b"1", b=b"2"), archive(b=b"2", a=b"1"))
        self.assertDifferent(archive(a=b"1"), archive(a=b"1", b=b"2"), "names")
        self.assertDifferent(archive(a=b"x"), archive(a=b"y"), "a: text: 'x'")

    def test_databases(self) -> None:
        """Rows in any order."""
        self.assertSame(database("a", "b"), database("b", "a"))
        self.assertDifferent(database("a"), database("b"), "rows")

    def test_texts(self) -> None:
        """What two runs can't have in common is left out; all else counts."""
        self.assertSame(
            b"<p>2026-01-01T10:00:00 /tmp/a/x.tif 1.0000000001</p>",
            b"<p>2026-01-02T11:00:00 /var/b/x.tif 1.0</p>",
        )
        self.assertDifferent(b"<p>x.tif</p>", b"<p>y.tif</p>", "text")
        self.assertDifferent(b"1.5", b"1.6", "text")
        self.assertDifferent(b"a", b"a\nb", "lines")
        self.assertSame(
            b'<?xml version="1.0"?><a b="1" c="2"/>',
            b'<?xml version="1.0"?><a c="2" b="1"/>',
        )
        self.assertDifferent(
            b'<?xml version="1.0"?><a b="1"/>',
            b'<?xml version="1.0"?><a b="2"/>',
            "text",
        )

    def test_pages(self) -> None:
        """Files that are named as addresses, and as they are beside the page."""
        self.assertSame(b"'{z}/{x}.png'", b"'file:////tmp/a%20b/out/{z}/{x}.png'")
        self.assertDifferent(
            b"'{z}/{x}.png'", b"'file:////tmp/out/{z}/{y}.png'", "text"
        )

    def test_projects(self) -> None:
        """The annotations of layers count, and what else is in a project does not."""

        def project(user: str, text: str) -> bytes:
            return (
                f'<qgis saveUser="{user}"><projectlayers><maplayer type="annotation">'
                f'<layername>A</layername><items><item type="pointtext" text="{text}"/>'
                "</items></maplayer></projectlayers></qgis>"
            ).encode()

        self.assertSame(project("me", "here"), project("you", "here"))
        self.assertDifferent(project("me", "here"), project("me", "there"), "layers")

    def test_kinds(self) -> None:
        """One kind of file is not another."""
        self.assertDifferent(b"text", vector(A), "it is no GeoPackage")
        self.assertDifferent(vector(A), raster(numpy.zeros((2, 2))), "it is no raster")

    def test_chance(self) -> None:
        """Of what lots decide, the form counts."""
        compare.files(vector(A), vector(B), chance=True)
        with self.assertRaises(compare.Different):
            compare.files(vector(A, field="title"), vector(B), chance=True)

    def test_values(self) -> None:
        """Literals as clients get them."""
        compare.values("1.5", 1.5)
        compare.values("3", 3)
        compare.values("true", True)
        compare.values("outputs/x.gpkg", "/tmp/y/x.gpkg")
        for ours, theirs in (("1.5", 1.6), ("false", True), ("a", "b")):
            with self.assertRaises(compare.Different):
                compare.values(ours, theirs)

    def test_structures(self) -> None:
        """JSON, in any order of its members."""
        compare.structures(b'{"a": 1, "b": [2.0]}', {"b": [2.0], "a": 1})
        for ours in (b'{"a": 2}', b"nothing"):
            with self.assertRaises(compare.Different):
                compare.structures(ours, {"a": 1})
