"""
How the data of each format is made a layer, once it is a file.

Formats of files that name other files or URLs, such as VRT, have no reader;
nor has NetCDF 4, whose files can have their data in any other file.
"""

from __future__ import annotations

import contextlib
import json
import mmap
import os
import re
import sqlite3
from collections.abc import Callable, Sequence
from typing import Any
from urllib.parse import quote

import attrs
from osgeo import gdal, ogr
from qgis.core import QgsMeshLayer, QgsRasterLayer, QgsVectorLayer

#: How many bytes of a file tell what it is.
HEAD = 4096

_BOM = b"\xef\xbb\xbf"
_TIFF = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
_PNG = b"\x89PNG\r\n\x1a\n"
_NETCDF = (b"CDF\1", b"CDF\2", b"CDF\5")
_SQLITE = b"SQLite format 3\0"
_SHAPE = b"\0\0\x27\x0a"
#: The versions of dBASE's tables, with and without texts beside them.
_TABLES = (0x02, 0x03, 0x04, 0x05, 0x30, 0x31, 0x83, 0x8B, 0xF5)


@attrs.frozen
class Reader:
    """
    How data of one format is made a layer.

    @ivar name: what clients are told was expected.
    @ivar suffixes: of its files, the usual one first.
    @ivar mimeTypes: without parameters.
    @ivar recognizes: whether a file that starts so can be nothing else.
    @ivar open: makes a layer from the path of a file, a title, and the CRS of
        coordinates that come without one.
    @ivar sidecars: the suffixes of the files that belong to it, in archives.
    @ivar isBinary: whether it is sent in base64.
    @ivar isPackedOnly: whether it comes in archives only.
    @ivar isTelling: whether files of it can be told from those of all others.
    """

    name: str
    suffixes: tuple[str, ...]
    mimeTypes: tuple[str, ...]
    recognizes: Callable[[bytes], bool]
    open: Callable[[str, str, Any], Any]
    sidecars: tuple[str, ...] = ()
    isBinary: bool = False
    isPackedOnly: bool = False
    isTelling: bool = True


def _vectorOptions() -> Any:
    options = QgsVectorLayer.LayerOptions()
    # Styles are looked for beside the file, and in databases.
    options.loadDefaultStyle = False
    return options


def _openVector(path: str, title: str, crs: Any) -> Any:
    return QgsVectorLayer(path, title, "ogr", _vectorOptions())


def _text(head: bytes) -> bytes:
    return head.removeprefix(_BOM).lstrip()


def _startsWith(*signs: bytes) -> Callable[[bytes], bool]:
    return lambda head: head.startswith(signs)


# Texts


def _isJson(head: bytes) -> bool:
    # No format that refers to other files starts so.
    return _text(head).startswith(b"{")


#: What a CRS that GDAL would fetch has in it; letters may be escaped.
_FETCHED = re.compile(rb"url|link|\\u00[4-7]", re.IGNORECASE)


def _checkJson(path: str) -> None:
    """
    Refuse JSON with a CRS, of all of it or of one geometry, that is at some URL:
    GDAL would fetch it.

    @raise ValueError: it is such.
    """
    with (
        open(path, "rb") as file,
        mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content,
    ):
        # Most files need no closer look.
        if _FETCHED.search(content) is None:
            return
    try:
        with open(path, encoding="utf-8-sig", errors="surrogateescape") as text:
            json.load(text, object_pairs_hook=_types)
    except json.JSONDecodeError as error:
        raise ValueError(f"it is no JSON: {error}") from None
    except RecursionError:
        raise ValueError("it is nested too deeply") from None


def _types(members: list[tuple[str, Any]]) -> list[str]:
    """
    The types of an object, which is all that is kept of it.  GDAL heeds no case,
    and there may be several members of a name.
    """
    found = []
    for name, value in members:
        if name.lower() == "type":
            found.append(str(value))
        if name.lower() == "crs" and isinstance(value, list):
            for kind in map(str, value):
                if kind.lower().startswith(("url", "link")):
                    raise ValueError(
                        f"its crs is of the type {kind}, expected name: none is fetched"
                    )
    return found


def _openGeoJson(path: str, title: str, crs: Any) -> Any:
    _checkJson(path)
    layer = _openVector(path, title, crs)
    if layer.isValid():
        return layer
    with open(path, encoding="utf-8-sig") as file:
        try:
            value = json.load(file)
        except RecursionError:
            raise ValueError("it is nested too deeply") from None
    if isinstance(value, dict) and value.get("features") == []:
        # GDAL can't tell what a collection without features is of.
        return QgsVectorLayer("NoGeometry?crs=EPSG:4326", title, "memory")
    raise ValueError("it is JSON, but neither features nor a geometry")


def _isXml(head: bytes) -> bool:
    return _text(head).startswith(b"<")


def _openGml(path: str, title: str, crs: Any) -> Any:
    # Other XML formats of GDAL refer to files, and are found by content: the
    # driver is pinned, and QGIS opens what was made of it.
    source = _source(
        path, ["GML"], "DOWNLOAD_SCHEMA=NO", "EXPOSE_GML_ID=YES", "EXPOSE_FID=NO"
    )
    if source.GetLayerCount() == 0:
        raise ValueError("it has no features")
    layer = source.GetLayer(0)
    definition = layer.GetLayerDefn()
    names = [
        definition.GetFieldDefn(index).GetName()
        for index in range(definition.GetFieldCount())
    ]
    # GDAL 3.10 takes what is in a feature's boundedBy for attributes.
    fields = [name for name in names if name not in _CORNERS]
    return _converted(path, title, source, layer.GetName(), selectFields=fields)


#: The elements of gml:Envelope, GML 3.1.1 section 10.1.4.6.
_CORNERS = ("lowerCorner", "upperCorner")


def _openKml(path: str, title: str, crs: Any) -> Any:
    source = _source(path, ["LIBKML", "KML"])
    return _converted(path, title, source, _theLayer(source))


def _isTable(head: bytes) -> bool:
    return b"\0" not in head and _text(head)[:1] not in (b"{", b"<", b"[", b"")


def _openCsv(path: str, title: str, crs: Any) -> Any:
    """
    A table of texts; its geometries, if it has any, are in a column of WKT or
    in two of coordinates.
    """
    with open(path, encoding="utf-8-sig") as file:
        try:
            for _ in file:
                pass
        except UnicodeDecodeError:
            raise ValueError("it is not in UTF-8") from None
    source = _source(
        path,
        ["CSV"],
        "AUTODETECT_TYPE=YES",
        "GEOM_POSSIBLE_NAMES=WKT,wkt,geometry,geom,the_geom",
        "X_POSSIBLE_NAMES=x,lon,longitude,lng,easting",
        "Y_POSSIBLE_NAMES=y,lat,latitude,northing",
        "KEEP_GEOM_COLUMNS=NO",
    )
    layer = source.GetLayer(0)
    isSpatial = layer is not None and layer.GetGeomType() != ogr.wkbNone
    if layer is None or not (isSpatial or layer.GetLayerDefn().GetFieldCount()):
        raise ValueError("it has no columns")
    options = {"srcSRS": crs.toWkt(), "dstSRS": crs.toWkt()} if isSpatial else {}
    return _converted(path, title, source, layer.GetName(), **options)


def _source(path: str, drivers: list[str], *options: str) -> Any:
    """Data that certain drivers of GDAL open."""
    source = gdal.OpenEx(
        path,
        gdal.OF_VECTOR | gdal.OF_READONLY,
        allowed_drivers=drivers,
        open_options=list(options),
    )
    if source is None:
        raise ValueError("it has no features")
    return source


def _theLayer(source: Any) -> str:
    """The name of the one layer with features."""
    layers = [source.GetLayer(n) for n in range(source.GetLayerCount())]
    filled = [layer.GetName() for layer in layers if layer.GetFeatureCount()]
    if len(filled) > 1:
        listed = ", ".join(filled[:10])
        raise ValueError(f"it has several layers, expected one: {listed}")
    if not layers:
        raise ValueError("it has no layers")
    return str(filled[0] if filled else layers[0].GetName())


def _converted(path: str, title: str, source: Any, layer: str, **options: Any) -> Any:
    """A layer that can be opened whatever GDAL makes of the original."""
    # FlatGeobuf keeps numbers as they are and adds no attribute of its own.
    converted = os.path.splitext(path)[0] + ".fgb"
    result = gdal.VectorTranslate(
        converted,
        source,
        format="FlatGeobuf",
        layers=[layer],
        layerCreationOptions=["SPATIAL_INDEX=NO"],
        **options,
    )
    if result is None:
        raise ValueError("its features can't be read")
    del result
    return QgsVectorLayer(converted, title, "ogr", _vectorOptions())


# Files of binary data

#: What an SQLite database has that computes when it is read.
_COMPUTED = re.compile(r"\bas\s*\(", re.IGNORECASE)
_INDEX = re.compile(r"create\s+virtual\s+table\s.*\susing\s+rtree\s*\(", re.I | re.S)


def _openGeoPackage(path: str, title: str, crs: Any) -> Any:
    _checkDatabase(path)
    source = _source(path, ["GPKG"])
    layers = [source.GetLayer(n).GetName() for n in range(source.GetLayerCount())]
    # QGIS keeps styles there.
    names = [name for name in layers if name != "layer_styles"]
    if len(names) != 1:
        listed = ", ".join(names[:10]) or "none"
        raise ValueError(f"expected one layer in it, found {listed}")
    del source
    return _openVector(f"{path}|layername={names[0]}", title, crs)


def _checkDatabase(path: str) -> None:
    """
    Refuse a database that would do more than to hold data when it is read:
    GDAL's functions and virtual tables reach files and the network.

    @raise ValueError: it is none, or one of these.
    """
    uri = f"file:{quote(path)}?mode=ro&immutable=1"
    with contextlib.closing(sqlite3.connect(uri, uri=True)) as database:
        try:
            found = database.execute(
                "SELECT type, name, coalesce(sql, '') FROM sqlite_master"
            ).fetchall()
        except sqlite3.Error as error:
            raise ValueError(f"it is damaged: {error}") from None
    if not any(name == "gpkg_contents" for _, name, _ in found):
        raise ValueError("it is another database of SQLite")
    for kind, name, sql in found:
        if kind == "view":
            raise ValueError(f"{name} is a view, expected tables only")
        if kind != "table":
            continue
        isVirtual = re.match(r"create\s+virtual\b", sql, re.IGNORECASE)
        if (isVirtual and not _INDEX.match(sql)) or _COMPUTED.search(sql):
            raise ValueError(f"{name} is no plain table")


def _openShapefile(path: str, title: str, crs: Any) -> Any:
    if not os.path.isfile(os.path.splitext(path)[0] + ".shx"):
        raise ValueError("its .shx file is missing")
    return _openVector(path, title, crs)


def _isDbf(head: bytes) -> bool:
    return len(head) > 32 and head[0] in _TABLES


def _openRaster(path: str, title: str, crs: Any = None) -> Any:
    options = QgsRasterLayer.LayerOptions()
    options.loadDefaultStyle = False
    return QgsRasterLayer(path, title, "gdal", options)


def _openNetCdf(path: str, title: str, crs: Any) -> Any:
    source = gdal.OpenEx(
        path, gdal.OF_RASTER | gdal.OF_READONLY, allowed_drivers=["netCDF"]
    )
    if source is None:
        raise ValueError("it has no rasters")
    parts = [name for name, _ in source.GetSubDatasets()]
    # GDAL writes each band as a variable, and has each as a data set.
    if parts:
        source = _stacked(parts)
    converted = os.path.splitext(path)[0] + ".tif"
    if gdal.Translate(converted, source) is None:
        raise ValueError("its rasters can't be read")
    del source
    return _openRaster(converted, title)


def _stacked(parts: Sequence[str]) -> Any:
    """Rasters of the same place as the bands of one."""
    opened = [gdal.Open(part) for part in parts]
    if len({(o.RasterXSize, o.RasterYSize, o.GetGeoTransform()) for o in opened}) > 1:
        raise ValueError("its variables are not on one grid")
    return gdal.BuildVRT("", opened, separate=True)


def _openMesh(path: str, title: str, crs: Any) -> Any:
    # It has no CRS, and QGIS leaves its coordinates as they are: in one that was
    # guessed they could not be transformed to any other.
    return QgsMeshLayer(path, title, "mdal")


READERS = (
    Reader(
        "GeoJSON",
        (".geojson", ".json"),
        ("application/geo+json", "application/vnd.geo+json", "application/json"),
        _isJson,
        _openGeoJson,
    ),
    Reader(
        "GML",
        (".gml", ".xml"),
        ("application/gml+xml", "text/xml", "application/xml", "text/gml"),
        _isXml,
        _openGml,
    ),
    Reader(
        "GeoPackage",
        (".gpkg",),
        ("application/geopackage+sqlite3", "application/x-sqlite3"),
        _startsWith(_SQLITE),
        _openGeoPackage,
        isBinary=True,
    ),
    Reader(
        "FlatGeobuf",
        (".fgb",),
        ("application/flatgeobuf",),
        _startsWith(b"fgb\x03fgb"),
        _openVector,
        isBinary=True,
    ),
    Reader(
        "Shapefile",
        (".shp",),
        ("application/x-zipped-shp",),
        _startsWith(_SHAPE),
        _openShapefile,
        sidecars=(".shx", ".dbf", ".prj", ".cpg"),
        isPackedOnly=True,
    ),
    Reader(
        "dBASE table",
        (".dbf",),
        ("application/x-zipped-shp",),
        _isDbf,
        _openVector,
        sidecars=(".cpg",),
        isPackedOnly=True,
    ),
    Reader(
        "KML",
        (".kml",),
        ("application/vnd.google-earth.kml+xml",),
        _isXml,
        _openKml,
    ),
    Reader(
        "2DM mesh",
        (".2dm",),
        ("application/x-2dm",),
        _startsWith(b"MESH2D"),
        _openMesh,
    ),
    Reader("CSV", (".csv",), ("text/csv",), _isTable, _openCsv, isTelling=False),
    Reader(
        "GeoTIFF",
        (".tif", ".tiff"),
        ("image/tiff", "image/geotiff", "application/geotiff", "application/x-geotiff"),
        _startsWith(*_TIFF),
        _openRaster,
        sidecars=(".tfw",),
        isBinary=True,
    ),
    Reader(
        "PNG",
        (".png",),
        ("image/png",),
        _startsWith(_PNG),
        _openRaster,
        sidecars=(".pgw", ".wld"),
        isBinary=True,
    ),
    Reader(
        "NetCDF (classic, not NetCDF 4)",
        (".nc",),
        ("application/netcdf", "application/x-netcdf"),
        _startsWith(*_NETCDF),
        _openNetCdf,
        isBinary=True,
    ),
)
