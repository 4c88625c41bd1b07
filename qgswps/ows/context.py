"""Processes as they are with a project: its layers are there to choose from."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

import attrs

from qgswps.model import (
    InputDescription,
    LayerSummary,
    LayerType,
    LiteralType,
    ProcessDescription,
    ProjectSummary,
)

_VECTOR = frozenset(("vector", "point", "line", "polygon", "nogeometry"))


def fits(kinds: tuple[str, ...], kind: str) -> bool:
    """
    Whether a layer of that kind can be taken where those kinds are asked
    for (see L{LayerType.kinds}).
    """
    return not kinds or kind in kinds or ("vector" in kinds and kind in _VECTOR)


def fittingLayers(
    data: LayerType, summary: ProjectSummary
) -> Iterator[tuple[str, LayerSummary]]:
    """
    The layers that an input takes, each with what to call it: its name, or
    its id if the name means several.
    """
    # All layers count: a name has to be clear for every input of a process.
    meanings = Counter(layer.name for layer in summary.layers)
    meanings.update(layer.id for layer in summary.layers if layer.id != layer.name)
    for layer in summary.layers:
        if layer.valid and fits(data.kinds, layer.kind):
            unique = layer.name and meanings[layer.name] == 1
            yield (layer.name if unique else layer.id), layer


def inProject(
    description: ProcessDescription, summary: ProjectSummary
) -> ProcessDescription:
    """
    A process as DescribeProcess shows it with a project: layer inputs are
    literals with the names of the layers that fit.

    Requests are still to be checked against the description without a
    project (see L{qgswps.ows.binding.bind}), which knows the other forms
    that are accepted.
    """
    if not any(isinstance(item.data, LayerType) for item in description.inputs):
        return description
    return attrs.evolve(
        description,
        inputs=tuple(_input(item, summary) for item in description.inputs),
    )


def _input(item: InputDescription, summary: ProjectSummary) -> InputDescription:
    data = item.data
    if not isinstance(data, LayerType):
        return item
    fitting = list(fittingLayers(data, summary))
    default = next(
        (
            label
            for label, layer in fitting
            if data.default is not None
            and data.default in (label, layer.id, layer.name)
        ),
        None,
    )
    allowed = tuple(label for label, _ in fitting)
    return attrs.evolve(item, data=LiteralType(default=default, allowed=allowed))
