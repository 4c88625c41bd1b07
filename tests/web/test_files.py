"""Tests of L{qgswps.web.files}."""

from __future__ import annotations

import io
import json
import os
import re
import zipfile
from email.message import Message
from urllib.parse import quote, unquote

from twisted.trial.unittest import SynchronousTestCase

from qgswps.errors import OWSError
from qgswps.model import State
from qgswps.web.files import contained, disposition, mediaType
from tests.fakes import FakeReactor, makeJob
from tests.web.test_site import SiteTestCase

#: Scripts of results run, on their own.
SANDBOX = (
    "sandbox allow-scripts allow-downloads; connect-src 'none'; frame-src 'none';"
    " object-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'self'"
)


class FilesTests(SynchronousTestCase):
    """L{contained}"""

    def setUp(self) -> None:
        self.base = os.path.realpath(self.mktemp())
        self.root = os.path.join(self.base, "outputs")
        os.makedirs(os.path.join(self.root, "sub"))
        os.makedirs(os.path.join(self.base, "outputs2"))
        for path, size in [
            ("outputs/a.tif", 3),
            ("outputs/..b", 1),
            ("outputs/sub/ä.txt", 2),
            ("outputs2/secret", 1),
            ("secret", 1),
        ]:
            with open(os.path.join(self.base, path), "wb") as file:
                file.write(b"x" * size)
        for link, target in [
            ("inside", "sub/ä.txt"),
            ("outside", "../secret"),
            ("absolute", os.path.join(self.base, "secret")),
            ("folder", "../outputs2"),
            ("loop", "loop"),
            ("nowhere", "nothing"),
        ]:
            os.symlink(target, os.path.join(self.root, link))

    def test_contained(self) -> None:
        """What is in there is found under its name."""
        for path, expected in [
            ("a.tif", "a.tif"),
            ("/a.tif", "a.tif"),
            ("..b", "..b"),
            ("sub/ä.txt", "sub/ä.txt"),
            ("sub/../a.tif", "a.tif"),
            ("./a.tif", "a.tif"),
            ("inside", "sub/ä.txt"),
        ]:
            self.assertEqual(
                contained(self.root, path), os.path.join(self.root, expected)
            )

    def test_refused(self) -> None:
        """All else is answered alike, whether it is there or not."""
        for path in [
            "",
            ".",
            "..",
            "sub",
            "nothing",
            "../secret",
            "sub/../../secret",
            "../outputs2/secret",
            os.path.join(self.base, "secret"),
            "//" + os.path.join(self.base, "secret"),
            "outside",
            "absolute",
            "folder/secret",
            "loop",
            "nowhere",
            "a.tif\0",
            "\0",
            "a.tif/x",
            "x" * 5000,
        ]:
            error = self.assertRaises(OWSError, contained, self.root, path)
            self.assertEqual((error.status, error.faults[0].locator), (404, "file"))
            self.assertIn("there is no file", str(error))
            self.assertNotIn(self.base + os.sep, str(error).replace(path, ""))

    def test_rootIsALink(self) -> None:
        """The folder itself may be reached by a link."""
        link = os.path.join(self.base, "link")
        os.symlink("outputs", link)
        self.assertEqual(contained(link, "a.tif"), os.path.join(self.root, "a.tif"))


class NameTests(SynchronousTestCase):
    """What is said of a file by its name."""

    def test_mediaType(self) -> None:
        """The ending tells, in any case."""
        for name, expected in [
            ("a.geojson", "application/geo+json"),
            ("a.b.TIF", "image/tiff"),
            ("a.gpkg", "application/geopackage+sqlite3"),
            ("a", "application/octet-stream"),
            (".tif", "application/octet-stream"),
            ("a.exe", "application/octet-stream"),
        ]:
            self.assertEqual(mediaType(name), expected)

    def test_disposition(self) -> None:
        """A plain name is sent as it is, any other one in both ways."""
        self.assertEqual(disposition("a b.tif"), 'inline; filename="a b.tif"')
        self.assertEqual(
            disposition("a.zip", "attachment"), 'attachment; filename="a.zip"'
        )
        self.assertEqual(
            disposition("Fl\xe4che \u2192.tif"),
            'inline; filename="Fl_che _.tif";'
            " filename*=UTF-8''Fl%C3%A4che%20%E2%86%92.tif",
        )

    def test_dispositionHolds(self) -> None:
        """No name ends the header or its own place in it."""
        for name in (
            'a"b.tif',
            "a\\",
            "a\r\nSet-Cookie: b=c",
            "a; filename=b",
            "100 %41",
            "\0\x7f",
            "it's (a) *",
        ):
            header = disposition(name)
            self.assertTrue(header.isascii() and header.isprintable(), header)
            plain, _, encoded = header.partition("; filename*=UTF-8''")
            self.assertEqual(unquote(encoded) or name, name)
            message = Message()
            message["Content-Disposition"] = plain
            self.assertEqual(
                message.get_filename(), re.sub(r'[^ -~]|["%\\]', "_", name)
            )
        self.assertIn("%EF%BF%BD", disposition(os.fsdecode(b"\xff")))


class EndpointTests(SiteTestCase):
    """What is answered below C{/jobs/{uuid}/}."""

    def write(self, path: str, content: bytes = b"x") -> str:
        """Make a file in the directory of the job C{j}."""
        found = os.path.join(self.spool.directory("j"), path)
        os.makedirs(os.path.dirname(found), exist_ok=True)
        with open(found, "wb") as file:
            file.write(content)
        return found

    def setUp(self) -> None:
        super().setUp()
        self.keep(makeJob("j", state=State.SUCCEEDED))

    def test_list(self) -> None:
        """The list tells of each file what there is to know."""
        os.utime(self.write("outputs/sub/\xe4.tif", b"123"), (0, 1000.5))
        self.assertEqual(
            self.json("/jobs/j/files/"),
            {
                "files": [
                    {
                        "name": "sub/\xe4.tif",
                        "content_length": 3,
                        "media_type": "image/tiff",
                        "last_modified": "1970-01-01T00:16:40.500Z",
                        "store_url": "http://example.org/jobs/j/files/sub/%C3%A4.tif",
                    }
                ],
                "archive": "http://example.org/jobs/j/files.zip",
            },
        )

    def test_page(self) -> None:
        """A browser gets a page, with nothing in it that a name has made up."""
        self.write('outputs/<script>&".txt', b"x" * 12345)
        response = self.ask("/jobs/j/files", Accept="text/html,*/*")
        page = response.read().decode()
        self.assertEqual(response.getheader("Vary"), "Accept")
        self.assertIn(
            "default-src 'none'", str(response.getheader("Content-Security-Policy"))
        )
        self.assertNotIn("<script>", page)
        for text in (
            "&lt;script&gt;&amp;&quot;.txt",
            "/files/%3Cscript%3E%26%22.txt",
            "12.35 kB",
            "http://example.org/jobs/j/files.zip",
            "http://example.org/jobs/j/log",
            "http://example.org/status/j",
        ):
            self.assertIn(text, page)
        self.assertNotIn("refresh", page)
        response = self.ask("/jobs/j/files", Accept="application/json")
        self.assertEqual(response.getheader("Vary"), "Accept")
        self.assertIn("files", json.loads(response.read()))

    def test_pageOfNothing(self) -> None:
        """A job that runs may have no files yet; its page looks again."""
        self.store.jobs["j"] = makeJob("j", state=State.STARTED)
        self.assertEqual(self.json("/jobs/j/files")["files"], [])
        page = self.ask("/jobs/j/files", Accept="text/html").read()
        self.assertIn(b"There are none", page)
        self.assertIn(b"refresh", page)

    def test_headers(self) -> None:
        """A file comes with its type, its name and what keeps browsers safe."""
        for name, contentType, sandbox in [
            ("a.txt", "text/plain; charset=utf-8", None),
            ("a.csv", "text/csv; charset=utf-8", None),
            ("a.html", "text/html; charset=utf-8", SANDBOX),
            ("a.svg", "image/svg+xml", SANDBOX),
            ("a.gml", "application/gml+xml", SANDBOX),
            ("a.xml", "text/xml", SANDBOX),
            ("a.pdf", "application/pdf", None),
            ("a.png", "image/png", None),
        ]:
            self.write(f"outputs/{name}")
            response = self.ask(f"/jobs/j/files/{name}")
            self.assertEqual(response.read(), b"x")
            self.assertEqual(
                [
                    response.getheader(header)
                    for header in (
                        "Content-Type",
                        "Content-Security-Policy",
                        "Content-Disposition",
                        "X-Content-Type-Options",
                        "Accept-Ranges",
                    )
                ],
                [
                    contentType,
                    sandbox,
                    f'inline; filename="{name}"',
                    "nosniff",
                    "bytes",
                ],
            )

    def test_anyName(self) -> None:
        """Whatever a file is called, it is listed, sent and in the archive."""
        for name in (
            "a\r\nb: c",
            'a"b',
            "100%",
            "a?b#c",
            "\u2192",
            os.fsdecode(b"\xff"),
        ):
            self.write(f"outputs/{name}", os.fsencode(name))
            [file] = self.json("/jobs/j/files")["files"]
            self.assertEqual(file["name"], name)
            self.assertEqual(self.ask("/jobs/j/files", Accept="text/html").status, 200)
            path = file["store_url"].removeprefix("http://example.org")
            response = self.ask(path)
            self.assertEqual(response.read(), os.fsencode(name))
            self.assertIsNone(response.getheader("b"))
            with zipfile.ZipFile(io.BytesIO(self.ask("/jobs/j/files.zip").read())) as z:
                self.assertEqual(z.read(z.namelist()[0]), os.fsencode(name))
            os.unlink(os.path.join(self.spool.directory("j"), "outputs", name))

    def test_links(self) -> None:
        """A link is followed as long as it stays among the outputs."""
        self.write("outputs/sub/a.txt", b"inside")
        self.write("secret.txt", b"outside")
        for link, target, status in [
            ("b.txt", "sub/a.txt", 200),
            ("c", "sub", None),
            ("d.txt", "../secret.txt", 404),
            ("e", "..", None),
            ("f", "/etc/passwd", 404),
        ]:
            os.symlink(target, os.path.join(self.spool.directory("j"), "outputs", link))
            if status is not None:
                self.assertEqual(self.ask(f"/jobs/j/files/{link}").status, status)
        self.assertEqual(self.ask("/jobs/j/files/c/a.txt").read(), b"inside")
        for path in (
            "e/secret.txt",
            "e/task.json",
            quote("c/../../secret.txt", safe=""),
        ):
            self.assertEqual(self.ask(f"/jobs/j/files/{path}").status, 404, path)
        [file] = self.json("/jobs/j/files")["files"]
        self.assertEqual(file["name"], "sub/a.txt")

    def test_outputsAreALink(self) -> None:
        """If all outputs are elsewhere, there are none."""
        outputs = os.path.join(self.spool.directory("j"), "outputs")
        os.rmdir(outputs)
        os.symlink("/etc", outputs)
        self.assertEqual(self.json("/jobs/j/files")["files"], [])
        self.assertEqual(self.ask("/jobs/j/files/passwd").status, 404)

    def test_log(self) -> None:
        """A log that grows is sent as long as it was; a link is none."""
        self.assertEqual(self.ask("/jobs/j/log").read(), b"")
        path = self.write("log", b"one\ntwo\n")
        response = self.ask("/jobs/j/log", Range="bytes=4-")
        self.assertEqual((response.status, response.read()), (206, b"two\n"))
        self.assertEqual(response.getheader("Cache-Control"), "no-store")
        os.unlink(path)
        os.symlink("/etc/passwd", path)
        self.assertEqual(self.ask("/jobs/j/log").read(), b"")

    def test_archive(self) -> None:
        """All of a job comes in one file."""
        self.store.jobs["0123456789"] = makeJob("0123456789", processId="script:a b")
        os.rename(self.spool.directory("j"), self.spool.directory("0123456789"))
        response = self.ask("/jobs/0123456789/files.zip")
        self.assertEqual(response.status, 200)
        self.assertEqual(response.getheader("Transfer-Encoding"), "chunked")
        self.assertIsNone(response.getheader("Content-Length"))
        self.assertEqual(response.getheader("Content-Type"), "application/zip")
        self.assertEqual(
            response.getheader("Content-Disposition"),
            'attachment; filename="script_a b-01234567.zip"',
        )
        with zipfile.ZipFile(io.BytesIO(response.read())) as archive:
            self.assertEqual(archive.namelist(), [])
        response = self.ask("/jobs/0123456789/files.zip", "HEAD")
        self.assertEqual((response.status, response.read()), (200, b""))

    def test_archiveOfNothing(self) -> None:
        """If the directory has gone before its record, there is no job."""
        self.spool.remove("j")
        self.assertEqual(self.ask("/jobs/j/files.zip").status, 404)

    def test_archiveBreaks(self) -> None:
        """If a file goes meanwhile, so does the connection, without an end."""
        self.reactor.held = []
        path = self.write("outputs/a.txt")
        exchange = self.exchange("/jobs/j/files.zip")
        release(self.reactor)
        os.unlink(path)
        while self.reactor.held:
            release(self.reactor)
        self.assertTrue(exchange.closed)
        self.assertNotIn(b"0\r\n\r\n", exchange.sent)
        self.assertEqual(len(self.flushLoggedErrors(FileNotFoundError)), 1)


def release(reactor: FakeReactor) -> None:
    """Do the work that waits for a thread, but not what comes of it."""
    assert reactor.held is not None
    held, reactor.held = reactor.held, []
    for work in held:
        work()
