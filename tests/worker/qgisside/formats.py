"""The formats of layers: what clients get, and what they send."""

from __future__ import annotations

import base64
import io
import json
import os
import sqlite3
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import attrs
import numpy
import processing
from osgeo import gdal
from qgis.core import (
    Qgis,
    QgsMeshLayer,
    QgsProject,
    QgsRasterLayer,
    QgsRectangle,
    QgsVectorLayer,
)
from qgis.PyQt.QtCore import QSize, Qt
from qgis.PyQt.QtGui import QImage

from qgswps.errors import OWSError
from qgswps.model import (
    ComplexValue,
    FileValue,
    Format,
    Input,
    LiteralValue,
    OutputRequest,
    Result,
    WorkerSettings,
)
from qgswps.worker import archives, formats, layerdata, resultproject, styles
from tests.worker.qgisside import support
from tests.worker.qgisside.support import DATA, DEMO, JobCase, data, literal

ELEVATION = str(DEMO / "elevation.tif")

#: A list of another file, as GDAL reads it.
VRT = (
    f'<VRTDataset rasterXSize="1" rasterYSize="1"><VRTRasterBand dataType="Byte" '
    f'band="1"><SimpleSource><SourceFilename>{ELEVATION}</SourceFilename>'
    "</SimpleSource></VRTRasterBand></VRTDataset>"
)


def packed(members: Mapping[str, bytes]) -> bytes:
    """A zip archive."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return file.getvalue()


def sent(identifier: str, content: bytes, mimeType: str) -> Input:
    """An input that is inline binary data."""
    return data(identifier, base64.b64encode(content).decode(), mimeType, "base64")


def shapes(layer: Any, precision: int = 9) -> list[str]:
    """The geometries of all features as WKT."""
    found = []
    for feature in layer.getFeatures():
        geometry = feature.geometry()
        geometry.convertToSingleType()
        # KML has heights always.
        geometry.get().dropZValue()
        geometry.normalize()
        found.append(geometry.asWkt(precision))
    return found


class FormatCase(JobCase):
    """A case that compares with QGIS in the same process."""

    def made(self, form: Format, processId: str, *inputs: Input) -> Path:
        """The file of a result in a format."""
        result = self.run_(processId, *inputs, outputs=(OutputRequest("OUTPUT", form),))
        self.result: Result = result
        path = self.file(result)
        value = result.outputs["OUTPUT"]
        assert isinstance(value, FileValue)
        self.assertEqual(value.format, form)
        return path

    def qgis(self, processId: str, **values: Any) -> Any:
        """The layer that QGIS itself makes."""
        made = processing.run(processId, {**values, "OUTPUT": "TEMPORARY_OUTPUT"})
        layer = made["OUTPUT"]
        if not isinstance(layer, str):
            return layer
        raster = QgsRasterLayer(layer, "x")
        return raster if raster.isValid() else QgsVectorLayer(layer, "x", "ogr")

    def projectLayer(self, processId: str) -> Any:
        """The one layer of the result project."""
        path = resultproject.write(self.directory, processId, self.result.layers, None)
        project = QgsProject()
        self.assertTrue(project.read(path))
        self.addCleanup(project.clear)
        [layer] = project.mapLayers().values()
        self.assertTrue(layer.isValid(), layer.source())
        return layer


class VectorOutputTests(FormatCase):
    """Vector layers in each format."""

    inputs = (
        data(
            "INPUT",
            json.dumps(
                {
                    "type": "FeatureCollection",
                    "features": [
                        {
                            "type": "Feature",
                            "properties": {"name": "Zürich", "n": 3, "x": 0.25},
                            "geometry": {"type": "Point", "coordinates": [8.5, 47.4]},
                        },
                        {
                            "type": "Feature",
                            "properties": {"name": 'a "b", c', "n": -1, "x": None},
                            "geometry": {"type": "Point", "coordinates": [7, 46]},
                        },
                    ],
                }
            ),
            "application/geo+json",
        ),
    )

    def test_projected(self) -> None:
        """Features as QGIS has them, in its CRS or in WGS 84."""
        job = (*self.inputs, literal("TARGET_CRS", "EPSG:2056"))
        source = os.path.join(self.directory, "source.geojson")
        Path(source).write_text(self.inputs[0].value.data)  # type: ignore[union-attr]
        expected = self.qgis(
            "native:reprojectlayer", INPUT=source, TARGET_CRS="EPSG:2056"
        )
        back = self.qgis(
            "native:reprojectlayer", INPUT=expected, TARGET_CRS="EPSG:4326"
        )
        for form, opening, crs, served in (
            (formats.GEOPACKAGE, "{}", "EPSG:2056", ".gpkg"),
            (formats.FLATGEOBUF, "{}", "EPSG:2056", ".fgb"),
            (formats.SHAPEFILE, "/vsizip/{}/OUTPUT.shp", "EPSG:2056", ".gpkg"),
            (formats.ZIP, "/vsizip/{}/OUTPUT.shp", "EPSG:2056", ".gpkg"),
            (formats.CSV, "{}", "", ".gpkg"),
            (formats.KML, "{}", "EPSG:4326", ".gpkg"),
            (formats.GML, "{}", "EPSG:2056", ".gml"),
        ):
            with self.subTest(form.mimeType):
                path = self.made(form, "native:reprojectlayer", *job)
                layer = QgsVectorLayer(opening.format(path), "x", "ogr")
                self.assertTrue(layer.isValid())
                self.assertEqual(layer.crs().authid(), crs)
                same = back if crs == "EPSG:4326" else expected
                self.assertEqual(shapes(layer, 6), shapes(same, 6))
                own = [each["n"] for each in layer.getFeatures()]
                self.assertEqual([int(n) for n in own], [3, -1])
                named = "Name" if form is formats.KML else "name"
                names = [each[named] for each in layer.getFeatures()]
                self.assertEqual(names, ["Zürich", 'a "b", c'])
                # The layer of the result project is whole, whatever was taken.
                layer = self.projectLayer("native:reprojectlayer")
                self.assertIn(served, layer.source())
                self.assertEqual(layer.crs().authid(), "EPSG:2056")
                self.assertEqual(shapes(layer, 6), shapes(expected, 6))

    def test_shapefile(self) -> None:
        """The archive has all files of it, and no others."""
        path = self.made(formats.SHAPEFILE, "native:reprojectlayer", *self.inputs)
        with zipfile.ZipFile(path) as archive:
            names = sorted(archive.namelist())
        self.assertEqual(
            names,
            [f"OUTPUT.{suffix}" for suffix in ("cpg", "dbf", "prj", "shp", "shx")],
        )

    def test_csv(self) -> None:
        """Texts as CSV quotes them; a table without geometry has none."""
        path = self.made(formats.CSV, "native:buffer", *self.inputs)
        header = path.read_text(encoding="utf-8").splitlines()[0]
        self.assertEqual(header, "WKT,name,n,x")
        path = self.made(formats.CSV, "native:dropgeometries", *self.inputs)
        lines = path.read_text(encoding="utf-8").splitlines()
        expected = ["name,n,x", 'Zürich,"3",0.25', '"a ""b"", c","-1",']
        if Qgis.QGIS_VERSION_INT >= 33000:
            # Before, QGIS had no whole numbers of 64 bits in CSV.
            expected = ["name,n,x", "Zürich,3,0.25", '"a ""b"", c",-1,']
        self.assertEqual(lines, expected)

    def test_plainJobsWriteOnce(self) -> None:
        """What services read is not written twice."""
        for form in (formats.GEOJSON, formats.GEOPACKAGE, formats.FLATGEOBUF):
            self.made(form, "native:buffer", *self.inputs)
            found = os.listdir(os.path.join(self.directory, "outputs"))
            self.assertEqual(len(found), 1, found)

    def test_unknown(self) -> None:
        """The text says what there is."""
        wanted = (OutputRequest("OUTPUT", formats.GEOTIFF),)
        result = self.run_("native:buffer", *self.inputs, outputs=wanted)
        text = self.fault(result, "InvalidParameterValue", "OUTPUT")
        self.assertIn("can't be had as image/tiff, only as application/geo+json", text)


class RasterOutputTests(FormatCase):
    """Raster layers in each format."""

    def setUp(self) -> None:
        super().setUp()
        with open(ELEVATION, "rb") as file:
            self.input = sent("INPUT", file.read(), "image/tiff")

    def test_data(self) -> None:
        """The same values as QGIS's, at the same place."""
        for processId, given in (
            ("native:slope", {"INPUT": ELEVATION}),
            ("gdal:aspect", {"INPUT": ELEVATION, "BAND": 1}),
        ):
            expected = gdal.Open(self.qgis(processId, **given).source())
            values = expected.ReadAsArray()
            for form, driver in (
                (formats.GEOTIFF, "GTiff"),
                (formats.COG, "GTiff"),
                (formats.NETCDF, "netCDF"),
            ):
                with self.subTest(form.mimeType, of=processId):
                    path = self.made(form, processId, self.input)
                    found = gdal.Open(str(path))
                    self.assertEqual(found.GetDriver().ShortName, driver)
                    numpy.testing.assert_array_equal(found.ReadAsArray(), values)
                    numpy.testing.assert_allclose(
                        found.GetGeoTransform(), expected.GetGeoTransform(), 1e-9
                    )
                    layout = found.GetMetadataItem("LAYOUT", "IMAGE_STRUCTURE")
                    self.assertEqual(layout == "COG", form is formats.COG)
                    layer = self.projectLayer(processId)
                    self.assertTrue(layer.source().endswith(".tif"))
                    self.assertEqual(layer.crs().authid(), "EPSG:4326")

    def test_picture(self) -> None:
        """The layer as QGIS draws it; the result project has its data."""
        path = self.made(formats.PNG, "native:slope", self.input)
        self.assertTrue(path.read_bytes().startswith(b"\x89PNG"))
        picture = QImage(str(path))
        layer = self.qgis("native:slope", INPUT=ELEVATION)
        styles.applyDefault(layer)
        size = QSize(layer.width(), layer.height())
        self.assertEqual(picture.size(), size)
        drawn = layer.previewAsImage(size, Qt.GlobalColor.transparent)
        self.assertEqual(
            picture.convertToFormat(QImage.Format.Format_ARGB32),
            drawn.convertToFormat(QImage.Format.Format_ARGB32),
        )
        shades = {picture.pixel(x, 0) for x in range(picture.width())}
        self.assertGreater(len(shades), 5)
        layer = self.projectLayer("native:slope")
        self.assertTrue(layer.source().endswith("OUTPUT.tif"))

    def test_notOfOtherFiles(self) -> None:
        """What is called a TIFF is one, not a list of the server's files."""
        path = self.made(formats.GEOTIFF, "gdal:buildvirtualraster", self.input)
        self.assertEqual(path.read_bytes()[:2], b"II")
        numpy.testing.assert_array_equal(
            gdal.Open(str(path)).ReadAsArray(), gdal.Open(ELEVATION).ReadAsArray()
        )


class FurtherFormatTests(FormatCase):
    """What the configuration adds."""

    def setUp(self) -> None:
        super().setUp()
        self.addCleanup(formats.install, support.settings)

    def install(self, vector: tuple[str, ...], raster: tuple[str, ...] = ()) -> None:
        """Have further formats."""
        formats.install(
            attrs.evolve(
                WorkerSettings("", ""), vectorFormats=vector, rasterFormats=raster
            )
        )

    def test_vector(self) -> None:
        """One file as it is, several in an archive."""
        self.install(("GPX", "MapInfo File", "GeoJSON"))
        self.assertEqual(formats.omissions(), [])
        listed = [form.mimeType for form in formats.published(formats.vectorOutputs())]
        self.assertEqual(len(listed), len(set(listed)))
        gpx = Format("application/gpx+xml")
        tab = Format("application/x-gdal-mapinfo-file", "base64")
        names = data(
            "INPUT",
            '{"type": "Point", "coordinates": [8.5, 47.4]}',
            "application/geo+json",
        )
        path = self.made(gpx, "native:centroids", names)
        layer = QgsVectorLayer(f"{path}|layername=waypoints", "x", "ogr")
        self.assertEqual(shapes(layer, 4), ["Point (8.5 47.4)"])
        self.assertIn(".gpkg", self.projectLayer("native:centroids").source())
        result = self.run_(
            "native:centroids", names, outputs=(OutputRequest("OUTPUT", tab),)
        )
        value = result.outputs["OUTPUT"]
        assert isinstance(value, FileValue)
        self.assertEqual(value.format, formats.ZIP)
        with zipfile.ZipFile(self.file(result)) as archive:
            self.assertIn("OUTPUT.tab", archive.namelist())

    def test_raster(self) -> None:
        """By the driver's own media type."""
        self.install((), ("JPEG", "AAIGrid"))
        with open(ELEVATION, "rb") as file:
            grid = sent("INPUT", file.read(), "image/tiff")
        result = self.run_(
            "native:slope",
            grid,
            outputs=(
                OutputRequest("OUTPUT", Format("application/x-gdal-aaigrid", "base64")),
            ),
        )
        path = str(self.file(result))
        opened = f"/vsizip/{path}/OUTPUT.asc" if path.endswith(".zip") else path
        expected = gdal.Open(self.qgis("native:slope", INPUT=ELEVATION).source())
        numpy.testing.assert_allclose(
            gdal.Open(opened).ReadAsArray(), expected.ReadAsArray(), 1e-4
        )

    def test_defaults(self) -> None:
        """Extensions choose the formats of results that name none."""
        point = '{"type": "Point", "coordinates": [8.5, 47.4]}'
        names = data("INPUT", point, "application/geo+json")
        for extension, form in (
            ("fgb", formats.FLATGEOBUF),
            ("shp", formats.SHAPEFILE),
            ("gpx", Format("application/gpx+xml")),
            ("", formats.GEOJSON),
        ):
            formats.install(
                attrs.evolve(
                    WorkerSettings("", ""),
                    vectorFormats=("GPX",),
                    vectorExtension=extension,
                    rasterExtension="nc",
                )
            )
            self.assertEqual(formats.omissions(), [])
            result = self.run_("native:centroids", names)
            value = result.outputs["OUTPUT"]
            assert isinstance(value, FileValue)
            self.assertEqual(value.format, form)
            published = formats.published(formats.vectorOutputs())
            self.assertEqual(published[0], form)
            self.assertEqual(len(published), len(set(published)))
        first = formats.published(formats.rasterOutputs())[0]
        self.assertEqual(first, formats.NETCDF)

    def test_noDefault(self) -> None:
        """An extension of no format is told of, and our own default stays."""
        formats.install(
            attrs.evolve(
                WorkerSettings("", ""), vectorExtension="xyz", rasterExtension="gpkg"
            )
        )
        self.assertEqual(
            [each.reason for each in formats.omissions()],
            [f"there is no format with the extension {e}" for e in ("xyz", "gpkg")],
        )
        published = formats.published(formats.vectorOutputs())
        self.assertEqual(published[0], formats.GEOJSON)

    def test_refused(self) -> None:
        """Those that can't be had, and why, in the server's log."""
        self.install(("Nonsense", "PostgreSQL", "GTiff"), ("VRT", "DOQ1", "GPX"))
        self.assertEqual(
            [each.reason for each in formats.omissions()],
            [
                "GDAL has no driver of that name here",
                "it is not one of files",
                "its driver is not for layers of this kind",
                "its files refer to others, which clients don't have",
                "its driver only reads",
                "its driver is not for layers of this kind",
            ],
        )
        self.install(())
        self.assertEqual(formats.omissions(), [])


class InputCase(FormatCase):
    """A case with data in each format."""

    def vector(self, driver: str, suffix: str, *options: str) -> dict[str, bytes]:
        """The demo's cities in a format of GDAL, as files by name."""
        folder = os.path.join(self.directory, f"made{suffix}")
        os.makedirs(folder)
        made = gdal.VectorTranslate(
            os.path.join(folder, f"cities{suffix}"),
            gdal.OpenEx(DATA),
            format=driver,
            layers=["cities"],
            layerCreationOptions=list(options),
        )
        del made
        return {path.name: path.read_bytes() for path in Path(folder).iterdir()}

    def buffered(self, given: Input) -> Any:
        """The cities as a job reads them."""
        result = self.run_(
            "native:centroids",
            given,
            outputs=(OutputRequest("OUTPUT", formats.GEOPACKAGE),),
        )
        return QgsVectorLayer(str(self.file(result)), "x", "ogr")

    def refused(self, given: Input, processId: str = "native:centroids") -> str:
        """What a client is told of an input."""
        return self.fault(self.run_(processId, given), "InvalidParameterValue", "INPUT")


class VectorInputTests(InputCase):
    """Vector data in each format."""

    def test_read(self) -> None:
        """Inline, and in an archive: the same features in the same CRS."""
        cities = f"{DATA}|layername=cities"
        expected = self.qgis("native:centroids", INPUT=cities)
        for form, driver, suffix, options in (
            (formats.GEOPACKAGE, "GPKG", ".gpkg", ()),
            (formats.FLATGEOBUF, "FlatGeobuf", ".fgb", ("SPATIAL_INDEX=NO",)),
            (formats.CSV, "CSV", ".csv", ("GEOMETRY=AS_WKT",)),
            (formats.CSV, "CSV", ".xy.csv", ("GEOMETRY=AS_XY",)),
            (formats.KML, "LIBKML", ".kml", ()),
            (formats.GEOJSON_WITH_CRS, "GeoJSON", ".geojson", ()),
            (formats.GML, "GML", ".gml", ()),
        ):
            with self.subTest(driver):
                files = self.vector(driver, suffix, *options)
                content = files[f"cities{suffix}"]
                archive = packed({f"in/a/folder/{name}": files[name] for name in files})
                for given in (
                    sent("INPUT", content, form.mimeType),
                    sent("INPUT", archive, "application/zip"),
                ):
                    layer = self.buffered(given)
                    self.assertEqual(layer.crs().authid(), "EPSG:4326")
                    self.assertEqual(shapes(layer, 6), shapes(expected, 6))
                    named = "Name" if driver == "LIBKML" else "name"
                    self.assertEqual(
                        [each[named] for each in layer.getFeatures()],
                        [each["name"] for each in expected.getFeatures()],
                    )

    def test_shapefile(self) -> None:
        """As an archive, whatever it is called, also without its table."""
        expected = self.qgis("native:centroids", INPUT=f"{DATA}|layername=cities")
        files = self.vector("ESRI Shapefile", ".shp", "ENCODING=UTF-8")
        for mimeType in ("application/x-zipped-shp", "application/zip", ""):
            layer = self.buffered(sent("INPUT", packed(files), mimeType))
            self.assertEqual(shapes(layer, 6), shapes(expected, 6))
            self.assertEqual(
                [each["name"] for each in layer.getFeatures()],
                [each["name"] for each in expected.getFeatures()],
            )
        table = {"t.dbf": files["cities.dbf"]}
        result = self.run_(
            "native:extractbyexpression",
            sent("INPUT", packed(table), "application/zip"),
            literal("EXPRESSION", "true"),
            outputs=(OutputRequest("OUTPUT", formats.CSV),),
        )
        self.assertEqual(
            len(self.file(result).read_text().splitlines()),
            expected.featureCount() + 1,
        )

    def test_csvInProject(self) -> None:
        """Coordinates without a CRS are in the project's."""
        job = self.job()
        self.assertEqual(job.crs.authid(), "EPSG:4326")
        layer = self.buffered(data("INPUT", "lon,lat,n\n7,47,1\n", "text/csv"))
        self.assertEqual(shapes(layer, 3), ["Point (7 47)"])
        self.assertEqual([each["n"] for each in layer.getFeatures()], [1])

    def test_wrong(self) -> None:
        """What is not what it is said to be."""
        geopackage = self.vector("GPKG", ".gpkg")["cities.gpkg"]
        shape = self.vector("ESRI Shapefile", ".shp")
        for content, mimeType, text in (
            (b"x", "application/geopackage+sqlite3", "not valid GeoPackage"),
            (geopackage[:3000], "application/geopackage+sqlite3", "damaged"),
            (geopackage, "application/flatgeobuf", "not valid FlatGeobuf"),
            (geopackage, "application/zip", "not valid zip archive"),
            (VRT.encode(), "application/vnd.google-earth.kml+xml", "not valid KML"),
            (VRT.encode(), "text/csv", "not valid CSV"),
            (b"a,b\n\xff\xfe,1\n", "text/csv", "not in UTF-8"),
            (b"PK\x03\x04", "application/zip", "no zip archive that can be read"),
            (packed({}), "application/zip", "not valid zip archive"),
            (packed({"a.txt": b""}), "application/zip", "found none"),
            (packed({"a.vrt": VRT.encode()}), "application/zip", "found none"),
            (packed({"a.gml": VRT.encode()}), "application/zip", "not valid GML"),
            (
                packed({"a.shp": VRT.encode()}),
                "application/zip",
                "a.shp does not look like that",
            ),
            (
                packed({"a.shp": shape["cities.shp"]}),
                "application/zip",
                "its .shx file is missing",
            ),
            (
                packed({"a.csv": b"x\n1\n", "b.csv": b"x\n1\n"}),
                "application/zip",
                "found a.csv, b.csv",
            ),
        ):
            with self.subTest(text):
                told = self.refused(sent("INPUT", content, mimeType))
                self.assertIn(text, told)
                self.assertNotIn(self.directory, told)

    def test_databases(self) -> None:
        """Those that would do more than to hold data are not opened."""
        content = self.vector("GPKG", ".gpkg")["cities.gpkg"]
        for number, (statement, text) in enumerate(
            (
                ("CREATE VIEW v AS SELECT * FROM cities", "v is a view"),
                (
                    "CREATE TABLE t (a, b GENERATED ALWAYS AS (upper(a)))",
                    "t is no plain table",
                ),
                ("DROP TABLE gpkg_contents", "another database of SQLite"),
                ("CREATE VIRTUAL TABLE v USING fts3(x)", "v is no plain table"),
            )
        ):
            path = os.path.join(self.directory, f"{number}.gpkg")
            Path(path).write_bytes(content)
            database = sqlite3.connect(path)
            database.execute(statement)
            database.commit()
            database.close()
            told = self.refused(
                sent("INPUT", Path(path).read_bytes(), formats.GEOPACKAGE.mimeType)
            )
            self.assertIn(text, told)

    def test_unsaid(self) -> None:
        """Data of which nobody says what it is, or only that it is bytes."""
        files = self.vector("FlatGeobuf", ".fgb")
        job = self.job()
        os.makedirs(os.path.join(self.directory, "fetched"))
        Path(self.directory, "fetched", "x").write_bytes(files["cities.fgb"])
        for mimeType in ("", "application/octet-stream", "binary/octet-stream"):
            value = FileValue("fetched/x", Format(mimeType), "Cities")
            layer = layerdata.load("IN", value, ["vector"], job)
            self.assertEqual((layer.name(), layer.isValid()), ("Cities", True))
            self.assertTrue(layer.source().endswith(".fgb"))

    def test_severalLayers(self) -> None:
        """Nobody guesses which one is meant."""
        told = self.refused(
            sent("INPUT", Path(DATA).read_bytes(), formats.GEOPACKAGE.mimeType)
        )
        self.assertIn("expected one layer in it, found", told)
        self.assertIn("cities", told)


class RasterInputTests(InputCase):
    """Raster data in each format."""

    def test_read(self) -> None:
        """Inline, and in an archive: the same values."""
        values = gdal.Open(ELEVATION).ReadAsArray()
        for driver, suffix, mimeType in (
            ("GTiff", ".tif", "image/tiff"),
            ("COG", ".tiff", formats.COG.mimeType),
            ("netCDF", ".nc", "application/x-netcdf"),
        ):
            path = os.path.join(self.directory, f"grid{suffix}")
            gdal.Translate(path, ELEVATION, format=driver)
            content = Path(path).read_bytes()
            for given in (
                sent("INPUT", content, mimeType),
                sent("INPUT", packed({f"x{suffix}": content}), "application/zip"),
            ):
                with self.subTest(driver):
                    result = self.run_("gdal:translate", given)
                    found = gdal.Open(str(self.file(result)))
                    numpy.testing.assert_array_equal(found.ReadAsArray(), values)

    def test_bands(self) -> None:
        """The bands of a NetCDF file are variables of it."""
        stacked = os.path.join(self.directory, "two.tif")
        grid = os.path.join(self.directory, "two.nc")
        both = gdal.BuildVRT("", [ELEVATION, ELEVATION], separate=True)
        gdal.Translate(stacked, both)
        gdal.Translate(grid, stacked, format="netCDF")
        result = self.run_(
            "gdal:translate",
            sent("INPUT", Path(grid).read_bytes(), "application/netcdf"),
        )
        found = gdal.Open(str(self.file(result)))
        self.assertEqual(found.RasterCount, 2)
        numpy.testing.assert_array_equal(
            found.ReadAsArray(), gdal.Open(stacked).ReadAsArray()
        )

    def test_picture(self) -> None:
        """A picture, placed by the world file beside it."""
        path = os.path.join(self.directory, "p.png")
        gdal.Translate(path, ELEVATION, format="PNG", outputType=gdal.GDT_Byte)
        files = {
            "p.png": Path(path).read_bytes(),
            "p.pgw": b"1\n0\n0\n-1\n100.5\n49.5\n",
        }
        result = self.run_(
            "gdal:translate", sent("INPUT", packed(files), "application/zip")
        )
        found = gdal.Open(str(self.file(result)))
        self.assertEqual(found.GetGeoTransform(), (100.0, 1.0, 0.0, 50.0, 0.0, -1.0))

    def test_wrong(self) -> None:
        """What refers to other files is never opened."""
        for content, mimeType, text in (
            (VRT.encode(), "image/tiff", "not valid GeoTIFF"),
            (VRT.encode(), "image/png", "not valid PNG"),
            (VRT.encode(), "application/zip", "not valid zip archive"),
            (packed({"x.vrt": VRT.encode()}), "application/zip", "found none"),
            (packed({"x.tif": VRT.encode()}), "application/zip", "x.tif does not look"),
            (b"\x89HDF\r\n\x1a\n", "application/netcdf", "classic, not NetCDF 4"),
            (b"CDF\x01garbage", "application/netcdf", "not valid NetCDF"),
        ):
            with self.subTest(text):
                told = self.refused(sent("INPUT", content, mimeType), "native:slope")
                self.assertIn(text, told)


class MeshInputTests(InputCase):
    """Meshes."""

    MESH = "MESH2D\nND 1 7 47 1\nND 2 8 47 2\nND 3 7 48 3\nE3T 1 1 2 3 1\n"

    def test_read(self) -> None:
        """The same mesh as QGIS has."""
        path = os.path.join(self.directory, "m.2dm")
        Path(path).write_text(self.MESH)
        expected = QgsMeshLayer(path, "m", "mdal")
        job = self.job()
        for given in (
            ComplexValue(self.MESH, formats.MESH),
            ComplexValue(
                base64.b64encode(packed({"m.2dm": self.MESH.encode()})).decode(),
                formats.ZIP,
            ),
        ):
            layer = layerdata.load("IN", given, ["mesh"], job)
            self.assertEqual(layer.extent(), expected.extent())
            # It says none, and none is guessed.
            self.assertFalse(layer.crs().isValid())
            self.assertEqual(
                layer.dataProvider().vertexCount(),
                expected.dataProvider().vertexCount(),
            )
        with self.assertRaises(OWSError) as caught:
            layerdata.load("IN", ComplexValue(VRT, formats.MESH), ["mesh"], job)
        self.assertIn("not valid 2DM mesh", caught.exception.faults[0].text)


class ArchiveTests(InputCase):
    """Archives of clients."""

    def test_names(self) -> None:
        """No name in it leads out of the job's folder."""
        content = b"x,y\n7,47\n"
        for name in ("../../evil.csv", "/tmp/evil.csv", "..\\evil.csv"):
            layer = self.buffered(
                sent("INPUT", packed({name: content}), "application/zip")
            )
            self.assertEqual(layer.featureCount(), 1)
        outside = Path(self.directory).parent
        self.assertFalse((outside / "evil.csv").exists())
        self.assertFalse(Path("/tmp/evil.csv").exists())
        self.assertEqual(list(Path(self.directory).rglob("*evil*")), [])

    def test_tooLarge(self) -> None:
        """What grows too much is not unpacked to the end."""
        bomb = packed({"a.csv": b"0" * (40 << 20)})
        self.assertLess(len(bomb), 100_000)
        told = self.refused(sent("INPUT", bomb, "application/zip"))
        self.assertIn("too large", told)
        written = sum(
            path.stat().st_size
            for path in Path(self.directory, "inputs").rglob("*.csv")
        )
        self.assertLessEqual(written, 1 << 25)

    def test_tooMany(self) -> None:
        """An archive of very many files is not looked into."""
        many = packed({f"{n}.txt": b"" for n in range(archives.MOST_MEMBERS + 1)})
        told = self.refused(sent("INPUT", many, "application/zip"))
        self.assertIn("more than 10000 files", told)

    def test_ofSystems(self) -> None:
        """What macOS puts into archives is no data."""
        content = packed(
            {
                "a.csv": b"x,y\n7,47\n",
                "__MACOSX/._a.csv": b"x",
                "b/.DS_Store.csv": b"x",
            }
        )
        layer = self.buffered(sent("INPUT", content, "application/zip"))
        self.assertEqual(layer.featureCount(), 1)

    def test_encrypted(self) -> None:
        """It can't be read, and that is said."""
        content = bytearray(packed({"a.csv": b"x,y\n7,47\n"}))
        # The flag of encryption, in both of the member's headers.
        content[6] |= 1
        content[content.index(b"PK\x01\x02") + 8] |= 1
        told = self.refused(sent("INPUT", bytes(content), "application/zip"))
        self.assertIn("encrypted", told)

    def test_pack(self) -> None:
        """All files below a folder, but no links."""
        folder = Path(self.directory, "folder")
        (folder / "deep").mkdir(parents=True)
        (folder / "deep" / "a").write_text("a")
        (folder / "b").symlink_to("/etc/passwd")
        target = os.path.join(self.directory, "x.zip")
        archives.pack(archives.below(str(folder)), target)
        with zipfile.ZipFile(target) as archive:
            self.assertEqual(archive.namelist(), ["deep/a"])


class OtherOutputTests(FormatCase):
    """Outputs that are neither a value nor a vector or raster layer."""

    def names(self, result: Result, output: str) -> list[str]:
        """What is in an archive."""
        value = result.outputs[output]
        assert isinstance(value, FileValue), value
        self.assertEqual(value.format, formats.ZIP)
        with zipfile.ZipFile(self.file(result, output)) as archive:
            return sorted(archive.namelist())

    def wanted(self, *names: str) -> tuple[OutputRequest, ...]:
        return tuple(OutputRequest(name) for name in names)

    def test_folder(self) -> None:
        """An archive of its files; not of other folders of the server."""
        result = self.run_(
            "script:kinds", literal("FOLDER", "mine"), outputs=self.wanted("FOLDER")
        )
        self.assertEqual(self.names(result, "FOLDER"), ["a.txt", "deep/b.txt"])
        result = self.run_(
            "script:kinds", literal("PATH", "/etc"), outputs=self.wanted("ELSEWHERE")
        )
        text = self.fault(result, "NoApplicableCode")
        self.assertIn("no folder for its output ELSEWHERE", text)

    def test_values(self) -> None:
        """Structures are JSON, also those of a type that nobody knows."""
        wanted = self.wanted("VARIANT", "BRANCH", "NEW")
        result = self.run_("script:kinds", outputs=wanted)
        self.assertEqual(
            json.loads(self.file(result, "VARIANT").read_text()),
            {
                # Newer QGIS writes Polygon ((…
                "box": QgsRectangle(1, 2, 3, 4).asWktPolygon(),
                "list": [1, 2.5, "NaN", None, True, "é"],
            },
        )
        self.assertEqual(result.outputs["BRANCH"], LiteralValue("true", "boolean"))
        self.assertEqual(
            json.loads(self.file(result, "NEW").read_text()), ["POINT(1 2)"]
        )

    def test_file(self) -> None:
        """The client chooses of the formats that the algorithm has."""
        for form, suffix in (
            (None, ".csv"),
            (Format("image/vnd.dxf", "base64"), ".dxf"),
        ):
            wanted = (OutputRequest("FILE", form),)
            result = self.run_("script:kinds", literal("FILE", "name"), outputs=wanted)
            self.assertEqual(self.file(result, "FILE").name, f"name{suffix}")
        wanted = (OutputRequest("FILE", Format("image/png")),)
        result = self.run_("script:kinds", literal("FILE", "x"), outputs=wanted)
        text = self.fault(result, "InvalidParameterValue", "FILE")
        self.assertIn("only as text/csv, image/vnd.dxf", text)

    def test_mapLayer(self) -> None:
        """A layer of any kind: its own formats, and none of another kind's."""
        for layer, form in (("cities", formats.GEOJSON), ("elevation", formats.COG)):
            result = self.run_(
                "script:kinds",
                literal("LAYER", layer),
                outputs=(OutputRequest("SAME", form),),
                project=support.WORLD,
            )
            value = result.outputs["SAME"]
            assert isinstance(value, FileValue)
            self.assertEqual(value.format, form)
            self.assertEqual(len(result.layers), 1)
        result = self.run_(
            "script:kinds",
            literal("LAYER", "elevation"),
            outputs=(OutputRequest("SAME", formats.GEOJSON),),
            project=support.WORLD,
        )
        text = self.fault(result, "InvalidParameterValue", "SAME")
        self.assertIn("only as image/tiff", text)

    def test_annotations(self) -> None:
        """A project that QGIS opens, and no layer of the result project."""
        result = self.run_("script:kinds", outputs=self.wanted("NOTES"))
        self.assertEqual(result.layers, ())
        path = self.file(result, "NOTES")
        project = QgsProject()
        self.assertTrue(project.read(str(path)))
        self.addCleanup(project.clear)
        [layer] = project.mapLayers().values()
        self.assertEqual((layer.name(), layer.isValid()), ("notes", True))
        [item] = layer.items().values()
        self.assertEqual(item.geometry().asWkt(), "POINT(7 47)")

    def test_severalLayers(self) -> None:
        """An archive, and layers of the result project; or a map of all."""
        result = self.run_("script:kinds", outputs=self.wanted("LAYERS"))
        self.assertEqual(self.names(result, "LAYERS"), ["first.gpkg", "second.gpkg"])
        self.assertEqual([each.name for each in result.layers], ["first", "second"])
        wms = Format("application/x-ogc-wms")
        result = self.run_("script:kinds", outputs=(OutputRequest("LAYERS", wms),))
        value = result.outputs["LAYERS"]
        self.assertEqual(getattr(value, "layer", None), "first,second")

    def test_renamed(self) -> None:
        """A layer that an algorithm hands on has the name that it gave to it."""
        result = self.run_(
            "native:renamelayer",
            literal("INPUT", "cities"),
            literal("NAME", "Towns"),
            project=support.WORLD,
        )
        self.assertEqual(result.faults, ())
        self.assertEqual([each.name for each in result.layers], ["Towns"])

    def test_paths(self) -> None:
        """No text tells where the job's files are."""
        result = self.run_(
            "native:savefeatures",
            literal("INPUT", "cities"),
            literal("OUTPUT", "mine.fgb"),
            project=support.WORLD,
        )
        self.assertEqual(
            result.outputs["FILE_PATH"], LiteralValue("outputs/mine.fgb", "string")
        )
        self.assertTrue(self.file(result).read_bytes().startswith(b"fgb"))

    def test_filledFolder(self) -> None:
        """A folder that the algorithm fills and does not return."""
        result = self.run_(
            "native:pointstopath",
            literal("INPUT", "cities"),
            literal("GROUP_EXPRESSION", "1"),
            outputs=self.wanted("OUTPUT_TEXT_DIR"),
            project=support.WORLD,
        )
        self.assertEqual(self.names(result, "OUTPUT_TEXT_DIR"), ["1.txt"])

    def test_package(self) -> None:
        """Layers of one file, which is another output."""
        result = self.run_(
            "native:package",
            literal("LAYERS", "cities"),
            literal("LAYERS", "countries"),
            outputs=self.wanted("OUTPUT", "OUTPUT_LAYERS"),
            project=support.WORLD,
        )
        self.assertEqual(result.faults, ())
        self.assertEqual(
            [(each.name, each.path.partition("|")[2]) for each in result.layers],
            [("cities", "layername=cities"), ("countries", "layername=countries")],
        )
        path = resultproject.path(self.directory, "native:package")
        project = QgsProject()
        self.assertTrue(project.read(path))
        self.addCleanup(project.clear)
        found = {x.name(): x.featureCount() for x in project.mapLayers().values()}
        expected = {
            name: QgsVectorLayer(f"{DATA}|layername={name}").featureCount()
            for name in ("cities", "countries")
        }
        self.assertEqual(found, expected)

    def test_split(self) -> None:
        """Files of a folder, which is another output."""
        result = self.run_(
            "native:splitvectorlayer",
            literal("INPUT", "cities"),
            literal("FIELD", "name"),
            project=support.WORLD,
            outputs=(
                OutputRequest("OUTPUT"),
                OutputRequest("OUTPUT_LAYERS", formats.ZIP),
            ),
        )
        self.assertEqual(result.faults, ())
        names = self.names(result, "OUTPUT")
        self.assertEqual(self.names(result, "OUTPUT_LAYERS"), names)
        cities = QgsVectorLayer(f"{DATA}|layername=cities")
        self.assertEqual(len(names), cities.featureCount())
        self.assertEqual(len(result.layers), len(names))

    def test_vectorTiles(self) -> None:
        """Tiles are a layer of the result project, and a file."""
        path = os.path.join(self.directory, "tmp", "x.mbtiles")
        os.makedirs(os.path.dirname(path))
        made = gdal.VectorTranslate(
            path,
            gdal.OpenEx(DATA),
            format="MVT",
            layers=["cities"],
            datasetCreationOptions=["FORMAT=MBTILES", "MAXZOOM=1"],
        )
        del made
        content = Path(path).read_bytes()
        result = self.run_(
            "script:kinds", literal("PATH", path), outputs=self.wanted("TILES")
        )
        value = result.outputs["TILES"]
        assert isinstance(value, FileValue)
        self.assertEqual(value.format.mimeType, "application/x-mbtiles")
        self.assertEqual(self.file(result, "TILES").read_bytes(), content)
        self.result = result
        layer = self.projectLayer("script:kinds")
        self.assertEqual(result.layers[0].kind, "vectortile")
        self.assertIn("outputs/x.mbtiles", layer.source())

    def test_mesh(self) -> None:
        """A mesh is a file as it was made, and a layer of the result project."""
        path = os.path.join(self.directory, "tmp", "x.2dm")
        os.makedirs(os.path.dirname(path))
        Path(path).write_text(MeshInputTests.MESH)
        wanted = self.wanted("MESH")
        result = self.run_("script:kinds", literal("PATH", path), outputs=wanted)
        self.assertEqual(
            self.file(result, "MESH").read_text(encoding="utf-8"), MeshInputTests.MESH
        )
        self.result = result
        layer = self.projectLayer("script:kinds")
        self.assertEqual(result.layers[0].kind, "mesh")
        self.assertEqual(layer.dataProvider().vertexCount(), 3)

    def test_pointCloud(self) -> None:
        """A point cloud is a file as it was made."""
        path = os.path.join(self.directory, "tmp", "x.laz")
        os.makedirs(os.path.dirname(path))
        Path(path).write_bytes(b"LASF")
        wanted = self.wanted("CLOUD")
        result = self.run_("script:kinds", literal("PATH", path), outputs=wanted)
        value = result.outputs["CLOUD"]
        assert isinstance(value, FileValue)
        self.assertEqual(value.format, Format("application/vnd.laszip", "base64"))
        self.assertEqual(self.file(result, "CLOUD").read_bytes(), b"LASF")
        # A layer only where QGIS can open it.
        self.assertLessEqual(len(result.layers), 1)
        wms = (OutputRequest("CLOUD", Format("application/x-ogc-wms")),)
        result = self.run_("script:kinds", literal("PATH", path), outputs=wms)
        self.assertIn("can't be", self.fault(result, "NoApplicableCode"))

    def test_report(self) -> None:
        """An algorithm without an output has the story of its run."""
        result = self.run_("script:silent")
        self.assertEqual(
            json.loads(self.file(result, "REPORT").read_text()),
            {
                "process": "script:silent",
                "results": {"COUNT": 3},
                "messages": [
                    {"level": "info", "text": "done"},
                    {"level": "warning", "text": "careful"},
                ],
            },
        )
