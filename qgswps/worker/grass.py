"""
QGIS's provider for GRASS, mended for a server.

It comes with QGIS and has algorithms when GRASS is installed.  Each of its
runs has a location of its own in the job's temporary folder.
"""

from __future__ import annotations

import os
import sys
import tempfile
from typing import Any

from qgis.core import QgsApplication, QgsProcessingProvider, QgsProcessingUtils

#: Its id, and the module and class of its tools, of QGIS 3.22 and of newer ones.
_KINDS = (
    ("grass7", "grassprovider.Grass7Utils", "Grass7Utils"),
    ("grass7", "grassprovider.grass_utils", "GrassUtils"),
    ("grass", "grassprovider.grass_utils", "GrassUtils"),
)


def find() -> tuple[QgsProcessingProvider, Any] | None:
    """The provider and the class of its tools, if they are there."""
    for identifier, module, name in _KINDS:
        provider = QgsApplication.processingRegistry().providerById(identifier)
        if provider is not None and module in sys.modules:
            return provider, getattr(sys.modules[module], name)
    return None


def mend() -> None:
    """Do it, if the provider is there."""
    found = find()
    if found is not None:
        provider, tools = found
        _rememberExtension(type(provider))
        _ownHome(tools)
        if tools.grassBin():
            _askVersion(provider, tools)


def _rememberExtension(provider: Any) -> None:
    """
    Ask once which format is the default.

    The provider lists all drivers for it, and is asked for each output: that
    would make half of the time that the server needs to start.
    """
    original = provider.defaultVectorFileExtension
    known: dict[bool, str] = {}

    def defaultVectorFileExtension(self: Any, hasGeometry: bool = True) -> str:
        if hasGeometry not in known:
            known[hasGeometry] = original(self, hasGeometry)
        return known[hasGeometry]

    provider.defaultVectorFileExtension = defaultVectorFileExtension


def _ownHome(tools: Any) -> None:
    """
    Give each run of GRASS a home in the job.

    It keeps its last session there, which others would see, and does not start
    without a home that it can write to.
    """
    original = tools.prepareGrassExecution

    def prepareGrassExecution(commands: list[str]) -> tuple[list[str], dict[str, str]]:
        command, environment = original(commands)
        return command, {**environment, "HOME": QgsProcessingUtils.tempFolder()}

    tools.prepareGrassExecution = staticmethod(prepareGrassExecution)


def _askVersion(provider: QgsProcessingProvider, tools: Any) -> None:
    """
    Have the provider know the version of GRASS.

    It asks GRASS, which says nothing without a home that it can write to; and
    it would ask again in each job.
    """
    home = os.environ.get("HOME")
    with tempfile.TemporaryDirectory(prefix="qgswps-home-") as directory:
        os.environ["HOME"] = directory
        try:
            tools.checkGrassIsInstalled()
            if not provider.algorithms():
                provider.refreshAlgorithms()
        finally:
            if home is None:
                del os.environ["HOME"]
            else:
                os.environ["HOME"] = home
