"""
The provider C{script}: the algorithms in C{scripts/} of each folder.

It stands in the place of QGIS's own, which reads the user's profile.
"""

from __future__ import annotations

import importlib.util
import inspect
import os
import sys
import traceback
from collections.abc import Iterable, Iterator
from functools import partial
from types import ModuleType

from qgis.core import QgsApplication, QgsProcessingAlgorithm, QgsProcessingProvider
from qgis.processing import alg

from qgswps.model import Omission, WorkerSettings
from qgswps.worker import plugins, probe
from qgswps.worker.probe import Refusal

ID = "script"

#: The registry owns the provider, but does not keep what is Python of it.
_installed: list[ScriptProvider] = []


class ScriptProvider(QgsProcessingProvider):
    """
    Algorithms out of Python files.

    @ivar omitted: the files that could not be loaded, and why.
    """

    def __init__(self, folders: Iterable[str]) -> None:
        super().__init__()
        self.omitted: list[Omission] = []
        self._prototypes: list[QgsProcessingAlgorithm] = []
        paths = [path for folder in folders for path in files(folder)]
        # Nearly always this tells that none of them ends the process.
        safe = not probe.attempt(partial(self._loadAll, paths))
        for path in paths:
            refused = "" if safe else probe.attempt(partial(self._load, path))
            if refused:
                self.omitted.append(Omission(path, refused))
            else:
                self._load(path)

    def id(self) -> str:
        return ID

    def name(self) -> str:
        return "Scripts"

    def load(self) -> bool:
        """The registry took this provider."""
        self.refreshAlgorithms()
        return True

    def loadAlgorithms(self) -> None:
        """QGIS asks for them; it owns what it gets."""
        for prototype in self._prototypes:
            self.addAlgorithm(prototype.createInstance())

    def _loadAll(self, paths: Iterable[str]) -> None:
        for path in paths:
            self._load(path)

    def _load(self, path: str) -> None:
        try:
            found = algorithmsIn(path)
            if not found:
                raise Refusal("there is no algorithm in it")
            for algorithm in found:
                self._add(algorithm)
        except KeyboardInterrupt:
            raise
        except BaseException as error:
            # Whatever a script raises, also SystemExit, is its own affair.
            traceback.print_exc()
            self.omitted.append(Omission(path, probe.reason(error)))

    def _add(self, algorithm: QgsProcessingAlgorithm) -> None:
        # What does not work here would not work when QGIS calls it.
        name = algorithm.name()
        instance = algorithm.createInstance()
        if not isinstance(instance, QgsProcessingAlgorithm):
            raise Refusal("createInstance() did not return an algorithm")
        instance.displayName()
        if any(known.name() == name for known in self._prototypes):
            raise Refusal(f"there is already an algorithm {name!r}")
        self._prototypes.append(algorithm)


def files(folder: str) -> Iterator[str]:
    """
    The files with scripts below a folder with a folder C{scripts/}, as in QGIS.

    What begins with C{_} is for other scripts to import.
    """
    if plugins.isPlugin(folder):
        # What is in there is the plugin's own.
        return
    for directory, below, names in os.walk(os.path.join(folder, "scripts")):
        below[:] = sorted(name for name in below if not name.startswith(("_", ".")))
        for name in sorted(names):
            if name.lower().endswith(".py") and not name.startswith(("_", ".")):
                yield os.path.join(directory, name)


def algorithmsIn(path: str) -> list[QgsProcessingAlgorithm]:
    """The algorithms of a script, made by classes or by C{@alg}."""
    module = _module(path)
    decorated = list(alg.instances)
    alg.instances.clear()
    classes = [
        each
        for each in vars(module).values()
        if inspect.isclass(each)
        and issubclass(each, QgsProcessingAlgorithm)
        and each.__module__ == module.__name__
    ]
    # A class that others derive from is only their common part.
    leaves = [
        each
        for each in dict.fromkeys(classes)
        if not any(each is not other and issubclass(other, each) for other in classes)
    ]
    return decorated + [each() for each in leaves]


def _module(path: str) -> ModuleType:
    alg.instances.clear()
    stem = os.path.splitext(os.path.basename(path))[0]
    # Folders may have scripts of the same name.
    name = f"qgswps_script_{abs(hash(path)):x}_{stem}"
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    # Dataclasses and pickle look there.
    sys.modules[name] = module
    # What stands beside a script can be imported by it, also when it runs.
    folder = os.path.dirname(path)
    if folder not in sys.path:
        sys.path.append(folder)
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module


def install(settings: WorkerSettings) -> ScriptProvider:
    """Put the provider of the settings' scripts in the place of QGIS's own."""
    registry = QgsApplication.processingRegistry()
    registry.removeProvider(ID)
    provider = ScriptProvider(settings.providersPath)
    _installed[:] = [provider]
    registry.addProvider(provider)
    return provider


def omissions() -> tuple[Omission, ...]:
    """The scripts that could not be loaded."""
    return tuple(omission for each in _installed for omission in each.omitted)
