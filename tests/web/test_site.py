"""Tests of L{qgswps.web.site}, with all but the processes behind it."""

from __future__ import annotations

import json
import os
from http.client import HTTPResponse
from typing import Any

from twisted.internet.defer import Deferred
from twisted.python.filepath import FilePath
from twisted.trial.unittest import SynchronousTestCase

from qgswps.jobs.queue import JobQueue, Limits
from qgswps.jobs.spool import Spool
from qgswps.model import (
    ComplexType,
    Format,
    InputDescription,
    Job,
    LayerType,
    LiteralType,
    OutputDescription,
    ProcessDescription,
    State,
)
from qgswps.ows.service import ServiceIdentification
from qgswps.policy import Policy
from qgswps.projects import Projects
from qgswps.web.access import JobAccess
from qgswps.web.addresses import Addresses
from qgswps.web.authentication import Authenticator
from qgswps.web.connections import ConnectionLimits, Connections
from qgswps.web.exposure import Exposure, PolicyKeeper
from qgswps.web.files import FilesEndpoint
from qgswps.web.guard import Rules
from qgswps.web.maps import MapsEndpoint
from qgswps.web.origins import Origins
from qgswps.web.ows import OWSEndpoint
from qgswps.web.proxies import Proxies
from qgswps.web.site import Root, makeSite
from qgswps.web.status import StatusEndpoint
from tests.fakes import (
    Exchange,
    FakeCatalogue,
    FakeExecutor,
    FakeMapServer,
    FakeReactor,
    FakeReferences,
    MemoryStore,
    makeJob,
    makeTask,
)

GEOJSON = Format("application/geo+json", "UTF-8")
TIFF = Format("image/tiff", "base64")

ECHO = ProcessDescription(
    "test:echo",
    "Echo",
    inputs=(
        InputDescription("TEXT", "Text", LiteralType()),
        InputDescription("LAYER", "Layer", LayerType((), (GEOJSON,)), minOccurs=0),
    ),
    outputs=(
        OutputDescription("OUT", "Out", LiteralType()),
        OutputDescription("FILE", "File", ComplexType((GEOJSON, TIFF))),
    ),
)


class SiteTestCase(SynchronousTestCase):
    """A whole server, but for its sockets and QGIS."""

    maximumBody = 1000
    crossOrigin: tuple[str, ...] = ()
    hsts = 0
    realms = False
    instance = ""
    expiring = False
    policy = Policy()
    behindProxy = False
    servesMaps = True
    sourceProjects = False
    filesAsReferences = False
    limits = ConnectionLimits()

    def setUp(self) -> None:
        self.reactor = FakeReactor()
        self.reactor.advance(1000)
        self.store = MemoryStore()
        self.executor = FakeExecutor(2)
        self.catalogue = FakeCatalogue(ECHO)
        self.spool = Spool(self.mktemp())
        self.projects = os.path.abspath(self.mktemp())
        self.folder = os.path.abspath(self.mktemp())
        for folder in (self.projects, self.folder):
            os.mkdir(folder)
        self.maps: FakeMapServer | None = FakeMapServer(self.folder)
        if not self.servesMaps:
            self.maps = None
        self.queue = JobQueue(
            self.reactor,
            self.store,
            self.executor,
            self.spool,
            FakeReferences(),
            "here",
            Limits(waiting=1),
        )
        self.successResultOf(Deferred.fromCoroutine(self.queue.recover()))
        self.policies = PolicyKeeper(self.reactor, "none", self.policy)
        proxies = Proxies(self.behindProxy)
        addresses = Addresses(proxies=proxies)
        projects = Projects(self.reactor, self.projects, self.executor)
        access = JobAccess(
            self.store,
            self.realms,
            "admin" if self.realms else "",
            instance=self.instance,
            clock=self.reactor if self.expiring else None,
        )
        ows = OWSEndpoint(
            self.reactor,
            Exposure(self.catalogue, self.policies, proxies),
            self.queue,
            access,
            self.spool,
            projects,
            addresses,
            ServiceIdentification(title="Our <processes>"),
            self.maximumBody,
            self.filesAsReferences,
        )
        root = Root(
            access,
            ows,
            StatusEndpoint(self.reactor, self.queue, access, self.spool, addresses),
            FilesEndpoint(self.reactor, self.spool, addresses),
            MapsEndpoint(
                self.reactor,
                self.maps,
                access,
                self.spool,
                addresses,
                "wps-results:",
                projects if self.sourceProjects else None,
                self.folder,
            ),
            "Our <processes>",
            "All & more",
        )
        rules = Rules(
            proxies, Origins(self.crossOrigin), self.hsts, self.authenticator()
        )
        self.connections = Connections(self.reactor, self.limits)
        self.site = makeSite(
            self.reactor, root, self.maximumBody, rules, self.connections
        )

    def authenticator(self) -> Authenticator | None:
        """Who finds out who asks, if anybody does."""
        return None

    def exchange(self, path: str, method: str = "GET", **options: Any) -> Exchange:
        """Send a request."""
        return Exchange(self.site, path, method, **options)

    def ask(self, path: str, method: str = "GET", **options: Any) -> HTTPResponse:
        """The response to a request, if it comes at once."""
        response = self.successResultOf(self.exchange(path, method, **options).finished)
        assert isinstance(response, HTTPResponse)
        return response

    def json(self, path: str) -> Any:
        """The JSON document at a path."""
        response = self.ask(path)
        self.assertEqual(response.status, 200)
        return json.loads(response.read())

    def keep(self, job: Job, **files: bytes) -> Job:
        """A job that is stored, with these outputs."""
        self.store.jobs[job.id] = job
        outputs = FilePath(self.spool.create(job.id, makeTask())).child("outputs")
        for name, content in files.items():
            outputs.child(name).setContent(content)
        return job


class TreeTests(SiteTestCase):
    """What is where."""

    def test_landingPage(self) -> None:
        """The root shows where to go on."""
        for path in ("/", "/?a=b", "/?service=CSW"):
            response = self.ask(path)
            self.assertEqual(response.status, 200)
            self.assertTrue(
                str(response.getheader("Content-Type")).startswith("text/html")
            )
            page = response.read().decode()
            for text in ("Our &lt;processes&gt;", "All &amp; more", "status/"):
                self.assertIn(text, page)

    def test_endpoint(self) -> None:
        """WPS is answered at its place, and at the root when asked so."""
        query = "service=WPS&request=GetCapabilities"
        for path in ("/ows/", "/ows", "/", ""):
            response = self.ask(f"{path or '/'}?{query}")
            self.assertEqual(response.status, 200)
            self.assertEqual(response.getheader("Content-Type"), "text/xml")
            self.assertIn(b"test:echo", response.read())
        self.assertEqual(self.ask("/?SERVICE=wps&REQUEST=GetCapabilities").status, 200)

    def test_notFound(self) -> None:
        """Where nothing is, JSON says so."""
        self.keep(makeJob("j"))
        for path in [
            "/nothing",
            "/nothing/at/all",
            "//nothing",
            "//",
            "/status//j",
            "/jobs//j",
            "/jobs",
            "/jobs/",
            "/jobs/j",
            "/jobs/j/",
            "/jobs/j/result.json",
            "/jobs/unknown/files",
            "/jobs/unknown/files/a",
            "/jobs/j/files/a",
            "/jobs/j/files/../task.json",
            "/jobs/j/files/%2e%2e/task.json",
            "/jobs/j/files/%2e%2e%2ftask.json",
            "/jobs/j/files/a%00",
            "/jobs/j/files/%ff",
            "/jobs/j/files.zip/a",
            "/jobs/unknown/files.zip",
            "/jobs/../../etc/passwd",
            "/status/unknown",
            "/status/j/more",
            "/status/%ff",
        ]:
            response = self.ask(path)
            self.assertEqual(response.status, 404, path)
            self.assertEqual(response.getheader("Content-Type"), "application/json")
            self.assertIn("error", json.loads(response.read()))

    def test_methods(self) -> None:
        """Each resource knows its methods."""
        for path, method, status in [
            ("/ows/", "DELETE", 405),
            ("/status/", "POST", 405),
            ("/jobs/j/files", "PUT", 405),
            ("/nothing", "POST", 404),
            ("/", "OPTIONS", 204),
            ("/", "HEAD", 200),
            ("/status", "HEAD", 200),
        ]:
            self.assertEqual(self.ask(path, method).status, status, path)

    def test_status(self) -> None:
        """Jobs are listed, the newest first, and shown."""
        for path in ("/status", "/status/"):
            self.assertEqual(self.json(path), {"status": []})
        self.keep(makeJob("old", created=1.0))
        self.keep(makeJob("new", created=2.0, state=State.STARTED, percent=40.0))
        listed = self.json("/status/")["status"]
        self.assertEqual([job["uuid"] for job in listed], ["new", "old"])
        shown = self.json("/status/new")["status"]
        self.assertEqual(shown, listed[0])
        self.assertEqual(shown["percent_done"], 40)
        self.assertEqual(shown["record_url"], "http://example.org/status/new")

    def test_storeFails(self) -> None:
        """Without a store there is no answer now."""
        self.store.failing = {"get", "find"}
        for path in ("/status/", "/status/j", "/jobs/j/files"):
            response = self.ask(path)
            self.assertEqual(response.status, 503)
            self.assertIsNotNone(response.getheader("Retry-After"))

    def test_files(self) -> None:
        """The files of a job are listed, and sent."""
        self.keep(makeJob("j"), **{"ä b.geojson": b"{}", "x.unknown": b"123"})
        [first, second] = sorted(
            self.json("/jobs/j/files")["files"], key=lambda file: file["name"]
        )
        self.assertEqual(second["name"], "ä b.geojson")
        self.assertEqual(first["content_length"], 3)
        self.assertEqual(
            second["store_url"], "http://example.org/jobs/j/files/%C3%A4%20b.geojson"
        )
        for file, contentType in [
            (first, "application/octet-stream"),
            (second, "application/geo+json"),
        ]:
            path = file["store_url"].removeprefix("http://example.org")
            response = self.ask(path, "HEAD")
            self.assertEqual(response.status, 200)
            self.assertEqual(response.getheader("Content-Type"), contentType)
            self.assertEqual(
                response.getheader("Content-Length"), str(file["content_length"])
            )
            self.assertEqual(response.getheader("X-Content-Type-Options"), "nosniff")


class CrossOriginTests(SiteTestCase):
    """A server that scripts of other sites may use."""

    crossOrigin = ("*",)

    def test_header(self) -> None:
        """All that a script may want to read says so."""
        self.keep(makeJob("j"))
        for path in (
            "/ows/",
            "/status/",
            "/status/j",
            "/jobs/j/files",
            "/jobs/j/files/a",
        ):
            response = self.ask(path)
            self.assertEqual(response.getheader("Access-Control-Allow-Origin"), "*")
            self.assertEqual(
                response.getheader("Access-Control-Expose-Headers"),
                "X-Job-Realm, X-Request-ID, Retry-After, Accept-Ranges,"
                " Content-Disposition, Content-Range, ETag",
            )
