"""HTTP itself, over sockets: what clients may send, and how much of it."""

from __future__ import annotations

import contextlib
import gzip
import http.client
import random
import re
import resource
import socket
import unittest
from typing import ClassVar
from urllib.parse import quote, urlencode

from tests import live, schemas

EXECUTE = """<wps:Execute service="WPS" version="1.0.0"
    xmlns:wps="http://www.opengis.net/wps/1.0.0"
    xmlns:ows="http://www.opengis.net/ows/1.1">
  <ows:Identifier>echo</ows:Identifier>
  <wps:DataInputs><wps:Input><ows:Identifier>literal</ows:Identifier>
    <wps:Data><wps:LiteralData>Grüße</wps:LiteralData></wps:Data>
  </wps:Input></wps:DataInputs>
</wps:Execute>"""


class BodyTests(unittest.TestCase):
    """POST of XML, in each way that clients have of sending it."""

    def setUp(self) -> None:
        self.server = live.sharedServer()

    def assertEchoed(self, body: bytes, query: str = "", **headers: str) -> None:
        """The process has understood the text."""
        fields = {name.replace("_", "-"): value for name, value in headers.items()}
        answer = self.server.request("POST", f"ows/{query}", body, fields)
        self.assertEqual(answer.status, 200, answer.text)
        self.assertIn("Grüße", answer.text)

    def test_types(self) -> None:
        """The media type is read leniently."""
        for mimeType in (
            "text/xml",
            "application/xml",
            "text/xml; charset=UTF-8",
            "text/plain",
            "application/x-www-form-urlencoded",
        ):
            with self.subTest(mimeType=mimeType):
                self.assertEchoed(EXECUTE.encode(), Content_Type=mimeType)
        self.assertEchoed(EXECUTE.encode())

    def test_encodings(self) -> None:
        """Any encoding that the prolog names, with or without a mark."""
        for name in ("UTF-8", "ISO-8859-1", "windows-1252", "UTF-16"):
            with self.subTest(name=name):
                text = f'<?xml version="1.0" encoding="{name}"?>\n{EXECUTE}'
                self.assertEchoed(text.encode(name), Content_Type="text/xml")
        self.assertEchoed(EXECUTE.encode("utf-8-sig"))

    def test_query(self) -> None:
        """Of the URL counts what XML has no place for, and nothing else."""
        for query in (
            "?service=WPS&request=Execute",
            "?SERVICE=WPS&REQUEST=GetCapabilities&VERSION=1.0.0",
            "?MAP=world&TIMEOUT=60&EXPIRE=600",
            "?vendor=1&_=2",
        ):
            with self.subTest(query=query):
                self.assertEchoed(EXECUTE.encode(), query, Content_Type="text/xml")

    def test_compressed(self) -> None:
        """A compressed body, and one in chunks."""
        body = gzip.compress(EXECUTE.encode())
        self.assertEchoed(body, Content_Type="text/xml", Content_Encoding="gzip")
        connection = http.client.HTTPConnection("127.0.0.1", self.server.port, 30)
        self.addCleanup(connection.close)
        parts = (EXECUTE[n : n + 50].encode() for n in range(0, len(EXECUTE), 50))
        connection.request("POST", "/ows/", parts, encode_chunked=True)
        response = connection.getresponse()
        self.assertIn("Grüße", response.read().decode())

    def test_empty(self) -> None:
        """An empty body is no request, whatever the URL says."""
        query = "?service=WPS&version=1.0.0&request=Execute&identifier=echo"
        answer = self.server.request("POST", f"ows/{query}", b"")
        self.assertEqual(answer.status, 400)
        schemas.assertValid(self, answer.body, "ExceptionReport")

    def test_operations(self) -> None:
        """All three by GET and by POST."""
        for name, body in (
            ("GetCapabilities", '<GetCapabilities service="WPS"/>'),
            (
                "DescribeProcess",
                '<DescribeProcess service="WPS" version="1.0.0">'
                "<Identifier>echo</Identifier></DescribeProcess>",
            ),
            ("Execute", EXECUTE),
        ):
            with self.subTest(name=name):
                byKVP = self.server.wps(name, identifier="echo")
                byXML = self.server.post(body)
                self.assertEqual((byKVP.status, byXML.status), (200, 200))

    def test_languages(self) -> None:
        """An unknown language gives the default; versions are agreed on."""
        for query in (
            "AcceptLanguages=fr,de",
            "language=tlh",
            "AcceptVersions=2.0.0,1.0.0",
            "AcceptFormats=application/json",
            "Sections=All&updateSequence=1",
            "AcceptVersions=",
        ):
            with self.subTest(query=query):
                answer = self.server.get(
                    f"ows/?service=WPS&request=GetCapabilities&{query}"
                )
                self.assertEqual(answer.status, 200, answer.text)
                self.assertIn('xml:lang="en"', answer.text)
        answer = self.server.request(
            "GET",
            "ows/?service=WPS&request=GetCapabilities",
            headers={"Accept-Language": "de-DE, x;q=0.1"},
        )
        self.assertEqual(answer.status, 200)
        for operation in ("DescribeProcess", "Execute"):
            answer = self.server.wps(operation, identifier="echo", language="tlh")
            self.assertEqual(answer.status, 200, answer.text)
        answer = self.server.get(
            "ows/?service=WPS&request=GetCapabilities&AcceptVersions=2.0.0"
        )
        self.assertEqual(answer.status, 400)
        self.assertIn("VersionNegotiationFailed", answer.text)

    def test_headAndOptions(self) -> None:
        """HEAD is GET without its body; OPTIONS is for pages of other origins."""
        path = "ows/?service=WPS&version=1.0.0&request=DescribeProcess&identifier=echo"
        full, head = self.server.get(path), self.server.request("HEAD", path)
        self.assertEqual((head.status, head.body), (200, b""))
        self.assertEqual(head.headers["content-length"], str(len(full.body)))
        options = self.server.request("OPTIONS", "ows/")
        self.assertEqual(options.status, 204)
        self.assertEqual(options.headers["allow"], "GET, HEAD, OPTIONS, POST")
        self.assertEqual(options.headers["access-control-allow-origin"], "*")


class LimitTests(unittest.TestCase):
    """Too much of anything is told, over a real socket."""

    def setUp(self) -> None:
        self.server = live.sharedServer(QGSWPS_SERVER_MAXBUFFERSIZE="1")

    def test_body(self) -> None:
        """Whoever sends it all first still reads the answer."""
        answer = self.server.post(b"<x>" + b" " * 5_000_000)
        self.assertEqual(answer.status, 413)
        schemas.assertValid(self, answer.body, "ExceptionReport")

    def test_unpacked(self) -> None:
        """What is small until it is unpacked."""
        bomb = gzip.compress(bytes(200_000_000))
        answer = self.server.request("POST", "ows/", bomb, {"Content-Encoding": "gzip"})
        self.assertEqual(answer.status, 413)

    def test_url(self) -> None:
        """Data in a URL, and more than fits."""
        value = quote("x" * 50_000)
        answer = self.server.execute("echo", {"literal": value})
        self.assertEqual(answer.status, 200)
        answer = self.server.execute("echo", {"literal": value + value})
        self.assertEqual(answer.status, 414)
        schemas.assertValid(self, answer.body, "ExceptionReport")

    def test_nonsense(self) -> None:
        """What is no HTTP at all ends the connection, and nothing else."""
        with socket.create_connection(("127.0.0.1", self.server.port), 10) as client:
            client.sendall(b"\0\1\2\r\n\r\n")
            self.assertIn(b" 400 ", client.recv(1000))
        self.assertEqual(self.server.wps("GetCapabilities").status, 200)


class AttackTests(unittest.TestCase):
    """Clients that are up to something, and others that are answered meanwhile."""

    limits: ClassVar = {
        "QGSWPS_LIMITS_CONNECTIONS": "100",
        "QGSWPS_LIMITS_IDLE_TIMEOUT": "3",
        "QGSWPS_LIMITS_HEADER_TIMEOUT": "2",
        "QGSWPS_LIMITS_BODY_TIMEOUT": "2",
        "QGSWPS_LIMITS_SEND_TIMEOUT": "2",
    }

    def setUp(self) -> None:
        self.server = live.sharedServer(**self.limits)

    def connect(self, data: bytes = b"") -> socket.socket:
        """A connection on which something has been sent."""
        client = socket.create_connection(("127.0.0.1", self.server.port), 30)
        self.addCleanup(client.close)
        client.sendall(data)
        return client

    def read(self, client: socket.socket) -> bytes:
        """All that comes until the server closes the connection."""
        parts = []
        with contextlib.suppress(ConnectionError):
            while part := client.recv(1 << 16):
                parts.append(part)
        return b"".join(parts)

    def assertServed(self) -> None:
        """Others are."""
        self.assertEqual(self.server.wps("GetCapabilities").status, 200)

    def test_idle(self) -> None:
        """Far more connections than there may be, and all of them end."""
        clients = [self.connect() for _ in range(300)]
        self.assertServed()
        self.assertLess(self.server.descriptors(), 160)
        for client in clients:
            self.assertEqual(self.read(client), b"")
        self.assertIn("connection-put-out", self.server.log())

    def test_slow(self) -> None:
        """Headers and bodies that stop, or trickle, are told so."""
        post = b"POST /ows/ HTTP/1.1\r\nHost: x\r\nContent-Length: 50000\r\n\r\n"
        for begin in (b"GET", b"GET / HTTP/1.1\r\nX: y\r\n", post, post + b"x" * 999):
            with self.subTest(begin=begin):
                stopped, trickling = self.connect(begin), self.connect(begin)
                self.assertServed()
                answer = b""
                trickling.settimeout(0.2)
                for _ in range(100):
                    with contextlib.suppress(TimeoutError):
                        answer = trickling.recv(1 << 16)
                        break
                    trickling.sendall(b"y")
                for each in (answer, self.read(stopped)):
                    self.assertTrue(each.startswith(b"HTTP/1.1 408 "), each)
                    self.assertIn(b"ExceptionReport", each)

    def test_unread(self) -> None:
        """Answers that nobody takes are given up."""
        path = "/ows/?service=WPS&version=1.0.0&request=DescribeProcess&identifier=all"
        request = f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode()
        before = self.server.descriptors()
        for _ in range(20):
            self.connect(request * 50)
        self.assertServed()
        self.server.waitUntil(
            lambda: self.server.descriptors() <= before + 2, "they are still there"
        )

    def test_pipelined(self) -> None:
        """Requests in one piece are all answered, in order, and close at the end."""
        names = ("GetCapabilities", "DescribeProcess", "Nonsense", "GetCapabilities")
        requests = [
            f"GET /ows/?service=WPS&version=1.0.0&identifier=echo&request={name}"
            f" HTTP/1.1\r\nHost: x\r\n{'Connection: close' if last else 'X: y'}\r\n\r\n"
            for name, last in zip(names, (0, 0, 0, 1), strict=True)
        ]
        answer = self.read(self.connect("".join(requests).encode()))
        found = re.findall(
            rb"HTTP/1.1 (\d+) |</(?:wps|ows):([A-Z]\w+s|\w+Report)>\s", answer
        )
        ofAnswers = [b"Capabilities", b"ProcessDescriptions", b"ExceptionReport"]
        ends = [each for each in found if each[0] or each[1] in ofAnswers]
        self.assertEqual(
            [
                (int(first[0]), last[1])
                for first, last in zip(ends[::2], ends[1::2], strict=True)
            ],
            [
                (200, ofAnswers[0]),
                (200, ofAnswers[1]),
                (400, ofAnswers[2]),
                (200, ofAnswers[0]),
            ],
        )

    def test_malformed(self) -> None:
        """What is no HTTP gets one answer, and the end of the connection."""
        post = b"POST /ows/ HTTP/1.1\r\nHost: x\r\n"
        hidden = b"GET /ows/?service=WPS&request=GetCapabilities HTTP/1.1\r\n\r\n"
        for data, status in (
            (post + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0", 400),
            (post + b"Content-Length: 5\r\nContent-Length: 9\r\n\r\n", 400),
            (post + b"Transfer-Encoding: xchunked\r\n\r\n", 501),
            (post + b"Transfer-Encoding: chunked\r\n\r\nno\r\n", 400),
            (post + b"X: \0\r\n\r\n", 400),
            (post + b"X: " + b"y" * 70_000 + b"\r\n\r\n", 431),
            (post + b"X: y\r\n" * 600 + b"\r\n", 431),
            (b"GET /" + b"y" * 70_000 + b" HTTP/1.1\r\n\r\n", 414),
            (b"\x16\x03\x01\x02\0\x01\r\n\r\n", 400),
        ):
            with self.subTest(data=data[:100]):
                answer = self.read(self.connect(data + hidden))
                self.assertTrue(answer.startswith(b"HTTP/1.1 %d " % status), answer)
                self.assertEqual(answer.count(b"HTTP/1.1 "), 1)
        self.assertServed()

    def test_bombs(self) -> None:
        """XML that is more than it seems is refused, packed too."""
        laughs = "".join(
            f'<!ENTITY l{n} "{f"&l{n - 1};" * 10 if n else "lol"}">' for n in range(10)
        )
        for body, status in (
            (f"<!DOCTYPE x [{laughs}]><x>&l9;</x>", 400),
            ('<!DOCTYPE x SYSTEM "file:///etc/passwd"><x/>', 400),
            ("<a>" * 257 + "</a>" * 257, 413),
            ("<a>" * 100_000, 400),
            ("<a>" + "<b/>" * 1_100_000 + "</a>", 413),
            ("<a " + " ".join(f'a{n}=""' for n in range(2000)) + "/>", 413),
            (_inputs(1001), 413),
        ):
            with self.subTest(body=body[:100]):
                packed = gzip.compress(body.encode())
                headers = {"Content-Encoding": "gzip"}
                answer = self.server.request("POST", "ows/", packed, headers)
                self.assertEqual(answer.status, status, answer.text)
                self.assertIn("ExceptionReport", answer.text)
        self.assertServed()


class FewFilesTests(unittest.TestCase):
    """When there are no more descriptors."""

    def test_descriptors(self) -> None:
        """The server survives, and serves when there are some again."""
        with live.liveServer() as server:
            few = server.descriptors() + 20
            pid = server.process.pid
            limits = resource.prlimit(pid, resource.RLIMIT_NOFILE)
            resource.prlimit(pid, resource.RLIMIT_NOFILE, (few, limits[1]))
            with contextlib.ExitStack() as clients:
                for _ in range(100):
                    client = socket.create_connection(("127.0.0.1", server.port), 30)
                    clients.enter_context(client)
                server.waitUntil(
                    lambda: "EMFILE recovery" in server.log(), "nothing was closed"
                )
                self.assertLessEqual(server.descriptors(), few)
            server.waitUntil(
                lambda: server.descriptors() < few - 10, "they are still there"
            )
            self.assertEqual(server.execute("echo", {"literal": "a"}).status, 200)


def _inputs(count: int) -> str:
    one = (
        "<wps:Input><ows:Identifier>literal</ows:Identifier><wps:Data>"
        "<wps:LiteralData>a</wps:LiteralData></wps:Data></wps:Input>"
    )
    begin, rest = EXECUTE.split("<wps:DataInputs>")
    return f"{begin}<wps:DataInputs>{one * count}{rest}"


class AnythingTests(unittest.TestCase):
    """Requests by lot, the same ones each time."""

    def test_requests(self) -> None:
        """None is answered with 500, and each answer is a valid document."""
        server = live.sharedServer()
        lots = random.Random(7)
        names = (
            *("service", "request", "version", "identifier", "datainputs", "map"),
            *("responsedocument", "rawdataoutput", "status", "lineage", "uuid"),
            *("storeexecuteresponse", "timeout", "expire", "acceptversions"),
        )
        values = (
            *("WPS", "Execute", "DescribeProcess", "GetCapabilities", "GetResults"),
            *("1.0.0", "echo", "all", "native:buffer", "true", "world", "0", "-1", ""),
            *("literal=a", "literal=a;quantity=b", "literal", "boundingBox=1,2,3,4"),
            *(
                "literal=%00",
                "complex=<a/>@mimeType=text/xml",
                "\ufffd\u2028",
                "'\"<&>",
            ),
            *("../../etc/passwd", "complex=@href=http://127.0.0.1/", "pause=NaN"),
        )
        for _ in range(150):
            chosen = {"service": "WPS", "version": "1.0.0", "request": "Execute"}
            for _ in range(lots.randint(0, 6)):
                chosen[lots.choice(names)] = lots.choice(values)
            query = urlencode(chosen)
            with self.subTest(query=query):
                answer = server.get(f"ows/?{query}")
                self.assertNotEqual(answer.status, 500, answer.text)

    def test_documents(self) -> None:
        """Documents with holes."""
        server = live.sharedServer()
        lots = random.Random(8)
        for _ in range(150):
            body = bytearray(EXECUTE.encode())
            for _ in range(lots.randint(1, 3)):
                at = lots.randrange(len(body))
                if lots.random() < 0.5:
                    del body[at : at + lots.randint(1, 30)]
                else:
                    body[at : at + 1] = lots.randbytes(lots.randint(0, 3))
            with self.subTest(body=bytes(body)):
                answer = server.post(bytes(body))
                self.assertNotEqual(answer.status, 500, answer.text)
