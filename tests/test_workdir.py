"""Tests of L{qgswps.workdir}."""

from __future__ import annotations

import os
import shutil
import tempfile

from twisted.trial.unittest import SkipTest, SynchronousTestCase

from qgswps.workdir import InUse, WorkDirectory


class WorkDirectoryTests(SynchronousTestCase):
    """L{WorkDirectory}"""

    def setUp(self) -> None:
        self.path = os.path.abspath(os.path.join(self.mktemp(), "work"))

    def test_instance(self) -> None:
        """A server keeps its name, and others have other names."""
        first = WorkDirectory(self.path)
        first.release()
        again = WorkDirectory(self.path)
        self.addCleanup(again.release)
        self.assertEqual(again.instance, first.instance)
        other = WorkDirectory(f"{self.path}2")
        self.addCleanup(other.release)
        self.assertNotEqual(other.instance, first.instance)
        for folder in (again.jobs, again.pool):
            self.assertTrue(os.path.isdir(folder))

    def test_emptyName(self) -> None:
        """A name that a full disk has cut off is made anew."""
        WorkDirectory(self.path).release()
        with open(os.path.join(self.path, "instance"), "w"):
            pass
        again = WorkDirectory(self.path)
        self.addCleanup(again.release)
        self.assertTrue(again.instance)

    def test_oneServer(self) -> None:
        """Two servers can't have it at a time."""
        first = WorkDirectory(self.path)
        error = self.assertRaises(InUse, WorkDirectory, self.path)
        self.assertIn(self.path, str(error))
        first.release()
        WorkDirectory(self.path).release()

    def test_unusable(self) -> None:
        """A file in its place is an error that says so."""
        os.makedirs(os.path.dirname(self.path))
        with open(self.path, "w"):
            pass
        self.assertRaises(OSError, WorkDirectory, self.path)


class OwnerTests(SynchronousTestCase):
    """A work directory for another user, by root."""

    #: User and group of nobody.
    owner = (65534, 65534)

    def setUp(self) -> None:
        if os.geteuid() != 0:
            raise SkipTest("only root can give files away")
        # Trial's own folder may be for root alone.
        self.home = tempfile.mkdtemp()
        self.addCleanup(shutil.rmtree, self.home)
        os.chmod(self.home, 0o755)
        self.path = os.path.join(self.home, "var", "work")

    def owners(self) -> set[tuple[int, int]]:
        """Who owns what there is."""
        paths = [self.path]
        for folder, folders, files in os.walk(self.path):
            paths += [os.path.join(folder, name) for name in (*folders, *files)]
        statuses = [os.stat(path) for path in paths]
        return {(status.st_uid, status.st_gid) for status in statuses}

    def test_made(self) -> None:
        """What is made is the user's, where only root may write."""
        WorkDirectory(self.path, self.owner).release()
        self.assertEqual(self.owners(), {self.owner})
        self.assertEqual(os.stat(os.path.dirname(self.path)).st_uid, 0)
        self.assertEqual((os.geteuid(), os.getegid()), (0, 0))
        # Once more, with all there.
        WorkDirectory(self.path, self.owner).release()

    def test_empty(self) -> None:
        """An empty directory is given away."""
        os.makedirs(self.path)
        WorkDirectory(self.path, self.owner).release()
        self.assertEqual(self.owners(), {self.owner})

    def test_others(self) -> None:
        """One with something in it is not: it may be anything."""
        os.makedirs(os.path.join(self.path, "something"))
        self.assertRaises(PermissionError, WorkDirectory, self.path, self.owner)
        self.assertEqual(self.owners(), {(0, 0)})
        self.assertEqual((os.geteuid(), os.getegid()), (0, 0))
