"""Tests for L{qgswps.removal}."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from twisted.trial.unittest import SkipTest, SynchronousTestCase

from qgswps import removal
from tests.live import ROOT

_AS_NOBODY = """
import os, sys
# Before, since nobody may not be able to read a checkout of root's.
from qgswps import removal
os.setgid(65534)
os.setuid(65534)
removal.removeTree(sys.argv[1])
"""


class RemovalTests(SynchronousTestCase):
    """What jobs leave."""

    def setUp(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="qgswps-removal-"))
        self.addCleanup(shutil.rmtree, self.folder)
        self.tree = self.folder / "tree"
        self.tree.mkdir()

    def test_all(self) -> None:
        """Files and folders go, what links lead to stays."""
        kept = self.folder / "kept"
        kept.mkdir()
        (kept / "file").write_text("x")
        (self.tree / "1.removed" / "a" / "b").mkdir(parents=True)
        (self.tree / "2.removed" / "a" / "b").mkdir(parents=True)
        (self.tree / "2.removed" / "a" / "b" / "file").write_text("x")
        (self.tree / "link").symlink_to(kept)
        (self.tree / "1.removed" / "link").symlink_to(kept)
        os.mkfifo(self.tree / "pipe")
        removal.empty(str(self.tree))
        self.assertEqual(list(self.tree.iterdir()), [])
        removal.removeTree(str(self.tree))
        self.assertFalse(self.tree.exists())
        self.assertEqual((kept / "file").read_text(), "x")

    def test_nothing(self) -> None:
        """No folder is no error, and a link is none."""
        removal.removeTree(str(self.folder / "nothing"))
        (self.tree / "file").write_text("x")
        link = self.folder / "link"
        link.symlink_to(self.tree)
        removal.removeTree(str(link))
        self.assertTrue((self.tree / "file").exists())

    def test_deep(self) -> None:
        """Deeper than a path can say, and than there are descriptors."""
        here = os.open(self.tree, os.O_RDONLY)
        for _ in range(5000):
            os.mkdir("d", dir_fd=here)
            below = os.open("d", os.O_RDONLY, dir_fd=here)
            os.close(here)
            here = below
        os.close(here)
        before = len(os.listdir("/proc/self/fd"))
        removal.removeTree(str(self.tree))
        self.assertFalse(self.tree.exists())
        self.assertEqual(len(os.listdir("/proc/self/fd")), before)

    def test_closed(self) -> None:
        """Folders that their owner has closed."""
        if os.geteuid() != 0:
            raise SkipTest("only root can become another user")
        deep = self.tree / "a" / "b" / "c"
        deep.mkdir(parents=True)
        for path in (self.folder, self.tree, deep, deep.parent, deep.parent.parent):
            os.chown(path, 65534, 65534)
        for path in (deep, deep.parent, deep.parent.parent, self.tree):
            path.chmod(0)
        done = subprocess.run(
            [sys.executable, "-c", _AS_NOBODY, str(self.tree)],
            env={"PYTHONPATH": ROOT},
            capture_output=True,
            text=True,
            check=False,
        )
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        self.assertFalse(self.tree.exists())
