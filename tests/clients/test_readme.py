"""What README.md shows, as it stands there: curl's lines and the script."""

from __future__ import annotations

import json
import os
import re
import subprocess
import textwrap

from twisted.trial import unittest

from tests import live
from tests.clients.session import DEBIAN, NEWEST

_HERE = "http://127.0.0.1:8080/"


class ReadmeTests(unittest.TestCase):
    """Each example gives what the text says."""

    def setUp(self) -> None:
        with open(os.path.join(live.ROOT, "README.md"), encoding="utf-8") as file:
            self.text = file.read()
        self.url = live.sharedServer().url

    def run_(self, *command: str) -> str:
        """What a command prints."""
        done = subprocess.run(
            command,
            capture_output=True,
            text=True,
            timeout=live.PATIENCE,
            check=False,
            env={**os.environ, "no_proxy": "127.0.0.1"},
        )
        self.assertEqual(done.returncode, 0, done.stderr)
        return done.stdout

    def test_curl(self) -> None:
        """A buffer in a project, and features that come with the request."""
        blocks = re.findall(r"^    curl (?:.*\\\n)*.*$", self.text, re.MULTILINE)
        self.assertEqual(len(blocks), 2)
        counts = []
        for block in blocks:
            self.assertIn(_HERE, block)
            command = textwrap.dedent(block).replace(_HERE, self.url)
            found = json.loads(self.run_("sh", "-c", command + " --silent --fail"))
            counts.append(len(found["features"]))
        self.assertGreater(counts[0], 10)
        self.assertEqual(counts[1], 1)

    def test_owslib(self) -> None:
        """With Debian's OWSLib and with the newest."""
        [script] = re.findall(r"```python\n(.*?)```", self.text, re.DOTALL)
        self.assertIn(_HERE, script)
        script = script.replace(_HERE, self.url)
        for python in (DEBIAN, NEWEST):
            printed = self.run_(python, "-W", "ignore", "-c", script)
            self.assertRegex(printed, r"[0-9]{3} processes")
            self.assertRegex(printed, r"[1-9][0-9]+ zones")
