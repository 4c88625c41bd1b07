"""Access policies of a real server."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from twisted.trial.unittest import TestCase

from tests.live import ROOT, Answer, LiveServer, liveServer, sharedServer

#: What the shipped policy hides, and a worker could run.
DENIED = ("native:filedownloader", "native:truncatetable", "gdal:rastercalculator")


def ask(
    server: LiveServer, operation: str, identifier: str = "", **headers: str
) -> Answer:
    """A request of WPS 1.0.0, with headers."""
    query = {"service": "WPS", "version": "1.0.0", "request": operation}
    if identifier:
        query["identifier"] = identifier
    named = {name.replace("_", "-"): text for name, text in headers.items()}
    return server.request("GET", "ows/?" + urlencode(query), headers=named)


def sees(server: LiveServer, identifier: str, **headers: str) -> bool:
    """Whether all operations know a process."""
    name = identifier.encode()
    described = ask(server, "DescribeProcess", identifier, **headers)
    executed = ask(server, "Execute", identifier, **headers)
    [answer] = {
        b">%b<" % name in ask(server, "GetCapabilities", **headers).body,
        b">%b<" % name in ask(server, "DescribeProcess", "all", **headers).body,
        described.status == 200,
        b"there is no process" not in executed.body,
    }
    return answer


class ShippedTests(TestCase):
    """The policy that is shipped."""

    def test_denied(self) -> None:
        """What it denies is answered like what does not exist."""
        server = sharedServer()
        for identifier in (*DENIED, "native:postgisexecutesql"):
            self.assertFalse(sees(server, identifier), identifier)
            for operation in ("DescribeProcess", "Execute"):
                denied, unknown = (
                    ask(server, operation, name) for name in (identifier, "x:y")
                )
                self.assertEqual(
                    denied.body.replace(identifier.encode(), b"x:y"), unknown.body
                )
                self.assertEqual((denied.status, unknown.status), (400, 400))
        self.assertTrue(sees(server, "native:buffer"))

    def test_inputs(self) -> None:
        """Programs get no further arguments from clients."""
        server = sharedServer()
        described = ask(server, "DescribeProcess", "gdal:translate").text
        self.assertIn(">NODATA<", described)
        for name in ("EXTRA", "OPTIONS"):
            self.assertNotIn(f">{name}<", described)
            answer = server.execute(
                "gdal:translate", {"INPUT": "elevation", name: "-q"}, MAP="world"
            )
            self.assertEqual(answer.status, 400)
            self.assertIn(f"has no input '{name}'", answer.text.replace("&#39;", "'"))


class NoneTests(TestCase):
    """No policy."""

    def test_none(self) -> None:
        """All is there, by the environment."""
        with liveServer(QGSWPS_PROCESSING_ACCESSPOLICY="none") as server:
            for identifier in DENIED:
                self.assertTrue(sees(server, identifier), identifier)
            described = ask(server, "DescribeProcess", "gdal:translate").text
            self.assertIn(">EXTRA<", described)


class OwnTests(TestCase):
    """A policy of the site's own."""

    def setUp(self) -> None:
        folder = tempfile.TemporaryDirectory(prefix="qgswps-test-")
        self.addCleanup(folder.cleanup)
        self.path = Path(folder.name, "policy.yml")

    def write(self, text: str) -> None:
        """Replace the policy, as a careful administrator does."""
        new = self.path.with_suffix(".new")
        new.write_text(text)
        new.replace(self.path)

    def server(self, **environment: str) -> Any:
        """A server with that policy."""
        return liveServer(QGSWPS_PROCESSING_ACCESSPOLICY=str(self.path), **environment)

    def test_reload(self) -> None:
        """A change is taken up; a fault is not, and the log says why, once."""
        self.write("include: default\ndeny: ['native:buffer']\n")
        with self.server() as server:
            self.assertFalse(sees(server, "native:buffer"))
            self.assertFalse(sees(server, "native:filedownloader"))
            self.write("deny: ['native:centroids']\n")
            server.waitUntil(
                lambda: b">native:buffer<" in ask(server, "GetCapabilities").body,
                "the change is not taken up",
            )
            self.assertTrue(sees(server, "native:buffer"))
            self.assertTrue(sees(server, "native:filedownloader"))
            self.assertFalse(sees(server, "native:centroids"))
            self.write("deny: ['native:buffer']\nallows: []\n")
            told = f"{self.path}: line 2: "
            server.waitUntil(lambda: told in server.log(), "the fault is not told")
            # It is looked at again each second.
            time.sleep(2.5)
            self.assertEqual(server.log().count(told), 1, server.log())
            self.assertIn("did you mean allow?", server.log())
            self.assertTrue(sees(server, "native:buffer"))
            self.assertFalse(sees(server, "native:centroids"))

    def test_headers(self) -> None:
        """Rules tell realms and groups apart, and a proxy is believed."""
        self.write(
            "include: default\n"
            "deny: ['gdal:*']\n"
            "rules:\n"
            "  - groups: [editors]\n"
            "    allow: ['gdal:*']\n"
            "  - realms: [operators]\n"
            "    allow: ['*', '*/*']\n"
        )
        with self.server(QGSWPS_SERVER_HTTP_PROXY="yes") as server:
            for headers, translate, download in [
                ({}, False, False),
                ({"X_Lizmap_User_Groups": "users, editors"}, True, False),
                ({"X_Lizmap_User_Groups": "users"}, False, False),
                ({"X_Job_Realm": "operators"}, True, True),
                ({"X_Job_Realm": "others"}, False, False),
            ]:
                found = (
                    sees(server, "gdal:translate", **headers),
                    sees(server, "native:filedownloader", **headers),
                )
                self.assertEqual(found, (translate, download), headers)
            for headers, extra in [
                ({"X_Lizmap_User_Groups": "editors"}, False),
                ({"X_Job_Realm": "operators"}, True),
            ]:
                text = ask(server, "DescribeProcess", "gdal:translate", **headers).text
                self.assertEqual(">EXTRA<" in text, extra, headers)

    def test_broken(self) -> None:
        """A server does not start with a policy that it can't use."""
        self.write("deny: ['native:buffer']\nrules:\n  - group: a\n")
        for options in (("--check",), ("--port", "0", "--workdir", "work")):
            done = subprocess.run(
                [
                    *(sys.executable, "-c"),
                    "from twisted.scripts.twistd import run; run()",
                    *("--nodaemon", "--pidfile=", "qgswps", *options),
                ],
                cwd=self.path.parent,
                env={
                    **os.environ,
                    "PYTHONPATH": ROOT,
                    "QGSWPS_PROCESSING_ACCESSPOLICY": str(self.path),
                },
                capture_output=True,
                text=True,
                timeout=60,
                check=False,
            )
            self.assertEqual(done.returncode, 1, done)
            self.assertTrue(done.stderr.startswith("qgswps: "), done.stderr)
            self.assertIn(f"{self.path}: line 3: ", done.stderr)
            self.assertIn("did you mean groups?", done.stderr)
            self.assertNotIn("Traceback", done.stderr)
