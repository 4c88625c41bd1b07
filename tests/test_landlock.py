"""Tests for L{qgswps.landlock}."""

from __future__ import annotations

import os
import subprocess
import sys

from twisted.trial.unittest import SkipTest, SynchronousTestCase

from qgswps import landlock

_PROGRAM = """
import os, sys
from qgswps import landlock
folder, version = sys.argv[1], int(sys.argv[2])
rules = landlock.Ruleset(version, tcp=True)
for path, rights in (("/usr", landlock.RUN), (folder, landlock.ALL)):
    descriptor = os.open(path, os.O_PATH)
    rules.allow(descriptor, rights)
    os.close(descriptor)
descriptor = os.open("/dev/null", os.O_PATH)
rules.allow(descriptor, landlock.READ | landlock.WRITE_FILE, isFolder=False)
rules.enforce()
def attempt(path, mode):
    try:
        with open(path, mode):
            return "yes"
    except PermissionError:
        return "no"
print(
    attempt(os.path.join(folder, "new"), "w"),
    attempt("/dev/null", "w"),
    attempt(sys.executable, "rb"),
    attempt("/etc/passwd", "rb"),
    attempt(os.path.join(os.path.dirname(folder), "other"), "w"),
)
"""


class RulesetTests(SynchronousTestCase):
    """L{landlock.Ruleset}, by each version that this kernel knows."""

    def test_versions(self) -> None:
        """What rules allow is possible, and nothing else."""
        newest = landlock.version()
        if not newest:
            raise SkipTest("this kernel has no Landlock")
        for version in range(1, newest + 1):
            with self.subTest(version=version):
                folder = os.path.join(os.path.abspath(self.mktemp()), "own")
                os.makedirs(folder)
                done = subprocess.run(
                    [sys.executable, "-c", _PROGRAM, folder, str(version)],
                    capture_output=True,
                    check=False,
                    text=True,
                    env={"PYTHONPATH": os.pathsep.join(sys.path)},
                )
                self.assertEqual(done.stdout.split(), ["yes", "yes", "yes", "no", "no"])
                self.assertEqual(done.stderr, "")
