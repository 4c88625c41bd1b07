"""Tests of L{tests.schemas}, and the place where their absence shows."""

from __future__ import annotations

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
