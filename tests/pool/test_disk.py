"""Tests of L{qgswps.pool.disk}."""

from __future__ import annotations

import errno
import os
import tempfile
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from qgswps.pool import disk
from tests.fakes import FakeReactor

MEBIBYTE = 2**20


class Case(SynchronousTestCase):
    """A case with a job's directory."""

    def setUp(self) -> None:
        self.folder = Path(self.mktemp()).absolute()
        (self.folder / "outputs" / "deep").mkdir(parents=True)

    def write(self, name: str, mebibytes: int) -> None:
        """Make a file."""
        (self.folder / name).write_bytes(bytes(mebibytes * MEBIBYTE))


class TakenTests(Case):
    """What is counted."""

    def taken(self, most: int = 1 << 40) -> int:
        """In bytes."""
        return disk.taken(str(self.folder), most)

    def test_all(self) -> None:
        """All files count, those in folders too, and not what links lead to."""
        before = self.taken()
        self.write("log", 1)
        self.write("outputs/deep/x", 2)
        (self.folder / "outputs" / "link").symlink_to("/usr")
        self.assertGreaterEqual(self.taken() - before, 3 * MEBIBYTE)
        self.assertLess(self.taken() - before, 4 * MEBIBYTE)

    def test_holes(self) -> None:
        """What was never written takes no room, but files do that are empty."""
        before = self.taken()
        with open(self.folder / "hole", "wb") as file:
            file.truncate(100 * MEBIBYTE)
        for number in range(100):
            (self.folder / str(number)).touch()
        self.assertLess(self.taken() - before, MEBIBYTE)
        self.assertGreaterEqual(self.taken() - before, 400_000)

    def test_enough(self) -> None:
        """It looks no further than it must."""
        for number in range(10):
            self.write(str(number), 1)
        self.assertLess(self.taken(2 * MEBIBYTE), 4 * MEBIBYTE)

    def test_gone(self) -> None:
        """A directory that is gone takes nothing."""
        self.assertEqual(disk.taken("/nonexistent", 1), 0)

    def test_closed(self) -> None:
        """A folder that nobody can look into counts as too much."""
        real = os.scandir

        def scandir(path: str) -> object:
            if path.endswith("deep"):
                raise PermissionError(errno.EACCES, "it is closed")
            return real(path)

        self.assertLess(self.taken(MEBIBYTE), MEBIBYTE)
        self.patch(os, "scandir", scandir)
        self.assertGreater(self.taken(MEBIBYTE), MEBIBYTE)

    def test_deep(self) -> None:
        """Folders that can't be looked into are too much."""
        here = os.open(self.folder, os.O_RDONLY)
        for _ in range(50):
            os.mkdir("d" * 100, dir_fd=here)
            below = os.open("d" * 100, os.O_RDONLY, dir_fd=here)
            os.close(here)
            here = below
        os.close(here)
        self.assertGreater(self.taken(1 << 30), 1 << 30)
        disk.clear(str(self.folder))

    def test_unlinked(self) -> None:
        """Files without a name count while a process has them."""
        before = disk.unlinked([os.getpid()])
        with tempfile.TemporaryFile() as file:
            file.write(bytes(3 * MEBIBYTE))
            file.flush()
            again = os.dup(file.fileno())
            found = disk.unlinked([os.getpid(), 2**30])
            os.close(again)
        self.assertGreaterEqual(found - before, 3 * MEBIBYTE)
        self.assertLess(found - before, 4 * MEBIBYTE)


class ClearTests(Case):
    """What stays of a job that took too much."""

    def test_clear(self) -> None:
        """What it had to do, and the end of its log."""
        self.write("outputs/deep/x", 1)
        self.write("QGIS.conf", 1)
        (self.folder / "task.json").write_text("{}")
        (self.folder / "log").write_text("x" * MEBIBYTE + "\nthe last line\n")
        disk.clear(str(self.folder))
        self.assertEqual({p.name for p in self.folder.iterdir()}, {"task.json", "log"})
        log = (self.folder / "log").read_text()
        self.assertTrue(log.endswith("\nthe last line\n"))
        self.assertLess(len(log), MEBIBYTE // 8)

    def test_link(self) -> None:
        """A log that is a link is not followed."""
        other = Path(self.mktemp()).absolute()
        other.write_bytes(bytes(MEBIBYTE))
        (self.folder / "log").symlink_to(other)
        disk.clear(str(self.folder))
        self.assertEqual(other.stat().st_size, MEBIBYTE)


class DiskWatchTests(Case):
    """L{disk.DiskWatch}"""

    def setUp(self) -> None:
        super().setUp()
        self.reactor = FakeReactor()
        self.told: list[str] = []

    def watch(self, most: int) -> disk.DiskWatch:
        """One that has begun."""
        watch = disk.DiskWatch(self.reactor, str(self.folder), most, self.told.append)
        watch.start(os.getpid())
        return watch

    def test_exceeded(self) -> None:
        """It tells once, and looks no more."""
        watch = self.watch(2)
        self.write("outputs/x", 1)
        self.reactor.advance(disk.INTERVAL)
        self.assertEqual(self.told, [])
        self.write("outputs/y", 2)
        self.reactor.advance(disk.INTERVAL)
        [text] = self.told
        self.assertIn("2 MiB of the disk that sandbox.disk allows", text)
        self.assertTrue(watch.exceeded)
        self.assertEqual(self.reactor.getDelayedCalls(), [])
        self.successResultOf(watch.cleared())
        self.assertEqual(list(self.folder.iterdir()), [])

    def test_stopped(self) -> None:
        """It leaves no timer, and judges no job that has ended."""
        watch = self.watch(1)
        self.write("outputs/x", 2)
        self.reactor.held = []
        self.reactor.advance(disk.INTERVAL)
        watch.stop()
        self.reactor.release()
        self.assertEqual((self.told, watch.exceeded), ([], False))
        self.watch(1).stop()
        self.assertEqual(self.reactor.getDelayedCalls(), [])

    def test_unlimited(self) -> None:
        """Without a limit nothing is looked at."""
        self.watch(0)
        self.assertEqual(self.reactor.getDelayedCalls(), [])
