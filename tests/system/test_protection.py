"""What keeps strangers out, and results from doing what they are not for."""

from __future__ import annotations

import atexit
import json
import os
import re
import shutil
import subprocess
import tempfile
import threading
import time
from base64 import b64encode
from functools import cache
from pathlib import Path
from typing import Any, ClassVar
from urllib.parse import quote

import bcrypt
from owslib.util import Authentication
from owslib.wms import WebMapService
from owslib.wps import WebProcessingService
from twisted.trial.unittest import SkipTest, SynchronousTestCase

from qgswps.credentials import passwordLine, tokenLine
from tests import live
from tests.live import Answer, LiveServer
from tests.system.test_browser import CHROMIUM

PASSWORD = "s3cret-of-ada"
TOKEN = "t0ken-of-the-robot"


def basic(name: str, password: str) -> dict[str, str]:
    """The header for a name and a password."""
    text = b64encode(f"{name}:{password}".encode()).decode()
    return {"Authorization": f"Basic {text}"}


ADA = basic("ada", PASSWORD)
ROBOT = {"Authorization": f"Bearer {TOKEN}"}


class GuardedServer(LiveServer):
    """A server for Ada and a robot, which is asked by Ada."""

    twistd: ClassVar = ("--logger", "qgswps.journal.plain")

    def __init__(self) -> None:
        folder = tempfile.mkdtemp(prefix="qgswps-test-")
        atexit.register(shutil.rmtree, folder)
        self.file = Path(folder, "credentials")
        lines = (passwordLine("ada", PASSWORD), tokenLine("robot", TOKEN))
        self.file.write_text("\n".join(lines) + "\n")
        super().__init__(QGSWPS_AUTHENTICATION_CREDENTIALS=str(self.file))

    def request(
        self,
        method: str,
        path: str,
        body: bytes | str | None = None,
        headers: dict[str, str] | None = None,
    ) -> Answer:
        """See L{LiveServer}."""
        return super().request(method, path, body, ADA if headers is None else headers)


@cache
def guarded() -> GuardedServer:
    """One for tests that only read, and fail to log in no more than once."""
    return GuardedServer()


def curl(*arguments: str) -> tuple[int, str]:
    """The status and the body that curl has."""
    done = subprocess.run(
        ["curl", "-s", "-w", "\n%{http_code}", *arguments],
        capture_output=True,
        text=True,
        check=True,
        timeout=live.PATIENCE,
    )
    body, _, status = done.stdout.rpartition("\n")
    return int(status), body


class AuthenticatedCase(SynchronousTestCase):
    """A server that is not for everybody."""

    def setUp(self) -> None:
        self.server = self.serve()

    def serve(self) -> GuardedServer:
        """The server to test."""
        return guarded()

    def statusFor(self, headers: dict[str, str], path: str = "status/") -> int:
        """What somebody gets."""
        return self.server.request("GET", path, None, headers).status


class AuthenticationTests(AuthenticatedCase):
    """Who is let in, and how."""

    def test_clients(self) -> None:
        """Real ones, with what they can send, from the list to a map."""
        url = f"{self.server.url}ows/"
        capabilities = f"{url}?service=WPS&request=GetCapabilities"
        if shutil.which("curl") is None:
            raise SkipTest("curl is not installed")
        self.assertEqual(curl(capabilities)[0], 401)
        self.assertEqual(curl("-u", "ada:x", capabilities)[0], 401)
        for options in (
            ("-u", f"ada:{PASSWORD}"),
            ("--anyauth", "-u", f"ada:{PASSWORD}"),
            ("-H", f"Authorization: Bearer {TOKEN}"),
        ):
            status, body = curl(*options, capabilities)
            self.assertEqual(status, 200, options)
            self.assertIn("native:buffer", body)
        login = {"username": "ada", "password": PASSWORD}
        wps = WebProcessingService(url, skip_caps=True, **login)
        wps.getcapabilities()
        self.assertIn("native:buffer", [each.identifier for each in wps.processes])
        answer = self.server.execute(
            "native:buffer",
            {"INPUT": "cities", "DISTANCE": 2, "OUTPUT": "zones"},
            map="world",
        )
        (reference,) = re.findall(r'Reference[^>]* href="([^"]+)"', answer.text)
        reference = reference.replace("&amp;", "&")
        self.assertEqual(curl(reference)[0], 401)
        base = re.sub("&service=.*", "", reference)
        wms = WebMapService(base, "1.3.0", auth=Authentication(**login))
        image = wms.getmap(
            layers=["zones"],
            srs="EPSG:4326",
            bbox=(-90, -180, 90, 180),
            size=(64, 32),
            format="image/png",
        )
        self.assertTrue(image.read().startswith(b"\x89PNG"))
        self.noTraces()

    def noTraces(self) -> None:
        """Nothing of what was sent to log in is left anywhere."""
        secrets = {PASSWORD, TOKEN, ADA["Authorization"].removeprefix("Basic ")}
        log = self.server.log()
        paths = [
            each for each in Path(self.server.workdir).rglob("*") if each.is_file()
        ]
        self.assertTrue(any(each.name == "task.json" for each in paths))
        for secret in secrets:
            self.assertNotIn(secret, log)
            for each in paths:
                self.assertNotIn(secret.encode(), each.read_bytes(), each)
        for pid in self.server.children():
            for name in ("environ", "cmdline"):
                data = Path(f"/proc/{pid}/{name}").read_bytes()
                for secret in secrets:
                    self.assertNotIn(secret.encode(), data)

    def test_open(self) -> None:
        """What looks after the server needs no password; its figures do."""
        for path, expected in [("healthz", 200), ("readyz", 200), ("metrics", 401)]:
            self.assertEqual(self.statusFor({}, path), expected, path)
        self.assertEqual(self.statusFor(ADA, "metrics"), 200)
        answer = self.server.request("OPTIONS", "ows/", None, {"Origin": "https://a"})
        self.assertEqual(answer.status, 204)
        self.assertIn("Authorization", answer.headers["access-control-allow-headers"])

    def test_requests(self) -> None:
        """A request that is refused can be found in both logs by its id."""
        answer = self.server.request("GET", "jobs/x/files/../../y", None, ADA)
        self.assertEqual(answer.status, 404)
        name = answer.headers["x-request-id"]
        lines = [line for line in self.server.log().splitlines() if name in line]
        self.assertEqual(len(lines), 2, lines)
        self.assertIn("security: event=path-refused client=127.0.0.1", lines[0])
        self.assertIn('"127.0.0.1" - ada - "GET /jobs/x/files/../../y', lines[1])


class RefusalTests(AuthenticatedCase):
    """Who is not let in."""

    def serve(self) -> GuardedServer:
        """One of its own: it counts what is wrong."""
        server = GuardedServer()
        self.addCleanup(server.stop)
        return server

    def test_refused(self) -> None:
        """All that is told of who is refused."""
        self.file()
        self.guessing()

    def file(self) -> None:
        """A change of the file is taken up, and what is wrong with one is told."""
        eve = basic("eve", "x")
        hashed = bcrypt.hashpw(b"x", bcrypt.gensalt(4)).decode()
        self.server.file.write_text(f"eve:{hashed}\n")
        self.server.waitUntil(
            lambda: "the credentials have changed" in self.server.log(), "no news"
        )
        self.assertEqual(self.statusFor(eve), 200)
        self.assertEqual(self.statusFor(ADA), 401)
        self.server.file.write_text("eve\n")
        self.server.waitUntil(
            lambda: "the credentials stay as they were" in self.server.log(), "no line"
        )
        self.assertEqual(self.statusFor(eve), 200)
        token = tokenLine("robot", TOKEN)
        self.server.file.write_text(f"eve:{hashed}\n{token}\n")
        self.server.waitUntil(
            lambda: self.server.log().count("credentials have changed") == 2, "no news"
        )

    def guessing(self) -> None:
        """Who guesses holds nobody up, waits soon, and fills no log."""
        statuses: list[int] = []

        def guess(number: int) -> None:
            for n in range(10):
                headers = basic(f"u{number}", str(n))
                statuses.append(self.statusFor(headers))

        threads = [threading.Thread(target=guess, args=(n,)) for n in range(6)]
        for each in threads:
            each.start()
        longest = 0.0
        while any(each.is_alive() for each in threads):
            began = time.monotonic()
            self.assertEqual(self.statusFor({}, "healthz"), 200)
            self.assertEqual(self.statusFor(ROBOT), 200)
            longest = max(longest, time.monotonic() - began)
        self.assertLess(longest, 2)
        self.assertEqual(statuses.count(401) + statuses.count(429), 60)
        self.assertLessEqual(statuses.count(401), 10)
        # Eve was there before.
        self.assertEqual(self.statusFor(basic("eve", "x")), 200)
        lines = [line for line in self.server.log().splitlines() if "=auth" in line]
        self.assertGreater(len(lines), 10)
        self.assertLessEqual(len(lines), 20)
        for line in lines:
            self.assertRegex(
                line,
                r"^<4>security: event=authentication-(failed|throttled)"
                r" client=127\.0\.0\.1 request=[0-9a-f]{16}"
                r"( user=\w+)?( scheme=\w+)?( omitted=\d+)?$",
            )
        page = Path(live.ROOT, "docs", "operations.md").read_text()
        pattern = re.search("failregex = (.*)", page)
        assert pattern is not None
        matching = re.compile(pattern[1].replace("<HOST>", r"(?P<host>\S+)"))
        for line in lines:
            found = matching.search(line)
            assert found is not None
            self.assertEqual(found["host"], "127.0.0.1")


#: Tries to read the server, and says how far it came.
HOSTILE = """<!DOCTYPE html><html><body><p id="said">nothing ran</p>
<form id="form" action="SERVER/ows/" method="post"></form>
<script>
const found = {ran: true, origin: self.origin};
const say = () => {
  document.getElementById("said").textContent = JSON.stringify(found);
};
const attempt = (name, work) => {
  found[name] = "waits";
  Promise.resolve().then(work).then(
    value => { found[name] = "read " + value; say(); },
    error => { found[name] = "refused"; say(); });
};
attempt("fetch", () => fetch("SERVER/status/").then(r => r.text()).then(t => t.length));
attempt("credentials", () => fetch("SERVER/status/", {credentials: "include"})
  .then(r => r.text()).then(t => t.length));
attempt("xhr", () => new Promise((done, fail) => {
  const request = new XMLHttpRequest();
  request.onload = () => done(request.responseText.length);
  request.onerror = fail;
  request.open("GET", "SERVER/status/");
  request.send();
}));
attempt("beacon", () => fetch("SERVER/ows/", {method: "POST", mode: "no-cors",
  credentials: "include", body: "<x/>"}).then(() => "sent"));
attempt("storage", () => localStorage.length);
attempt("cookies", () => document.cookie.length);
attempt("frame", () => new Promise((done, fail) => {
  const frame = document.createElement("iframe");
  frame.onload = () => {
    try { done(frame.contentDocument.body.textContent.length); } catch (e) { fail(e); }
  };
  frame.src = "SERVER/";
  document.body.append(frame);
}));
say();
</script></body></html>
"""


def visited(url: str, seconds: int = 4) -> tuple[str, list[str]]:
    """The document at a URL after a while, and what the browser complains of."""
    with tempfile.TemporaryDirectory() as profile:
        done = subprocess.run(
            [
                *CHROMIUM,
                f"--user-data-dir={profile}",
                *("--enable-logging=stderr", "--log-level=0"),
                *(f"--virtual-time-budget={seconds * 1000}", "--dump-dom", url),
            ],
            capture_output=True,
            text=True,
            timeout=live.PATIENCE,
            check=True,
            env={**os.environ, "HOME": profile},
        )
    said = [line for line in done.stderr.splitlines() if ":CONSOLE" in line]
    return done.stdout, said


class BrowserTests(SynchronousTestCase):
    """Pages and results in a real browser, of somebody who is logged in."""

    def setUp(self) -> None:
        self.server = guarded()
        # So a browser is told whom it is to log in as.
        self.url = self.server.url.replace("//", f"//ada:{PASSWORD}@")
        answer = self.server.execute("script:mishap", {"KIND": "abort"})
        self.assertEqual(answer.status, 200)
        newest = self.server.get("status/?limit=1").json()["status"][0]
        self.job = newest["uuid"]
        self.outputs = Path(self.server.workdir, "jobs", self.job, "outputs")
        self.outputs.mkdir(exist_ok=True)

    def plant(self, name: str, text: str) -> str:
        """Make a result; its URL."""
        server = self.server.url.rstrip("/")
        (self.outputs / name).write_text(text.replace("SERVER", server))
        return f"{self.url}jobs/{self.job}/files/{quote(name)}"

    def told(self, page: str) -> Any:
        """What the hostile page says."""
        said = re.search('id="said">([^<]*)<', page)
        assert said is not None, page
        return json.loads(said[1].replace("&quot;", '"'))

    def test_pages(self) -> None:
        """Our own pages do nothing that they forbid themselves."""
        for path in ("", "status/", f"status/{self.job}", f"jobs/{self.job}/files"):
            page, said = visited(self.url + path, 1)
            self.assertIn("<h1>", page)
            self.assertEqual(said, [], path)

    def test_hostile(self) -> None:
        """A result's script runs, and comes to nothing else of the server."""
        page, said = visited(self.plant("hostile.html", HOSTILE))
        found = self.told(page)
        self.assertEqual(found.pop("ran"), True)
        self.assertEqual(found.pop("origin"), "null")
        self.assertEqual(set(found.values()), {"refused"}, found)
        self.assertEqual(len(found), 7)
        self.assertTrue(any("Content Security Policy" in line for line in said), said)
        # Elsewhere, on a server for everybody, the same page gets what it asks for.
        with tempfile.TemporaryDirectory() as folder:
            other = live.sharedServer()
            text = HOSTILE.replace("SERVER", other.url.rstrip("/"))
            Path(folder, "page.html").write_text(text)
            page, _ = visited(f"file://{folder}/page.html")
        self.assertTrue(self.told(page)["fetch"].startswith("read "), page)
        self.assertTrue(self.told(page)["xhr"].startswith("read "), page)

    def test_picture(self) -> None:
        """Nor does one in a picture, or in a document of XML."""
        script = "document.documentElement.setAttribute('origin', self.origin)"
        svg = f'<svg xmlns="http://www.w3.org/2000/svg"><script>{script}</script></svg>'
        page, _ = visited(self.plant("a.svg", svg), 1)
        self.assertIn('origin="null"', page)
        xml = f'<a><script xmlns="http://www.w3.org/1999/xhtml">{script}</script></a>'
        page, _ = visited(self.plant("a.xml", xml), 1)
        self.assertNotIn('origin="http', page)
        # A client's text in a document of the service.
        text = quote(xml, safe="")
        page, _ = visited(
            f"{self.url}ows/?service=WPS&version=1.0.0&request=Execute&identifier=echo"
            f"&datainputs=complex={text}@mimeType=text/xml",
            1,
        )
        self.assertIn("ExecuteResponse", page)
        self.assertIn("setAttribute", page)
        self.assertNotIn('origin="', page)

    def test_chart(self) -> None:
        """A chart, as QGIS makes it, is shown."""
        answer = self.server.execute(
            "qgis:vectorlayerscatterplot",
            {"INPUT": "cities", "XFIELD": "fid", "YFIELD": "fid"},
            map="world",
        )
        self.assertIn("ProcessSucceeded", answer.text)
        newest = self.server.get("status/?limit=1").json()["status"][0]
        (name,) = pages(self.server, newest["uuid"])
        page, said = visited(f"{self.url}jobs/{newest['uuid']}/files/{quote(name)}")
        self.assertIn('class="main-svg"', page)
        self.assertEqual(said, [])


def pages(server: LiveServer, job: str) -> list[str]:
    """The names of a job's pages."""
    files = server.get(f"jobs/{job}/files").json()["files"]
    return [each["name"] for each in files if each["name"].endswith(".html")]
