"""Inputs that were sent by reference: the files that the server has fetched."""

from __future__ import annotations

import attrs
from qgis.core import QgsProcessingAlgorithm

from qgswps.errors import invalid
from qgswps.model import (
    ComplexType,
    ExecuteRequest,
    FileValue,
    Format,
    LayerType,
    ReferenceValue,
)
from qgswps.worker import formats, parameters


def placed(
    request: ExecuteRequest, algorithm: QgsProcessingAlgorithm
) -> ExecuteRequest:
    """
    A request with files in place of references.

    @raise OWSError: one was not fetched.
    """
    inputs = [
        attrs.evolve(each, value=_file(each.identifier, each.value, algorithm))
        if isinstance(each.value, ReferenceValue)
        else each
        for each in request.inputs
    ]
    return attrs.evolve(request, inputs=tuple(inputs))


def _file(
    identifier: str, value: ReferenceValue, algorithm: QgsProcessingAlgorithm
) -> FileValue:
    if value.file is None:
        raise invalid(identifier, f"the input {identifier} was not fetched")
    if value.format.mimeType:
        return value.file
    form = _known(identifier, value.file.format.mimeType, algorithm)
    return attrs.evolve(value.file, format=form)


def _known(identifier: str, mimeType: str, algorithm: QgsProcessingAlgorithm) -> Format:
    """
    The format of data of which its server has said the media type: one that
    is described, or none, and the data tells itself what it is.
    """
    definition = algorithm.parameterDefinition(identifier)
    if definition is None or not mimeType:
        return Format("")
    data = parameters.describe(definition).data
    if isinstance(data, (ComplexType, LayerType)):
        for form in data.formats:
            if formats.baseType(form.mimeType) == formats.baseType(mimeType):
                return form
    return Format("")
