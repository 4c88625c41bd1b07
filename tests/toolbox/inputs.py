"""
Values for the inputs of algorithms: by rules for each type of parameter, and by
a table where a rule has no good value.
"""

from __future__ import annotations

import base64
import io
import json
import os
import shutil
import zipfile
from collections.abc import Iterator, Mapping
from typing import Any

import attrs

from tests.toolbox.world import BOTTOM, EPSG, LEFT, SIZE

#: QGIS's source types (QgsProcessing::SourceType).
_MAP_LAYER, _ANY_GEOMETRY, _POINT, _LINE, _POLYGON, _RASTER, _, _VECTOR = range(-2, 6)

#: The layers of the project that inputs get: the first, the second ….
_LAYERS = {
    _POINT: ("points", "others"),
    _LINE: ("lines", "crossing"),
    _POLYGON: ("polygons", "areas"),
    _RASTER: ("dem", "dem2"),
}

_FIELDS = {-1: "class", 0: "value", 1: "name", 2: "time"}

_JSON = "application/json"


@attrs.frozen
class File:
    """
    A file, or a folder, of the world.

    @ivar sent: what a client sends in its place.
    """

    name: str
    mimeType: str = "application/octet-stream"
    sent: str = ""


@attrs.frozen
class Copy:
    """A layer that the algorithm edits: its file, sent as data."""

    name: str


@attrs.frozen
class Box:
    """A rectangle of the world, in parts of its side."""

    left: float = 0.1
    bottom: float = 0.1
    right: float = 0.9
    top: float = 0.9

    @property
    def sides(self) -> tuple[float, float, float, float]:
        """C{(minx, miny, maxx, maxy)} in metres."""
        x, y = LEFT, BOTTOM
        return (
            x + self.left * SIZE,
            y + self.bottom * SIZE,
            x + self.right * SIZE,
            y + self.top * SIZE,
        )


@attrs.frozen
class Spot:
    """A place of the world, in parts of its side."""

    x: float = 0.4
    y: float = 0.4

    @property
    def text(self) -> str:
        """C{x y} in metres."""
        return f"{LEFT + self.x * SIZE} {BOTTOM + self.y * SIZE}"


@attrs.frozen
class Each:
    """A value that plain QGIS and clients write in different ways."""

    plain: Any
    client: str
    mimeType: str | None = None


#: Not to be given, although a rule would.
LEAVE = object()


@attrs.frozen
class Given:
    """
    One occurrence of an input, as a client writes it.

    @ivar mimeType: of complex data; None for a literal.
    @ivar box: C{(minx, miny, maxx, maxy)} of a bounding box.
    """

    identifier: str
    text: str
    mimeType: str | None = None
    encoding: str | None = None
    box: tuple[float, float, float, float] | None = None


@attrs.frozen
class Task:
    """
    A run.

    @ivar parameters: for C{processing.run}.
    @ivar given: the same for a client.
    """

    algorithm: str
    parameters: dict[str, Any]
    given: tuple[Given, ...]


def task(
    algorithm: str,
    definition: Mapping[str, Any],
    hints: Mapping[str, Any],
    world: str,
    folder: str,
    url: str = "",
) -> Task:
    """
    Values for an algorithm.

    @param definition: as L{tests.toolbox.qgisside.definitions} says it.
    @param hints: values that go before the rules, by parameter.
    @param world: the folder with the data.
    @param folder: where plain QGIS is to write.
    @param url: where something can be downloaded.
    """
    maker = _Maker(world, folder, url)
    parameters: dict[str, Any] = {}
    given: list[Given] = []
    for param in definition["parameters"]:
        name = param["name"]
        if param["hidden"] or hints.get(name) is LEAVE:
            continue
        if param["destination"]:
            parameters[name] = maker.destination(param)
            continue
        needed = not param["optional"] and param["default"] in (None, "")
        if name not in hints and not needed:
            if param["default"] not in (None, ""):
                # As the dialog does; the server is to know it by itself.
                parameters[name] = param["default"]
            continue
        value = hints[name] if name in hints else maker.value(param)
        parameters[name] = maker.plain(param, value)
        given += maker.given(param, value)
    return Task(algorithm, parameters, tuple(given))


class _Maker:
    def __init__(self, world: str, folder: str, url: str) -> None:
        self._world = world
        self._folder = folder
        self._url = url
        self._used: dict[int, int] = {}

    def destination(self, param: Mapping[str, Any]) -> str:
        name = str(param["name"])
        if param["type"] == "sink":
            return "TEMPORARY_OUTPUT"
        if param["type"] == "folderDestination":
            # Some algorithms want it to be there.
            os.makedirs(os.path.join(self._folder, name), exist_ok=True)
            return os.path.join(self._folder, name)
        return os.path.join(self._folder, f"{name}.{param['extension'] or 'file'}")

    def _filled(self, value: Any) -> Any:
        if not isinstance(value, str):
            return value
        return (
            value.replace("{world}", self._world)
            .replace("{url}", self._url)
            .replace("{folder}", self._folder)
        )

    # By the rules

    def value(self, param: Mapping[str, Any]) -> Any:
        kind = str(param["type"])
        match kind:
            case "source" | "vector":
                return self._layer(_vectorKind(param["kinds"]))
            case "raster":
                return self._layer(_RASTER)
            case "layer":
                kinds = param["kinds"]
                return self._layer(_RASTER if kinds == [_RASTER] else _POLYGON)
            case "mesh":
                return "mesh"
            case "multilayer":
                found = _RASTER if param["kind"] == _RASTER else None
                layers = _LAYERS[found or _vectorKind([param["kind"]])]
                return list(layers)
            case "field":
                field = _FIELDS[param["fields"] or 0 if param["fields"] != -1 else -1]
                return [field] if param["many"] else field
            case "band":
                return [1] if param["many"] else 1
            case "number":
                return max(10, int(param["minimum"] or 0))
            case "enum":
                return 0
            case "boolean":
                return True
            case "extent":
                return Box()
            case "point":
                return Spot()
            case "crs":
                return f"EPSG:{EPSG}"
            case "expression":
                return '"value" > 50'
            case "layout":
                return "page"
            case "meshdatasettime":
                return Each({"type": "static"}, "static")
            case "string":
                return "text"
            case "file" if param["folder"]:
                return File("FOLDER")
        raise KeyError(f"{param['name']}: no rule for {kind}, and no hint")

    def _layer(self, kind: int) -> str:
        names = _LAYERS[kind]
        count = self._used.get(kind, 0)
        self._used[kind] = count + 1
        return names[count % len(names)]

    # As plain QGIS takes it

    def plain(self, param: Mapping[str, Any], value: Any) -> Any:
        match value:
            case Each():
                return self._filled(value.plain)
            case File():
                return os.path.join(self._world, value.name)
            case Copy():
                copy = os.path.join(self._folder, "copies", value.name)
                os.makedirs(os.path.dirname(copy), exist_ok=True)
                shutil.copy(os.path.join(self._world, "single", value.name), copy)
                return copy
            case int() if param["static"] and not isinstance(value, bool):
                return param["options"][value]
            case Box():
                left, bottom, right, top = value.sides
                return f"{left},{right},{bottom},{top} [EPSG:{EPSG}]"
            case Spot():
                return f"{value.text.replace(' ', ',')} [EPSG:{EPSG}]"
        return value

    # As a client writes it

    def given(self, param: Mapping[str, Any], value: Any) -> Iterator[Given]:
        name = str(param["name"])
        match value:
            case Each():
                yield Given(name, self._filled(value.client), value.mimeType)
            case File():
                path = os.path.join(self._world, value.sent or value.name)
                yield _data(name, path, value.mimeType)
            case Copy():
                path = os.path.join(self._world, "single", value.name)
                isRaster = value.name.endswith(".tif")
                mimeType = (
                    "image/tiff" if isRaster else "application/geopackage+sqlite3"
                )
                yield _data(name, path, mimeType)
            case Box():
                yield Given(name, "", box=value.sides)
            case Spot():
                text = f"SRID={EPSG};POINT({value.text})"
                yield Given(name, text, "application/wkt")
            case list() if param["type"] == "matrix":
                yield Given(name, json.dumps(value), _JSON)
            case list() if value and isinstance(value[0], dict):
                yield Given(name, json.dumps(value), _JSON)
            case list():
                for item in value:
                    yield Given(name, _literal(param, item))
            case _:
                yield Given(name, _literal(param, value))


def _literal(param: Mapping[str, Any], value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if param["type"] == "enum" and isinstance(value, int):
        return str(param["options"][value])
    return str(value)


def _data(name: str, path: str, mimeType: str) -> Given:
    if os.path.isdir(path):
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w") as archive:
            for each in sorted(os.listdir(path)):
                archive.write(os.path.join(path, each), each)
        data, mimeType = buffer.getvalue(), "application/zip"
    else:
        with open(path, "rb") as file:
            data = file.read()
    return Given(name, base64.b64encode(data).decode(), mimeType, "base64")


def _vectorKind(kinds: list[int]) -> int:
    for kind in (_POLYGON, _LINE, _POINT):
        if kind in kinds:
            return kind
    return _POLYGON if _ANY_GEOMETRY in kinds else _POINT
