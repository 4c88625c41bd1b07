"""
The provider C{model}: the models in C{models/} of each folder.

It stands in the place of QGIS's own, which reads the user's profile, and which
takes models that can't be run because an algorithm of theirs is missing.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator
from xml.etree import ElementTree

import attrs
from qgis.core import (
    QgsApplication,
    QgsProcessingAlgorithm,
    QgsProcessingModelAlgorithm,
    QgsProcessingProvider,
)

from qgswps.model import Omission, WorkerSettings
from qgswps.worker import compat, plugins, probe
from qgswps.worker.probe import Refusal

ID = "model"

#: The registry owns the provider, but does not keep what is Python of it.
_installed: list[ModelProvider] = []


@attrs.frozen
class Model:
    """
    A model's file.

    @ivar id: of its algorithm.
    @ivar needs: the ids of the algorithms that it runs.
    @ivar inputs: the names of its parameters.
    """

    path: str
    id: str
    needs: tuple[str, ...]
    inputs: tuple[str, ...]


class ModelProvider(QgsProcessingProvider):
    """
    Algorithms out of model files.

    @ivar omitted: the models that can't be run, and why.
    """

    def __init__(self, folders: Iterable[str]) -> None:
        super().__init__()
        self.omitted: list[Omission] = []
        self._models: dict[str, Model] = {}
        for path in (path for folder in folders for path in files(folder)):
            try:
                self._add(read(path))
            except Exception as error:
                self._omit(path, probe.reason(error))

    def id(self) -> str:
        return ID

    def name(self) -> str:
        return "Models"

    def load(self) -> bool:
        """The registry takes this provider; it does not find it yet."""
        return True

    def loadAlgorithms(self) -> None:
        """Make the models, those that others run before these."""
        waiting = dict(self._models)
        while waiting:
            ready = [
                model
                for model in waiting.values()
                if not any(each in waiting for each in model.needs)
            ]
            if not ready:
                circle = ", ".join(waiting)
                for model in waiting.values():
                    self._omit(
                        model.path, f"these models run each other, or wait: {circle}"
                    )
                break
            for model in ready:
                del waiting[model.id]
                try:
                    self.addAlgorithm(load(model))
                except Refusal as reason:
                    self._omit(model.path, str(reason))

    def _add(self, model: Model) -> None:
        known = self._models.get(model.id)
        if known is not None:
            raise Refusal(f"there is already a model {model.id!r}, of {known.path}")
        self._models[model.id] = model

    def _omit(self, path: str, reason: str) -> None:
        omission = Omission(path, reason)
        # QGIS may load the algorithms more than once.
        if omission not in self.omitted:
            self.omitted.append(omission)


def files(folder: str) -> Iterator[str]:
    """The files of models below a folder with a folder C{models/}, as in QGIS."""
    if plugins.isPlugin(folder):
        # What is in there is the plugin's own.
        return
    for directory, below, names in os.walk(os.path.join(folder, "models")):
        below.sort()
        for name in sorted(names):
            if name.lower().endswith((".model3", ".model")):
                yield os.path.join(directory, name)


def read(path: str) -> Model:
    """
    A model's file, without what it needs.

    @raise Refusal: it is no model.
    """
    if path.lower().endswith(".model"):
        raise Refusal("it is a model of QGIS 2: save it anew as .model3")
    try:
        root = ElementTree.parse(path).getroot()
    except ElementTree.ParseError as error:
        raise Refusal(f"it is no model: {error}") from None
    algorithm = QgsProcessingModelAlgorithm()
    if not algorithm.fromFile(path):
        raise Refusal("QGIS can't read it as a model")
    if not algorithm.name():
        raise Refusal("the model has no name")
    needs = (
        option.get("value", "")
        for option in root.iter("Option")
        if option.get("name") == "alg_id"
    )
    inputs = (
        option.get("name", "")
        for option in root.iterfind("Option[@name='parameterDefinitions']/Option")
    )
    return Model(
        path, f"{ID}:{algorithm.name()}", tuple(dict.fromkeys(needs)), tuple(inputs)
    )


def load(model: Model) -> QgsProcessingModelAlgorithm:
    """
    The algorithm of a model.

    @raise Refusal: it can't be run here.
    """
    registry = QgsApplication.processingRegistry()
    needed = {each: registry.algorithmById(each) for each in model.needs}
    missing = [each for each, found in needed.items() if found is None]
    if missing:
        raise Refusal(f"algorithms are missing: {', '.join(missing)}")
    desktop = [
        each
        for each, found in needed.items()
        if compat.isSet(found.flags(), compat.ALGORITHM_DESKTOP_ONLY)
    ]
    if desktop:
        raise Refusal(f"algorithms need the desktop of QGIS: {', '.join(desktop)}")
    algorithm = QgsProcessingModelAlgorithm()
    algorithm.fromFile(model.path)
    # QGIS passes over what it does not know.
    unknown = [
        name for name in model.inputs if algorithm.parameterDefinition(name) is None
    ]
    if unknown:
        raise Refusal(f"inputs are of an unknown type: {', '.join(unknown)}")
    ok, text = algorithm.canExecute()
    if not ok:
        raise Refusal(re.sub(r"<[^>]*>", "", text))
    return algorithm


def install(settings: WorkerSettings) -> ModelProvider:
    """Put the provider of the settings' models in the place of QGIS's own."""
    registry = QgsApplication.processingRegistry()
    registry.removeProvider(ID)
    provider = ModelProvider(settings.providersPath)
    _installed[:] = [provider]
    registry.addProvider(provider)
    # Models that others run are looked up in the registry.
    provider.refreshAlgorithms()
    return provider


def omissions() -> tuple[Omission, ...]:
    """The models that can't be run."""
    return tuple(omission for each in _installed for omission in each.omitted)


# What their authors wrote of them


def _help(algorithm: QgsProcessingAlgorithm, key: str) -> str:
    if not isinstance(algorithm, QgsProcessingModelAlgorithm):
        return ""
    return str(algorithm.helpContent().get(key) or "").strip()


def version(algorithm: QgsProcessingAlgorithm) -> str:
    """A model's version; empty of anything else, and if there is none."""
    return _help(algorithm, "ALG_VERSION")


def description(algorithm: QgsProcessingAlgorithm) -> str | None:
    """What a model's help says of it as a whole; None of anything else."""
    if not isinstance(algorithm, QgsProcessingModelAlgorithm):
        return None
    return (
        _help(algorithm, "ALG_DESC")
        or _help(algorithm, "SHORT_DESCRIPTION")
        or algorithm.shortDescription()
    )
