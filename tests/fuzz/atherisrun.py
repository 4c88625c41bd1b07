"""
C{python -m tests.fuzz.atherisrun TARGET FINDINGS [OPTION …]}: atheris, in a
process that a target may crash; its findings go to a folder.

An exception is written down and the search goes on; who crashes the process
ends it, and libFuzzer keeps the input.
"""

from __future__ import annotations

import contextlib
import os
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from zlib import crc32

import atheris  # type: ignore[import-untyped]

from tests.fuzz import harness

with atheris.instrument_imports(include=["qgswps"]):
    from tests.fuzz.targets import TARGETS

#: How many kinds of what targets return are told apart.
BRANCHES = 512


def _branches() -> Callable[[int], None]:
    """
    A function with a branch for each number.

    Only Python code tells what an input has reached.  Of GDAL's this tells
    whether it did something else.
    """
    lines = [f"    if number == {each}: return" for each in range(BRANCHES)]
    names: dict[str, Callable[[int], None]] = {}
    exec("\n".join(["def branches(number):", *lines]), names)
    function: Callable[[int], None] = atheris.instrument_func(names["branches"])
    return function


def main() -> None:
    """Search until libFuzzer has had enough."""
    name, folder, *options = sys.argv[1:]
    target = TARGETS[name]
    findings = Path(folder)
    if target.needsQgis:
        # Not below the folder that holds it: it stays as long as the process.
        profile = tempfile.mkdtemp(prefix="qgswps-fuzz-")
        with atheris.instrument_imports(include=["qgswps"]):
            from tests.fuzz import layers
        layers.start(profile)
    with atheris.instrument_imports(include=["qgswps"]):
        run = target.load()
    known: dict[str, int] = {}
    branches = _branches()

    def once(data: bytes) -> None:
        found = harness.attempt(
            run, data, lambda value: branches(crc32(repr(value).encode()) % BRANCHES)
        )
        if found is None:
            return
        # The shortest of each kind.
        if len(data) < known.get(found.signature, len(data) + 1):
            known[found.signature] = len(data)
            kind = harness.nameOf(found.signature.encode())
            (findings / kind).write_bytes(data)
            (findings / f"{kind}.txt").write_text(f"{found.signature}\n{found.text}")

    atheris.Setup([sys.argv[0], *options], once)
    with contextlib.suppress(KeyboardInterrupt):
        atheris.Fuzz()
    # QGIS's own end may crash.
    os._exit(0)


if __name__ == "__main__":
    main()
