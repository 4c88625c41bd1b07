"""
What a server with some settings would publish, as text for its administrator.

QGIS is started for it once, beside a server that may run: nothing is listened
on, and the work directory is not touched.
"""

from __future__ import annotations

import difflib
import os
import subprocess
import sys
import tempfile
import textwrap
from collections.abc import Iterator

import attrs

from qgswps import codec, policy
from qgswps.application import workerEnvironment, workerSettings
from qgswps.config import Settings
from qgswps.model import (
    BoundingBoxType,
    Catalogue,
    DataType,
    InputDescription,
    LayerType,
    LiteralType,
    Omission,
    OutputDescription,
    ProcessDescription,
    Range,
)
from qgswps.policy import Caller

#: How wide texts are.
_WIDTH = 79


def processes(settings: Settings) -> Iterator[str]:
    """
    A line for each process, with a tab after its identifier, and then one for
    each thing that is not published.

    Blocks until QGIS has started.

    @raise SystemExit: it can't be told.
    """
    found = _published(settings)
    for process in found.processes:
        yield f"{process.identifier}\t{_line(process.title)}"
    if found.omitted:
        yield ""
    for omission in found.omitted:
        yield f"not published: {omission.name}: {_line(omission.reason)}"


def description(settings: Settings, identifier: str) -> Iterator[str]:
    """
    All about a process.

    Blocks until QGIS has started.

    @raise SystemExit: there is no such process, or it can't be told.
    """
    found = _published(settings)
    named = {process.identifier: process for process in found.processes}
    if identifier not in named:
        raise SystemExit(f"qgswps: {_whyNot(identifier, found)}")
    partly = [o for o in found.omitted if o.name.startswith(f"{identifier} ")]
    yield from _described(named[identifier], partly)


def _whyNot(identifier: str, found: Catalogue) -> str:
    for omission in found.omitted:
        if identifier == omission.name.partition(" ")[0]:
            return f"{omission.name} is not published: {_line(omission.reason)}"
    known = [process.identifier for process in found.processes]
    near = difflib.get_close_matches(identifier, known, 3)
    hint = f"; did you mean {' or '.join(near)}?" if near else ""
    return f"there is no process {identifier!r}{hint}"


# The catalogue


def _published(settings: Settings) -> Catalogue:
    """What a caller sees of whom the access policy knows nothing."""
    catalogue = _catalogue(settings)
    rules = policy.forSettings(settings)
    seen = rules.exposed(
        {process.identifier: process for process in catalogue.processes},
        rules.applying(Caller()),
    )
    denied = rules.omissions(catalogue.processes)
    omitted = sorted((*catalogue.omitted, *denied), key=attrs.astuple)
    ordered = sorted(seen.values(), key=lambda process: process.identifier)
    return Catalogue(tuple(ordered), tuple(omitted))


def _catalogue(settings: Settings) -> Catalogue:
    with tempfile.TemporaryDirectory(prefix="qgswps-") as folder:
        path = os.path.join(folder, "settings.json")
        told = attrs.evolve(
            workerSettings(settings, os.path.join(folder, "profile")),
            catalogue=os.path.join(folder, "catalogue.json"),
        )
        codec.write(path, told)
        patience = settings.server.startTimeout
        try:
            done = subprocess.run(
                [sys.executable, "-m", "qgswps.worker", "catalogue", path],
                env=workerEnvironment(settings.sandbox.environment),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                timeout=patience,
                check=False,
            )
        except subprocess.TimeoutExpired as expired:
            why = f"QGIS was not ready after {patience:g} seconds"
            raise _failed(why, expired.output) from None
        if done.returncode:
            raise _failed(f"QGIS ended with status {done.returncode}", done.stdout)
        return codec.readCatalogue(told.catalogue)


def _failed(why: str, output: bytes | None) -> SystemExit:
    """What to end with, after all that QGIS has said."""
    sys.stderr.write((output or b"").decode("utf-8", "replace"))
    return SystemExit(f"qgswps: {why}")


# A description


def _line(text: str) -> str:
    return " ".join(text.split())


def _wrapped(text: str, indent: str) -> Iterator[str]:
    for paragraph in text.splitlines():
        yield from textwrap.wrap(
            paragraph,
            _WIDTH,
            initial_indent=indent,
            subsequent_indent=indent,
            break_long_words=False,
            break_on_hyphens=False,
        )


def _described(process: ProcessDescription, partly: list[Omission]) -> Iterator[str]:
    yield f"{process.identifier}\t{_line(process.title)}"
    yield f"version {process.version}"
    for fact in process.metadata:
        yield f"{fact.title}: {_line(fact.value)}"
    if process.keywords:
        yield from _wrapped(f"keywords: {', '.join(process.keywords)}", "")
    if process.abstract:
        yield ""
        yield from _wrapped(process.abstract, "")
    for title, described in (("Inputs", process.inputs), ("Outputs", process.outputs)):
        if described:
            yield ""
            yield title
        for each in described:
            yield from _part(each)
    if partly:
        yield ""
    for omission in partly:
        yield f"not published: {omission.name}: {_line(omission.reason)}"


def _part(part: InputDescription | OutputDescription) -> Iterator[str]:
    yield f"  {part.identifier}\t{_line(part.title)}"
    facts = list(_facts(part.data))
    if isinstance(part, InputDescription):
        facts.append(_occurrence(part))
    for fact in facts:
        yield from _wrapped(fact, " " * 6)
    yield from _wrapped(part.abstract, " " * 6)


def _occurrence(part: InputDescription) -> str:
    need = "required" if part.minOccurs else "optional"
    return need if part.maxOccurs == 1 else f"{need}, up to {part.maxOccurs} values"


def _facts(data: DataType) -> Iterator[str]:
    """What kind of value it is, its default, and what else is allowed."""
    if isinstance(data, LiteralType):
        yield data.dataType
        if data.part is not None:
            of = f" of {data.part.parent}" if data.part.parent else ""
            yield f"names a {data.part.kind}{of}"
        if data.default is not None:
            yield f"default: {data.default}"
        if data.allowed:
            yield f"one of: {', '.join(data.allowed)}"
        if data.ranges:
            yield f"range: {', '.join(map(_range, data.ranges))}"
        if data.uoms:
            yield f"units: {', '.join(data.uoms)}"
    elif isinstance(data, BoundingBoxType):
        yield f"rectangle in {', '.join(data.crss)}"
        if data.default is not None:
            yield f"default: {', '.join(f'{each:g}' for each in data.default)}"
    else:
        kind = "data"
        if isinstance(data, LayerType):
            kind = f"layer: {', '.join(data.kinds) or 'any'}"
        yield kind
        if isinstance(data, LayerType) and data.default is not None:
            yield f"default: {data.default}"
        yield f"formats: {', '.join(format.mimeType for format in data.formats)}"


def _range(range: Range) -> str:
    if range.maximum is None:
        return f"{range.minimum} or more"
    if range.minimum is None:
        return f"{range.maximum} or less"
    return f"{range.minimum} to {range.maximum}"
