"""What is published: a description of every algorithm that can be run."""

from __future__ import annotations

import traceback
from html.parser import HTMLParser

from qgis.core import QgsApplication, QgsProcessingAlgorithm

from qgswps.model import (
    Catalogue,
    InputDescription,
    Metadata,
    Omission,
    ProcessDescription,
    WorkerSettings,
)
from qgswps.worker import (
    compat,
    echo,
    formats,
    models,
    outputs,
    parameters,
    plugins,
    scripts,
)
from qgswps.worker.parameters import Unpublished

_FLAGS = (
    (compat.ALGORITHM_DEPRECATED, "processing:deprecated"),
    (compat.ALGORITHM_NO_THREADING, "processing:noThreading"),
    (compat.ALGORITHM_REQUIRES_PROJECT, "processing:requiresProject"),
    (compat.ALGORITHM_KNOWN_ISSUES, "processing:knownIssues"),
)


def build(settings: WorkerSettings) -> Catalogue:
    """Describe the algorithms of all providers that are to be published."""
    processes: list[ProcessDescription] = []
    omitted: list[Omission] = [
        *plugins.omissions(),
        *scripts.omissions(),
        *models.omissions(),
        *formats.omissions(),
    ]
    for provider in QgsApplication.processingRegistry().providers():
        if settings.exposedProviders and provider.id() not in settings.exposedProviders:
            reason = "processing.exposed_providers does not name it"
            omitted.append(Omission(f"provider {provider.id()}", reason))
            continue
        if not plugins.isExposed(provider.id()):
            reason = "its plugin has it for models and scripts only"
            omitted.append(Omission(f"provider {provider.id()}", reason))
            continue
        for algorithm in provider.algorithms():
            try:
                if isPublished(algorithm):
                    processes.append(describe(algorithm, omitted))
            except Unpublished as reason:
                omitted.append(Omission(algorithm.id(), str(reason)))
            except Exception as error:
                # A fault of the algorithm's own; the others are all right.
                traceback.print_exc()
                omitted.append(
                    Omission(algorithm.id(), f"{type(error).__name__}: {error}")
                )
    if settings.echo:
        processes.append(echo.DESCRIPTION)
    processes.sort(key=lambda process: process.identifier)
    return Catalogue(tuple(processes), tuple(omitted))


def isPublished(algorithm: QgsProcessingAlgorithm) -> bool:
    """Whether QGIS shows an algorithm to users, and it needs no desktop."""
    flags = algorithm.flags()
    return not (
        compat.isSet(flags, compat.ALGORITHM_HIDDEN)
        or compat.isSet(flags, compat.ALGORITHM_DESKTOP_ONLY)
    )


def describe(
    algorithm: QgsProcessingAlgorithm, omitted: list[Omission]
) -> ProcessDescription:
    """
    An algorithm's description.

    @param omitted: gets what had to be left out of it.
    @raise Unpublished: it can't be run by what would be left of it.
    """
    partly: list[Omission] = []
    description = ProcessDescription(
        identifier=algorithm.id(),
        title=algorithm.displayName() or algorithm.name(),
        version=_version(algorithm),
        abstract=_abstract(algorithm),
        inputs=_inputs(algorithm, partly),
        outputs=outputs.describeAll(algorithm),
        metadata=_metadata(algorithm),
        keywords=tuple(dict.fromkeys(algorithm.tags())),
    )
    omitted += partly
    return description


def _inputs(
    algorithm: QgsProcessingAlgorithm, omitted: list[Omission]
) -> tuple[InputDescription, ...]:
    inputs = []
    for param in algorithm.parameterDefinitions():
        if parameters.isHidden(param):
            continue
        try:
            inputs.append(parameters.describe(param))
        except Unpublished as reason:
            if not _canBeLeftOut(param):
                raise Unpublished(f"{param.name()} is required: {reason}") from None
            omitted.append(Omission(f"{algorithm.id()} {param.name()}", str(reason)))
    return tuple(inputs)


def _canBeLeftOut(param: object) -> bool:
    optional = compat.isSet(param.flags(), compat.PARAMETER_OPTIONAL)  # type: ignore[attr-defined]
    return optional or parameters.default(param) is not None


def _version(algorithm: QgsProcessingAlgorithm) -> str:
    version = models.version(algorithm) or algorithm.provider().versionInfo()
    return str(version or "1.0")


def _abstract(algorithm: QgsProcessingAlgorithm) -> str:
    written = models.description(algorithm)
    if written is not None:
        return plainText(written)
    return algorithm.shortDescription() or plainText(algorithm.shortHelpString())


def _metadata(algorithm: QgsProcessingAlgorithm) -> tuple[Metadata, ...]:
    facts = [Metadata("processing:provider", algorithm.provider().id())]
    if algorithm.group():
        facts.append(Metadata("processing:group", algorithm.group()))
    if algorithm.helpUrl():
        facts.append(Metadata("processing:helpUrl", algorithm.helpUrl()))
    flags = algorithm.flags()
    facts += [
        Metadata(title, "true") for flag, title in _FLAGS if compat.isSet(flags, flag)
    ]
    return tuple(facts)


class _Text(HTMLParser):
    """Collects the text of an HTML fragment."""

    _BREAKS = frozenset({"br", "p", "div", "li", "tr", "ul", "ol", "h1", "h2", "h3"})
    _SILENT = frozenset({"style", "script", "head", "title"})

    def __init__(self) -> None:
        super().__init__()
        self.parts: list[str] = []
        self._silence = 0

    def handle_starttag(self, tag: str, attrs: object) -> None:
        self._silence += tag in self._SILENT
        if tag in self._BREAKS:
            self.parts.append("\n")

    def handle_endtag(self, tag: str) -> None:
        self._silence -= tag in self._SILENT and self._silence > 0
        if tag in self._BREAKS:
            self.parts.append("\n")

    def handle_data(self, data: str) -> None:
        if not self._silence:
            self.parts.append(data)


def plainText(html: str) -> str:
    """The text of what may be HTML, one paragraph a line."""
    if "<" not in html and "&" not in html:
        return html.strip()
    parser = _Text()
    parser.feed(html)
    parser.close()
    lines = (" ".join(line.split()) for line in "".join(parser.parts).splitlines())
    return "\n".join(filter(None, lines))
