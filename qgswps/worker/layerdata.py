"""
Layers from data that a client sends.

GDAL tells formats by their content, and some of its formats are lists of
other files and URLs to open.  Nothing that a client sent is opened before it
is certain to be of the one format that it should be.
"""

from __future__ import annotations

import base64
import binascii
import json
import os
import shutil
from collections.abc import Callable, Sequence
from typing import Any

import attrs
from osgeo import gdal
from qgis.core import QgsRasterLayer, QgsVectorLayer

from qgswps.errors import OWSError, invalid
from qgswps.model import ComplexValue, FileValue, Format
from qgswps.worker import formats
from qgswps.worker.job import INPUTS, Job, fileName

_HEAD = 4096
_BOM = b"\xef\xbb\xbf"
_TIFF = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")

_VECTORS = {"vector", "point", "line", "polygon", "nogeometry"}


def inputFormats(kinds: Sequence[str]) -> tuple[Format, ...]:
    """The formats in which layers of these kinds may be sent."""
    vector = not kinds or bool(_VECTORS & set(kinds))
    raster = not kinds or "raster" in kinds
    return (formats.VECTOR_INPUTS if vector else ()) + (
        formats.RASTER_INPUTS if raster else ()
    )


@attrs.frozen
class Reader:
    """
    How data of one format is made a layer.

    @ivar name: what clients are told was expected.
    @ivar mimeTypes: without parameters.
    @ivar recognizes: whether a file that starts so can be nothing else.
    @ivar open: makes a layer from the path of a file and a title.
    """

    name: str
    suffix: str
    mimeTypes: tuple[str, ...]
    recognizes: Callable[[bytes], bool]
    open: Callable[[str, str], Any]


def _isJson(head: bytes) -> bool:
    # No format that refers to other files starts so.
    return head.removeprefix(_BOM).lstrip().startswith(b"{")


def _openGeoJson(path: str, title: str) -> Any:
    layer = QgsVectorLayer(path, title, "ogr", _vectorOptions())
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


def _vectorOptions() -> Any:
    options = QgsVectorLayer.LayerOptions()
    # Styles are looked for beside the file, and in databases.
    options.loadDefaultStyle = False
    return options


def _isXml(head: bytes) -> bool:
    return head.removeprefix(_BOM).lstrip().startswith(b"<")


def _openGml(path: str, title: str) -> Any:
    # Other XML formats of GDAL refer to files, and are found by content: the
    # driver is pinned, and QGIS opens what was made of it.
    source = gdal.OpenEx(
        path,
        gdal.OF_VECTOR | gdal.OF_READONLY,
        allowed_drivers=["GML"],
        open_options=["DOWNLOAD_SCHEMA=NO", "EXPOSE_GML_ID=YES", "EXPOSE_FID=NO"],
    )
    if source is None or source.GetLayerCount() == 0:
        raise ValueError("it has no features")
    # FlatGeobuf keeps numbers as they are and adds no attribute of its own.
    converted = os.path.splitext(path)[0] + ".fgb"
    layer = source.GetLayer(0)
    result = gdal.VectorTranslate(
        converted,
        source,
        format="FlatGeobuf",
        layers=[layer.GetName()],
        layerCreationOptions=["SPATIAL_INDEX=NO"],
    )
    if result is None:
        raise ValueError("its features can't be read")
    del result, layer, source
    return QgsVectorLayer(converted, title, "ogr", _vectorOptions())


def _isTiff(head: bytes) -> bool:
    return head.startswith(_TIFF)


def _openRaster(path: str, title: str) -> Any:
    options = QgsRasterLayer.LayerOptions()
    options.loadDefaultStyle = False
    return QgsRasterLayer(path, title, "gdal", options)


_READERS = (
    Reader(
        "GeoJSON",
        ".geojson",
        ("application/geo+json", "application/vnd.geo+json", "application/json"),
        _isJson,
        _openGeoJson,
    ),
    Reader(
        "GML",
        ".gml",
        ("application/gml+xml", "text/xml", "application/xml", "text/gml"),
        _isXml,
        _openGml,
    ),
    Reader(
        "GeoTIFF",
        ".tif",
        ("image/tiff", "image/geotiff", "application/geotiff", "application/x-geotiff"),
        _isTiff,
        _openRaster,
    ),
)


def load(
    identifier: str, given: ComplexValue | FileValue, kinds: Sequence[str], job: Job
) -> Any:
    """
    The layer that data of an input is.

    @raise OWSError: it is not what it should be.
    """
    accepted = {formats.baseType(f.mimeType) for f in inputFormats(kinds)}
    readers = [reader for reader in _READERS if accepted & set(reader.mimeTypes)]
    path, head = _store(identifier, given, job)
    reader = _choose(identifier, given.format, head, readers)
    titled = given.title if isinstance(given, FileValue) else ""
    title = titled or identifier
    named = path + reader.suffix
    os.rename(path, named)
    try:
        layer = reader.open(named, title)
    except (ValueError, RuntimeError) as error:
        raise _notReadable(identifier, reader.name, str(error)) from None
    if not layer.isValid():
        raise _notReadable(identifier, reader.name, "it can't be read")
    # QGIS finds the layers of an algorithm's inputs in the context.
    job.context.temporaryLayerStore().addMapLayer(layer)
    return layer


def _store(
    identifier: str, given: ComplexValue | FileValue, job: Job
) -> tuple[str, bytes]:
    """Put the data into a file of its own, and look at its first bytes."""
    path = job.newFile(INPUTS, fileName(identifier, "input"))
    if isinstance(given, FileValue):
        source = os.path.join(job.directory, given.path)
        if job.relative(source) is None or not os.path.isfile(source):
            raise invalid(identifier, f"{identifier} has no data")
        try:
            os.link(source, path)
        except OSError:
            shutil.copyfile(source, path)
        with open(path, "rb") as file:
            return path, file.read(_HEAD)
    data = decode(identifier, given)
    with open(path, "wb") as file:
        file.write(data)
    return path, data[:_HEAD]


def decode(identifier: str, given: ComplexValue) -> bytes:
    """The bytes of inline data."""
    encoding = (given.format.encoding or "").lower()
    text = given.data
    if encoding == "base64" or (not encoding and _looksBinary(given)):
        try:
            return base64.b64decode("".join(text.split()), validate=True)
        except (binascii.Error, ValueError):
            raise invalid(identifier, f"{identifier} is not valid base64") from None
    return text.encode("utf-8", "surrogateescape")


def _looksBinary(given: ComplexValue) -> bool:
    """Whether a client forgot to say that binary data is in base64."""
    return (
        not given.format.mimeType or formats.baseType(given.format.mimeType) in _BINARY
    ) and given.data.lstrip()[:1] not in ("{", "<", "\ufeff", "")


_BINARY = set(_READERS[2].mimeTypes)


def _choose(
    identifier: str, said: Format, head: bytes, readers: Sequence[Reader]
) -> Reader:
    """Who reads data that starts so and is said to be of a format."""
    expected = " or ".join(reader.name for reader in readers)
    if said.mimeType:
        mimeType = formats.baseType(said.mimeType)
        named = [reader for reader in readers if mimeType in reader.mimeTypes]
        if not named:
            raise invalid(
                identifier, f"{identifier} is {said.mimeType}, expected {expected}"
            )
        readers, expected = named, named[0].name
    for reader in readers:
        if reader.recognizes(head):
            return reader
    raise _notReadable(identifier, expected, "it does not look like that")


def _notReadable(identifier: str, expected: str, why: str) -> OWSError:
    return invalid(identifier, f"{identifier} is not valid {expected}: {why}")
