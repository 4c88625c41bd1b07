"""Processes as they are with a project: its parts are there to choose from."""

from __future__ import annotations

from collections import Counter
from typing import Any

import attrs

from qgswps.model import (
    SERVICES,
    BoundingBoxType,
    DataType,
    InputDescription,
    LayerSummary,
    LayerType,
    LiteralType,
    OutputDescription,
    ProcessDescription,
    ProjectPart,
    ProjectSummary,
    Range,
    fits,
)

#: Of more bands than these only the first and the last are told.
_LISTED_BANDS = 256


class Context:
    """
    What a project has for the inputs of processes.

    One serves any number of descriptions: what they have in common is found
    out once.
    """

    def __init__(self, summary: ProjectSummary) -> None:
        self.summary = summary
        # All layers count: a name has to be clear for every input of a process.
        meanings = Counter(layer.name for layer in summary.layers)
        meanings.update(layer.id for layer in summary.layers if layer.id != layer.name)
        self._labelled = tuple(
            (
                layer.name if layer.name and meanings[layer.name] == 1 else layer.id,
                layer,
            )
            for layer in summary.layers
            if layer.valid
        )
        self._fitting: dict[tuple[str, ...], tuple[tuple[str, LayerSummary], ...]] = {}
        self._names: dict[tuple[str, ...], frozenset[str]] = {}
        self._fields: dict[tuple[Any, ...], tuple[str, ...]] = {}

    def fitting(self, kinds: tuple[str, ...]) -> tuple[tuple[str, LayerSummary], ...]:
        """
        The layers that can be taken where those kinds are asked for, each with
        what to call it: its name, or its id if the name means several.
        """
        found = self._fitting.get(kinds)
        if found is None:
            found = self._fitting[kinds] = tuple(
                each for each in self._labelled if fits(kinds, each[1].kind)
            )
        return found

    def names(self, kinds: tuple[str, ...]) -> frozenset[str]:
        """All that the layers may be called that can be taken there."""
        found = self._names.get(kinds)
        if found is None:
            found = self._names[kinds] = frozenset(
                name
                for label, layer in self.fitting(kinds)
                for name in (label, layer.id, layer.name)
            )
        return found

    def inProject(self, description: ProcessDescription) -> ProcessDescription:
        """
        A process as DescribeProcess shows it with the project: inputs that
        are layers, or parts of the project, are literals with what there is
        to choose from.

        Requests are still to be checked against the description without a
        project (see L{qgswps.ows.binding.bind}), which knows the other forms
        that are accepted.
        """
        return attrs.evolve(
            description,
            inputs=tuple(self._input(each, description) for each in description.inputs),
            outputs=tuple(map(_output, description.outputs)),
        )

    def _input(
        self, item: InputDescription, description: ProcessDescription
    ) -> InputDescription:
        data: DataType = item.data
        match data:
            case LayerType():
                data = self._layers(data)
            case BoundingBoxType():
                data = self._box(data)
            case LiteralType(part=ProjectPart()):
                data = self._part(data, description)
        return item if data is item.data else attrs.evolve(item, data=data)

    def _layers(self, data: LayerType) -> LiteralType:
        fitting = self.fitting(data.kinds)
        default = self._default(data)
        return LiteralType(
            default=next((label for label, layer in fitting if layer is default), None),
            allowed=tuple(label for label, _ in fitting),
        )

    def _default(self, data: LayerType) -> LayerSummary | None:
        """The layer that an input takes by default, if there is such a one."""
        if data.default is None:
            return None
        for label, layer in self.fitting(data.kinds):
            if data.default in (label, layer.id, layer.name):
                return layer
        return None

    def _box(self, data: BoundingBoxType) -> BoundingBoxType:
        crs = self.summary.crs
        if not crs or data.crss[:1] == (crs,):
            return data
        others = tuple(each for each in data.crss if each != crs)
        # The default's numbers are in what was the default CRS.
        return BoundingBoxType((crs, *others))

    def _part(self, data: LiteralType, description: ProcessDescription) -> LiteralType:
        part = data.part
        assert part is not None
        match part.kind:
            case "layout":
                return _choice(data, self.summary.layouts)
            case "theme":
                return _choice(data, self.summary.themes)
        parent = description.input(part.parent) if part.parent is not None else None
        if parent is None or not isinstance(parent.data, LayerType):
            return data
        if part.kind == "field":
            return _choice(data, self._fieldsOf(parent.data, part.fieldType))
        layers = [layer for _, layer in self.fitting(parent.data.kinds)]
        if part.kind == "group":
            names = (name for layer in layers for name in layer.groups)
            return _choice(data, tuple(dict.fromkeys(names)))
        return _bands(data, max((layer.bands for layer in layers), default=0))

    def _fieldsOf(self, parent: LayerType, fieldType: str | None) -> tuple[str, ...]:
        """
        The names of the fields that fit, of all layers that the parent takes,
        those of its default first.
        """
        key = (parent.kinds, parent.default, fieldType)
        found = self._fields.get(key)
        if found is None:
            default = self._default(parent)
            layers = [layer for _, layer in self.fitting(parent.kinds)]
            layers.sort(key=lambda layer: layer is not default)
            names = (
                field.name
                for layer in layers
                for field in layer.fields
                if fieldType is None or field.type == fieldType
            )
            found = self._fields[key] = tuple(dict.fromkeys(names))
        return found


def _choice(data: LiteralType, names: tuple[str, ...]) -> LiteralType:
    """
    A literal that is one of the names.  Of none it may be any text, since
    WPS has no word for a choice of nothing (WPS 1.0.0, table 27).
    """
    if not names:
        return data
    return attrs.evolve(
        data,
        allowed=names,
        ranges=(),
        default=data.default if data.default in names else None,
        defaults=data.defaults if set(data.defaults) <= set(names) else (),
    )


def _bands(data: LiteralType, count: int) -> LiteralType:
    numbers = tuple(str(number + 1) for number in range(count))
    chosen = _choice(data, numbers)
    if count > _LISTED_BANDS:
        return attrs.evolve(chosen, allowed=(), ranges=(Range("1", str(count)),))
    return chosen


def _output(item: OutputDescription) -> OutputDescription:
    """With a project, a layer is shown by a service unless asked otherwise."""
    data = item.data
    if not isinstance(data, LayerType):
        return item
    formats = tuple(
        sorted(data.formats, key=lambda form: form.mimeType not in SERVICES)
    )
    if formats == data.formats:
        return item
    return attrs.evolve(item, data=attrs.evolve(data, formats=formats))
