"""Tests of L{qgswps.pool.exits}."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from qgswps.pool.exits import Cancelled, Exit, WorkerLost


class ExitTests(SynchronousTestCase):
    """L{Exit}"""

    def test_text(self) -> None:
        """A wait status is told in words."""
        for status, signal, text in [
            (None, None, "the process is gone"),
            (0, None, "the process ended with exit status 0"),
            (3 << 8, None, "the process ended with exit status 3"),
            (9, "SIGKILL", "the process was ended by signal SIGKILL (Killed)"),
            (6 | 0x80, "SIGABRT", "the process was ended by signal SIGABRT (Aborted)"),
            (24, "SIGXCPU", "(CPU time limit exceeded, which sandbox.cpu_time sets)"),
            (25, "SIGXFSZ", "(File size limit exceeded, which sandbox.file_size sets)"),
            (40, "SIG40", "the process was ended by signal SIG40"),
        ]:
            exit = Exit(status)
            self.assertEqual(exit.signal, signal)
            self.assertIn(text, str(exit))


class WorkerLostTests(SynchronousTestCase):
    """L{WorkerLost}"""

    def test_exit(self) -> None:
        """It says how the worker has ended, as far as that is known."""
        self.assertEqual(WorkerLost("gone").exit, Exit())
        lost = WorkerLost("killed", Exit(9, 5))
        self.assertEqual((str(lost), lost.exit.signal), ("killed", "SIGKILL"))
        self.assertIsInstance(Cancelled("before"), WorkerLost)
