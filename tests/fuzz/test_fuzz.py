"""
What was found once, and some thousand inputs that are changed a bit, the same
each time.  C{make fuzz} looks for new ones.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from functools import cache
from pathlib import Path

from twisted.trial import unittest

from qgswps.references.guard import Guard
from tests.fuzz import harness, reaching, replay
from tests.fuzz.harness import Target
from tests.fuzz.targets import TARGETS

ROOT = Path(__file__).resolve().parents[2]

#: Seconds that the process with QGIS may take.
TIMEOUT = 600

#: How much of the corpus is kept, in KiB.
LARGEST = 400


@cache
def _inQgis() -> tuple[list[list[str | None]], str]:
    """What the process with QGIS has tried, and how it ended."""
    names = [target.name for target in TARGETS.values() if target.needsQgis]
    with tempfile.TemporaryDirectory() as directory:
        progress = Path(directory, "progress")
        with Path(directory, "log").open("w+b") as log:
            try:
                done = subprocess.run(
                    [sys.executable, "-m", "tests.fuzz.replay", str(progress), *names],
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=subprocess.STDOUT,
                    cwd=directory,
                    env={**os.environ, "PYTHONPATH": str(ROOT)},
                    timeout=TIMEOUT,
                    check=False,
                )
                end = f"exit status {done.returncode}"
            except subprocess.TimeoutExpired:
                end = f"still running after {TIMEOUT} s"
            log.seek(0)
            said = log.read().decode(errors="replace")[-3000:]
        lines = progress.read_text().splitlines() if progress.exists() else []
        return [json.loads(line) for line in lines], f"{said}\n{end}"


class TargetTests(unittest.TestCase):
    """Each target, with its corpus and what is made of it."""

    def here(self, target: Target) -> None:
        """Try a target in this process."""
        run = target.load()
        count = 0
        for label, data in replay.inputs(target):
            found = harness.attempt(run, data)
            if found is not None:
                self.fail(f"{target.name}: {label}: {found.text}")
            count += 1
        self.assertGreater(count, target.mutations)

    def elsewhere(self, target: Target) -> None:
        """Try a target in the process with QGIS."""
        lines, end = _inQgis()
        mine = [line for line in lines if line[0] == target.name]
        for before, after in zip(mine[::2], mine[1::2], strict=False):
            self.assertEqual(before[1], after[1])
            if after[2] is not None:
                self.fail(f"{target.name}: {after[1]}: {after[2]}")
        if len(mine) % 2:
            self.fail(f"{target.name}: {mine[-1][1]} has ended the process: {end}")
        self.assertGreater(len(mine) // 2, target.mutations, end)


def _method(target: Target) -> Callable[[TargetTests], None]:
    def test(self: TargetTests) -> None:
        if target.needsQgis:
            self.elsewhere(target)
        else:
            self.here(target)

    return test


for _target in TARGETS.values():
    setattr(TargetTests, f"test_{_target.name}", _method(_target))


class HarnessTests(unittest.TestCase):
    """A finding is found."""

    def test_errors(self) -> None:
        """Other errors than those that a target takes, told apart by their places."""

        def run(data: bytes) -> None:
            if data.startswith(b"["):
                raise KeyError(data)
            assert data != b"x"

        self.assertIsNone(harness.attempt(run, b"ok"))
        first, second, third = (
            harness.attempt(run, data) for data in (b"[", b"[1", b"x")
        )
        assert first is not None and second is not None and third is not None
        self.assertEqual(first.signature, second.signature)
        self.assertNotEqual(first.signature, third.signature)
        self.assertIn("KeyError: b'['", first.text)

    def test_guard(self) -> None:
        """A guard that lets through what it should not is found."""
        run = TARGETS["reference"].load()
        inputs = [b"http://127.0.0.1/", b"//0x7f.1/", b"http://[::ffff:a00:1]/"]
        inputs += [b"\x7f\0\0\1", b"\0" * 15 + b"\1"]
        for data in inputs:
            self.assertIsNone(harness.attempt(run, data), data)
        self.patch(reaching, "_GUARD", Guard(["0.0.0.0/0", "::/0"]))
        for data in inputs:
            self.assertIsNotNone(harness.attempt(run, data), data)

    def test_slow(self) -> None:
        """What takes too long is ended, and found."""
        self.patch(harness, "SECONDS", 0.1)

        def run(data: bytes) -> None:
            while True:
                try:
                    pow(3, 1 << 12)
                except Exception:
                    raise SystemExit from None

        found = harness.attempt(run, b"")
        assert found is not None
        self.assertTrue(found.signature.startswith("TooSlow"), found)

    def test_large(self) -> None:
        """What takes too much memory is found."""
        self.patch(harness, "MEGABYTES", 16)
        # The peak may have been higher before.
        sizes = iter((64, 256, 1024, 4096))

        def run(data: bytes) -> None:
            held = b"\1" * (next(sizes) << 20)
            del held

        found = None
        while found is None:
            found = harness.attempt(run, b"")
        assert found is not None
        self.assertTrue(found.signature.startswith("TooMuch"), found)

    def test_corpus(self) -> None:
        """It is small, and each file is named by what is in it."""
        total = 0
        for target in TARGETS.values():
            inputs = target.inputs()
            self.assertTrue(inputs, target.name)
            for name, data in inputs.items():
                self.assertEqual(name, harness.nameOf(data), target.corpus)
                self.assertLessEqual(len(data), target.largest, name)
                total += len(data)
        self.assertLess(total, LARGEST << 10)
        folders = {path.name for path in harness.CORPUS.iterdir()}
        self.assertEqual(folders, set(TARGETS))
