"""
Texts of clients on the command lines that some providers make.

Not all of QGIS's providers quote what they hand to the programs that they run,
so that a text could be an option of the program, or a command of the shell.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from qgis.core import QgsProcessingAlgorithm, QgsProcessingParameterDefinition

from qgswps.errors import Fault
from qgswps.worker import texts

#: Providers that write a script for the shell, with texts in double quotes.
_SHELLS = {"grass", "grass7", "saga", "sagang", "otb"}

#: Inputs of gdal that are meant to be options; the access policy hides them.
_OPTIONS = {"EXTRA", "OPTIONS", "CREATION_OPTIONS"}

#: Types whose values the server makes: paths of layers and of files.
_OURS = {"source", "vector", "raster", "layer", "multilayer", "mesh", "file"}


def faults(algorithm: QgsProcessingAlgorithm, values: Mapping[str, Any]) -> list[Fault]:
    """
    The texts that would be more than a value on a command line.

    @param values: by the names of parameters, as QGIS takes them.
    """
    provider = algorithm.provider().id()
    found = []
    for param in algorithm.parameterDefinitions():
        if param.isDestination() or param.type() in _OURS:
            continue
        for text in texts.within(values.get(param.name())):
            reason = None
            if provider == "gdal":
                reason = _onCommandLine(param, text)
            elif provider in _SHELLS:
                reason = _inShell(param, text)
            if reason is not None:
                told = f"{param.name()} {reason}"
                found.append(Fault("InvalidParameterValue", told, param.name()))
    return found


def _onCommandLine(param: QgsProcessingParameterDefinition, text: str) -> str | None:
    """
    Why a text can't go to the provider gdal: it quotes texts with blanks, but
    none with other white space, nor what begins like an option.
    """
    if param.name() in _OPTIONS:
        return None
    if re.match(r"-(?!\d)", text):
        return "begins with -, expected a value and no option"
    if re.search(r"[^\S ]", text):
        return "has line breaks or tabs, expected one line"
    return None


def _inShell(param: QgsProcessingParameterDefinition, text: str) -> str | None:
    """Why a text can't go to a provider that writes a script."""
    if param.type() == "field":
        # Not even in quotes.
        if re.search(r"[^\w.:+-]", text):
            return "expected the name of a field, of letters, digits, _ . : + -"
    elif re.search(r'["$`\\\n\r]', text):
        return 'has one of " $ ` \\ or a line break, expected a text without'
    return None
