"""Map workers: forked as the fork server does, asked by their socket."""

from __future__ import annotations

import contextlib
import json
import os
import resource
import shutil
import signal
import socket
import sys
import unittest
from typing import Any
from unittest import mock
from urllib.parse import quote

from twisted.internet.defer import Deferred
from twisted.protocols import amp

from qgswps import codec
from qgswps.errors import OWSError
from qgswps.model import ExecuteRequest, Result, ResultLayer, Task, WorkerSettings
from qgswps.pool.commands import LogMessage, PrepareProject, QuietAMP, ServeMap
from qgswps.web import mapquery
from qgswps.worker import child, isolation
from qgswps.worker.loop import BlockingTransport
from qgswps.worker.maps import Maps
from qgswps.worker.sandbox import Sandbox
from tests.worker.qgisside.support import DATA, DEMO, WORLD, JobCase

PROCESS = "test:maps"
URL = "http://example.org/ows/?MAP=x&"


class _Server(QuietAMP):
    """
    The server's end of the socket.

    @ivar messages: what was sent for the log.
    """

    def __init__(self) -> None:
        super().__init__()
        self.messages: list[tuple[str, str]] = []

    @LogMessage.responder
    def logMessage(self, level: str, text: str) -> dict[str, Any]:
        """Note it."""
        self.messages.append((level, text))
        return {}


class MapWorkerTests(JobCase):
    """One worker, and a job directory with a layer."""

    def setUp(self) -> None:
        super().setUp()
        outputs = os.path.join(self.directory, "outputs")
        os.mkdir(outputs)
        shutil.copy(DATA, os.path.join(outputs, "OUTPUT.gpkg"))
        self.result(
            ResultLayer(
                "OUTPUT", "The cities", "point", "outputs/OUTPUT.gpkg|layername=cities"
            )
        )
        codec.write(
            os.path.join(self.directory, "task.json"), Task(ExecuteRequest(PROCESS))
        )
        self.project = os.path.join(self.directory, "test_maps.qgs")
        self.answers = os.path.join(self.directory, "answers")
        os.mkdir(self.answers)
        self.server = _Server()
        self.ending = 0
        self.pid = self.fork()

    def result(self, *layers: ResultLayer) -> None:
        """What the job has made."""
        codec.write(os.path.join(self.directory, "result.json"), Result(layers=layers))

    def fork(self) -> int:
        """Make the worker."""
        ours, theirs = socket.socketpair()
        pid = os.fork()
        if pid == 0:
            with contextlib.suppress(BaseException):
                ours.close()
                os.setsid()
                isolation.ownEventDescriptors(isolation.eventDescriptors())
                mask = signal.pthread_sigmask(signal.SIG_BLOCK, ())
                child.main(theirs, mask, Sandbox(WorkerSettings("", "")))
            os._exit(70)
        theirs.close()
        self.transport = BlockingTransport(ours, self.server)
        self.addCleanup(self.end)
        return pid

    def end(self) -> None:
        """The server closes the socket: the worker ends."""
        self.transport.connection.close()
        self.assertEqual(os.waitpid(self.pid, 0)[1], self.ending)

    def ask(self, command: type[amp.Command], **arguments: Any) -> Any:
        """What the worker answers."""
        outcome: list[Any] = []
        d: Deferred[Any] = self.server.callRemote(command, **arguments)
        d.addBoth(outcome.append)
        while not outcome:
            self.assertTrue(self.transport.receive(), "the worker has ended")
        return outcome[0]

    def serve(
        self, query: str, source: str = "", url: str = URL, **arguments: str
    ) -> tuple[int, dict[str, str], bytes]:
        """Status, headers and body of an answer."""
        output = os.path.join(self.answers, "1.body")
        values = {
            "project": source or self.project,
            "directory": "" if source else self.directory,
            "method": "GET",
            "url": url + query,
            "headers": "{}",
            "body": "",
            "output": output,
        }
        answer = self.ask(ServeMap, **{**values, **arguments})
        self.assertIsInstance(answer, dict, answer)
        with open(output, "rb") as file:
            body = file.read()
        return answer["status"], json.loads(answer["headers"]), body

    def refused(self, command: type[amp.Command], **arguments: Any) -> str:
        """The text of a fault."""
        return str(self.ask(command, **arguments).value)

    def test_prepare(self) -> None:
        """The project is made once."""
        for _ in range(2):
            self.assertEqual(self.ask(PrepareProject, directory=self.directory), {})
            made = os.stat(self.project).st_mtime_ns
        self.assertEqual(self.ask(PrepareProject, directory=self.directory), {})
        self.assertEqual(os.stat(self.project).st_mtime_ns, made)

    def test_noLayers(self) -> None:
        """There is no project without layers, or without a job."""
        self.result()
        text = self.refused(PrepareProject, directory=self.directory)
        self.assertEqual(text, "404 this job has made no layers")
        text = self.refused(PrepareProject, directory=self.directory + "x")
        self.assertTrue(text.startswith("404 "), text)

    def test_services(self) -> None:
        """Many requests, one after the other; each answer has a file for itself."""
        status, headers, body = self.serve("SERVICE=WMS&REQUEST=GetCapabilities")
        self.assertEqual((status, headers["Content-Type"][:8]), (200, "text/xml"))
        self.assertIn(b"<Name>The cities</Name>", body)
        status, headers, body = self.serve(
            "SERVICE=WMS&VERSION=1.3.0&REQUEST=GetMap&LAYERS=The%20cities&STYLES="
            "&CRS=CRS:84&BBOX=-180,-90,180,90&WIDTH=60&HEIGHT=30&FORMAT=image/png"
        )
        self.assertEqual((status, headers["Content-Type"]), (200, "image/png"))
        self.assertTrue(body.startswith(b"\x89PNG"))
        query = "SERVICE=WFS&VERSION=1.1.0&REQUEST=GetFeature&TYPENAME=The_cities"
        status, _, features = self.serve(query)
        self.assertEqual(status, 200)
        self.assertGreater(features.count(b"<gml:featureMember>"), 10)
        status, _, body = self.serve("SERVICE=WMS&REQUEST=Nothing")
        self.assertEqual(status, 501)
        self.assertIn(b"ServiceException", body)
        status, _, body = self.serve(
            "", url="http://example.org/pre/jobs/1/wfs3/collections.json"
        )
        self.assertEqual(status, 200)
        links = json.loads(body)["links"]
        self.assertTrue(links[0]["href"].startswith("http://example.org/pre/jobs/1/"))

    def test_post(self) -> None:
        """A body comes by a file."""
        path = os.path.join(self.answers, "request")
        with open(path, "w") as file:
            file.write(
                '<GetFeature service="WFS" version="1.1.0"'
                ' xmlns="http://www.opengis.net/wfs">'
                '<Query typeName="The_cities"/></GetFeature>'
            )
        status, _, body = self.serve("SERVICE=WFS", method="POST", body=path)
        self.assertEqual(status, 200)
        self.assertIn(b"featureMember", body)

    def test_publicURL(self) -> None:
        """Documents have the URL of the request, not that of an earlier one."""
        for url in (URL, "https://example.org/pre/ows/?MAP=y&"):
            _, _, body = self.serve("SERVICE=WMS&REQUEST=GetCapabilities", url=url)
            self.assertIn(f'xlink:href="{url[:-1]}'.encode(), body)

    def test_changedProject(self) -> None:
        """A project that was saved again is opened again."""
        source = os.path.join(self.directory, "world.qgs")
        for name in ("world.gpkg", "elevation.tif"):
            shutil.copy(DEMO / name, self.directory)
        with open(WORLD) as file:
            text = file.read()
        for title in ("The first one", "The second one"):
            with open(source, "w") as file:
                file.write(text.replace(">World<", f">{title}<"))
            query = "SERVICE=WMS&REQUEST=GetCapabilities"
            self.assertIn(title.encode(), self.serve(query, source)[2])

    def test_unknownProject(self) -> None:
        """A project that is not there, or is none, is a fault; work goes on."""
        values = dict.fromkeys(
            ("directory", "method", "url", "headers", "body", "output"), ""
        )
        values.update(method="GET", headers="{}", url=URL)
        values["output"] = os.path.join(self.answers, "2.body")
        text = self.refused(ServeMap, project="/nowhere.qgs", **values)
        self.assertEqual(text, "404 there is no such project")
        broken = os.path.join(self.directory, "broken.qgs")
        with open(broken, "w") as file:
            file.write("<nothing")
        text = self.refused(ServeMap, project=broken, **values)
        self.assertTrue(text.startswith("400 the project 'broken.qgs'"), text)
        self.assertNotIn(self.directory, text)
        self.assertEqual(self.serve("SERVICE=WMS&REQUEST=GetCapabilities")[0], 200)

    def test_databaseIsAway(self) -> None:
        """What is wrong with a database's project tells nothing of the database."""
        project = (
            "postgresql://somebody:secret@127.0.0.1:1?sslmode=disable"
            "&dbname=hidden&schema=public&project=there"
        )
        text = self.refused(
            ServeMap,
            project=project,
            directory="",
            method="GET",
            url=URL + "SERVICE=WMS&REQUEST=GetCapabilities",
            headers="{}",
            body="",
            output=os.path.join(self.answers, "2.body"),
        )
        self.assertEqual(
            text,
            "404 there is no such project, or the database that has it is away",
        )

    def test_noRoom(self) -> None:
        """An answer that does not fit is none, however it is written."""
        self.assertEqual(self.serve("SERVICE=WMS&REQUEST=GetCapabilities")[0], 200)
        features = "SERVICE=WFS&VERSION=1.1.0&REQUEST=GetFeature&TYPENAME=The_cities"
        picture = (
            "SERVICE=WMS&VERSION=1.3.0&REQUEST=GetMap&LAYERS=The%20cities&STYLES="
            "&CRS=CRS:84&BBOX=-180,-90,180,90&WIDTH=1000&HEIGHT=500&FORMAT=image/"
        )
        for query in (features, picture + "png", picture + "jpeg"):
            whole = self.serve(query)[2]
            before = resource.prlimit(self.pid, resource.RLIMIT_FSIZE)
            for size in (1, len(whole) // 2, len(whole) - 1):
                limits = (size, before[1])
                resource.prlimit(self.pid, resource.RLIMIT_FSIZE, limits)
                text = self.refused(
                    ServeMap,
                    project=self.project,
                    directory=self.directory,
                    method="GET",
                    url=URL + query,
                    headers="{}",
                    body="",
                    output=os.path.join(self.answers, "2.body"),
                )
                self.assertEqual(text, "507 there is no room for this map")
            resource.prlimit(self.pid, resource.RLIMIT_FSIZE, before)
            self.assertEqual(self.serve(query)[2], whole)

    def test_withoutQGISServer(self) -> None:
        """Where it is not installed, the fault names the packages."""
        values = dict.fromkeys(
            ("project", "directory", "method", "url", "headers", "body", "output"), ""
        )
        with (
            mock.patch.dict(sys.modules, {"qgis.server": None}),
            self.assertRaises(OWSError) as caught,
        ):
            Maps(lambda level, text: None).serve(**values)
        self.assertEqual(caught.exception.status, 501)
        self.assertIn("qgis-server-wms", str(caught.exception))

    def test_ends(self) -> None:
        """A map worker that is asked to end does so."""
        self.assertEqual(self.serve("SERVICE=WMS&REQUEST=GetCapabilities")[0], 200)
        os.kill(self.pid, signal.SIGTERM)
        self.assertFalse(self.transport.receive())
        self.ending = signal.SIGTERM

    def test_isolation(self) -> None:
        """Temporary files are apart, the environment rules nothing."""
        self.assertEqual(self.serve("SERVICE=WMS&REQUEST=GetCapabilities")[0], 200)
        folder = os.path.join(self.answers, "tmp")
        self.assertTrue(os.path.isdir(folder))
        status, _, body = self.serve("SERVICE=WMS&REQUEST=GetPrint")
        self.assertEqual(status, 501, body)
        self.assertNotIn("info", {level for level, _ in self.server.messages})


class ParameterTests(unittest.TestCase):
    """What was looked at is what QGIS Server sees."""

    def seen(self, query: str) -> dict[str, str]:
        """The parameters of a query, as QGIS Server has them."""
        from qgis.server import QgsServerRequest

        found: dict[str, str] = QgsServerRequest(URL + query).parameters()
        found.pop("MAP")
        return found

    def test_same(self) -> None:
        """However it is encoded, and how often a parameter is given."""
        for query in (
            "LAYERS=a&LAYERS=b&layers=c&%4CAYERS=d&l%61yers=e",
            "LAYERS=a;LAYERS=b",
            "SERVICE%00=WMS&%00SERVICE=WMS&SERVICE%20=WFS&+SERVICE=WCS",
            "SERVICE;=WMS&SERVICE%3B=WFS&SERVICE%26SLD=WCS&SERVICE%3DSLD=b",
            "%2553LD=http://h/&S%4CD%3D=a",
            "A=+%2B%252B%25252B&B=%26SLD=x&C=%3DSLD&D=%23SLD&E=#&SLD=x",
            "A=%00SLD&B=%C3%A4%E4&C=%F0%9F%98%80&D=%0A%0D&E=%ED%A0%80",
            "SLD&=SLD&==&&A==b&B=c=d",
            "%C5%BFLD=a&%EF%AC%81lter=b&str%C3%9Fe=c&%C4%B1nfo_format=d",
        ):
            parsed = mapquery.parse(query.encode())
            self.assertEqual(self.seen(mapquery.compose(parsed)), parsed, query)
            given = mapquery.parseAsGiven(query.encode())
            named = {name.upper(): value for name, value in given.items()}
            self.assertEqual(self.seen(mapquery.compose(given)), named, query)

    def test_letters(self) -> None:
        """No letter is another one for QGIS than for Python, if it is for ASCII."""
        letters = [chr(n) for n in range(0x20000) if chr(n).isalpha()]
        for n in range(0, len(letters), 5000):
            given = {
                f"{ord(each)}:{each}": str(ord(each)) for each in letters[n : n + 5000]
            }
            query = "&".join(f"{quote(name)}={value}" for name, value in given.items())
            for name, value in self.seen(query).items():
                upper = chr(int(value)).upper()
                made = name.partition(":")[2]
                if any(each.isascii() for each in made + upper):
                    self.assertEqual(made, upper)
