"""Tests of L{qgswps.reload}."""

from __future__ import annotations

import os
import signal
from pathlib import Path

from twisted.logger import capturedLogs
from twisted.trial.unittest import SynchronousTestCase

from qgswps import reload
from qgswps.reload import INTERVAL, Reloader, lookInto
from tests.fakes import FakeReactor


class StoppableReactor(FakeReactor):
    """
    A reactor that can be stopped.

    @ivar stopped: whether it was.
    """

    stopped = False

    def stop(self) -> None:
        """See C{IReactorCore}."""
        self.stopped = True


class ReloaderTests(SynchronousTestCase):
    """L{Reloader}"""

    def setUp(self) -> None:
        self.folder = Path(self.mktemp()).absolute()
        (self.folder / "scripts").mkdir(parents=True)
        self.script = self.folder / "scripts" / "a.py"
        self.script.write_text("1")
        self.monitored = self.folder / "restart"
        self.reactor = StoppableReactor()
        self.reloads = 0
        self.addCleanup(signal.signal, signal.SIGHUP, signal.getsignal(signal.SIGHUP))
        self.hasTerminal = False
        self.patch(reload, "_terminal", lambda: self.hasTerminal)
        self.reloader = self.made()

    def made(self, restartmon: bool = True, interval: float = 2) -> Reloader:
        """A service that has started, and that ends with the test."""
        reloader = Reloader(
            self.reactor,
            self.reload,
            str(self.monitored) if restartmon else "",
            [str(self.folder)],
            interval,
        )
        reloader.startService()
        self.addCleanup(self.stopped, reloader)
        return reloader

    def stopped(self, reloader: Reloader) -> None:
        """It leaves nothing behind."""
        if reloader.running:
            self.successResultOf(reloader.stopService())
        self.assertEqual(self.reactor.getDelayedCalls(), [])

    def reload(self) -> None:
        """Count."""
        self.reloads += 1

    def pass_(self, seconds: int) -> list[str]:
        """Let time go by; what was logged."""
        with capturedLogs() as events:
            self.reactor.pump([1] * seconds)
        return [event["log_format"].format(**event) for event in events]

    def touch(self, path: Path, time: int = 5) -> None:
        """Give a file a time of its own, and make it if it is not there."""
        path.touch()
        os.utime(path, (time, time))

    def test_nothing(self) -> None:
        """As long as all stays as it is, nothing happens."""
        self.assertEqual(self.pass_(20), [])
        self.assertEqual(self.reloads, 0)

    def test_changes(self) -> None:
        """A file that is new, changed or gone is told by its path."""
        for change in (
            lambda: self.script.write_text("12"),
            lambda: self.touch(self.script),
            self.script.unlink,
        ):
            change()
            self.assertEqual(self.pass_(4), [f"reload: {self.script} changed"])
            self.assertEqual(self.pass_(10), [])
        self.assertEqual(self.reloads, 3)

    def test_several(self) -> None:
        """Changes at one time are one."""
        for name in ("b.py", "c.py"):
            (self.folder / "scripts" / name).touch()
        self.script.unlink()
        self.assertEqual(self.pass_(4), [f"reload: {self.script} and 2 more changed"])

    def test_settles(self) -> None:
        """As long as somebody writes, nothing happens."""
        for time in range(10):
            self.touch(self.script, time)
            self.pass_(2)
        self.assertEqual(self.reloads, 0)
        self.pass_(2)
        self.assertEqual(self.reloads, 1)

    def test_undone(self) -> None:
        """What was changed back is no change."""
        other = self.folder / "scripts" / "b.py"
        other.touch()
        self.pass_(2)
        other.unlink()
        self.pass_(10)
        self.assertEqual(self.reloads, 0)

    def test_beforeStart(self) -> None:
        """What changes as soon as there is a service is a change."""
        reloader = Reloader(self.reactor, self.reload, "", [str(self.folder)], 2)
        self.script.unlink()
        self.successResultOf(self.reloader.stopService())
        reloader.startService()
        self.addCleanup(self.stopped, reloader)
        self.pass_(4)
        self.assertEqual(self.reloads, 1)

    def test_whileLooking(self) -> None:
        """A slow disk is waited for, also at the end."""
        self.reactor.held = []
        self.pass_(20)
        self.assertEqual(len(self.reactor.held), 2)
        self.script.unlink()
        stopping = self.reloader.stopService()
        self.assertNoResult(stopping)
        self.reactor.release()
        self.successResultOf(stopping)
        self.assertEqual(self.reloads, 0)

    def test_touched(self) -> None:
        """The file is made, touched and removed."""
        for _ in range(2):
            self.touch(self.monitored, self.reloads)
            said = self.pass_(2 * int(INTERVAL))
            self.assertEqual(said, [f"reload: {self.monitored} was touched"])
        self.monitored.unlink()
        self.pass_(10)
        self.assertEqual(self.reloads, 2)

    def test_switchedOff(self) -> None:
        """Nothing is looked at that nobody wants to be looked at."""
        self.successResultOf(self.reloader.stopService())
        self.made(restartmon=False, interval=0)
        self.assertEqual(self.reactor.getDelayedCalls(), [])

    def test_signal(self) -> None:
        """SIGHUP, as long as the service runs; then it does no harm."""
        with capturedLogs() as events:
            os.kill(os.getpid(), signal.SIGHUP)
        self.assertEqual(events[0]["reason"], "SIGHUP")
        self.successResultOf(self.reloader.stopService())
        os.kill(os.getpid(), signal.SIGHUP)
        self.assertEqual(self.reloads, 1)

    def test_terminal(self) -> None:
        """Who is started in a terminal ends with it, unless nohup was there."""
        self.successResultOf(self.reloader.stopService())
        self.hasTerminal = True
        for before, stops in ((signal.SIG_IGN, False), (signal.SIG_DFL, True)):
            signal.signal(signal.SIGHUP, before)
            reloader = self.made()
            self.hasTerminal = True
            os.kill(os.getpid(), signal.SIGHUP)
            self.assertFalse(self.reactor.stopped)
            self.hasTerminal = False
            os.kill(os.getpid(), signal.SIGHUP)
            self.assertEqual(self.reactor.stopped, stops)
            self.successResultOf(reloader.stopService())
            self.hasTerminal = True
        self.assertEqual(self.reloads, 3)


class LookIntoTests(SynchronousTestCase):
    """L{lookInto}"""

    def setUp(self) -> None:
        self.folder = Path(self.mktemp()).absolute()

    def write(self, *names: str) -> None:
        """Make files."""
        for name in names:
            path = self.folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch()

    def seen(self, *folders: str) -> set[str]:
        """What is looked at, from the folder on."""
        found = lookInto([str(self.folder / each) for each in folders or ("",)])
        return {os.path.relpath(path, self.folder) for path in found}

    def test_sources(self) -> None:
        """What algorithms are made of, however deep."""
        sources = (
            *("scripts/a.py", "scripts/b/c/_d.py"),
            *("models/a.model3", "models/b/c.model3"),
            *("plugin/metadata.txt", "plugin/__init__.py", "plugin/x/y.py"),
        )
        self.write(*sources)
        self.assertEqual(self.seen(), set(sources))
        self.assertEqual(
            self.seen("plugin"),
            {name for name in sources if name.startswith("plugin/")},
        )

    def test_others(self) -> None:
        """Not what editors and Python leave, what algorithms write, and others."""
        self.write(
            *("scripts/.#a.py", "scripts/a.py~", "scripts/.a.py.swp"),
            *("scripts/__pycache__/a.cpython-311.pyc", "scripts/.git/a.py"),
            *("scripts/log.txt", "scripts/data.gpkg", "a.py", "no_plugin/a.py"),
        )
        self.assertEqual(self.seen(), set())

    def test_notThere(self) -> None:
        """A folder may come later, a link lead nowhere."""
        self.assertEqual(self.seen("gone"), set())
        self.write("scripts/a.py")
        (self.folder / "scripts" / "b.py").symlink_to("nowhere")
        self.assertEqual(self.seen(), {"scripts/a.py"})
