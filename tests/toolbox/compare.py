"""
Whether two results are the same, as far as their format says something: features
and attributes, pixels, rows of a database, numbers, or the bytes.
"""

from __future__ import annotations

import io
import json
import math
import os
import re
import sqlite3
import zipfile
from collections import Counter
from collections.abc import Callable
from typing import Any

import numpy
from lxml import etree
from osgeo import gdal, ogr

gdal.UseExceptions()

#: The first bytes of what GDAL reads as a raster.
_RASTERS = (b"II*\0", b"MM\0*", b"II+\0", b"\x89PNG", b"\xff\xd8\xff")

#: What differs between two runs, whoever makes them.
_VOLATILE = (
    # The server names files as they are beside each other.
    (r"file:/+(?:[\w.+%-]+/)+", ""),
    (
        r"[0-9a-f]{8}[-_][0-9a-f]{4}[-_][0-9a-f]{4}[-_][0-9a-f]{4}[-_][0-9a-f]{12}",
        "UUID",
    ),
    (r"\b[0-9a-f]{32}\b", "UUID"),
    (r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:?\d\d)?", "TIME"),
    (r"/(CreationDate|ModDate|ID) ?[(\[][^)\]]*[)\]]", "DATE"),
)

#: The key of a GeoPackage's features: a number that says nothing.
_KEY = "fid"

#: A table that QGIS adds for itself.
_STYLES = "layer_styles"

#: Where a file lies says nothing of it.
_PATH = re.compile(r"(/[\w.+-]+)+/")

_NUMBER = re.compile(r"-?\d+\.\d+(?:[eE][+-]?\d+)?")


class Different(Exception):
    """What is not the same, in a few words."""


def _same(what: str, ours: Any, theirs: Any) -> None:
    if ours != theirs:
        raise Different(f"{what}: {str(ours)[:120]!r}, in QGIS {str(theirs)[:120]!r}")


def values(ours: Any, theirs: Any) -> None:
    """
    Compare literals.

    @raise Different: they are not the same.
    """
    if isinstance(theirs, bool):
        theirs = "true" if theirs else "false"
    if isinstance(theirs, (int, float)):
        if not math.isclose(float(ours), theirs, rel_tol=1e-9, abs_tol=1e-12):
            raise Different(f"{ours}, in QGIS {theirs}")
        return
    texts = [os.path.basename(str(value)) for value in (ours, theirs)]
    _same("value", *map(_steady, texts))


def structures(ours: bytes, theirs: Any) -> None:
    """
    Compare JSON with what it says.

    @raise Different: they are not the same.
    """
    try:
        found = json.loads(ours)
    except ValueError:
        raise Different(f"no JSON, in QGIS {str(theirs)[:120]!r}") from None
    _same("value", _canonical(found), _canonical(theirs))


def _canonical(value: Any) -> str:
    return _steady(json.dumps(value, sort_keys=True))


def files(ours: bytes, theirs: bytes, chance: bool = False) -> None:
    """
    Compare what two files say.

    @param chance: compare only what lots don't decide: how much there is, and
        of which kind.
    @raise Different: they are not the same.
    """
    for name, isOne, compare in _FORMATS:
        if isOne(theirs):
            if not isOne(ours):
                raise Different(f"it is no {name}")
            compare(ours, theirs, chance)
            return
    _bytes(ours, theirs, chance)


def content(path: str) -> bytes:
    """
    What a file says; of one that only names others, a copy of these.
    """
    with open(path, "rb") as file:
        found = file.read()
    # An ASCII grid is a raster, too.
    if not path.endswith(".vrt") and not found.startswith(b"NCOLS"):
        return found
    copy = "/vsimem/compare/copy"
    try:
        gdal.Translate(copy, path)
    except RuntimeError:
        gdal.VectorTranslate(copy, path, format="GPKG")
    size = gdal.VSIStatL(copy).size
    opened = gdal.VSIFOpenL(copy, "rb")
    data = bytes(gdal.VSIFReadL(1, size, opened))
    gdal.VSIFCloseL(opened)
    gdal.Unlink(copy)
    return data


def folder(path: str) -> bytes:
    """A folder as an archive."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for base, _, names in os.walk(path):
            for name in names:
                full = os.path.join(base, name)
                archive.write(full, os.path.relpath(full, path))
    return buffer.getvalue()


def archive(paths: list[str]) -> bytes:
    """Some files as an archive."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as found:
        for path in dict.fromkeys(paths):
            found.write(path, os.path.basename(path))
    return buffer.getvalue()


# Formats


def _isDatabase(data: bytes) -> bool:
    return data.startswith(b"SQLite format 3")


def _isVector(data: bytes) -> bool:
    return _isDatabase(data) and b"gpkg_geometry_columns" in data[:200_000]


def _isRaster(data: bytes) -> bool:
    return data.startswith(_RASTERS)


def _isArchive(data: bytes) -> bool:
    return data.startswith((b"PK\3\4", b"PK\5\6"))


class _InMemory:
    """A file that GDAL can open."""

    count = 0

    def __init__(self, data: bytes) -> None:
        type(self).count += 1
        ending = "gpkg" if _isDatabase(data) else "data"
        self.path = f"/vsimem/compare/{self.count}/file.{ending}"
        gdal.FileFromMemBuffer(self.path, data)

    def __enter__(self) -> str:
        return self.path

    def __exit__(self, *_: object) -> None:
        gdal.Unlink(self.path)


def _vectors(ours: bytes, theirs: bytes, chance: bool) -> None:
    with _InMemory(ours) as first, _InMemory(theirs) as second:
        mine, plain = (gdal.OpenEx(p, gdal.OF_VECTOR) for p in (first, second))
        _same("layers", mine.GetLayerCount(), plain.GetLayerCount())
        for n in range(plain.GetLayerCount()):
            if plain.GetLayer(n).GetName() == _STYLES:
                continue
            _layer(mine.GetLayer(n), plain.GetLayer(n), chance)


def _layer(mine: ogr.Layer, plain: ogr.Layer, chance: bool) -> None:
    _same("fields", _fields(mine), _fields(plain))
    _same(
        "geometries",
        ogr.GeometryTypeToName(mine.GetGeomType()),
        ogr.GeometryTypeToName(plain.GetGeomType()),
    )
    _same("CRS", _crs(mine), _crs(plain))
    if chance:
        _same("features", mine.GetFeatureCount() > 0, plain.GetFeatureCount() > 0)
        return
    features = Counter(map(_feature, mine)), Counter(map(_feature, plain))
    _same("number of features", *(sum(each.values()) for each in features))
    if features[0] != features[1]:
        only = sorted((features[0] - features[1]).items())[0][0]
        there = sorted((features[1] - features[0]).items())[0][0]
        raise Different(f"feature {only[:200]}, in QGIS {there[:200]}")


def _fields(layer: ogr.Layer) -> list[tuple[str, str]]:
    defined = layer.GetLayerDefn()
    fields = (defined.GetFieldDefn(n) for n in range(defined.GetFieldCount()))
    return [
        (field.GetName(), field.GetTypeName())
        for field in fields
        if field.GetName() != _KEY
    ]


def _crs(layer: ogr.Layer) -> str:
    crs = layer.GetSpatialRef()
    return (crs.GetAuthorityCode(None) or crs.GetName()) if crs is not None else ""


def _feature(feature: ogr.Feature) -> str:
    geometry = feature.GetGeometryRef()
    shape = ""
    if geometry is not None:
        # The order of parts says nothing.
        ordered = None if geometry.HasCurveGeometry() else geometry.Normalize()
        shape = (ordered or geometry).ExportToIsoWkt()
    attributes = [
        None if not feature.IsFieldSetAndNotNull(n) else feature.GetFieldAsString(n)
        for n in range(feature.GetFieldCount())
        if feature.GetFieldDefnRef(n).GetName() != _KEY
    ]
    return _rounded(f"{_PATH.sub('/', str(attributes))} {shape}")


def _rounded(text: str) -> str:
    """Numbers with as many digits as two ways to calculate agree on."""
    return _NUMBER.sub(lambda found: f"{float(found[0]):.9g}", text)


def _rasters(ours: bytes, theirs: bytes, chance: bool) -> None:
    with _InMemory(ours) as first, _InMemory(theirs) as second:
        mine, plain = gdal.Open(first), gdal.Open(second)
        _same("size", _size(mine), _size(plain))
        _same("place", _place(mine), _place(plain))
        for n in range(1, plain.RasterCount + 1):
            band, other = mine.GetRasterBand(n), plain.GetRasterBand(n)
            _same("type", _type(band), _type(other))
            _same("nodata", _nodata(band), _nodata(other))
            if chance:
                continue
            pixels, others = band.ReadAsArray(), other.ReadAsArray()
            same = numpy.isclose(pixels, others, 1e-6, 1e-9, equal_nan=True)
            if not same.all():
                raise Different(f"{(~same).sum()} of {same.size} pixels of band {n}")


def _size(raster: gdal.Dataset) -> tuple[int, ...]:
    return (raster.RasterXSize, raster.RasterYSize, raster.RasterCount)


def _place(raster: gdal.Dataset) -> tuple[list[float], str]:
    crs = raster.GetSpatialRef()
    name = (crs.GetAuthorityCode(None) or crs.GetName()) if crs is not None else ""
    return [round(number, 6) for number in raster.GetGeoTransform()], name


def _type(band: gdal.Band) -> int:
    # Numbers in a text, as an ASCII grid has them, are of no size.
    isDouble = band.DataType == gdal.GDT_Float64
    return int(gdal.GDT_Float32 if isDouble else band.DataType)


def _nodata(band: gdal.Band) -> str:
    return repr(band.GetNoDataValue())


def _databases(ours: bytes, theirs: bytes, chance: bool) -> None:
    _same("rows", *(_rows(data) for data in (ours, theirs)))


def _rows(data: bytes) -> Any:
    found: dict[str, Any] = {}
    connection = sqlite3.connect(":memory:")
    try:
        connection.deserialize(data)
        names = connection.execute(
            "SELECT name FROM sqlite_master WHERE type = 'table' ORDER BY name"
        )
        for (name,) in names.fetchall():
            rows = connection.execute(f'SELECT * FROM "{name}"').fetchall()
            found[name] = sorted(_steady(repr(row)) for row in rows)
    finally:
        connection.close()
    return found


def _archives(ours: bytes, theirs: bytes, chance: bool) -> None:
    mine, plain = (zipfile.ZipFile(io.BytesIO(data)) for data in (ours, theirs))
    names = [_names(archive) for archive in (mine, plain)]
    _same("names", [each for each, _ in names[0]], [each for each, _ in names[1]])
    for (_, first), (name, second) in zip(*names, strict=True):
        if name.startswith("docProps/") or name == "meta.xml":
            continue  # when it was made
        try:
            files(mine.read(first), plain.read(second), chance)
        except Different as error:
            raise Different(f"{name}: {error}") from None


def _names(archive: zipfile.ZipFile) -> list[tuple[str, str]]:
    return sorted(
        (_steady(name), name) for name in archive.namelist() if not name.endswith("/")
    )


def _isProject(data: bytes) -> bool:
    return _isXML(data) and b"<projectlayers>" in data


def _projects(ours: bytes, theirs: bytes, chance: bool) -> None:
    """What layers have by way of annotations; all else is what a project is about."""
    layers = [
        [
            (
                layer.get("type"),
                layer.findtext("layername"),
                *(etree.tostring(each, method="c14n") for each in layer.iter("item")),
            )
            for layer in etree.fromstring(each).iter("maplayer")
        ]
        for each in (ours, theirs)
    ]
    _same("layers", *layers)


def _isXML(data: bytes) -> bool:
    return data.lstrip().startswith((b"<?xml", b"<!DOCTYPE qgis", b"<qgis"))


def _documents(ours: bytes, theirs: bytes, chance: bool) -> None:
    # Qt writes attributes in any order.
    texts = [
        etree.tostring(etree.fromstring(each), method="c14n") for each in (ours, theirs)
    ]
    _bytes(texts[0], texts[1], chance)


def _bytes(ours: bytes, theirs: bytes, chance: bool) -> None:
    if ours == theirs or chance:
        return
    try:
        texts = [_steady(data.decode("latin-1")) for data in (ours, theirs)]
    except UnicodeDecodeError:
        raise Different("the bytes") from None
    if texts[0] != texts[1]:
        lines = [text.splitlines() for text in texts]
        for mine, plain in zip(*lines, strict=False):
            _same("text", mine, plain)
        _same("lines", *map(len, lines))


def _steady(text: str) -> str:
    """A text without what differs between any two runs."""
    for pattern, name in _VOLATILE:
        text = re.sub(pattern, name, text)
    return _rounded(_PATH.sub("/", text))


_Compare = Callable[[bytes, bytes, bool], None]

_FORMATS: tuple[tuple[str, Callable[[bytes], bool], _Compare], ...] = (
    ("GeoPackage", _isVector, _vectors),
    ("database", _isDatabase, _databases),
    ("raster", _isRaster, _rasters),
    ("archive", _isArchive, _archives),
    ("project", _isProject, _projects),
    ("XML", _isXML, _documents),
)
