"""The configuration's file and variables, and the access policy's file."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from functools import cache

from qgswps import config, policy
from qgswps.config import SECTIONS, ConfigurationError, Settings

#: What divides the text of a file from variables of the environment.
_DIVIDER = b"\n--\n"


@cache
def _path() -> str:
    folder = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
    file = tempfile.NamedTemporaryFile(prefix="qgswps-fuzz-", dir=folder)  # noqa: SIM115
    _files.append(file)
    return file.name


#: Open as long as this process lives.
_files: list[object] = []


def _write(data: bytes) -> str:
    path = _path()
    with open(path, "wb") as file:
        file.write(data)
    return path


def configuration(data: bytes) -> None:
    """A file, and after C{--} variables of the environment, one a line."""
    file, _, rest = data.partition(_DIVIDER)
    environ = dict(_variables(rest.decode("utf-8", "surrogateescape")))
    path = _write(file)
    warnings: list[str] = []
    try:
        settings = config.load(path, environ, {}, warnings.append)
    except ConfigurationError as error:
        assert error.problems
        for problem in error.problems:
            # The place comes first.
            assert problem.startswith((path, "QGSWPS_")), problem
            assert "Traceback" not in problem
            problem.encode()
        return
    for warning in warnings:
        # A name with odd characters is quoted.
        assert warning.lstrip("'\"").startswith((path, "QGSWPS_")), warning
        warning.encode()
    _isWrittenAlike(settings)


def _variables(text: str) -> Iterator[tuple[str, str]]:
    for line in text.split("\n"):
        name, equals, value = line.partition("=")
        if equals and "\0" not in line:
            yield f"QGSWPS_{name}", value


def _isWrittenAlike(settings: Settings) -> None:
    """Each value is read from what is written for it."""
    for section in SECTIONS:
        for key in section.keys:
            if key.kind.secret:
                continue
            value = getattr(getattr(settings, section.attribute), key.attribute)
            again = key.kind.parse(key.kind.show(value), os.getcwd())
            # Numbers are written with six digits.
            same = again == value or (
                isinstance(value, float) and abs(again - value) <= 1e-5 * abs(value)
            )
            assert same, (key.id, value, again)
    settings.storeURL  # noqa: B018
    settings.server.endpoints  # noqa: B018


def accessPolicy(data: bytes) -> None:
    """A policy that includes nothing."""
    if b"include" in data:
        return
    path = _write(data)
    try:
        found = policy.load(path)
    except policy.PolicyError as error:
        assert str(error).startswith(path), error
        return
    assert found.applying(policy.Caller()) is not None
    for rule in found.rules:
        for entry in rule.entries:
            entry.matches("native:buffer")
            entry.matchesInput("INPUT")
            assert entry.place.startswith(path)
