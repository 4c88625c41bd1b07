"""Tests of L{qgswps.web.ows}: requests in, documents and jobs out."""

from __future__ import annotations

import gzip
import os
import zlib
from http.client import HTTPResponse
from typing import Any, ClassVar
from urllib.parse import urlencode, urlsplit

import attrs
from lxml import etree
from twisted.python.filepath import FilePath

from qgswps import codec
from qgswps.errors import Fault, busy
from qgswps.model import (
    FileValue,
    Format,
    LayerSummary,
    LayerValue,
    LiteralValue,
    OutputData,
    ProjectSummary,
    Result,
    State,
    Task,
)
from qgswps.pool.exits import Exit, WorkerLost
from qgswps.web import ows
from qgswps.web.http import LINGER
from qgswps.web.ows import XML, refusal
from tests.fakes import Exchange, FakeExecution, makeJob
from tests.web.test_site import ECHO, SiteTestCase

NS = {
    "wps": "http://www.opengis.net/wps/1.0.0",
    "ows": "http://www.opengis.net/ows/1.1",
    "xlink": "http://www.w3.org/1999/xlink",
}

POST = """<wps:Execute service="WPS" version="1.0.0"
    xmlns:wps="http://www.opengis.net/wps/1.0.0"
    xmlns:ows="http://www.opengis.net/ows/1.1">
  <ows:Identifier>test:echo</ows:Identifier>
  <wps:DataInputs><wps:Input><ows:Identifier>TEXT</ows:Identifier>
    <wps:Data><wps:LiteralData>{}</wps:LiteralData></wps:Data>
  </wps:Input></wps:DataInputs>
</wps:Execute>"""


class OWSTestCase(SiteTestCase):
    """Requests to the endpoint."""

    def query(self, request: str, **parameters: str) -> str:
        """The path of a KVP request."""
        values = {"service": "WPS", "version": "1.0.0", "request": request}
        return "/ows/?" + urlencode({**values, **parameters})

    def execute(self, **parameters: str) -> tuple[Exchange, FakeExecution]:
        """Begin an Execute."""
        values = {"identifier": "test:echo", "datainputs": "TEXT=a", **parameters}
        exchange = self.exchange(self.query("Execute", **values))
        return exchange, self.executor.executions[-1]

    def succeed(self, execution: FakeExecution, **outputs: OutputData) -> None:
        """Have a result."""
        result = Result(outputs)
        codec.write(os.path.join(execution.directory, "result.json"), result)
        execution.observer.started(77)
        execution.end(result)

    def succeedWithFile(self, execution: FakeExecution, content: bytes) -> None:
        """Have a file as result."""
        path = FilePath(execution.directory).child("outputs").child("a.geojson")
        path.setContent(content)
        form = Format("application/geo+json", "UTF-8")
        self.succeed(execution, FILE=FileValue("outputs/a.geojson", form))

    def xml(self, response: HTTPResponse, status: int = 200) -> Any:
        """The document of a response."""
        self.assertEqual(response.status, status)
        self.assertEqual(response.getheader("Content-Type"), XML)
        return etree.fromstring(response.read())

    def document(self, exchange: Exchange, status: int = 200) -> Any:
        """The document that a request is answered with by now."""
        return self.xml(self.successResultOf(exchange.finished), status)

    def text(self, document: Any, path: str) -> str:
        """The one text at a path of a document."""
        [found] = document.xpath(path, namespaces=NS)
        return str(getattr(found, "text", found))

    def refused(
        self, path: str, status: int, code: str, locator: str | None, **options: Any
    ) -> str:
        """A request is refused; the text of the exception."""
        document = self.xml(self.ask(path, **options), status)
        self.assertEqual(document.tag, f"{{{NS['ows']}}}ExceptionReport")
        [exception] = document
        self.assertEqual(exception.get("exceptionCode"), code)
        self.assertEqual(exception.get("locator"), locator)
        return self.text(exception, "ows:ExceptionText")


class DescriptionTests(OWSTestCase):
    """GetCapabilities and DescribeProcess."""

    def test_capabilities(self) -> None:
        """The document is made once for each base and each generation."""
        path = "/ows/?service=WPS&request=GetCapabilities"
        first = self.ask(path).read()
        self.patch(self.catalogue, "published", {"x": None})  # can't be rendered
        self.assertEqual(self.ask(path).read(), first)
        self.assertIn(b"http://example.org/ows/", first)
        self.patch(self.catalogue, "published", {})
        self.refused(path, 503, "ServerBusy", None)

    def test_newGeneration(self) -> None:
        """After a reload the document is a new one."""
        path = "/ows/?service=WPS&request=GetCapabilities"
        self.ask(path)
        self.catalogue.generation += 1
        other = attrs.evolve(ECHO, identifier="other")
        self.catalogue.published = {"other": other}
        document = self.ask(path).read()
        self.assertNotIn(b"test:echo", document)
        self.assertIn(b"other", document)

    def test_describe(self) -> None:
        """Processes are described by name, or all."""
        for identifier in ("test:echo", "all", "ALL", "other,all"):
            path = self.query("DescribeProcess", identifier=identifier)
            document = self.xml(self.ask(path))
            self.assertEqual(
                self.text(document, "//ProcessDescription/ows:Identifier"), "test:echo"
            )
        path = self.query("DescribeProcess", identifier="nothing")
        self.refused(path, 400, "InvalidParameterValue", "identifier")

    def test_describeWithProject(self) -> None:
        """With a project, its layers are the values to choose from."""
        path = self.query("DescribeProcess", identifier="test:echo", MAP="p")
        self.refused(path, 400, "InvalidParameterValue", "MAP")
        FilePath(self.projects).child("p.qgs").setContent(b"")
        exchange = self.exchange(path)
        [(project, summary)] = self.executor.summaries
        self.assertEqual(project, os.path.join(self.projects, "p.qgs"))
        layer = LayerSummary("id", "France", "polygon", "EPSG:4326")
        summary.callback(ProjectSummary("t", "EPSG:4326", (layer,)))
        document = self.document(exchange)
        self.assertEqual(
            self.text(document, "//Input[ows:Identifier='LAYER']//ows:Value"), "France"
        )


class ExecuteTests(OWSTestCase):
    """Execute"""

    def test_synchronous(self) -> None:
        """The answer comes when the job has ended."""
        exchange, execution = self.execute()
        self.assertNoResult(exchange.finished)
        self.succeed(execution, OUT=LiteralValue("b"))
        document = self.document(exchange)
        self.assertEqual(
            len(document.xpath("//wps:ProcessSucceeded", namespaces=NS)), 1
        )
        self.assertEqual(
            self.text(document, "//wps:Output[ows:Identifier='OUT']//wps:LiteralData"),
            "b",
        )
        [job] = self.store.jobs.values()
        self.assertFalse(job.asynchronous)

    def test_post(self) -> None:
        """So it does by POST."""
        exchange = self.exchange("/ows/", "POST", body=POST.format("a").encode())
        [execution] = self.executor.executions
        task = self.spool.task(os.path.basename(execution.directory))
        [given] = task.request.inputs
        self.assertEqual(given.value, LiteralValue("a"))
        self.succeed(execution, OUT=LiteralValue("b"))
        self.document(exchange)

    def test_largeBody(self) -> None:
        """A body that is too large is refused."""
        body = POST.format("a" * 1000).encode()
        exchange = self.exchange("/ows/", method="POST", body=body)
        # The client has its time to read that.
        self.reactor.advance(LINGER)
        response = self.successResultOf(exchange.finished)
        self.assertEqual(response.status, 413)
        self.assertIn(b"NoApplicableCode", response.read())
        self.assertEqual(self.executor.executions, [])

    def test_largeBodies(self) -> None:
        """After one the next one waits; those that are small don't."""
        self.patch(ows, "_REST", 10**9)
        self.patch(ows, "_LARGE_BODY", 600)
        self.executor.capacity = 3
        large = POST.format("a" * 500).encode()
        for count, body in ((1, large), (1, large), (2, POST.format("a").encode())):
            self.exchange("/ows/", method="POST", body=body)
            self.assertEqual(len(self.executor.executions), count)
        self.reactor.advance(ows._LONGEST_REST)
        self.assertEqual(len(self.executor.executions), 3)
        for execution in self.executor.executions:
            self.succeed(execution, OUT=LiteralValue("b"))

    def test_compressedBody(self) -> None:
        """A compressed body is unpacked, as far as it is not too large then."""
        for encoding, pack in (
            ("gzip", gzip.compress),
            ("x-gzip", gzip.compress),
            ("Deflate", zlib.compress),
            ("identity", bytes),
            ("gzip, deflate", lambda data: zlib.compress(gzip.compress(data))),
        ):
            with self.subTest(encoding=encoding):
                exchange = self.exchange(
                    "/ows/",
                    method="POST",
                    body=pack(POST.format("a").encode()),
                    Content_Encoding=encoding,
                )
                execution = self.executor.executions[-1]
                self.succeed(execution, OUT=LiteralValue("b"))
                self.document(exchange)
                self.reactor.advance(ows._LONGEST_REST)
        before = len(self.executor.executions)
        bomb = gzip.compress(POST.format("a" * 10_000).encode())
        good = gzip.compress(POST.format("a").encode())
        for body, encoding, status in (
            (bomb, "gzip", 413),
            (good[:-9], "gzip", 400),
            (good + b"x", "gzip", 400),
            (b"nonsense", "deflate", 400),
            (good, "br", 415),
        ):
            with self.subTest(encoding=encoding, status=status):
                self.refused(
                    "/ows/",
                    status,
                    "NoApplicableCode",
                    None,
                    method="POST",
                    body=body,
                    Content_Encoding=encoding,
                )
                self.reactor.advance(ows._LONGEST_REST)
        self.assertEqual(len(self.executor.executions), before)

    def test_form(self) -> None:
        """Parameters in the body, as a form sends them; XML that says so is XML."""
        form = "application/x-www-form-urlencoded; charset=utf-8"
        fields = "service=WPS&request=Execute&identifier=test:echo&datainputs=TEXT%3Da"
        for path, body in (
            ("/ows/?version=1.0.0", fields),
            ("/ows/", f"version=1.0.0&{fields}"),
            ("/ows/", POST.format("a")),
        ):
            with self.subTest(body=body):
                exchange = self.exchange(
                    path, method="POST", body=body.encode(), Content_Type=form
                )
                execution = self.executor.executions[-1]
                task = codec.read(f"{execution.directory}/task.json", Task)
                [given] = task.request.inputs
                self.assertEqual(given.value, LiteralValue("a"))
                self.succeed(execution, OUT=LiteralValue("b"))
                self.document(exchange)
        self.refused(
            self.query("Execute", identifier="test:echo"),
            400,
            "NoApplicableCode",
            None,
            method="POST",
            Content_Type=form,
        )

    def test_nowhere(self) -> None:
        """Below the endpoint there is nothing, and it takes few methods."""
        for path in ("/ows/foo", "/ows/foo/bar?service=WPS&request=GetCapabilities"):
            self.refused(path, 404, "InvalidParameterValue", None)
        response = self.ask("/ows/", method="DELETE")
        self.assertEqual(response.status, 405)
        self.assertEqual(response.getheader("Allow"), "GET, HEAD, OPTIONS, POST")
        self.assertIn(b"ExceptionReport", response.read())

    def test_asynchronous(self) -> None:
        """The answer comes at once, and says where to ask again."""
        exchange, execution = self.execute(storeExecuteResponse="true", status="true")
        document = self.document(exchange)
        self.assertEqual(len(document.xpath("//wps:ProcessAccepted", namespaces=NS)), 1)
        location = urlsplit(self.text(document, "/*/@statusLocation"))
        self.assertEqual(location.netloc, "example.org")
        path = f"{location.path}?{location.query}"

        execution.observer.started(77)
        execution.observer.progress(40.0, "at it")
        document = self.xml(self.ask(path))
        self.assertEqual(
            self.text(document, "//wps:ProcessStarted/@percentCompleted"), "40"
        )
        self.succeedWithFile(execution, b'{"type": "x"}')
        document = self.xml(self.ask(path))
        self.assertIn(
            '{"type": "x"}',
            self.text(document, "//wps:Output[ows:Identifier='FILE']//wps:ComplexData"),
        )

    def test_getResults(self) -> None:
        """Of a job that there is not, there are no results."""
        self.refused(
            self.query("GetResults", uuid="unknown"),
            404,
            "InvalidParameterValue",
            "uuid",
        )

    def test_withdrawn(self) -> None:
        """Results stay when their process is withdrawn."""
        exchange, execution = self.execute(storeExecuteResponse="true")
        self.document(exchange)
        self.succeed(execution, OUT=LiteralValue("b"))
        self.catalogue.published["other"] = self.catalogue.published.pop("test:echo")
        [job] = self.store.jobs
        document = self.xml(self.ask(self.query("GetResults", uuid=job)))
        self.assertEqual(self.text(document, "//wps:LiteralData"), "b")

    def test_notReady(self) -> None:
        """Results are told while QGIS starts again."""
        exchange, execution = self.execute(storeExecuteResponse="true")
        self.document(exchange)
        self.succeed(execution, OUT=LiteralValue("b"))
        self.catalogue.published = {}
        [job] = self.store.jobs
        document = self.xml(self.ask(self.query("GetResults", uuid=job)))
        self.assertEqual(self.text(document, "//wps:LiteralData"), "b")
        self.assertEqual(self.text(document, "//wps:Process/ows:Title"), "Echo")

    def test_removed(self) -> None:
        """A job whose files go while it is asked for is not there any more."""
        exchange, execution = self.execute(storeExecuteResponse="true")
        self.document(exchange)
        self.succeedWithFile(execution, b"{}")
        [job] = self.store.jobs
        path = self.query("GetResults", uuid=job)
        directory = FilePath(execution.directory)
        for name in ("outputs/a.geojson", "result.json", "task.json"):
            directory.preauthChild(name).remove()
            text = self.refused(path, 404, "InvalidParameterValue", "uuid")
            self.assertIn(job, text)

    def test_reference(self) -> None:
        """A file by reference can be fetched from where the answer says."""
        exchange, execution = self.execute(ResponseDocument="FILE=@asReference=true")
        self.succeedWithFile(execution, b"{}")
        document = self.document(exchange)
        [reference] = document.xpath("//wps:Output/wps:Reference", namespaces=NS)
        href = reference.get("href") or reference.get(f"{{{NS['xlink']}}}href")
        self.assertTrue(href.startswith("http://example.org/jobs/"), href)
        response = self.ask(href.removeprefix("http://example.org"), "HEAD")
        self.assertEqual(response.getheader("Content-Length"), "2")

    def test_filesAsReferences(self) -> None:
        """If so configured, files are never in a document, but still raw."""
        self.filesAsReferences = True
        self.setUp()
        exchange, execution = self.execute(ResponseDocument="FILE")
        self.succeedWithFile(execution, b"{}")
        document = self.document(exchange)
        self.assertEqual(len(document.xpath("//wps:Reference", namespaces=NS)), 1)
        self.assertEqual(document.xpath("//wps:ComplexData", namespaces=NS), [])
        exchange, execution = self.execute(RawDataOutput="FILE")
        self.succeedWithFile(execution, b"{}")
        self.assertEqual(self.successResultOf(exchange.finished).read(), b"{}")

    def test_rawLiteral(self) -> None:
        """A raw literal is a text."""
        exchange, execution = self.execute(RawDataOutput="OUT")
        self.succeed(execution, OUT=LiteralValue("ä"))
        response = self.successResultOf(exchange.finished)
        self.assertEqual(
            response.getheader("Content-Type"), "text/plain; charset=utf-8"
        )
        self.assertEqual(response.read().decode(), "ä")

    def test_layerReference(self) -> None:
        """A layer of the result project is a URL of its service."""
        exchange, execution = self.execute(storeExecuteResponse="true")
        self.document(exchange)
        form = Format("application/x-ogc-wfs")
        self.succeed(execution, OUT=LayerValue("my layer", form))
        [job] = self.store.jobs
        document = self.xml(self.ask(self.query("GetResults", uuid=job)))
        expected = (
            f"http://example.org/ows/?MAP=wps-results:{job}/test_echo.qgs"
            "&service=WFS&request=GetCapabilities&layers=my%20layer"
        )
        self.assertEqual(self.text(document, "//wps:Reference/@href"), expected)
        self.assertEqual(
            self.text(document, "//wps:Reference/@mimeType"), form.mimeType
        )

    def test_rawLayer(self) -> None:
        """A raw layer of a service leads there."""
        exchange, execution = self.execute(RawDataOutput="OUT")
        self.succeed(execution, OUT=LayerValue("a", Format("application/x-ogc-wms")))
        response = self.successResultOf(exchange.finished)
        [job] = self.store.jobs
        self.assertEqual(response.status, 303)
        location = response.getheader("Location") or ""
        self.assertTrue(
            location.startswith(f"http://example.org/ows/?MAP=wps-results:{job}/"),
            location,
        )
        self.assertEqual(response.getheader("Content-Type"), "text/uri-list")
        self.assertEqual(response.read().decode(), f"{location}\r\n")

    def test_rawFailures(self) -> None:
        """What has no raw form is an exception."""
        exchange, execution = self.execute(RawDataOutput="OUT")
        self.succeed(execution)
        text = self.text(self.document(exchange, 500), "//ows:ExceptionText")
        self.assertIn("OUT", text)
        exchange, execution = self.execute(RawDataOutput="OUT")
        execution.end(Result(faults=(Fault("NoApplicableCode", "it broke"),)))
        text = self.text(self.document(exchange, 500), "//ows:ExceptionText")
        self.assertEqual(text, "it broke")
        exchange, execution = self.execute(RawDataOutput="OUT")
        [job] = [j for j in self.store.jobs.values() if not j.state.terminal]
        self.queue.dismiss(job.id, "enough")
        text = self.text(self.document(exchange, 500), "//ows:ExceptionText")
        self.assertEqual(text, "enough")

    def test_failed(self) -> None:
        """A job that fails is told in the response document."""
        exchange, execution = self.execute()
        execution.end(WorkerLost("ended by signal SIGSEGV", Exit(11)))
        document = self.document(exchange)
        text = self.text(document, "//wps:ProcessFailed//ows:ExceptionText")
        self.assertIn("SIGSEGV", text)

    def test_timeOut(self) -> None:
        """A synchronous job whose time is up is a gateway's time-out."""
        exchange, execution = self.execute(TIMEOUT="5")
        execution.observer.started(77)
        self.reactor.advance(5)
        document = self.document(exchange, 504)
        [exception] = document
        self.assertIn("TimeOut", self.text(exception, "ows:ExceptionText"))

    def test_refusal(self) -> None:
        """Only what is not the process's own failure is an exception."""
        for fault, status, retryAfter in [
            (Fault("NoApplicableCode", "TimeOut", "timeout"), 504, None),
            (Fault("ServerBusy", "no place"), 503, busy("").retryAfter),
        ]:
            error = refusal(makeJob(state=State.FAILED, faults=(fault,)))
            assert error is not None
            self.assertEqual(error.faults, (fault,))
            self.assertEqual((error.status, error.retryAfter), (status, retryAfter))
        for faults in ((), (Fault("NoApplicableCode", "it broke"),)):
            job = makeJob(state=State.FAILED, faults=faults)
            self.assertIsNone(refusal(job))

    def test_disconnect(self) -> None:
        """A client that goes away has its job dismissed."""
        exchange, execution = self.execute()
        exchange.disconnect()
        self.assertEqual(execution.cancelled, 1)
        [job] = self.store.jobs.values()
        self.assertIs(job.state, State.DISMISSED)

    def test_disconnectAsynchronous(self) -> None:
        """An asynchronous job goes on without its client."""
        exchange, execution = self.execute(storeExecuteResponse="true")
        self.document(exchange)
        exchange.disconnect()
        self.assertEqual(execution.cancelled, 0)

    def test_refusals(self) -> None:
        """What can't be run is refused before there is a job."""
        for parameters, status, code, locator in [
            ({"identifier": ""}, 400, "MissingParameterValue", "identifier"),
            ({"identifier": "no"}, 400, "InvalidParameterValue", "identifier"),
            ({"datainputs": ""}, 400, "MissingParameterValue", "TEXT"),
            ({"datainputs": "TEXT=a;NO=b"}, 400, "InvalidParameterValue", "NO"),
            ({"MAP": "../p"}, 400, "InvalidParameterValue", "MAP"),
            ({"version": "9"}, 400, "InvalidParameterValue", "version"),
        ]:
            values = {"identifier": "test:echo", "datainputs": "TEXT=a", **parameters}
            self.refused(self.query("Execute", **values), status, code, locator)
        self.refused("/ows/", 400, "MissingParameterValue", "request")
        body = b"<not"
        self.refused("/ows/", 400, "NoApplicableCode", None, method="POST", body=body)
        self.assertEqual((self.store.jobs, self.spool.jobIds()), ({}, []))

    def test_allFaults(self) -> None:
        """What is wrong with form, MAP, inputs and outputs comes in one report."""
        values = {
            "identifier": "test:echo",
            "datainputs": "NO=b",
            "responsedocument": "NOTHING",
            "TIMEOUT": "soon",
            "lineage": "perhaps",
        }
        for more, expected, status in (
            ({}, {"NO", "TEXT", "NOTHING", "TIMEOUT", "lineage"}, 400),
            (
                {"MAP": "../p"},
                {"NO", "TEXT", "NOTHING", "TIMEOUT", "lineage", "MAP"},
                400,
            ),
            ({"identifier": "no"}, {"identifier", "TIMEOUT", "lineage"}, 400),
        ):
            response = self.ask(self.query("Execute", **{**values, **more}))
            document = self.xml(response, status)
            found = [each.get("locator") for each in document]
            self.assertEqual(sorted(found), sorted(expected))
        response = self.ask(self.query("DescribeProcess", identifier="a,test:echo,b"))
        self.assertEqual(len(self.xml(response, 400)), 2)

    def test_starting(self) -> None:
        """Whoever comes too early is asked to come again, whatever else is wrong."""

        def processes() -> Any:
            raise busy("QGIS is starting")

        self.patch(self.catalogue, "processes", processes)
        for values in ({}, {"timeout": "soon"}):
            path = self.query("Execute", identifier="test:echo", **values)
            self.refused(path, 503, "ServerBusy", None)
            self.assertIsNotNone(self.ask(path).getheader("Retry-After"))

    def test_busy(self) -> None:
        """Whoever comes when the queue is full is asked to come again."""
        waiting = [self.execute()[0] for _ in range(2 + 1)]
        path = self.query("Execute", identifier="test:echo", datainputs="TEXT=a")
        self.refused(path, 503, "ServerBusy", None)
        self.assertIsNotNone(self.ask(path).getheader("Retry-After"))
        for exchange in waiting:
            exchange.disconnect()


class PublicTests(OWSTestCase):
    """The URLs in documents, of a server behind a proxy."""

    behindProxy = True
    headers: ClassVar[dict[str, str]] = {
        "X_Forwarded_Proto": "https",
        "X_Forwarded_Host": "wps.example",
    }
    expected = "https://wps.example/"

    def test_urls(self) -> None:
        """All of them, in the answers to synchronous requests too."""
        path = self.query(
            "Execute",
            identifier="test:echo",
            datainputs="TEXT=a",
            responsedocument="FILE@asReference=true",
        )
        exchange = self.exchange(path, **self.headers)
        self.succeedWithFile(self.executor.executions[-1], b"{}")
        document = self.document(exchange)
        [job] = self.store.jobs
        location = self.text(document, "/*/@statusLocation")
        self.assertTrue(location.startswith(self.expected), location)
        self.assertTrue(location.endswith(f"uuid={job}"), location)
        href = self.text(document, "//wps:Output/wps:Reference/@href")
        self.assertEqual(href, f"{self.expected}jobs/{job}/files/a.geojson")
        instance = self.text(document, "/*/@serviceInstance")
        self.assertTrue(instance.startswith(f"{self.expected}ows/"), instance)
        capabilities = self.ask(self.query("GetCapabilities"), **self.headers)
        found = self.xml(capabilities).xpath("//ows:Get/@xlink:href", namespaces=NS)
        self.assertEqual(set(found), {f"{self.expected}ows/"})


class ForwardedTests(PublicTests):
    """Likewise by RFC 7239."""

    headers: ClassVar[dict[str, str]] = {
        "Forwarded": "for=1.2.3.4;proto=https;host=wps.example"
    }


class DirectTests(PublicTests):
    """Without a proxy nobody is believed."""

    behindProxy = False
    headers: ClassVar[dict[str, str]] = {
        **PublicTests.headers,
        **ForwardedTests.headers,
    }
    expected = "http://example.org/"


class ElsewhereTests(OWSTestCase):
    """Jobs of another server that has the same store."""

    instance = "here"

    def test_ended(self) -> None:
        """What a job has made is where it ran."""
        self.store.jobs["j"] = makeJob("j", server="there", state=State.SUCCEEDED)
        path = self.query("GetResults", uuid="j")
        text = self.refused(path, 409, "InvalidParameterValue", "uuid")
        self.assertIn("another server", text)

    def test_others(self) -> None:
        """The record alone tells of a job that has made nothing."""
        fault = Fault("NoApplicableCode", "it broke")
        for state, element in [
            (State.ACCEPTED, "ProcessAccepted"),
            (State.STARTED, "ProcessStarted"),
            (State.FAILED, "ProcessFailed"),
            (State.DISMISSED, "ProcessFailed"),
        ]:
            faults = (fault,) if state is State.FAILED else ()
            self.store.jobs["j"] = makeJob(
                "j",
                server="there",
                processId="test:echo",
                state=state,
                faults=faults,
                percent=40.0,
            )
            document = self.xml(self.ask(self.query("GetResults", uuid="j")))
            found = document.xpath(f"//wps:Status/wps:{element}", namespaces=NS)
            self.assertEqual(len(found), 1, state)
            location = self.text(document, "/*/@statusLocation")
            self.assertTrue(location.endswith("uuid=j"), location)
            if state is State.FAILED:
                text = self.text(document, "//ows:ExceptionText")
                self.assertEqual(text, "it broke")

    def test_own(self) -> None:
        """One's own are told as ever."""
        exchange, execution = self.execute(storeExecuteResponse="true")
        self.document(exchange)
        self.succeed(execution, OUT=LiteralValue("b"))
        [job] = self.store.jobs
        document = self.xml(self.ask(self.query("GetResults", uuid=job)))
        self.assertEqual(self.text(document, "//wps:LiteralData"), "b")
