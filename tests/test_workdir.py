"""Tests of L{qgswps.workdir}."""

from __future__ import annotations

import os

from twisted.trial.unittest import SynchronousTestCase

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
