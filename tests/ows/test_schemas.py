"""Tests of L{tests.schemas}, and the place where their absence shows."""

from __future__ import annotations

import gzip
import importlib
from typing import Any
from unittest import mock

from twisted.trial.unittest import SkipTest, SynchronousTestCase

from qgswps.errors import invalid
from qgswps.ows.wps100.documents import exceptionReport
from tests import schemas


class SchemasTests(SynchronousTestCase):
    """Documents are compared with the OGC's schemas."""

    def test_present(self) -> None:
        """
        The schemas are there.  This is skipped without them, as documents
        then go unchecked, and fails where they are demanded.
        """
        absent = schemas.missing()
        if absent is not None and schemas.demanded():
            self.fail(absent)
        if absent is not None:
            raise SkipTest(absent)
        self.assertEqual(
            schemas.errors(exceptionReport(invalid("a", "b")), "ExceptionReport"), []
        )
        self.assertNotEqual(schemas.errors(b"<a/>", "ExceptionReport"), [])
        self.assertNotEqual(
            schemas.errors(exceptionReport(invalid("a", "b")), "Capabilities"), []
        )

    def test_absent(self) -> None:
        """Without the folder a document passes unchecked, with a reason."""
        self.patch(schemas, "folder", lambda: "/nonexistent")
        self.patch(schemas, "demanded", lambda: False)
        schemas.assertValid(self, b"<nonsense/>", "Capabilities")
        self.assertIn("/nonexistent", schemas.missing() or "")

    def test_demanded(self) -> None:
        """Where the schemas are demanded, their absence fails a test."""
        self.patch(schemas, "folder", lambda: "/nonexistent")
        self.patch(schemas, "demanded", lambda: True)
        self.assertRaises(
            self.failureException,
            schemas.assertValid,
            self,
            b"<nonsense/>",
            "Capabilities",
        )

    def test_check(self) -> None:
        """A response is looked at if it is XML, and a document of ours."""
        report = exceptionReport(invalid("a", "b"))
        other = b'<?xml version="1.0"?><WMS_Capabilities/>'
        for kind, body in (
            ("text/xml", report),
            ("text/xml", b""),
            ("text/xml", other),
            ("text/xml", b"x"),
            ("text/plain", b"<ows:x xmlns:ows='http://www.opengis.net/ows/1.1'"),
        ):
            schemas.check({"content-type": kind}, body)
        packed = {"content-type": "text/xml", "content-encoding": "gzip"}
        schemas.check(packed, gzip.compress(report))
        response = (
            b'<?xml version="1.0"?>'
            b'<wps:ExecuteResponse xmlns:wps="http://www.opengis.net/wps/1.0.0"/>'
        )
        for kind, body, text in (
            ("text/xml", report[:-5], "not well-formed"),
            ("text/xml", b" \n" + report.partition(b"\n")[2], "before the XML"),
            ("text/xml", report.replace(b"ExceptionReport", b"Title"), "no document"),
            ("text/xml; charset=utf-8", response, "content type"),
        ):
            headers = {"content-type": kind}
            error = self.assertRaises(AssertionError, schemas.check, headers, body)
            self.assertIn(text, str(error))
        if schemas.missing() is None:
            headers = {"content-type": "text/xml"}
            self.assertRaises(AssertionError, schemas.check, headers, response)

    def test_watching(self) -> None:
        """Responses that come by requests are looked at, too."""
        session: Any = importlib.import_module("requests").Session
        response = mock.Mock(headers={"Content-Type": "text/xml"})
        with mock.patch.object(session, "send", lambda *_, **__: response):
            response.content = exceptionReport(invalid("a", "b"))
            with schemas.watching():
                self.assertIs(session().get("http://127.0.0.1/"), response)
                response.content = response.content[:-5]
                self.assertRaises(AssertionError, session().get, "http://127.0.0.1/")
            self.assertIs(session().get("http://127.0.0.1/"), response)

    def test_invalid(self) -> None:
        """A document that is not valid fails the test."""
        if schemas.missing():
            raise SkipTest(schemas.missing() or "")
        self.assertRaises(
            self.failureException,
            schemas.assertValid,
            self,
            b"<nonsense/>",
            "Capabilities",
        )
