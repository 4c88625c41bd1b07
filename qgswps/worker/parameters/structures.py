"""Parameters that are a structure: JSON, with a schema that is published."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Sequence
from typing import Any, ClassVar

from qgis.core import QgsProcessingParameterDefinition

from qgswps import jsonschema
from qgswps.jobfiles import OUTPUTS
from qgswps.model import ComplexType, ComplexValue, Format, InputValue, LiteralValue
from qgswps.worker import texts
from qgswps.worker.job import Job, fileName
from qgswps.worker.parameters import colors
from qgswps.worker.parameters.base import (
    Handler,
    checkExpression,
    default,
    register,
    registerFallback,
    unexpected,
    written,
)
from qgswps.worker.parameters.layers import layerOf

_JSON = Format("application/json")
_TEXT = Format("text/plain")

_WORD = {"type": "string", "minLength": 1}
_NUMBER = {"type": "number"}
_COUNT = {"type": "integer", "minimum": 0}
_LAYER = {
    "description": "A layer: its name in the project, GeoJSON, or an object with"
    " mimeType, encoding (base64 or nothing) and data.",
    "anyOf": [_WORD, {"type": "object"}],
}
_ATTRIBUTE = {
    "description": "The name of an attribute of the layer, or its number from 0.",
    "anyOf": [_WORD, {"type": "integer"}],
}

#: The types of attributes by name, as QGIS numbers them.
FIELD_TYPES = {
    "boolean": 1,
    "integer": 2,
    "integer64": 4,
    "double": 6,
    "map": 8,
    "list": 9,
    "string": 10,
    "stringlist": 11,
    "binary": 12,
    "date": 14,
    "time": 15,
    "datetime": 16,
}

#: QGIS's source types.
_ANY_VECTOR, _RASTER = 5, 3


def _objects(required: Sequence[str], **properties: Any) -> dict[str, Any]:
    """The schema of an array of objects."""
    item = {"type": "object", "properties": properties, "required": list(required)}
    return {"type": "array", "minItems": 1, "items": item}


class StructureHandler(Handler):
    """
    What structures have in common: an array of objects.

    @cvar schema: the JSON Schema that is published and checked.
    @cvar expressions: the members that are expressions; each may be empty.
    """

    schema: ClassVar[dict[str, Any]]
    expressions: ClassVar[tuple[str, ...]] = ()

    def data(self, param: QgsProcessingParameterDefinition) -> ComplexType:
        value = default(param)
        return ComplexType(
            (_JSON,),
            default=json.dumps(value, default=str) if value else None,
            jsonSchema=json.dumps(self.schema),
        )

    def value(
        self,
        param: QgsProcessingParameterDefinition,
        inputs: Sequence[InputValue],
        job: Job,
    ) -> Any:
        given = written(param, inputs[0], job)
        try:
            found = self.own(given) if given[:1] not in "[{" else None
            if found is None:
                found = jsonschema.parse(given)
        except ValueError as error:
            raise unexpected(param, f"not JSON: {error}", "an array") from None
        wrong = list(jsonschema.faults(found, self.schema))
        if wrong:
            raise unexpected(
                param, "; ".join(wrong[:10]), "what the input's JSON Schema says"
            )
        for item in found:
            for name in self.expressions:
                if item.get(name, "").strip():
                    checkExpression(param, item[name])
        return self.converted(param, found, job)

    def own(self, given: str) -> Any:
        """What a text in QGIS's own form says; None if there is no such form."""
        return None

    def converted(
        self,
        param: QgsProcessingParameterDefinition,
        items: list[dict[str, Any]],
        job: Job,
    ) -> Any:
        """What QGIS takes."""
        raise NotImplementedError

    @staticmethod
    def layer(
        param: QgsProcessingParameterDefinition,
        given: Any,
        job: Job,
        dataType: int = _ANY_VECTOR,
    ) -> Any:
        """A layer that a structure names or holds."""
        value: InputValue
        if isinstance(given, str):
            value = LiteralValue(given)
        elif isinstance(given.get("data"), str) and "mimeType" in given:
            form = Format(str(given["mimeType"]), given.get("encoding"))
            value = ComplexValue(given["data"], form)
        else:
            value = ComplexValue(json.dumps(given), Format("application/geo+json"))
        return layerOf(param, value, [dataType], job)

    @staticmethod
    def attribute(
        param: QgsProcessingParameterDefinition, layer: Any, given: Any
    ) -> int:
        """The number of an attribute; -1 for none."""
        if given is None or given == "":
            return -1
        fields = layer.fields()
        if isinstance(given, str):
            number = fields.lookupField(given)
            if number >= 0:
                return int(number)
        elif -1 <= given < fields.count():
            return int(given)
        names = ", ".join(fields.names())
        raise unexpected(
            param, f"with the attribute {given!r} of {layer.name()}", f"one of: {names}"
        )


class FieldsHandler(StructureHandler):
    """Attributes to make."""

    _FIELD: ClassVar[dict[str, Any]] = {
        "name": _WORD,
        "type": {
            "description": "The type of the attribute, or QGIS's number of it.",
            "anyOf": [{"enum": list(FIELD_TYPES)}, {"type": "integer", "minimum": 1}],
        },
        "length": _COUNT,
        "precision": _COUNT,
        "sub_type": _COUNT,
        "type_name": {"type": "string"},
        "alias": {"type": "string"},
        "comment": {"type": "string"},
    }

    def converted(
        self,
        param: QgsProcessingParameterDefinition,
        items: list[dict[str, Any]],
        job: Job,
    ) -> list[dict[str, Any]]:
        return [
            {
                "length": 0,
                "precision": 0,
                "sub_type": 0,
                **self.defaults,
                **each,
                "type": FIELD_TYPES.get(each["type"], each["type"]),
            }
            for each in items
        ]

    defaults: ClassVar[dict[str, Any]] = {}


@register
class FieldsMappingHandler(FieldsHandler):
    """How each attribute of the result is computed."""

    types = ("fields_mapping",)
    expressions = ("expression",)
    schema = _objects(
        ("name", "type", "expression"),
        **FieldsHandler._FIELD,
        expression={"type": "string"},
    )


@register
class AggregatesHandler(FieldsHandler):
    """How each attribute of the result is made of those of a group."""

    types = ("aggregates",)
    expressions = ("input",)
    schema = _objects(
        ("name", "type", "input", "aggregate"),
        **FieldsHandler._FIELD,
        input={"description": "An expression.", **_WORD},
        aggregate={"description": "Such as first_value, sum, mean, concatenate."}
        | _WORD,
        delimiter={"type": "string"},
    )
    defaults: ClassVar[dict[str, Any]] = {"delimiter": ","}


@register
class DxfLayersHandler(StructureHandler):
    """The layers of a DXF file."""

    types = ("dxflayers",)
    schema = _objects(
        ("layer",),
        layer=_LAYER,
        attribute={"description": "Whose values name DXF's layers."} | _ATTRIBUTE,
        attributeIndex={"type": "integer"},
    )

    def converted(
        self,
        param: QgsProcessingParameterDefinition,
        items: list[dict[str, Any]],
        job: Job,
    ) -> list[dict[str, Any]]:
        return list(self._layers(param, items, job))

    def _layers(
        self,
        param: QgsProcessingParameterDefinition,
        items: list[dict[str, Any]],
        job: Job,
    ) -> Iterator[dict[str, Any]]:
        for each in items:
            layer = self.layer(param, each["layer"], job)
            named = each.get("attribute", each.get("attributeIndex"))
            number = self.attribute(param, layer, named)
            others = {name: each[name] for name in each if name != "attribute"}
            yield {**others, "layer": layer.id(), "attributeIndex": number}


@register
class VectorTileLayersHandler(StructureHandler):
    """The layers of vector tiles."""

    types = ("vectortilewriterlayers",)
    expressions = ("filterExpression",)
    schema = _objects(
        ("layer",),
        layer=_LAYER,
        layerName={"type": "string"},
        filterExpression={"type": "string"},
        minZoom={"type": "integer", "minimum": -1},
        maxZoom={"type": "integer", "minimum": -1},
    )

    def converted(
        self,
        param: QgsProcessingParameterDefinition,
        items: list[dict[str, Any]],
        job: Job,
    ) -> list[dict[str, Any]]:
        return [
            {**each, "layer": self.layer(param, each["layer"], job).id()}
            for each in items
        ]


@register
class TinLayersHandler(StructureHandler):
    """The layers that a triangulated mesh is made of."""

    types = ("tininputlayers",)
    kinds = ("vertices", "break lines")
    schema = _objects(
        ("layer",),
        layer=_LAYER,
        type={"enum": list(kinds)},
        attribute={"description": "The heights; those of the geometry if not given."}
        | _ATTRIBUTE,
    )

    def converted(
        self,
        param: QgsProcessingParameterDefinition,
        items: list[dict[str, Any]],
        job: Job,
    ) -> list[dict[str, Any]]:
        found = []
        for each in items:
            layer = self.layer(param, each["layer"], job)
            found.append(
                {
                    "source": layer.id(),
                    "type": self.kinds.index(each.get("type", self.kinds[0])),
                    "attributeIndex": self.attribute(
                        param, layer, each.get("attribute")
                    ),
                }
            )
        return found


@register
class InterpolationHandler(StructureHandler):
    """The layers that a surface is interpolated from."""

    types = ("idw_interpolation_data",)
    kinds = ("points", "structure lines", "break lines")
    sources = ("attribute", "z", "m")
    schema = _objects(
        ("layer",),
        layer=_LAYER,
        attribute={"description": "The values."} | _ATTRIBUTE,
        source={
            "description": "Where the values are: attribute, or z or m of the"
            " geometry. With an attribute it is that.",
            "enum": list(sources),
        },
        type={"enum": list(kinds)},
    )

    def own(self, given: str) -> Any:
        found = []
        for row in given.split("::|::"):
            parts = row.split("::~::")
            if len(parts) != 4 or not parts[0].strip():
                raise ValueError("a row is layer::~::source::~::attribute::~::type")
            # Each is a number from 0, of which a wrong one has no name.
            source, attribute, kind = (int(part) for part in parts[1:])
            if source not in range(3) or kind not in range(3):
                raise ValueError("source and type are 0, 1 or 2")
            found.append(
                {
                    "layer": parts[0].strip(),
                    "source": self.sources[source],
                    "attribute": attribute,
                    "type": self.kinds[kind],
                }
            )
        return found

    def converted(
        self,
        param: QgsProcessingParameterDefinition,
        items: list[dict[str, Any]],
        job: Job,
    ) -> str:
        rows = []
        for each in items:
            layer = self.layer(param, each["layer"], job)
            attribute = self.attribute(param, layer, each.get("attribute"))
            source = each.get("source", "attribute" if attribute >= 0 else "z")
            if source == "attribute" and attribute < 0:
                raise unexpected(
                    param, f"{layer.name()} without its attribute", "attribute"
                )
            kind = self.kinds.index(each.get("type", self.kinds[0]))
            parts = (layer.id(), self.sources.index(source), attribute, kind)
            rows.append("::~::".join(map(str, parts)))
        return "::|::".join(rows)


@register
class ReliefColorsHandler(StructureHandler):
    """The colours of classes of heights."""

    types = ("relief_colors",)
    schema = _objects(
        ("minimum", "maximum", "color"),
        minimum=_NUMBER,
        maximum=_NUMBER,
        color={"description": "As CSS writes it, such as #ff8000."} | _WORD,
    )

    def own(self, given: str) -> Any:
        found = []
        for row in filter(str.strip, given.split(";")):
            parts = [part.strip() for part in row.split(",")]
            if len(parts) != 5:
                raise ValueError("a class is minimum, maximum, red, green, blue")
            color = f"rgb({', '.join(str(int(part)) for part in parts[2:])})"
            low, high = map(float, parts[:2])
            found.append({"minimum": low, "maximum": high, "color": color})
        return found

    def converted(
        self,
        param: QgsProcessingParameterDefinition,
        items: list[dict[str, Any]],
        job: Job,
    ) -> str:
        rows = []
        for each in items:
            color = colors.read(each["color"])
            if color is None:
                raise unexpected(
                    param, f"with {each['color']!r} in it", colors.EXPECTED
                )
            parts = (each["minimum"], each["maximum"], *color.getRgb()[:3])
            rows.append(", ".join(map(str, parts)))
        return ";".join(rows)


@register
class AlignRastersHandler(StructureHandler):
    """Rasters to align; where the results go is the server's to say."""

    types = ("alignrasterlayers",)
    methods = (
        "nearest neighbour",
        "bilinear",
        "cubic",
        "cubic spline",
        "lanczos",
        "average",
        "mode",
        "maximum",
        "minimum",
        "median",
        "first quartile",
        "third quartile",
    )
    schema = _objects(
        ("layer",),
        layer=_LAYER,
        resampleMethod={"enum": list(methods)},
        rescale={"type": "boolean"},
    )

    def converted(
        self,
        param: QgsProcessingParameterDefinition,
        items: list[dict[str, Any]],
        job: Job,
    ) -> list[dict[str, Any]]:
        found = []
        for each in items:
            layer = self.layer(param, each["layer"], job, _RASTER)
            name = fileName(layer.name(), "aligned") + ".tif"
            method = each.get("resampleMethod", self.methods[0])
            found.append(
                {
                    "inputFile": layer.source(),
                    "outputFile": job.newFile(OUTPUTS, name),
                    "resampleMethod": self.methods.index(method),
                    "rescale": each.get("rescale", False),
                }
            )
        return found


@registerFallback
class AnyHandler(Handler):
    """
    What nobody has seen yet: JSON, or a text, as the parameter itself takes it.
    """

    def data(self, param: QgsProcessingParameterDefinition) -> ComplexType:
        value = default(param)
        return ComplexType(
            (_JSON, _TEXT),
            default=None if value is None else json.dumps(value, default=str),
        )

    def value(
        self,
        param: QgsProcessingParameterDefinition,
        inputs: Sequence[InputValue],
        job: Job,
    ) -> Any:
        given = written(param, inputs[0], job)
        found: Any
        try:
            found = jsonschema.parse(given)
        except ValueError:
            found = given
        for each in texts.within(found):
            if _isAddress(each):
                # It might be opened for whoever sent it.
                raise unexpected(
                    param, repr(each), "no file of the server, and no address"
                )
        if not param.checkValueIsAcceptable(found, job.context):
            shown = given if len(given) <= 80 else given[:77] + "..."
            raise unexpected(
                param, repr(shown), f"what QGIS takes for the type {param.type()}"
            )
        return found


def _isAddress(given: str) -> bool:
    """Whether a text may be the path of a file or a URL."""
    given = given.strip()
    return (
        given.startswith(("/", "\\", "~"))
        or "://" in given
        or ".." in given.split("/")
        or (len(given) < 4096 and "\0" not in given and os.path.exists(given))
    )
