"""Plugins that are left out, each with what is to be said of it."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

_PROCESSING = "[general]\nname={name}\nqgisMinimumVersion=3.0\n"
_PROVIDES = _PROCESSING + "hasProcessingProvider=yes\n"
_WPS = "[general]\nname={name}\nwps=True\n"

_PLUGIN = """
from qgis.core import QgsApplication, QgsProcessingAlgorithm, QgsProcessingProvider

class Algorithm(QgsProcessingAlgorithm):
    def name(self): return "a"
    def displayName(self): return "A"
    def createInstance(self): return Algorithm()
    def initAlgorithm(self, configuration=None): pass
    def processAlgorithm(self, parameters, context, feedback): return {{}}

class Provider(QgsProcessingProvider):
    def id(self): return {id!r}
    def name(self): return {id!r}
    def loadAlgorithms(self):
        {load}
        self.addAlgorithm(Algorithm())

class Plugin:
    def __init__(self, iface):
        {init}
    def initProcessing(self):
        {processing}
        self.provider = Provider()
        QgsApplication.processingRegistry().addProvider(self.provider)

def classFactory(iface):
    return Plugin(iface)
"""


def _code(
    id: str = "bad",
    load: str = "pass",
    init: str = "pass",
    processing: str = "pass",
    before: str = "",
) -> str:
    body = _PLUGIN.format(id=id, load=load, init=init, processing=processing)
    return before + body


class BadPlugin(NamedTuple):
    """
    What a plugin's folder holds, and a part of the reason given.

    @ivar code: of its C{__init__.py}; None for no such file.
    """

    metadata: str
    code: str | None
    reason: str


PLUGINS = {
    "raises_import": BadPlugin(
        _PROVIDES,
        "raise OSError('no disk')\n",
        "OSError: no disk (__init__.py, line 1)",
    ),
    "raises_factory": BadPlugin(
        _PROVIDES, _code(init="raise KeyError('here')"), "KeyError: 'here'"
    ),
    "raises_processing": BadPlugin(
        _PROVIDES, _code(processing="1 / 0"), "ZeroDivisionError: division by zero"
    ),
    "raises_algorithms": BadPlugin(
        _PROVIDES,
        _code("raisesalgorithms", load="raise ValueError('late')"),
        "ValueError: late",
    ),
    "exits": BadPlugin(_PROVIDES, "raise SystemExit(4)\n", "SystemExit: 4"),
    "leaves": BadPlugin(
        _PROVIDES,
        "import os, sys\nsys.stderr.write('bye\\n')\nsys.stderr.flush()\nos._exit(3)\n",
        "it ends the process with status 3: bye",
    ),
    "aborts": BadPlugin(
        _PROVIDES,
        _code("aborts", processing="import os; os.abort()"),
        "it ends the process with SIGABRT",
    ),
    "needs_desktop": BadPlugin(
        _PROVIDES,
        _code(init="self.menu = iface.rasterMenu()"),
        "it needs the desktop of QGIS: AttributeError: 'NoneType' object has no"
        " attribute 'rasterMenu'",
    ),
    "missing_module": BadPlugin(
        _PROVIDES,
        "import not_there.inside\n",
        "the Python module 'not_there' is missing (apt-get install"
        " python3-not-there or pip install not-there may bring it)",
    ),
    "missing_part": BadPlugin(
        _PROVIDES,
        "import missing_part.inside\n",
        "the Python package 'missing_part' has no module 'missing_part.inside'",
    ),
    "newer_qgis": BadPlugin(
        _PROVIDES.replace("=3.0", "=3.98.2"), _code(), "it needs QGIS 3.98.2, this is"
    ),
    "older_qgis": BadPlugin(
        _PROVIDES + "qgisMaximumVersion=3.4\n", _code(), "it is for QGIS up to 3.4,"
    ),
    "for_qgis_2": BadPlugin(
        _PROVIDES.replace("=3.0", "=2.18"), _code(), "it is for QGIS up to 2, this is"
    ),
    "hangs": BadPlugin(
        _PROVIDES, "import time\ntime.sleep(600)\n", "it was not loaded after"
    ),
    "no_provider": BadPlugin(
        _PROCESSING, _code(), "neither hasProcessingProvider=yes nor wps=True"
    ),
    "adds_nothing": BadPlugin(
        _PROVIDES, _code(processing="return"), "it added no provider"
    ),
    "clashes": BadPlugin(
        _PROVIDES, _code("native"), "there is already a provider 'native'"
    ),
    "clashes_wps": BadPlugin(
        _WPS,
        _code("gdal")
        + "def WPSClassFactory(iface): iface.registerProvider(Provider())\n",
        "there is already a provider 'gdal'",
    ),
    "no_factory": BadPlugin(_PROVIDES, "", "it has no classFactory()"),
    "no_wps_factory": BadPlugin(_WPS, "", "it has no WPSClassFactory()"),
    "no_processing": BadPlugin(
        _PROVIDES,
        "def classFactory(iface): return object()\n",
        "it has no initProcessing()",
    ),
    "no_package": BadPlugin(_PROVIDES, None, "it has no __init__.py"),
    "bad_metadata": BadPlugin(
        "hasProcessingProvider\n = = [\x00\n[", "", "its metadata.txt can't be read: "
    ),
    "with.dot": BadPlugin(_PROVIDES, "", "can't import a package named 'with.dot'"),
    "json": BadPlugin(_PROVIDES, "", "another Python module named 'json'"),
}


def write(folder: Path, *names: str) -> None:
    """Make a folder with some of them."""
    for name in names:
        plugin = PLUGINS[name]
        (folder / name).mkdir(parents=True)
        metadata = plugin.metadata.replace("{name}", f"Bad {name}")
        (folder / name / "metadata.txt").write_text(metadata)
        if plugin.code is not None:
            (folder / name / "__init__.py").write_text(plugin.code)
