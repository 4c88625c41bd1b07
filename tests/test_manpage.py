"""Tests of L{qgswps.manpage}."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

from twisted.trial.unittest import SkipTest, SynchronousTestCase

import qgswps
from qgswps import manpage
from qgswps.config import SECTIONS
from qgswps.tap import Options

ROOT = Path(qgswps.__file__).parent.parent

PAGES = {"qgswps.8": manpage.man8, "qgswps.conf.5": manpage.conf5}


def run(*command: str, text: str = "") -> subprocess.CompletedProcess[str]:
    """Run a tool, which has to be there."""
    if shutil.which(command[0]) is None:
        raise SkipTest(f"{command[0]} is not installed")
    return subprocess.run(
        command, input=text, capture_output=True, text=True, timeout=60, check=False
    )


def shown(page: str) -> str:
    """A page as readers see it, in one line."""
    done = run("groff", "-man", "-Tutf8", "-Kutf8", "-P-cbou", text=page)
    return re.sub(
        r"\s+", " ", done.stdout.replace("\u2010", "-").replace("\u2212", "-")
    )


class ManPageTests(SynchronousTestCase):
    """Both pages."""

    def test_valid(self) -> None:
        """The formatter has nothing to say against them."""
        for name, make in PAGES.items():
            for warnings in ("-ww", "-wmac"):
                done = run(
                    *("groff", "-man", "-Tutf8", "-Kutf8", warnings, "-z"),
                    text=make(),
                )
                self.assertEqual((done.returncode, done.stderr), (0, ""), name)

    def test_ascii(self) -> None:
        """They need no encoding."""
        for name, make in PAGES.items():
            self.assertTrue(make().isascii(), name)

    def test_name(self) -> None:
        """The index of manual pages gets their names and what they are about."""
        for name, make in PAGES.items():
            path = Path(self.mktemp())
            path.mkdir()
            file = path / name
            file.write_text(make())
            done = run("lexgrog", str(file))
            title = name.rpartition(".")[0]
            self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
            self.assertIn(f'"{title} - ', done.stdout)
            done = run("man", "--warnings", "-l", str(file))
            self.assertEqual((done.returncode, done.stderr), (0, ""))

    def test_complete(self) -> None:
        """No key, no variable and no option is missing."""
        conf = shown(manpage.conf5())
        for section in SECTIONS:
            self.assertIn(f"Section [{section.name}].", conf)
            for key in section.keys:
                for word in (*key.names, *key.variables, f"Since {key.since}."):
                    self.assertIn(word, conf)
                help = " ".join(key.help.replace("…", "...").split())
                self.assertIn(help, conf)
            for name in section.obsolete:
                self.assertIn(name, conf)
        command = shown(manpage.man8())
        for name in Options().longOpt:
            self.assertIn(f"--{name.rstrip('=')}", command)
        self.assertIn("-p VALUE, --port=VALUE The TCP port to listen on", command)
        self.assertIn("-d, --debug Log at level debug.", command)

    def test_command(self) -> None:
        """They are written by the command that packagers call."""
        for word, make in (("man8", manpage.man8), ("conf5", manpage.conf5)):
            done = subprocess.run(
                [sys.executable, "-m", "qgswps.configdoc", word],
                cwd=ROOT,
                capture_output=True,
                text=True,
                timeout=60,
                check=False,
            )
            self.assertEqual((done.returncode, done.stdout), (0, make()))
