"""
The formats of layers and files: how clients name them and GDAL writes them.

To take a layer from a map service is a format, too: what is written then is
what the service reads.
"""

from __future__ import annotations

import importlib.util
import mimetypes
import os
import re
import sys
from collections.abc import Iterable, Sequence
from functools import cache

import attrs
from osgeo import gdal

from qgswps.errors import invalid
from qgswps.model import SERVICES, Format, Omission, WorkerSettings
from qgswps.worker.job import Job

GML_SCHEMA = "http://schemas.opengis.net/gml/3.1.1/base/gml.xsd"

GEOJSON = Format("application/geo+json")
GEOJSON_WITH_CRS = Format("application/vnd.geo+json")
JSON = Format("application/json")
GML = Format("application/gml+xml", schema=GML_SCHEMA)
GML_AS_XML = Format("text/xml; subtype=gml/3.1.1", schema=GML_SCHEMA)
GEOPACKAGE = Format("application/geopackage+sqlite3", "base64")
FLATGEOBUF = Format("application/flatgeobuf", "base64")
SHAPEFILE = Format("application/x-zipped-shp", "base64")
CSV = Format("text/csv")
KML = Format("application/vnd.google-earth.kml+xml")
GEOTIFF = Format("image/tiff", "base64")
GEOTIFF_QUALIFIED = Format("image/tiff; subtype=geotiff", "base64")
GEOTIFF_AS_APPLICATION = Format("application/geotiff", "base64")
COG = Format("image/tiff; application=geotiff; profile=cloud-optimized", "base64")
PNG = Format("image/png", "base64")
NETCDF = Format("application/netcdf", "base64")
NETCDF_UNREGISTERED = Format("application/x-netcdf", "base64")
ZIP = Format("application/zip", "base64")
HTML = Format("text/html")
MESH = Format("application/x-2dm")
PROJECT = Format("application/x-qgis-project", "base64")
OTHER = Format("application/octet-stream", "base64")

#: Media types by extension, so that they are the same on each machine.
_MEDIA_TYPES = {
    "copc.laz": "application/vnd.laszip+copc",
    "2dm": MESH.mimeType,
    "csv": CSV.mimeType,
    "dxf": "image/vnd.dxf",
    "fgb": FLATGEOBUF.mimeType,
    "geojson": GEOJSON.mimeType,
    "gml": GML.mimeType,
    "gpkg": GEOPACKAGE.mimeType,
    "gpx": "application/gpx+xml",
    "kml": KML.mimeType,
    "las": "application/vnd.las",
    "laz": "application/vnd.laszip",
    "mbtiles": "application/x-mbtiles",
    "nc": NETCDF.mimeType,
    "ods": "application/vnd.oasis.opendocument.spreadsheet",
    "qgs": PROJECT.mimeType,
    "vpc": GEOJSON.mimeType,
    "xlsx": "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
}


def mediaType(path: str) -> str:
    """The media type of a file by its extension."""
    name = os.path.basename(path).lower()
    for parts in (name.split(".")[-2:], name.split(".")[-1:]):
        known = _MEDIA_TYPES.get(".".join(parts))
        if known is not None:
            return known
    return mimetypes.guess_type(f"x{os.path.splitext(name)[1]}")[0] or OTHER.mimeType


def ofFile(path: str) -> Format:
    """The format of a file by its extension."""
    mimeType = mediaType(path)
    return Format(mimeType, None if _isText(mimeType) else "base64")


def _isText(mimeType: str) -> bool:
    return mimeType.startswith("text/") or mimeType.endswith(("json", "xml"))


def baseType(mimeType: str) -> str:
    """A media type without its parameters, in lower case."""
    return mimeType.partition(";")[0].strip().lower()


def _normal(mimeType: str) -> str:
    return re.sub(r"\s+", "", mimeType).lower()


@attrs.frozen
class OutputFormat:
    """
    A format that layers are written in.

    @ivar format: as published; the media type of a service if the layer is to
        be taken from that.
    @ivar driver: GDAL's short name; empty for what is taken as it is.
    @ivar layerOptions: the driver's creation options for layers.
    @ivar datasetOptions: the driver's creation options for files.
    @ivar crs: authority id of the one CRS that coordinates are given in;
        None for the layer's own.
    @ivar isServed: whether map services read a layer from it; if not, the
        result project needs the data in another one, too.
    @ivar isPacked: whether it is several files in an archive.
    @ivar isFurther: whether it is one of the configuration's.
    """

    format: Format
    suffix: str
    driver: str
    layerOptions: tuple[str, ...] = ()
    datasetOptions: tuple[str, ...] = ()
    crs: str | None = None
    isServed: bool = True
    isPacked: bool = False
    isFurther: bool = False

    @property
    def isService(self) -> bool:
        """Whether a client gets a reference to a service, not data."""
        return self.format.mimeType in SERVICES


def services(names: Sequence[str], suffix: str, driver: str) -> list[OutputFormat]:
    """Formats for the services of these names."""
    mimeTypes = {service: mimeType for mimeType, service in SERVICES.items()}
    return [OutputFormat(Format(mimeTypes[name]), suffix, driver) for name in names]


#: QGIS's own options for GeoJSON sinks, so that both ways of writing agree.
_GEOJSON_OPTIONS = ("COORDINATE_PRECISION=15", "RFC7946=NO")

#: What the result project reads if what the client takes is not for that.
VECTOR_DATA = OutputFormat(GEOPACKAGE, ".gpkg", "GPKG")
RASTER_DATA = OutputFormat(GEOTIFF, ".tif", "GTiff")

_VECTOR_OUTPUTS = (
    OutputFormat(GEOJSON, ".geojson", "GeoJSON", _GEOJSON_OPTIONS, crs="EPSG:4326"),
    OutputFormat(GEOJSON_WITH_CRS, ".geojson", "GeoJSON", _GEOJSON_OPTIONS),
    OutputFormat(
        GML,
        ".gml",
        "GML",
        datasetOptions=("FORMAT=GML3", "GML3_LONGSRS=YES", "XSISCHEMA=OFF"),
    ),
    VECTOR_DATA,
    OutputFormat(FLATGEOBUF, ".fgb", "FlatGeobuf"),
    OutputFormat(SHAPEFILE, ".shp", "ESRI Shapefile", isServed=False, isPacked=True),
    OutputFormat(ZIP, ".shp", "ESRI Shapefile", isServed=False, isPacked=True),
    OutputFormat(CSV, ".csv", "CSV", ("GEOMETRY=AS_WKT",), isServed=False),
    OutputFormat(KML, ".kml", "LIBKML", crs="EPSG:4326", isServed=False),
)
_RASTER_OUTPUTS = (
    RASTER_DATA,
    OutputFormat(COG, ".tif", "COG", datasetOptions=("COMPRESS=DEFLATE",)),
    # A picture of the layer, as it is styled.
    OutputFormat(PNG, ".png", "PNG", isServed=False),
    OutputFormat(NETCDF, ".nc", "netCDF", isServed=False),
)

_VECTOR_SERVICES = tuple(services(("WMS", "WFS", "WMTS"), ".gpkg", "GPKG"))
_RASTER_SERVICES = tuple(services(("WMS", "WCS", "WMTS"), ".tif", "GTiff"))
_PICTURES = tuple(services(("WMS", "WMTS"), "", ""))

#: Layers that are taken as the algorithm wrote them.
POINT_CLOUD_OUTPUTS = (
    OutputFormat(Format("application/vnd.laszip", "base64"), ".laz", ""),
    OutputFormat(Format("application/vnd.las", "base64"), ".las", ""),
    OutputFormat(Format("application/vnd.laszip+copc", "base64"), ".copc.laz", ""),
    *_PICTURES,
)
VECTOR_TILE_OUTPUTS = (
    OutputFormat(Format("application/x-mbtiles", "base64"), ".mbtiles", ""),
    *_PICTURES,
)
OTHER_OUTPUTS = (OutputFormat(OTHER, "", ""), *_PICTURES)
ANNOTATION_OUTPUTS = (OutputFormat(PROJECT, ".qgs", ""),)
MULTIPLE_OUTPUTS = (OutputFormat(ZIP, ".zip", ""), *_PICTURES)

#: Whether there are map services that references can lead to.
_isServed = [True]

#: Those that the configuration adds.
_furtherVectors: list[OutputFormat] = []
_furtherRasters: list[OutputFormat] = []
_omitted: list[Omission] = []


#: The extensions of the default formats, where they are not ours.
_extensions = {"vector": "", "raster": ""}


def vectorOutputs() -> tuple[OutputFormat, ...]:
    """What vector layers can be had in, the default first."""
    data = (*_present(_VECTOR_OUTPUTS), *_furtherVectors)
    return (*_preferring(_extensions["vector"], data), *_VECTOR_SERVICES)


def rasterOutputs() -> tuple[OutputFormat, ...]:
    """What raster layers can be had in, the default first."""
    data = (*_present(_RASTER_OUTPUTS), *_furtherRasters)
    return (*_preferring(_extensions["raster"], data), *_RASTER_SERVICES)


def _preferring(
    extension: str, outputs: tuple[OutputFormat, ...]
) -> tuple[OutputFormat, ...]:
    """The first one with that extension before all others."""
    for each in outputs:
        if each.suffix == f".{extension}":
            return tuple(dict.fromkeys((each, *outputs)))
    return outputs


@cache
def _present(outputs: tuple[OutputFormat, ...]) -> tuple[OutputFormat, ...]:
    """Those that GDAL has a driver for here."""
    return tuple(each for each in outputs if gdal.GetDriverByName(each.driver))


def published(*outputs: Iterable[OutputFormat]) -> tuple[Format, ...]:
    """The formats that a description lists: data, then services."""
    every = [each for some in outputs for each in _offered(some)]
    every.sort(key=lambda each: each.isService)
    return tuple(dict.fromkeys(each.format for each in every))


def _offered(outputs: Iterable[OutputFormat]) -> list[OutputFormat]:
    return [each for each in outputs if _isServed[0] or not each.isService]


# Further formats


#: Drivers whose files hold no data of their own.
_REFERRING = {"VRT", "GTI", "WMS", "WMTS", "MRF"}


def install(settings: WorkerSettings) -> None:
    """
    Add the drivers of GDAL that the settings name, and offer the services if
    there are any.
    """
    # Its libraries are loaded only where they are needed.
    isHere = importlib.util.find_spec("qgis.server") is not None
    if settings.maps == "here" and not isHere:
        sys.stderr.write("QGIS Server is not installed: results have no maps\n")
    _isServed[:] = [settings.maps == "another" or (settings.maps == "here" and isHere)]
    _omitted.clear()
    for further, known, names, needed in (
        (_furtherVectors, _VECTOR_OUTPUTS, settings.vectorFormats, gdal.DCAP_VECTOR),
        (_furtherRasters, _RASTER_OUTPUTS, settings.rasterFormats, gdal.DCAP_RASTER),
    ):
        further.clear()
        taken = {each.format.mimeType for each in known}
        for name in names:
            try:
                made = _further(name, needed)
            except ValueError as why:
                _omitted.append(Omission(f"GDAL's format {name}", str(why)))
                continue
            if made.format.mimeType not in taken:
                taken.add(made.format.mimeType)
                further.append(made)
    _extensions.update(vector=settings.vectorExtension, raster=settings.rasterExtension)
    for kind, outputs in (("vector", vectorOutputs()), ("raster", rasterOutputs())):
        extension = _extensions[kind]
        if extension and outputs[0].suffix != f".{extension}":
            subject = f"the default format of {kind} results, {kind}.fileext"
            missing = f"there is no format with the extension {extension}"
            _omitted.append(Omission(subject, missing))


def omissions() -> list[Omission]:
    """The formats that the configuration names and that can't be had."""
    return list(_omitted)


def _further(name: str, needed: str) -> OutputFormat:
    """
    A format by GDAL's name.

    @raise ValueError: it can't be written to files here.
    """
    driver = gdal.GetDriverByName(name)
    if driver is None:
        raise ValueError("GDAL has no driver of that name here")
    facts = driver.GetMetadata()
    if not facts.get(needed):
        raise ValueError("its driver is not for layers of this kind")
    if not (facts.get("DCAP_CREATE") or facts.get("DCAP_CREATECOPY")):
        raise ValueError("its driver only reads")
    if driver.ShortName in _REFERRING:
        raise ValueError("its files refer to others, which clients don't have")
    extensions = facts.get("DMD_EXTENSIONS", "").split()
    if not extensions:
        # A database, a service, or memory.
        raise ValueError("it is not one of files")
    mimeType = facts.get("DMD_MIMETYPE") or _MEDIA_TYPES.get(extensions[0])
    if mimeType is None:
        named = re.sub(r"[^a-z0-9]+", "-", driver.ShortName.lower())
        mimeType = f"application/x-gdal-{named}"
    return OutputFormat(
        Format(mimeType, None if _isText(mimeType) else "base64"),
        f".{extensions[0]}",
        driver.ShortName,
        isServed=False,
        isFurther=True,
    )


# Inputs

#: The format of features that are taken from a service.
WFS = Format("application/x-ogc-wfs")

#: What layer inputs are read in.
VECTOR_INPUTS = (
    GEOJSON,
    GEOJSON_WITH_CRS,
    JSON,
    GML,
    GML_AS_XML,
    GEOPACKAGE,
    FLATGEOBUF,
    SHAPEFILE,
    ZIP,
    CSV,
    KML,
)
RASTER_INPUTS = (
    GEOTIFF,
    GEOTIFF_QUALIFIED,
    GEOTIFF_AS_APPLICATION,
    COG,
    PNG,
    NETCDF,
    NETCDF_UNREGISTERED,
    ZIP,
)
MESH_INPUTS = (MESH, ZIP)


# What the client wants


def choose(outputs: Sequence[OutputFormat], name: str, job: Job) -> OutputFormat:
    """
    The format in which the client takes an output of the job.

    With a project, what names no format is taken from its services, unless
    the data itself is to be the answer.

    @raise OWSError: the client names one that there is not.
    """
    request = job.wanted(name)
    wanted = request.format if request else None
    outputs = _offered(outputs)
    if wanted is None or not wanted.mimeType:
        served = job.hasProject and not job.request.raw and _isServed[0]
        for output in outputs:
            if output.isService is served:
                return output
        return outputs[0]
    for test in (_normal, baseType):
        for output in outputs:
            if test(output.format.mimeType) == test(wanted.mimeType):
                return output
    known = ", ".join(output.format.mimeType for output in outputs)
    raise invalid(name, f"{name} can't be had as {wanted.mimeType}, only as {known}")
