"""Tests of L{qgswps.worker.supervision}, and of what L{qgswps.worker.sandbox} says."""

from __future__ import annotations

import mmap
import os
import resource
import subprocess
import sys

from twisted.trial.unittest import SynchronousTestCase

from qgswps import processes
from qgswps.model import SandboxSettings
from qgswps.worker import sandbox, supervision


class SupervisorTests(SynchronousTestCase):
    """L{supervision.Supervisor}"""

    def excess(self, pid: int, memory: int = 0, processes: int = 0) -> str:
        """What a process has too much of."""
        settings = SandboxSettings(memory=memory, processes=processes)
        return supervision.Supervisor(settings).look([pid]).get(pid, "")

    def test_nothing(self) -> None:
        """Without limits, within them, and when it is gone."""
        pid = os.getpid()
        self.assertEqual(self.excess(pid), "")
        self.assertEqual(self.excess(pid, memory=1 << 20, processes=1000), "")
        self.assertEqual(self.excess(2**30, memory=1, processes=1), "")

    def test_processes(self) -> None:
        """Its descendants count."""
        text = "import subprocess; subprocess.run(['sleep', '60'])"
        child = subprocess.Popen([sys.executable, "-c", text])
        self.addCleanup(child.wait)
        self.addCleanup(child.kill)
        while not (found := processes.children(child.pid)):
            pass
        self.addCleanup(os.kill, found.pop(), 9)
        self.assertEqual(self.excess(child.pid, processes=2), "")
        self.assertIn("the 1 processes that", self.excess(child.pid, processes=1))

    def test_memory(self) -> None:
        """What it shares with others counts, too."""
        before = self.had()
        with mmap.mmap(-1, 2**26) as shared:
            shared.write(b"x" * 2**26)
            self.assertGreaterEqual(self.had() - before, 60)

    def had(self) -> int:
        """The memory of this process in MiB, as it is told."""
        text = self.excess(os.getpid(), memory=1)
        self.assertIn("more than the 1 MiB that sandbox.memory allows", text)
        return int(text.split()[2])

    def test_due(self) -> None:
        """The next look is some time ahead."""
        supervisor = supervision.Supervisor(SandboxSettings())
        supervisor.look([])
        first = supervisor.due
        supervisor.look([os.getpid()])
        self.assertGreaterEqual(supervisor.due, first)

    def test_tasks(self) -> None:
        """This process is one of the user's."""
        self.assertGreaterEqual(supervision.tasks(), len(os.listdir("/proc/self/task")))


class ExplainedTests(SynchronousTestCase):
    """L{sandbox.explained}"""

    def test_limits(self) -> None:
        """A text gets the setting, if there is such a limit."""
        files, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
        text = "OSError: [Errno 24] Too many open files: 'x'"
        self.assertEqual(
            sandbox.explained(text),
            f"{text} (sandbox.open_files allows {files} open files)",
        )
        self.assertEqual(
            resource.getrlimit(resource.RLIMIT_FSIZE)[0], resource.RLIM_INFINITY
        )
        for other in (
            "OSError: [Errno 27] File too large",
            "OSError: [Errno 28] No space left on device",
            "ValueError: 24",
            "",
        ):
            self.assertEqual(sandbox.explained(other), other)
