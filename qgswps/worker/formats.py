"""
The formats of layers: how clients name them and GDAL writes them.

To take a layer from a map service is a format, too: what is written then is
what the service reads.
"""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Sequence

import attrs

from qgswps.errors import invalid
from qgswps.model import SERVICES, Format, WorkerSettings
from qgswps.worker.job import Job

GML_SCHEMA = "http://schemas.opengis.net/gml/3.1.1/base/gml.xsd"

GEOJSON = Format("application/geo+json")
GEOJSON_WITH_CRS = Format("application/vnd.geo+json")
JSON = Format("application/json")
GML = Format("application/gml+xml", schema=GML_SCHEMA)
GML_AS_XML = Format("text/xml; subtype=gml/3.1.1", schema=GML_SCHEMA)
GEOTIFF = Format("image/tiff", "base64")
GEOTIFF_QUALIFIED = Format("image/tiff; subtype=geotiff", "base64")
GEOTIFF_AS_APPLICATION = Format("application/geotiff", "base64")


def baseType(mimeType: str) -> str:
    """A media type without its parameters, in lower case."""
    return mimeType.partition(";")[0].strip().lower()


@attrs.frozen
class OutputFormat:
    """
    A format that layers are written in.

    @ivar format: as published; the media type of a service if the layer is to
        be taken from that.
    @ivar driver: GDAL's short name.
    @ivar layerOptions: the driver's creation options for layers.
    @ivar datasetOptions: the driver's creation options for files.
    @ivar crs: authority id of the one CRS that coordinates are given in;
        None for the layer's own.
    """

    format: Format
    suffix: str
    driver: str
    layerOptions: tuple[str, ...] = ()
    datasetOptions: tuple[str, ...] = ()
    crs: str | None = None

    @property
    def isService(self) -> bool:
        """Whether a client gets a reference to a service, not data."""
        return self.format.mimeType in SERVICES


def _services(names: Sequence[str], suffix: str, driver: str) -> list[OutputFormat]:
    """Formats for the services of these names."""
    mimeTypes = {service: mimeType for mimeType, service in SERVICES.items()}
    return [OutputFormat(Format(mimeTypes[name]), suffix, driver) for name in names]


#: QGIS's own options for GeoJSON sinks, so that both ways of writing agree.
_GEOJSON_OPTIONS = ("COORDINATE_PRECISION=15", "RFC7946=NO")

VECTOR_OUTPUTS = (
    OutputFormat(GEOJSON, ".geojson", "GeoJSON", _GEOJSON_OPTIONS, crs="EPSG:4326"),
    OutputFormat(GEOJSON_WITH_CRS, ".geojson", "GeoJSON", _GEOJSON_OPTIONS),
    OutputFormat(
        GML,
        ".gml",
        "GML",
        datasetOptions=("FORMAT=GML3", "GML3_LONGSRS=YES", "XSISCHEMA=OFF"),
    ),
    *_services(("WMS", "WFS", "WMTS"), ".gpkg", "GPKG"),
)
RASTER_OUTPUTS = (
    OutputFormat(GEOTIFF, ".tif", "GTiff"),
    *_services(("WMS", "WCS", "WMTS"), ".tif", "GTiff"),
)

#: The format of features that are taken from a service.
WFS = Format("application/x-ogc-wfs")

#: Whether there are map services that references can lead to.
_isServed = [True]


def install(settings: WorkerSettings) -> None:
    """Offer the services if there are any."""
    # Its libraries are loaded only where they are needed.
    isHere = importlib.util.find_spec("qgis.server") is not None
    if settings.maps == "here" and not isHere:
        sys.stderr.write("QGIS Server is not installed: results have no maps\n")
    _isServed[:] = [settings.maps == "another" or (settings.maps == "here" and isHere)]


def offered(outputs: Sequence[OutputFormat]) -> tuple[Format, ...]:
    """The formats of those outputs that clients can have."""
    return tuple(each.format for each in _offered(outputs))


def _offered(outputs: Sequence[OutputFormat]) -> list[OutputFormat]:
    return [each for each in outputs if _isServed[0] or not each.isService]


#: What layer inputs are read in.
VECTOR_INPUTS = (GEOJSON, GEOJSON_WITH_CRS, JSON, GML, GML_AS_XML)
RASTER_INPUTS = (GEOTIFF, GEOTIFF_QUALIFIED, GEOTIFF_AS_APPLICATION)


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
        return next(output for output in outputs if output.isService is served)
    for test in (str.lower, baseType):
        for output in outputs:
            if test(output.format.mimeType) == test(wanted.mimeType):
                return output
    known = ", ".join(output.format.mimeType for output in outputs)
    raise invalid(name, f"{name} can't be had as {wanted.mimeType}, only as {known}")
