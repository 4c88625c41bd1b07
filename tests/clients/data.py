"""What the clients send, and what comes back."""

from __future__ import annotations

import base64
import json
import os
from typing import Any

from osgeo import gdal

from tests import live

FEATURES: dict[str, Any] = {
    "type": "FeatureCollection",
    "features": [
        {
            "type": "Feature",
            "properties": {"name": name},
            "geometry": {"type": "Point", "coordinates": [x, 0.5]},
        }
        for name, x in (("west", -1.5), ("east; é & <b>", 1.5))
    ],
}
GEOJSON = json.dumps(FEATURES, ensure_ascii=False)
NAMES = [each["properties"]["name"] for each in FEATURES["features"]]

GML = (
    '<gml:FeatureCollection xmlns:gml="http://www.opengis.net/gml"'
    ' xmlns:q="http://example.org/q">'
    + "".join(
        f"<gml:featureMember><q:place><q:name>{name}</q:name><q:shape>"
        f'<gml:Point srsName="urn:ogc:def:crs:OGC:1.3:CRS84"><gml:pos>{x} 0.5</gml:pos>'
        "</gml:Point></q:shape></q:place></gml:featureMember>"
        for name, x in (("west", -1.5), ("east", 1.5))
    )
    + "</gml:FeatureCollection>"
)

#: Of heights, as GDAL's colour tables are.
COLORS = "0 0 0 0\n9000 255 255 255\n"

ELEVATION = os.path.join(live.PROJECTS, "elevation.tif")


def encoded(path: str) -> str:
    """A file in base64."""
    with open(path, "rb") as file:
        return base64.b64encode(file.read()).decode()


def properties(features: bytes | str) -> list[dict[str, Any]]:
    """The attributes of the features in GeoJSON."""
    return [each["properties"] for each in json.loads(features)["features"]]


def names(features: bytes | str) -> list[str]:
    """The names in GeoJSON."""
    return [each["name"] for each in properties(features)]


def kinds(features: bytes | str) -> set[str]:
    """The types of geometry in GeoJSON."""
    found = json.loads(features)["features"]
    return {each["geometry"]["type"].removeprefix("Multi") for each in found}


def size(raster: bytes) -> tuple[int, int]:
    """Width and height of a raster."""
    path = "/vsimem/clients.tif"
    gdal.FileFromMemBuffer(path, raster)
    try:
        dataset = gdal.Open(path)
        return dataset.RasterXSize, dataset.RasterYSize
    finally:
        dataset = None
        gdal.Unlink(path)
