"""Tests of L{qgswps.credentials}."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import bcrypt
from twisted.trial.unittest import SkipTest, SynchronousTestCase

from qgswps.config import ConfigurationError, load
from qgswps.credentials import (
    NOBODY,
    CredentialsError,
    forSettings,
    matches,
    parse,
    passwordLine,
    tokenLine,
)
from tests.live import ROOT

HASH = bcrypt.hashpw(b"s3cret", bcrypt.gensalt(4)).decode()


def run(*arguments: str, typed: str = "") -> subprocess.CompletedProcess[str]:
    """Run the command."""
    return subprocess.run(
        [sys.executable, "-m", "qgswps.credentials", *arguments],
        input=typed,
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTHONPATH": ROOT},
    )


class FileTests(SynchronousTestCase):
    """What is in the file."""

    def test_parsed(self) -> None:
        """Names with passwords and tokens, comments and empty lines."""
        lines = ["# us", "", f" ada lovelace:{HASH}  ", tokenLine("robot", "t0ken")]
        found = parse("\n".join(lines))
        self.assertEqual(found.passwords, {"ada lovelace": HASH.encode()})
        self.assertEqual(found.bearer("t0ken"), "robot")
        for wrong in ("", "t0ke", "robot", "ä", "t0ken "):
            self.assertIsNone(found.bearer(wrong))
        # They are not where a traceback might show them.
        self.assertNotIn("$", repr(found))

    def test_wrong(self) -> None:
        """What can't be used is told by its line, and nothing of it is."""
        for line, expected in [
            ("s3cret", "line 2: expected NAME:HASH"),
            (f":{HASH}", "line 2: expected NAME:HASH"),
            (f"a:{HASH}", "line 2: 'a' is there twice"),
            ("b:s3cret", "line 2: expected a hash by bcrypt"),
            ("b:$apr1$x$s3cret", "line 2: expected a hash by bcrypt"),
            ("b:{SHA}s3cret=", "line 2: expected a hash by bcrypt"),
            (f"b:{HASH}x", "line 2: expected a hash by bcrypt"),
            (f"b:{HASH.replace('$04$', '$16$')}", "line 2: expected a hash by bcrypt"),
            ("b:$token$sha256$abc", "line 2: expected a hash by bcrypt"),
        ]:
            error = self.assertRaises(CredentialsError, parse, f"a:{HASH}\n{line}")
            self.assertTrue(str(error).startswith(expected), error)
            self.assertNotIn("s3cret", str(error))
        self.assertRaises(CredentialsError, parse, "# nobody\n")

    def test_matches(self) -> None:
        """Hashes of bcrypt, in all the forms that there are."""
        for kind in ("2b", "2a", "2y"):
            hashed = HASH.replace("$2b$", f"${kind}$").encode()
            self.assertTrue(matches(b"s3cret", hashed))
            for wrong in (b"", b"s3cre", b"s3cret ", b"s3cret\0", b"x" * 1000):
                self.assertFalse(matches(wrong, hashed))
        long = "ä" * 50
        self.assertTrue(
            matches(long.encode(), passwordLine("a", long).encode().split(b":")[1])
        )
        for password in (b"", b"x"):
            self.assertFalse(matches(password, NOBODY))

    def test_htpasswd(self) -> None:
        """What Apache's program writes."""
        if shutil.which("htpasswd") is None:
            raise SkipTest("htpasswd is not installed")
        line = subprocess.check_output(
            ["htpasswd", "-niB", "ada"], input="s3cret", text=True
        )
        found = parse(line)
        self.assertTrue(matches(b"s3cret", found.passwords["ada"]))

    def test_settings(self) -> None:
        """A file that can't be used is named, with the key that names it."""
        self.assertIsNone(forSettings(load(None, {}, {})))
        path = os.path.abspath(self.mktemp())
        environ = {"QGSWPS_AUTHENTICATION_CREDENTIALS": path}
        place = "QGSWPS_AUTHENTICATION_CREDENTIALS"
        for content, expected in [
            (None, f"{place}: {path}: No such file or directory"),
            (b"\xff", f"{place}: {path}: expected UTF-8"),
            (b"a", f"{place}: {path}: line 1: expected NAME:HASH"),
        ]:
            if content is not None:
                Path(path).write_bytes(content)
            settings = load(None, environ, {})
            error = self.assertRaises(ConfigurationError, forSettings, settings)
            self.assertEqual(str(error), expected)


class CommandTests(SynchronousTestCase):
    """The command that makes lines."""

    def test_password(self) -> None:
        """A password that is typed, or comes by a pipe."""
        done = run("password", "ada", typed="s3cret\n")
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        self.assertTrue(matches(b"s3cret", parse(done.stdout).passwords["ada"]))
        for name, typed in [("ada", "\n"), ("ada", "x" * 73), ("a:b", "x")]:
            done = run("password", name, typed=typed)
            self.assertEqual((done.returncode, done.stdout), (2, ""))

    def test_token(self) -> None:
        """A token is new each time, and stands in the line only as a hash."""
        tokens = set()
        for _ in range(2):
            done = run("token", "robot")
            token = done.stderr.strip()
            self.assertGreaterEqual(len(token), 43)
            self.assertNotIn(token, done.stdout)
            self.assertEqual(parse(done.stdout).bearer(token), "robot")
            tokens.add(token)
        self.assertEqual(len(tokens), 2)
