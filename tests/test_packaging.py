"""What the packages consist of fits the code."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

from twisted.trial import unittest

import qgswps
from qgswps.config import SECTIONS, Settings, load

ROOT = Path(__file__).resolve().parent.parent
DEBIAN = ROOT / "debian"


def unit() -> dict[str, str]:
    """The last value of each setting of the service's unit."""
    text = (DEBIAN / "qgswps.service").read_text()
    return dict(re.findall(r"^(\w+)=(.*)$", text, re.MULTILINE))


def option(name: str) -> list[str]:
    """The values of an option in the service's command line."""
    words = shlex.split(unit()["ExecStart"])
    start = f"--{name}="
    return [word.removeprefix(start) for word in words if word.startswith(start)]


class DebianTests(unittest.SynchronousTestCase):
    """The packages of Debian."""

    def test_version(self) -> None:
        first = (DEBIAN / "changelog").read_text().splitlines()[0]
        found = re.match(r"qgswps \(([^)]+)\) ", first)
        assert found is not None, first
        self.assertEqual(found[1], qgswps.__version__)

    def test_txredisapi(self) -> None:
        """The packaged version is the one that the tests run with."""
        wanted = (ROOT / "requirements-run.txt").read_text().splitlines()[-1]
        packaged = (ROOT / "packaging" / "txredisapi" / "sdist.txt").read_text()
        self.assertIn(f"\n{wanted} --hash=sha256:", packaged)
        changelog = ROOT / "packaging" / "txredisapi" / "debian" / "changelog"
        version = wanted.partition("==")[2]
        first = changelog.read_text().splitlines()[0]
        self.assertTrue(first.startswith(f"txredisapi ({version}-1~qgswps1) "), first)

    def test_dependencies(self) -> None:
        """What a checkout installs to run is what the package depends on."""
        text = (ROOT / "tools" / "install").read_text()
        found = re.search(r"^runPackages='\n(.*?)^'", text, re.DOTALL | re.MULTILINE)
        assert found is not None
        # Those come by ${python3:Depends}, and for .venv.
        byPython = {"attr", "cattr", "lxml", "twisted", "yaml", "zope.interface"}
        expected = {
            *(set(found[1].split()) - {"ca-certificates", "python3", "python3-venv"}),
            "python3-txredisapi",
        } - {f"python3-{name}" for name in byPython}
        control = (DEBIAN / "control").read_text()
        (depends,) = re.findall(r"^Depends:\n((?: .*\n)+)", control, re.MULTILINE)
        listed = {each.strip(" ,") for each in depends.splitlines()}
        self.assertLessEqual(expected, listed)

    def settings(self, change: tuple[str, str] = ("", "")) -> Settings:
        """
        The packaged configuration.

        @param change: a line, and another in its place.
        """
        text = subprocess.run(
            [sys.executable, DEBIAN / "makeconf.py"],
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            check=True,
            text=True,
            stdout=subprocess.PIPE,
        ).stdout
        before, after = change
        if before:
            self.assertEqual(text.count(f"\n{before}\n"), 1)
            text = text.replace(f"\n{before}\n", f"\n{after}\n")
        for section in SECTIONS:
            self.assertIn(f"[{section.name}]", text)
            for key in section.keys:
                self.assertRegex(text, rf"(?m)^#{re.escape(key.name)} =")
        path = self.mktemp()
        Path(path).write_text(text)
        return load(path, {}, {})

    def test_configuration(self) -> None:
        """It selects Redis, and has each key with its default."""
        settings = self.settings()
        self.assertEqual(settings.storeURL.host, "localhost")  # type: ignore[union-attr]
        self.assertEqual(settings.server.workdir, "/var/lib/qgswps")
        self.assertEqual(settings.projects.rootdir, "/etc/qgswps/projects")
        self.assertEqual(
            tuple(settings.processing.providersModulePath), ("/etc/qgswps/algorithms",)
        )

    def test_sqlite(self) -> None:
        """One line switches to SQLite."""
        settings = self.settings(("host = localhost", "#host = localhost"))
        self.assertEqual(
            settings.storeURL.path,  # type: ignore[union-attr]
            "/var/lib/qgswps/jobs.sqlite",
        )

    def test_unit(self) -> None:
        """It names what is there, in its options and beside them."""
        self.assertEqual(option("config"), ["/etc/qgswps/qgswps.conf"])
        self.assertEqual(unit()["StateDirectory"], "qgswps")
        users = (DEBIAN / "qgswps.sysusers").read_text().split()
        self.assertEqual(users[:2], ["u", unit()["User"]])
        server = Settings().server
        patience = server.stopGrace + server.cancelGrace
        self.assertGreater(float(unit()["TimeoutStopSec"]), patience)
        self.assertGreater(float(unit()["TimeoutStartSec"]), server.startTimeout)


class ImageTests(unittest.SynchronousTestCase):
    """The Dockerfile, as far as it can be told without building it."""

    def setUp(self) -> None:
        text = (ROOT / "Dockerfile").read_text().replace("\\\n", "")
        self.lines = [line for line in text.splitlines() if line[:1].isupper()]

    def words(self, instruction: str) -> list[list[str]]:
        """The words of all lines with an instruction."""
        return [line.split()[1:] for line in self.lines if line.startswith(instruction)]

    def test_stages(self) -> None:
        """What is copied is in the checkout, or in a stage before."""
        self.assertEqual(
            [each[0] for each in self.words("FROM")], ["debian:12-slim"] * 2
        )
        copied = self.words("COPY")
        self.assertEqual(copied[0], [".", "/source"])
        self.assertEqual(copied[1][:2], ["--from=build", "/source/dist/*.deb"])
        (built,) = (each for each in self.words("RUN") if each[0] == "cd")
        self.assertEqual(built, ["cd", "/source", "&&", "tools/deb"])
        self.assertTrue(os.access(ROOT / "tools" / "deb", os.X_OK))

    def test_command(self) -> None:
        """It runs what the unit runs."""
        (command,) = self.words("CMD")
        self.assertEqual(
            json.loads(" ".join(command)), shlex.split(unit()["ExecStart"])
        )

    def test_environment(self) -> None:
        """Its variables are settings."""
        (pairs,) = self.words("ENV")
        environment = dict(pair.split("=", 1) for pair in pairs)
        warnings: list[str] = []
        settings = load(None, environment, {}, warnings.append)
        self.assertEqual(warnings, [])
        self.assertEqual(tuple(settings.server.interfaces), ("0.0.0.0",))
