"""
QGIS plugins with a Processing provider, from folders with a C{metadata.txt}.

Two kinds are known: those with C{hasProcessingProvider=yes} are loaded as QGIS
does without its desktop; those with C{wps=True} are asked for their providers
by C{WPSClassFactory}, and may have some that are only for models to use.
"""

from __future__ import annotations

import configparser
import contextlib
import importlib.util
import os
import re
import sys
from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from types import ModuleType
from typing import Any

import attrs
from qgis import utils
from qgis.core import (
    Qgis,
    QgsApplication,
    QgsProcessingProvider,
    QgsProcessingRegistry,
)

from qgswps.model import Omission, WorkerSettings
from qgswps.worker import probe
from qgswps.worker.probe import Refusal

METADATA = "metadata.txt"

_YES = frozenset({"yes", "true", "on", "1"})

_omitted: list[Omission] = []
_unexposed: set[str] = set()

#: QGIS does not keep what is Python of what it gets.
_kept: list[object] = []


@attrs.frozen
class Plugin:
    """
    A plugin's folder.

    @ivar package: the folder's name, which its modules are imported by.
    @ivar metadata: its C{metadata.txt}.
    """

    folder: str
    package: str
    metadata: configparser.ConfigParser

    def get(self, key: str) -> str:
        """A value of the metadata's general section; empty if there is none."""
        return (self.metadata.get("general", key, fallback="") or "").strip()

    def isSet(self, key: str) -> bool:
        """A value of the metadata says yes."""
        return self.get(key).lower() in _YES


class Interface:
    """What C{WPSClassFactory} gets."""

    def registerProvider(
        self, provider: QgsProcessingProvider, expose: bool = True
    ) -> None:
        """
        Add a provider to QGIS.

        @param expose: publish its algorithms; else models and scripts may use
            them, and clients don't see them.
        """
        identifier = provider.id()
        added = QgsApplication.processingRegistry().addProvider(provider)
        if added and not expose:
            _unexposed.add(identifier)


def isPlugin(folder: str) -> bool:
    """Whether a folder is that of a plugin."""
    return os.path.isfile(os.path.join(folder, METADATA))


def folders(paths: Iterable[str]) -> Iterator[str]:
    """The folders of plugins: paths that are one, or that hold some."""
    for path in paths:
        if isPlugin(path):
            yield os.path.normpath(path)
        elif os.path.isdir(path):
            for name in sorted(os.listdir(path)):
                folder = os.path.join(path, name)
                if isPlugin(folder):
                    yield folder


def install(settings: WorkerSettings) -> None:
    """Load the plugins of the settings' folders that can be loaded."""
    _omitted[:] = load(settings.providersPath)


def load(paths: Sequence[str], patience: float = probe.PATIENCE) -> Iterator[Omission]:
    """
    Load plugins, one after another.

    @param patience: seconds that one may take.
    @return: those that could not be loaded.
    """
    for path in paths:
        if not os.path.isdir(path):
            yield Omission(path, "there is no such folder")
    seen: dict[str, str] = {}
    for folder in folders(paths):
        title = os.path.basename(folder)
        try:
            plugin = read(folder)
            title = plugin.get("name") or title
            if plugin.package in seen:
                raise Refusal(
                    f"the package {plugin.package!r} was loaded from"
                    f" {seen[plugin.package]}"
                )
            check(plugin)
            # What it does to its process is seen in another one first.
            refused = probe.attempt(partial(_tryOut, plugin), patience)
            if refused:
                raise Refusal(refused)
            _load(plugin)
            seen[plugin.package] = folder
        except KeyboardInterrupt:
            raise
        except BaseException as error:
            # Whatever a plugin raises, also SystemExit, is its own affair.
            yield Omission(f"plugin {title} ({folder})", probe.reason(error))


def omissions() -> tuple[Omission, ...]:
    """The plugins that were left out."""
    return tuple(_omitted)


def isExposed(provider: str) -> bool:
    """Whether a provider's algorithms are for clients."""
    return provider not in _unexposed


# Metadata


def read(folder: str) -> Plugin:
    """
    The plugin of a folder.

    @raise Refusal: its metadata can't be read.
    """
    metadata = configparser.ConfigParser(
        interpolation=None, strict=False, allow_no_value=True
    )
    path = os.path.join(folder, METADATA)
    with open(path, encoding="utf-8-sig", errors="replace") as file:
        text = file.read()
    if not re.search(r"^\s*\[general\]", text, re.MULTILINE):
        # Some forget it; QGIS has no other section.
        text = f"[general]\n{text}"
    try:
        metadata.read_string(text, path)
    except Exception as error:
        # On some texts the parser itself fails.
        reason = " ".join(str(error).split())
        raise Refusal(f"its {METADATA} can't be read: {reason}") from None
    return Plugin(folder, os.path.basename(folder), metadata)


def check(plugin: Plugin) -> None:
    """
    See whether a plugin is for a server with this QGIS.

    @raise Refusal: it is not.
    """
    if not plugin.isSet("hasProcessingProvider") and not plugin.isSet("wps"):
        raise Refusal(
            f"it has no Processing provider: its {METADATA} has neither"
            " hasProcessingProvider=yes nor wps=True"
        )
    here = Qgis.QGIS_VERSION_INT
    minimum = plugin.get("qgisMinimumVersion")
    if minimum and here < version(minimum, 0):
        raise Refusal(f"it needs QGIS {minimum}, this is {_number(here)}")
    # As QGIS takes it: nothing named is the last of the minimum's major version.
    maximum = plugin.get("qgisMaximumVersion") or minimum.partition(".")[0]
    if maximum and here > version(maximum, 99):
        raise Refusal(f"it is for QGIS up to {maximum}, this is {_number(here)}")
    if not os.path.isfile(os.path.join(plugin.folder, "__init__.py")):
        raise Refusal("it has no __init__.py")
    if not plugin.package.replace("-", "_").isidentifier():
        raise Refusal(f"Python can't import a package named {plugin.package!r}")
    # Nothing may stand in the way of what the server itself imports.
    if plugin.package in sys.modules or plugin.package in sys.stdlib_module_names:
        raise Refusal(f"there is another Python module named {plugin.package!r}")


def version(text: str, rest: int) -> int:
    """
    A version of QGIS as the number that QGIS has for it.

    @param text: such as C{3.4} or C{3.22.16}.
    @param rest: what stands for the parts that are not named.
    """
    parts = [int(part) for part in re.findall(r"\d+", text)[:3]]
    major, minor, patch = [*parts, rest, rest, rest][:3]
    return major * 10000 + minor * 100 + patch


def _number(version: int) -> str:
    return f"{version // 10000}.{version // 100 % 100}.{version % 100}"


# Loading


def _providers() -> set[str]:
    return {each.id() for each in QgsApplication.processingRegistry().providers()}


def _tryOut(plugin: Plugin) -> None:
    """Load a plugin, and let it say all that will be asked of it."""
    # It asks this module for what is exposed.
    from qgswps.worker import catalogue

    for identifier in _load(plugin):
        provider = QgsApplication.processingRegistry().providerById(identifier)
        for algorithm in provider.algorithms():
            # One that fails will be left out alone.
            with contextlib.suppress(Exception):
                catalogue.describe(algorithm, [])


def _load(plugin: Plugin) -> set[str]:
    """
    Load a plugin.

    @return: the ids of the providers that it added.
    """
    before = _providers()
    try:
        with _listening() as heard:
            _start(plugin)
        added = _providers() - before
        if heard.raised:
            raise heard.raised[0]
        if heard.refused:
            raise Refusal(heard.refused[0])
        if not added:
            raise Refusal("it added no provider")
    except BaseException:
        for identifier in _providers() - before:
            QgsApplication.processingRegistry().removeProvider(identifier)
        utils.plugins.pop(plugin.package, None)
        raise
    return added


def _start(plugin: Plugin) -> None:
    package = _import(plugin)
    if plugin.isSet("wps"):
        _kept.append(_call(package, "WPSClassFactory", Interface()))
        return
    # There is no desktop; qgis_process passes the same.
    instance = _call(package, "classFactory", utils.iface)
    utils.plugins[plugin.package] = instance
    _call(instance, "initProcessing")
    utils.active_plugins.append(plugin.package)


def _call(owner: Any, name: str, *arguments: Any) -> Any:
    function = getattr(owner, name, None)
    if function is None:
        raise Refusal(f"it has no {name}()")
    return function(*arguments)


def _import(plugin: Plugin) -> ModuleType:
    """Import a plugin's package, and have others find it as they do in QGIS."""
    parent = os.path.dirname(plugin.folder)
    if parent not in utils.plugin_paths:
        utils.plugin_paths.append(parent)
        # Other than in QGIS last, so that nothing else is hidden.
        sys.path.append(parent)
    utils.plugins_metadata_parser[plugin.package] = plugin.metadata
    if plugin.package not in utils.available_plugins:
        utils.available_plugins.append(plugin.package)
    spec = importlib.util.spec_from_file_location(
        plugin.package,
        os.path.join(plugin.folder, "__init__.py"),
        submodule_search_locations=[plugin.folder],
    )
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[plugin.package] = module
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[plugin.package]
        raise
    return module


@attrs.define
class _Heard:
    """
    What went wrong where no exception comes through.

    @ivar raised: by what QGIS calls, such as C{loadAlgorithms}.
    @ivar refused: why QGIS did not take a provider.
    """

    raised: list[BaseException] = attrs.field(factory=list)
    refused: list[str] = attrs.field(factory=list)


@contextlib.contextmanager
def _listening() -> Iterator[_Heard]:
    """Hear of what goes wrong; a plugin may not look at what QGIS returns."""
    heard = _Heard()
    # The descriptor, which binds; the class itself gives a function.
    original = vars(QgsProcessingRegistry)["addProvider"]

    def addProvider(
        registry: QgsProcessingRegistry, provider: QgsProcessingProvider
    ) -> bool:
        identifier = provider.id()
        if registry.providerById(identifier) is not None:
            heard.refused.append(f"there is already a provider {identifier!r}")
            return False
        _kept.append(provider)
        if not original.__get__(registry)(provider):
            heard.refused.append(f"QGIS refuses its provider {identifier!r}")
            return False
        return True

    def raised(kind: type[BaseException], error: BaseException, trace: Any) -> None:
        heard.raised.append(error.with_traceback(trace))

    QgsProcessingRegistry.addProvider = addProvider
    previous, sys.excepthook = sys.excepthook, raised
    try:
        yield heard
    finally:
        QgsProcessingRegistry.addProvider = original
        sys.excepthook = previous
