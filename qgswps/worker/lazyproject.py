"""
Opening the rest of a project when a Python algorithm looks for it.

Scripts and plugins may take any layer of the project that they run in, but
most take none beside their inputs.  To open all layers for all of them would
cost a job seconds in a large project.  So while such an algorithm runs, the
functions by which Python comes to a project are replaced by ones that first
open what might be looked for.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from qgis.core import (
    QgsApplication,
    QgsProcessingAlgorithm,
    QgsProcessingContext,
    QgsProcessingUtils,
    QgsProject,
)

from qgswps.model import ExecuteRequest
from qgswps.worker import needs, texts
from qgswps.worker.project import PartialProject

#: Modules that need of a project only what they are given: our own and QGIS's.
_OWN = ("qgswps.",)
_TRUSTED = (*_OWN, "qgis.", "processing.", "grass_provider.")


@contextmanager
def opening(
    partial: PartialProject, algorithm: QgsProcessingAlgorithm
) -> Iterator[None]:
    """While this lasts, an algorithm that looks at the project finds all of it."""
    if partial.isComplete or not needs.reachesProject(algorithm):
        yield
        return
    from processing.core.Processing import Processing

    def complete(*_: Any, **__: Any) -> None:
        partial.openAll()

    def named(*arguments: Any, **keywords: Any) -> None:
        partial.openMentioned(map(str, (*arguments, *keywords.values())))

    def run(*arguments: Any, **keywords: Any) -> None:
        # Who runs an algorithm gives it first, and then its parameters.
        given = [*arguments, *keywords.values()]
        partial.openMentioned(texts.within(given[1:]))
        _openForAlgorithm(partial, given[0])

    replaced = [
        _replace(QgsProject, "instance", complete, _TRUSTED),
        _replace(QgsProcessingContext, "project", complete, _TRUSTED),
        _replace(QgsProcessingContext, "getMapLayer", named, _TRUSTED),
        _replace(QgsProcessingUtils, "mapLayerFromString", named, _TRUSTED),
        _replace(QgsProcessingAlgorithm, "run", run, _OWN),
        # It also checks the parameters, before it runs the algorithm.
        _replace(Processing, "runAlgorithm", run, _OWN),
    ]
    try:
        yield
    finally:
        for undo in replaced:
            undo()


def _replace(
    owner: Any, name: str, before: Callable[..., None], trusted: tuple[str, ...]
) -> Callable[[], None]:
    """
    Put a function before another one.

    @param trusted: what the modules begin with whose calls it need not know.
    @return: what takes it away again.
    """
    original = vars(owner)[name]
    call = getattr(owner, name)

    def function(*arguments: Any, **keywords: Any) -> Any:
        caller = sys._getframe(1).f_globals.get("__name__", "")
        if not caller.startswith(trusted):
            before(*arguments, **keywords)
        return call(*arguments, **keywords)

    isMethod = owner in (QgsProcessingContext, QgsProcessingAlgorithm)
    setattr(owner, name, function if isMethod else staticmethod(function))
    return lambda: setattr(owner, name, original)


def _openForAlgorithm(partial: PartialProject, algorithm: Any) -> None:
    """Open what an algorithm needs of its own that another one runs."""
    if isinstance(algorithm, str):
        registry = QgsApplication.processingRegistry()
        algorithm = registry.createAlgorithmById(algorithm)
    if algorithm is None:
        return
    own = needs.texts(algorithm, ExecuteRequest(algorithm.id()))
    if own is None:
        partial.openAll()
    else:
        partial.openMentioned(own)
