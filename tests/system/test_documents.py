"""Documents that clients ask for again and again, over HTTP."""

from __future__ import annotations

import gzip
import unittest

from tests import live, schemas

CAPABILITIES = "ows/?service=WPS&request=GetCapabilities"
ALL = "ows/?service=WPS&version=1.0.0&request=DescribeProcess&identifier=all"


class CachedTests(unittest.TestCase):
    """Compressed, with ETags, and the same however they are asked for."""

    def setUp(self) -> None:
        self.server = live.sharedServer()

    def test_encodings(self) -> None:
        """Whoever accepts gzip gets it, and the same document."""
        for path, name in (
            (CAPABILITIES, "Capabilities"),
            (ALL, "ProcessDescriptions"),
            (f"{ALL}&MAP=world", "ProcessDescriptions"),
        ):
            with self.subTest(path=path):
                plain = self.server.get(path)
                self.assertEqual(plain.headers["content-length"], str(len(plain.body)))
                schemas.assertValid(self, plain.body, name)
                packed = self.server.request(
                    "GET", path, headers={"Accept-Encoding": "gzip, br"}
                )
                self.assertEqual(packed.headers["content-encoding"], "gzip")
                self.assertEqual(packed.headers["content-type"], "text/xml")
                self.assertEqual(gzip.decompress(packed.body), plain.body)
                self.assertIn("Accept-Encoding", packed.headers["vary"])

    def test_unchanged(self) -> None:
        """Who has it already is told so; HEAD says what GET would."""
        for path in (CAPABILITIES, ALL):
            with self.subTest(path=path):
                etag = self.server.get(path).headers["etag"]
                self.assertNotIn("W/", etag)
                again = self.server.request(
                    "GET", path, headers={"If-None-Match": etag}
                )
                self.assertEqual((again.status, again.body), (304, b""))
                head = self.server.request("HEAD", path)
                self.assertEqual(head.headers["etag"], etag)
                self.assertEqual(head.body, b"")
