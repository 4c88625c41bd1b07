"""References over HTTP: a real server that fetches from a real server."""

from __future__ import annotations

import gzip
import http.server
import io
import json
import os
import threading
import time
import zipfile
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import Any
from urllib.parse import quote, unquote
from xml.sax.saxutils import quoteattr

from lxml import etree
from twisted.trial import unittest

from tests import live, schemas
from tests.system.test_jobs import jobId

OWS = "{http://www.opengis.net/ows/1.1}"
WPS = "{http://www.opengis.net/wps/1.0.0}"
XLINK = "{http://www.w3.org/1999/xlink}"
POINT = json.dumps(
    {
        "type": "FeatureCollection",
        "features": [
            {
                "type": "Feature",
                "properties": {},
                "geometry": {"type": "Point", "coordinates": [7, 47]},
            }
        ],
    }
)
GEOJSON = "application/geo+json"


def elevation() -> bytes:
    """The demo's raster."""
    with open(os.path.join(live.PROJECTS, "elevation.tif"), "rb") as file:
        return file.read()


def archive() -> bytes:
    """A layer in a zip archive."""
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as file:
        file.writestr("x.geojson", POINT)
    return packed.getvalue()


class Handler(http.server.BaseHTTPRequestHandler):
    """What there is to refer to."""

    server: Site

    def do_GET(self) -> None:
        """The resource of a path."""
        path, _, query = self.path.strip("/").partition("?")
        if path == "slow":
            self.server.waiting.release()
            self.server.gate.wait(live.PATIENCE)
            path = "point"
        if path == "away":
            self.send_response(302)
            self.send_header("Location", unquote(query))
            self.end_headers()
            return
        found = self.server.resources.get(path)
        if found is None:
            self.send_error(404)
            return
        mimeType, content = found
        self.answer(mimeType, content)

    def do_POST(self) -> None:
        """What was sent, if it was asked for in the right way."""
        length = int(self.headers["Content-Length"])
        content = self.rfile.read(length)
        if self.headers["X-Key"] != "word":
            self.send_error(403)
            return
        self.answer(GEOJSON, content)

    def answer(self, mimeType: str, content: bytes) -> None:
        """Send it."""
        self.send_response(200)
        if mimeType:
            self.send_header("Content-Type", mimeType)
        if "gzip" in self.headers["Accept-Encoding"]:
            content = gzip.compress(content)
            self.send_header("Content-Encoding", "gzip")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: object) -> None:
        """Nothing."""


class Site(http.server.ThreadingHTTPServer):
    """
    A server in a thread.

    @ivar gate: what C{slow} waits for.
    @ivar waiting: released by each that has come there.
    """

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.gate = threading.Event()
        self.waiting = threading.Semaphore(0)
        self.resources = {
            "point": (f"{GEOJSON}; charset=utf-8", POINT.encode()),
            "untold": ("", POINT.encode()),
            "table": ("text/csv", b"WKT,a\nPOINT(7 47),1\n"),
            "raster": ("image/tiff", elevation()),
            "zip": ("application/zip", archive()),
            "html": ("text/html", b"<html>no</html>"),
            "large": ("application/octet-stream", bytes((1 << 20) + 1)),
            "word": ("text/plain", b"POINT(7 47)"),
        }
        self.url = f"http://127.0.0.1:{self.server_port}/"
        self._thread = threading.Thread(
            target=self.serve_forever, args=(0.05,), daemon=True
        )
        self._thread.start()

    def handle_error(self, *_: object) -> None:
        """Clients that go away are meant to."""

    def stop(self) -> None:
        """End it."""
        self.gate.set()
        self.shutdown()
        self._thread.join()
        self.server_close()


def reference(identifier: str, href: str, inner: str = "", **attributes: str) -> str:
    """An input as a Reference."""
    given = "".join(f" {name}={quoteattr(text)}" for name, text in attributes.items())
    return (
        f"<wps:Input><ows:Identifier>{identifier}</ows:Identifier>"
        f"<wps:Reference xlink:href={quoteattr(href)}{given}>{inner}</wps:Reference>"
        "</wps:Input>"
    )


def execute(process: str, inputs: str, form: str) -> str:
    """An Execute in XML."""
    return (
        '<wps:Execute service="WPS" version="1.0.0"'
        ' xmlns:wps="http://www.opengis.net/wps/1.0.0"'
        ' xmlns:ows="http://www.opengis.net/ows/1.1"'
        ' xmlns:xlink="http://www.w3.org/1999/xlink">'
        f"<ows:Identifier>{process}</ows:Identifier>"
        f"<wps:DataInputs>{inputs}</wps:DataInputs>"
        f"<wps:ResponseForm>{form}</wps:ResponseForm></wps:Execute>"
    )


RAW = (
    f'<wps:RawDataOutput mimeType="{GEOJSON}"><ows:Identifier>OUTPUT'
    "</ows:Identifier></wps:RawDataOutput>"
)
DOCUMENT = (
    f'<wps:ResponseDocument {{}}><wps:Output mimeType="{GEOJSON}"><ows:Identifier>'
    "OUTPUT</ows:Identifier></wps:Output></wps:ResponseDocument>"
)


@cache
def sharedSite() -> Site:
    """The site of all tests that share a server; ends with this process."""
    return Site()


@cache
def fetchingServer() -> live.LiveServer:
    """A server that may fetch from there; ends with this process."""
    return live.LiveServer(
        QGSWPS_SERVER_ALLOWED_REFERENCES="127.0.0.0/8",
        QGSWPS_SERVER_ALLOWED_FILE_ROOTS=live.PROJECTS,
        QGSWPS_SERVER_MAXINPUTSIZE="1",
    )


class ReferenceTests(unittest.TestCase):
    """What clients refer to."""

    def setUp(self) -> None:
        self.site = sharedSite()
        self.server = fetchingServer()
        self.site.gate.clear()
        self.addCleanup(self.site.gate.set)

    def centroids(self, inputs: str, form: str = RAW) -> live.Answer:
        """The centroids of a layer."""
        return self.server.post(execute("native:centroids", inputs, form))

    def assertPoint(self, answer: live.Answer) -> None:
        """That all went well."""
        self.assertEqual(answer.status, 200, answer.body[:2000])
        [feature] = json.loads(answer.body)["features"]
        self.assertEqual(feature["geometry"]["coordinates"], [7, 47])

    def fault(self, answer: live.Answer) -> tuple[str, str, str]:
        """Code, locator and text of the one fault."""
        root = etree.fromstring(answer.body)
        [found] = root.iter(f"{OWS}Exception")
        return (
            found.get("exceptionCode", ""),
            found.get("locator", ""),
            found.findtext(f"{OWS}ExceptionText") or "",
        )

    def test_kvp(self) -> None:
        """The standard's name and the short one, escaped once or wholly twice."""
        url = quote(self.site.url + "point?a=1&b=2;c", safe="")
        for given in (
            f"INPUT=@xlink:href={url}@mimeType={quote(GEOJSON, safe='')}",
            f"INPUT=@href={url}",
            f"INPUT@xlink:href={url}",
            f"INPUT=@xlink%3Ahref%3D{url}".replace("%3D", "="),
        ):
            answer = self.server.get(
                "ows/?service=WPS&version=1.0.0&request=Execute"
                f"&identifier=native:centroids&datainputs={given}"
                f"&rawdataoutput=OUTPUT@mimeType={quote(GEOJSON, safe='')}"
            )
            self.assertPoint(answer)
        # All of it escaped once more, as most clients do.
        answer = self.server.wps(
            "Execute",
            identifier="native:centroids",
            datainputs=f"INPUT=@xlink:href={url}",
            rawdataoutput=f"OUTPUT@mimeType={GEOJSON}",
        )
        self.assertPoint(answer)

    def test_xml(self) -> None:
        """With and without prefixes, by GET, of each kind."""
        for name in ("point", "untold", "table", "zip"):
            self.assertPoint(self.centroids(reference("INPUT", self.site.url + name)))
        url = self.site.url + "point"
        body = execute("native:centroids", reference("INPUT", url, method="get"), RAW)
        plain = (
            body.replace("wps:", "")
            .replace("xmlns:wps", "xmlns")
            .replace("xlink:href", "href")
        )
        self.assertPoint(self.server.post(plain))
        self.assertPoint(self.server.post(body.replace("xlink:href", "href")))
        away = self.site.url + "away?" + quote(url, safe="")
        self.assertPoint(self.centroids(reference("INPUT", away)))

    def test_post(self) -> None:
        """A body, a body that is elsewhere, and headers."""
        header = '<wps:Header key="X-Key" value="word"/>'
        escaped = POINT.replace("&", "&amp;")
        for body in (
            f"<wps:Body>{escaped}</wps:Body>",
            f'<wps:BodyReference xlink:href="{self.site.url}point"/>',
        ):
            given = reference("INPUT", self.site.url, header + body, method="POST")
            self.assertPoint(self.centroids(given))
        given = reference("INPUT", self.site.url, body, method="POST")
        code, locator, text = self.fault(self.centroids(given))
        self.assertEqual((code, locator), ("InvalidParameterValue", "INPUT"))
        self.assertIn("403", text)

    def test_raster(self) -> None:
        """A raster by reference, with its format and without."""
        for attributes in ({}, {"mimeType": "image/tiff", "encoding": "base64"}):
            given = reference("INPUT", self.site.url + "raster", "", **attributes)
            form = RAW.replace(GEOJSON, "image/tiff")
            answer = self.server.post(execute("native:slope", given, form))
            self.assertEqual(answer.status, 200, answer.body[:2000])
            self.assertIn(answer.body[:2], (b"II", b"MM"))

    def test_otherSchemes(self) -> None:
        """data: URLs, and files of folders that are named."""
        data = f"data:{GEOJSON}," + quote(POINT)
        self.assertPoint(self.centroids(reference("INPUT", data)))
        file = f"file://{live.PROJECTS}/elevation.tif"
        answer = self.server.post(
            execute(
                "native:slope",
                reference("INPUT", file),
                RAW.replace(GEOJSON, "image/tiff"),
            )
        )
        self.assertEqual(answer.status, 200, answer.body[:2000])
        for href in (f"file://{live.ROOT}/setup.py", "file:///etc/passwd"):
            answer = self.centroids(reference("INPUT", href))
            self.assertEqual(answer.status, 400)
            self.assertIn("allowed_file_roots", self.fault(answer)[2])

    def test_otherKinds(self) -> None:
        """A point and a structure by reference; literals and boxes not."""
        answer = self.server.post(
            execute(
                "native:pointtolayer", reference("INPUT", self.site.url + "word"), RAW
            )
        )
        self.assertPoint(answer)
        mapping = '[{"name": "n", "type": "integer", "expression": "1"}]'
        given = reference("INPUT", self.site.url + "point")
        given += reference("FIELDS_MAPPING", "data:application/json," + quote(mapping))
        answer = self.server.post(execute("native:refactorfields", given, RAW))
        self.assertEqual(answer.status, 200, answer.body[:2000])
        self.assertEqual(answer.json()["features"][0]["properties"], {"n": 1})
        for process, name in (
            ("native:buffer", "DISTANCE"),
            ("native:extenttolayer", "INPUT"),
        ):
            given = reference(name, self.site.url + "word")
            if name != "INPUT":
                given += reference("INPUT", self.site.url + "point")
            answer = self.server.post(execute(process, given, RAW))
            schemas.assertValid(self, answer.body, "ExceptionReport")
            code, locator, text = self.fault(answer)
            self.assertEqual((code, locator), ("InvalidParameterValue", name))
            self.assertIn("can't be sent by reference", text)

    def test_chained(self) -> None:
        """What one job has made, by its URL, is what the next one takes."""
        form = DOCUMENT.format("").replace(
            "<wps:Output ", '<wps:Output asReference="true" '
        )
        answer = self.centroids(reference("INPUT", self.site.url + "point"), form)
        schemas.assertValid(self, answer.body, "ExecuteResponse")
        root = etree.fromstring(answer.body)
        [output] = root.iter(f"{WPS}Output")
        [made] = output.iter(f"{WPS}Reference")
        self.assertPoint(self.centroids(reference("INPUT", made.get("href", ""))))

    def test_sideBySide(self) -> None:
        """Two slow ones of a job are asked for together."""
        slow = self.site.url + "slow"
        given = reference("INPUT", slow) + reference("OVERLAY", slow)
        with ThreadPoolExecutor(1) as pool:
            waiting = pool.submit(
                self.server.post, execute("native:intersection", given, RAW)
            )
            for _ in range(2):
                self.assertTrue(self.site.waiting.acquire(timeout=live.PATIENCE))
            self.site.gate.set()
            answer = waiting.result(live.PATIENCE)
        self.assertEqual(len(answer.json()["features"]), 1, answer.body[:2000])

    def test_noSlot(self) -> None:
        """Jobs that wait for data keep nobody from running."""
        slow = self.centroids(
            reference("INPUT", self.site.url + "slow"),
            DOCUMENT.format('storeExecuteResponse="true"'),
        )
        more = [
            self.centroids(
                reference("INPUT", self.site.url + "slow"),
                DOCUMENT.format('storeExecuteResponse="true"'),
            )
            for _ in range(3)
        ]
        for _ in range(4):
            self.assertTrue(self.site.waiting.acquire(timeout=live.PATIENCE))
        self.assertPoint(self.centroids(reference("INPUT", self.site.url + "point")))
        self.site.gate.set()
        for answer in (slow, *more):
            self.ended(jobId(answer))

    def ended(self, job: str, server: live.LiveServer | None = None) -> dict[str, Any]:
        """The record of a job when it has ended."""
        server = server or self.server

        def record() -> dict[str, Any] | None:
            found: dict[str, Any] = server.get(f"status/{job}").json()["status"]
            isOver = found["status"] not in ("ACCEPTED_STATUS", "STARTED_STATUS")
            return found if isOver else None

        ended: dict[str, Any] = server.waitUntil(record, "the job does not end")
        return ended

    def test_asynchronous(self) -> None:
        """Answered at once; the lineage has the reference as it was given."""
        url = self.site.url + "slow"
        header = '<wps:Header key="X-A" value="b"/>'
        answer = self.centroids(
            reference("INPUT", url, header),
            DOCUMENT.format('storeExecuteResponse="true" status="true" lineage="true"'),
        )
        schemas.assertValid(self, answer.body, "ExecuteResponse")
        self.assertIn("ProcessAccepted", answer.text)
        self.assertTrue(self.site.waiting.acquire(timeout=live.PATIENCE))
        self.site.gate.set()
        job = jobId(answer)
        self.assertEqual(self.ended(job)["status"], "DONE_STATUS")
        answer = self.server.wps("GetResults", uuid=job)
        schemas.assertValid(self, answer.body, "ExecuteResponse")
        root = etree.fromstring(answer.body)
        inputs = root.find(f"{WPS}DataInputs")
        assert inputs is not None
        [found] = inputs.iter(f"{WPS}Reference")
        self.assertEqual(found.get(f"{XLINK}href"), url)
        self.assertEqual(found[0].attrib, {"key": "X-A", "value": "b"})

    def test_fails(self) -> None:
        """What can't be had, in each form of the answer."""
        for name, code, said in (
            ("nothing", "InvalidParameterValue", "404"),
            ("large", "FileSizeExceeded", "more than 1 MiB"),
            ("away?http%3A%2F%2F10.0.0.1%2F", "InvalidParameterValue", "private"),
            (
                "away?file%3A%2F%2F%2Fetc%2Fpasswd",
                "InvalidParameterValue",
                "not of http",
            ),
            ("html", "InvalidParameterValue", "INPUT is not valid"),
        ):
            url = self.site.url.replace("//", "//me:hush@") + name
            given = reference("INPUT", url)
            raw = self.centroids(given)
            schemas.assertValid(self, raw.body, "ExceptionReport")
            self.assertEqual(raw.status, 413 if code == "FileSizeExceeded" else 400)
            document = self.centroids(given, DOCUMENT.format(""))
            schemas.assertValid(self, document.body, "ExecuteResponse")
            self.assertEqual(document.status, 200)
            self.assertIn("ProcessFailed", document.text)
            stored = self.centroids(
                given, DOCUMENT.format('storeExecuteResponse="true"')
            )
            self.assertIn("ProcessAccepted", stored.text)
            job = jobId(stored)
            self.assertEqual(self.ended(job)["status"], "ERROR_STATUS")
            later = self.server.wps("GetResults", uuid=job)
            for answer in (raw, document, later):
                found = self.fault(answer)
                self.assertEqual(found[:2], (code, "INPUT"))
                self.assertIn(said, found[2])
                self.assertNotIn("hush", found[2])
            if name != "html":
                self.assertIn(str(self.site.server_port), found[2])

    def test_refused(self) -> None:
        """What can be told at once is, and there is no job."""
        before = self.server.get("status/").json()["status"]
        for href, said in (
            ("http://169.254.169.254/latest/meta-data/", "link-local"),
            ("http://[::1]:8080/", "loopback"),
            ("http://10.0.0.1/", "private"),
            ("http://0xa000001/", "private"),
            ("gopher://127.0.0.1/", "gopher"),
            ("ftp://127.0.0.1/x", "ftp"),
            ("http://a@b@c/", "several ways"),
            ("/etc/passwd", "no scheme"),
            ("http://h/&#13;&#10;X: y", "control"),
        ):
            body = execute("native:centroids", reference("INPUT", "HREF"), RAW)
            answer = self.server.post(body.replace("HREF", href))
            self.assertEqual(answer.status, 400, href)
            schemas.assertValid(self, answer.body, "ExceptionReport")
            code, locator, text = self.fault(answer)
            self.assertEqual((code, locator), ("InvalidParameterValue", "INPUT"))
            self.assertIn(said, text)
        self.assertEqual(self.server.get("status/").json()["status"], before)

    def test_dismissed(self) -> None:
        """A job that is dismissed lets go of what it waits for."""
        answer = self.centroids(
            reference("INPUT", self.site.url + "slow"),
            DOCUMENT.format('storeExecuteResponse="true"'),
        )
        self.assertTrue(self.site.waiting.acquire(timeout=live.PATIENCE))
        job = jobId(answer)
        before = self.server.descriptors()
        deleted = self.server.request("DELETE", f"status/{job}")
        self.assertEqual(deleted.status, 200)
        self.assertEqual(self.ended(job)["status"], "DISMISS_STATUS")
        self.server.waitUntil(
            lambda: self.server.descriptors() < before, "the connection stays"
        )
        folder = os.path.join(self.server.workdir, "jobs", job, "inputs")
        self.server.waitUntil(
            lambda: not os.path.isdir(folder) or not os.listdir(folder),
            "something is left",
        )


class GuardedTests(unittest.TestCase):
    """A server as it is shipped."""

    def test_loopback(self) -> None:
        """It reaches nothing of its own machine, itself neither."""
        server = live.sharedServer()
        for host in ("127.0.0.1", "localhost", "127.1", "[::ffff:127.0.0.1]"):
            url = (
                f"http://{host}:{server.port}/ows/?service=WPS&request=GetCapabilities"
            )
            answer = server.post(
                execute("native:centroids", reference("INPUT", url), RAW)
            )
            self.assertEqual(answer.status, 400)
            schemas.assertValid(self, answer.body, "ExceptionReport")
            self.assertIn("loopback", answer.text)
        answer = server.post(
            execute("native:centroids", reference("INPUT", "file:///etc/passwd"), RAW)
        )
        self.assertEqual(answer.status, 400)


class RestartTests(unittest.TestCase):
    """What was not fetched when the server ended."""

    def test_fetchedAgain(self) -> None:
        """An accepted job is fetched for again, after a stop and after a crash."""
        site = Site()
        self.addCleanup(site.stop)
        with live.liveServer(QGSWPS_SERVER_ALLOWED_REFERENCES="127.0.0.1") as server:
            answer = server.post(
                execute(
                    "native:centroids",
                    reference("INPUT", site.url + "slow"),
                    DOCUMENT.format('storeExecuteResponse="true"'),
                )
            )
            job = jobId(answer)
            for number in (15, 9):
                self.assertTrue(site.waiting.acquire(timeout=live.PATIENCE))
                began = time.monotonic()
                server.kill(number)
                self.assertLess(time.monotonic() - began, 10)
                server.start()
            self.assertTrue(site.waiting.acquire(timeout=live.PATIENCE))
            found = server.get(f"status/{job}").json()["status"]
            self.assertEqual(found["status"], "ACCEPTED_STATUS")
            site.gate.set()

            def done() -> bool:
                record = server.get(f"status/{job}").json()["status"]
                return bool(record["status"] == "DONE_STATUS")

            server.waitUntil(done, "the job is not done")
            answer = server.wps("GetResults", uuid=job)
            self.assertIn("ProcessSucceeded", answer.text)
