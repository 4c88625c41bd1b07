"""Tests of L{qgswps.web.maps}, with a map server that the test plays."""

from __future__ import annotations

import os
from typing import Any
from urllib.parse import quote

from lxml import etree

from qgswps.errors import busy, failure
from qgswps.model import Job, MapRequest, State
from qgswps.web import mapquery
from qgswps.web.http import LINGER
from tests.fakes import Exchange, FakeMapServer, makeJob
from tests.web.test_site import SiteTestCase

JOB = "0f0e0d0c-1111-2222-3333-445566778899"
PROJECT = f"{JOB}/test_process.qgs"
MAP = f"MAP=wps-results:{PROJECT}"
WMS = f"/ows/?{MAP}&SERVICE=WMS&REQUEST=GetMap"
OGC = "{http://www.opengis.net/ogc}"


class MapsCase(SiteTestCase):
    """A server with a job that has succeeded."""

    def setUp(self) -> None:
        super().setUp()
        self.job = self.keep(makeJob(JOB, state=State.SUCCEEDED, expires=2000.0))

    @property
    def server(self) -> FakeMapServer:
        """The map server."""
        assert self.maps is not None
        return self.maps

    @property
    def asked(self) -> MapRequest:
        """What the map server was asked last."""
        return self.server.asked[-1][0]

    def map(self, path: str, method: str = "GET", **options: Any) -> Any:
        """The response to a request that the map server answers."""
        count = len(self.server.asked)
        exchange = self.exchange(path, method, **options)
        self.assertEqual(len(self.server.asked), count + 1, exchange.sent)
        self.server.answer(b"A map.", Content_Type="image/png")
        return self.successResultOf(exchange.finished)

    def fault(self, path: str, status: int, **options: Any) -> str:
        """What an OGC exception says."""
        response = self.ask(path, **options)
        self.assertEqual(response.status, status, path)
        self.assertEqual(response.getheader("Content-Type"), "text/xml; charset=utf-8")
        root = etree.fromstring(response.read())
        self.assertEqual(root.tag, f"{OGC}ServiceExceptionReport")
        return str(root.findtext(f"{OGC}ServiceException"))


class OWSTests(MapsCase):
    """C{/ows/} for the map services."""

    def test_answer(self) -> None:
        """QGIS Server is asked by the public URL, for the project of the job."""
        response = self.map(WMS)
        directory = self.spool.directory(JOB)
        self.assertEqual(
            self.asked,
            MapRequest(
                os.path.join(directory, "test_process.qgs"),
                f"http://example.org/ows/?{MAP}&SERVICE=WMS&REQUEST=GetMap",
                directory,
            ),
        )
        self.assertEqual((response.status, response.read()), (200, b"A map."))
        self.assertEqual(response.getheader("Content-Type"), "image/png")
        self.assertEqual(response.getheader("Content-Length"), "6")
        self.assertEqual(response.getheader("X-Content-Type-Options"), "nosniff")
        self.assertEqual(os.listdir(self.folder), [])

    def test_spellings(self) -> None:
        """However a client writes it."""
        for query in (
            f"map={quote('wps-results:' + PROJECT, safe='')}&service=wms",
            f"MAP={PROJECT}&SERVICE=WMS",
            f"MAP=/{PROJECT}&REQUEST=GetMap",
        ):
            for root in ("/ows/", "/ows", "/"):
                if root == "/" and "ervice" not in query.lower():
                    continue
                self.map(f"{root}?{query}")
                self.assertIn("SERVICE=WMS", self.asked.url)
                self.assertTrue(
                    self.asked.url.startswith("http://example.org/ows/?MAP")
                )

    def test_head(self) -> None:
        """HEAD has the headers of a GET."""
        response = self.map(WMS, "HEAD")
        self.assertEqual(self.asked.method, "GET")
        self.assertEqual(response.getheader("Content-Length"), "6")
        self.assertEqual(os.listdir(self.folder), [])

    def test_large(self) -> None:
        """A large answer is sent in pieces, and leaves no file."""
        exchange = self.exchange(WMS)
        body = os.urandom(3 * 2**20)
        self.server.answer(body)
        self.assertEqual(os.listdir(self.folder), [])
        response = self.successResultOf(exchange.finished)
        self.assertEqual(response.getheader("Content-Length"), str(len(body)))
        self.assertEqual(response.read(), body)

    def test_headers(self) -> None:
        """QGIS Server's own headers are passed on, but for those that are ours."""
        exchange = self.exchange(WMS)
        self.server.answer(
            b"{}", 201, content_length="99", Content_Disposition="attachment"
        )
        response = self.successResultOf(exchange.finished)
        self.assertEqual(response.status, 201)
        self.assertEqual(response.getheader("Content-Length"), "2")
        self.assertEqual(response.getheader("Content-Disposition"), "attachment")
        self.assertIsNone(response.getheader("ETag"))

    def test_cached(self) -> None:
        """A client that has the answer is told so, and no worker is asked."""
        response = self.map(WMS)
        etag = response.getheader("ETag")
        self.assertEqual(response.getheader("Cache-Control"), "private, max-age=1000")
        self.assertEqual(self.ask(WMS, If_None_Match="*").status, 304)
        again = self.ask(WMS, If_None_Match=f'"x", W/{etag}')
        self.assertEqual((again.status, again.read()), (304, b""))
        self.assertEqual(again.getheader("ETag"), etag)
        other = self.map(WMS + "&X=1", If_None_Match=etag)
        self.assertEqual(other.status, 200)
        self.assertNotEqual(other.getheader("ETag"), etag)

    def test_xml(self) -> None:
        """A request in XML goes to QGIS Server by a file."""
        body = b'<GetFeature service="WFS" xmlns="http://www.opengis.net/wfs"/>'
        exchange = self.exchange(
            f"/ows/?{MAP}", "POST", body=body, Content_Type="text/xml"
        )
        self.assertEqual(self.asked.method, "POST")
        self.assertIn("SERVICE=WFS", self.asked.url)
        assert self.asked.body is not None
        with open(self.asked.body, "rb") as file:
            self.assertEqual(etree.fromstring(file.read()).attrib, {"service": "WFS"})
        self.server.answer(b"features")
        response = self.successResultOf(exchange.finished)
        self.assertEqual(response.read(), b"features")
        self.assertIsNone(response.getheader("ETag"))
        self.assertEqual(os.listdir(self.folder), [])

    def test_xmlWithMark(self) -> None:
        """XML that begins with a byte order mark is no form."""
        body = b'\xef\xbb\xbf<GetFeature service="WFS"/>'
        self.map(f"/ows/?{MAP}", "POST", body=body)
        self.assertEqual(self.asked.method, "POST")

    def test_form(self) -> None:
        """Parameters in a body are as good as those of a query."""
        self.map(
            f"/ows/?{MAP}&SERVICE=WMS",
            "POST",
            body=b"REQUEST=GetMap&LAYERS=a%20b",
            Content_Type="application/x-www-form-urlencoded",
        )
        self.assertEqual((self.asked.method, self.asked.body), ("GET", None))
        self.assertIn("REQUEST=GetMap&LAYERS=a%20b", self.asked.url)

    def test_refused(self) -> None:
        """What QGIS Server must not be asked does not get there."""
        self.assertIn("SLD", self.fault(WMS + "&SLD=http://h/", 403))
        for body in (
            b"SERVICE=WMS&SLD_BODY=%3Ca/%3E",
            b'<GetMap service="WMS" sld="http://h/"/>',
            b'<Transaction service="WFS"/>',
        ):
            status = 501 if b"Trans" in body else 403
            self.fault(f"/ows/?{MAP}", status, method="POST", body=body)
        self.assertEqual(self.server.asked, [])

    def test_twice(self) -> None:
        """Of a parameter that is given twice only the one that was checked."""
        self.map(
            f"/ows/?{MAP}&LAYERS=a",
            "POST",
            body=b"SERVICE=WMS&layers=EXTERNAL_WMS:x&%4CAYERS=EXTERNAL_WMS:x",
        )
        self.assertIn("LAYERS=a&", self.asked.url)
        self.assertNotIn("EXTERNAL", self.asked.url)
        self.map(WMS + "&LAYERS=a&LAYERS=EXTERNAL_WMS:x&x:url=h&X:URL=i")
        self.assertNotIn("EXTERNAL", self.asked.url)
        self.assertNotIn("URL=i", self.asked.url)

    def test_long(self) -> None:
        """Longer parameters than a worker can be told of."""
        self.patch(mapquery, "LONGEST", 300)
        self.fault(f"{WMS}&A={'%C3%A4' * 50}", 414)
        self.fault(f"/ows/?{MAP}&SERVICE=WMS", 413, method="POST", body=b"A" * 301)
        self.assertEqual(self.server.asked, [])

    def test_scripts(self) -> None:
        """What features say does not run as if it were the server's."""
        for kind, sandboxed in (
            ("text/html", True),
            ("image/svg+xml", True),
            ("text/xml; charset=utf-8", True),
            ("image/png", False),
            ("application/json", False),
        ):
            exchange = self.exchange(WMS)
            self.server.answer(b"x", Content_Type=kind)
            response = self.successResultOf(exchange.finished)
            policy = response.getheader("Content-Security-Policy")
            if sandboxed:
                self.assertIn("sandbox allow-scripts allow-downloads;", policy)
                self.assertIn(" connect-src 'none';", policy)
            else:
                self.assertIsNone(policy)
            self.assertEqual(response.getheader("X-Content-Type-Options"), "nosniff")

    def test_tooLarge(self) -> None:
        """A body that is too large is not read."""
        body = b'<GetFeature service="WFS">' + b" " * 1000
        exchange = self.exchange(f"/ows/?{MAP}", method="POST", body=body)
        # The client has its time to read that.
        self.reactor.advance(LINGER)
        self.assertEqual(self.successResultOf(exchange.finished).status, 413)

    def test_unknown(self) -> None:
        """There are the projects of jobs that have succeeded, and no others."""
        self.assertIn("MAP is missing", self.fault("/ows/?SERVICE=WMS", 400))
        for map in (
            "x",
            JOB,
            f"{JOB}/other.qgs",
            f"{JOB}/../{JOB}/test_process.qgs",
            f"wps-results:../{PROJECT}",
            f"other:{PROJECT}",
            PROJECT.replace("0f0e", "0000"),
            "/etc/passwd",
        ):
            self.fault(f"/ows/?SERVICE=WMS&MAP={quote(map)}", 404)

    def test_states(self) -> None:
        """A job without results says which state it is in."""
        for state, status in (
            (State.STARTED, 409),
            (State.ACCEPTED, 409),
            (State.FAILED, 404),
            (State.DISMISSED, 404),
        ):
            self.store.jobs[JOB] = makeJob(JOB, state=state)
            self.assertIn(str(state), self.fault(WMS, status))

    def test_faults(self) -> None:
        """What goes wrong with the map server has its status."""
        for error in (busy("full"), failure("too slow", 504)):
            exchange = self.exchange(WMS)
            self.server.asked[-1][1].errback(error)
            response = self.successResultOf(exchange.finished)
            self.assertEqual(response.status, error.status)
            self.assertIn(str(error).encode(), response.read())

    def test_clientLeaves(self) -> None:
        """A client that goes away gives up its request, and its file."""
        body = b'<GetFeature service="WFS"/>'
        exchange = self.exchange(f"/ows/?{MAP}", "POST", body=body)
        self.assertEqual(len(os.listdir(self.folder)), 1)
        exchange.disconnect()
        self.assertTrue(self.server.asked[-1][1].called)
        self.assertEqual(os.listdir(self.folder), [])


class FeaturesTests(MapsCase):
    """C{/jobs/{uuid}/wfs3}."""

    def test_paths(self) -> None:
        """Path and query come to QGIS Server as they are understood."""
        for path in (
            "wfs3",
            "wfs3.json",
            "wfs3.html",
            "wfs3/collections",
            "wfs3/collections/A%20b/items.json?limit=2&bbox=1,2,3,4&name=%C3%A4%26",
            "wfs3/static/style.css",
        ):
            response = self.map(f"/jobs/{JOB}/{path}", Accept="text/html")
            self.assertEqual(self.asked.url, f"http://example.org/jobs/{JOB}/{path}")
            self.assertEqual(self.asked.directory, self.spool.directory(JOB))
            self.assertEqual(self.asked.headers, {"Accept": "text/html"})
            self.assertEqual(response.getheader("Vary"), "Accept")

    def test_twice(self) -> None:
        """As with the other services."""
        path = f"/jobs/{JOB}/wfs3/collections"
        self.map(f"{path}?limit=1&LIMIT=2&exp=a&limit=3")
        self.assertEqual(self.asked.url, f"http://example.org{path}?limit=1&exp=a")

    def test_negotiated(self) -> None:
        """What a client has of one form is no answer for another one."""
        path = f"/jobs/{JOB}/wfs3/collections"
        etag = self.map(path, Accept="text/html").getheader("ETag")
        self.map(path, Accept="application/json", If_None_Match=etag)
        again = self.ask(path, Accept="text/html", If_None_Match=etag)
        self.assertEqual(again.status, 304)

    def test_refused(self) -> None:
        """Nothing outside is to be had, and nothing is changed."""
        for path, method, status in (
            ("wfs3/static/../../x", "GET", 404),
            ("wfs3/static/%2e%2e/x", "GET", 404),
            ("wfs3/static/..%2fx", "GET", 404),
            ("wfs3/static/..%5cx", "GET", 404),
            ("wfs3/a%00", "GET", 404),
            ("wfs3?EXP_FILTER=1", "GET", 403),
            ("wfs3/collections/a/items?b=%27", "GET", 400),
            ("wfs3/?SERVICE=WMS&REQUEST=GetMap", "GET", 400),
            ("wfs3/collections?limit=1&service=WFS", "GET", 400),
            ("wfs3/collections/a/items", "POST", 405),
            ("wfs3/collections/a/items/1", "DELETE", 405),
        ):
            response = self.ask(f"/jobs/{JOB}/{path}", method)
            self.assertEqual(response.status, status, path)
            self.assertEqual(response.getheader("Content-Type"), "application/json")
        self.assertEqual(self.server.asked, [])

    def test_states(self) -> None:
        """Only a job that has succeeded has features."""
        self.store.jobs[JOB] = makeJob(JOB, state=State.STARTED)
        self.assertEqual(self.ask(f"/jobs/{JOB}/wfs3").status, 409)


class RealmTests(MapsCase):
    """With realms on."""

    realms = True

    def keep(self, job: Job, **files: bytes) -> Job:
        """It is somebody's."""
        return super().keep(makeJob(JOB, state=State.SUCCEEDED, realm="mine"))

    def test_realms(self) -> None:
        """A map is for whom the job is for."""
        for path in (WMS, f"/jobs/{JOB}/wfs3"):
            for realm in ("", "other"):
                self.assertEqual(self.ask(path, X_Job_Realm=realm).status, 404)
            for realm in ("mine", "admin"):
                self.assertEqual(self.map(path, X_Job_Realm=realm).status, 200)


class SourceTests(MapsCase):
    """A server that shows source projects too."""

    sourceProjects = True

    def test_project(self) -> None:
        """A project by its name; it may change."""
        path = os.path.join(self.projects, "world.qgs")
        with open(path, "w"):
            pass
        response = self.map("/ows/?SERVICE=WMS&MAP=world")
        self.assertEqual((self.asked.project, self.asked.directory), (path, None))
        self.assertEqual(response.getheader("Cache-Control"), "no-cache")
        self.assertIsNone(response.getheader("ETag"))
        self.map(WMS)
        self.assertEqual(self.asked.directory, self.spool.directory(JOB))
        self.fault("/ows/?SERVICE=WMS&MAP=other", 400)
        self.fault(f"/ows/?SERVICE=WMS&MAP={JOB}/world.qgs", 404)


class DisabledTests(SiteTestCase):
    """A server without maps."""

    servesMaps = False

    def test_disabled(self) -> None:
        """It says so."""
        self.keep(makeJob(JOB, state=State.SUCCEEDED))
        for path in (WMS, f"/jobs/{JOB}/wfs3", "/ows/?SERVICE=WFS"):
            exchange: Exchange = self.exchange(path)
            response = self.successResultOf(exchange.finished)
            self.assertEqual(response.status, 501)
            self.assertIn(b"no maps", response.read())
