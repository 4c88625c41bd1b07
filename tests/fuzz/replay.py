"""
C{python -m tests.fuzz.replay PROGRESS TARGET …}: targets in a process with QGIS.

PROGRESS is a file that has a line of JSON for each input: target, name, and
what is wrong or null; and one for each before it is tried, so that who reads
it knows what has crashed this process.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from tests.fuzz import harness
from tests.fuzz.harness import Target
from tests.fuzz.mutation import mutations
from tests.fuzz.targets import TARGETS


def inputs(target: Target) -> Iterator[tuple[str, bytes]]:
    """The corpus, by the names of its files, and what is made of it."""
    yield from target.inputs().items()
    for data in mutations(target):
        yield f"{data!r}", data


def main() -> None:
    """Try all inputs."""
    from tests.fuzz import layers

    progress, *names = sys.argv[1:]
    with (
        tempfile.TemporaryDirectory(prefix="qgswps-fuzz-") as folder,
        Path(progress).open("w", buffering=1) as file,
    ):
        layers.start(folder)
        for name in names:
            run = TARGETS[name].load()
            for label, data in inputs(TARGETS[name]):
                file.write(json.dumps([name, label]) + "\n")
                found = harness.attempt(run, data)
                text = None if found is None else found.text
                file.write(json.dumps([name, label, text]) + "\n")
        os.chdir("/")
    # QGIS's own end may crash.
    os._exit(0)


if __name__ == "__main__":
    main()
