"""Trying in a child what might end the process."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
import unittest

from qgswps.worker import probe


def _fail(error: BaseException) -> None:
    raise error


class ProbeTests(unittest.TestCase):
    """What is said of what happened in the child."""

    def assertNoChild(self) -> None:
        """The child was waited for."""
        with self.assertRaises(ChildProcessError):
            os.waitpid(-1, os.WNOHANG)

    def test_fine(self) -> None:
        """Nothing is said, and nothing stays."""
        done: list[int] = []
        descriptors = os.listdir("/proc/self/fd")
        self.assertEqual(probe.attempt(lambda: done.append(1)), "")
        self.assertEqual(done, [])
        self.assertEqual(os.listdir("/proc/self/fd"), descriptors)
        self.assertNoChild()

    def test_raises(self) -> None:
        """The exception, in one line, with the place."""
        said = probe.attempt(lambda: _fail(ValueError("one\n two")))
        self.assertRegex(said, r"^ValueError: one two \(probe\.py, line \d+\)$")
        self.assertEqual(probe.attempt(lambda: _fail(probe.Refusal("no"))), "no")

    def test_ends(self) -> None:
        """By itself, by a signal, with its last words."""

        def speak() -> None:
            sys.stderr.write("first\nlast\n\n")
            os.kill(os.getpid(), signal.SIGSEGV)

        self.assertEqual(probe.attempt(speak), "it ends the process with SIGSEGV: last")
        self.assertEqual(
            probe.attempt(lambda: os._exit(0)), "it ends the process with status 0"
        )

    def test_hangs(self) -> None:
        """It is ended in time, with what it started."""
        begin = time.monotonic()
        with open(os.devnull, "rb") as nothing:
            sleeper = ["sleep", "600.25"]
            said = probe.attempt(
                lambda: subprocess.run(sleeper, stdin=nothing, check=False), 0.5
            )
        self.assertEqual(said, "it was not loaded after 0.5 s")
        self.assertLess(time.monotonic() - begin, 60)
        self.assertNoChild()
        running = subprocess.run(
            ["ps", "-eo", "args"], capture_output=True, text=True, check=True
        )
        self.assertNotIn("sleep 600.25", running.stdout)
