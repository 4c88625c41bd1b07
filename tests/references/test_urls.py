"""Tests of L{qgswps.references.urls}: what URLs mean."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from qgswps.references import urls


class LocationTests(SynchronousTestCase):
    """URLs of http and https."""

    def test_parse(self) -> None:
        """Host, port, and what is asked for."""
        for href, expected, host, port in [
            ("http://h", "http://h/", "h", 80),
            ("HTTPS://Ex.ORG./a?b=c#d", "https://ex.org/a?b=c", "ex.org", 443),
            ("http://h:8080/?", "http://h:8080/", "h", 8080),
            ("http://h:/", "http://h/", "h", 80),
            ("https://h:80/", "https://h:80/", "h", 80),
            ("http://[::1]:81/x", "http://[::1]:81/x", "::1", 81),
            ("http://[0:0::1]/x", "http://[::1]/x", "::1", 80),
            ("http://h/a b/ä?q=|{}", "http://h/a%20b/%C3%A4?q=%7C%7B%7D", "h", 80),
            ("http://h/%41%2f?a=%26&b=1;2", "http://h/%41%2f?a=%26&b=1;2", "h", 80),
            ("http://h?x=http://127.0.0.1/", "http://h/?x=http://127.0.0.1/", "h", 80),
            ("http://h/@127.0.0.1/", "http://h/@127.0.0.1/", "h", 80),
            ("http://h#@127.0.0.1/", "http://h/", "h", 80),
            ("http://h?@127.0.0.1/", "http://h/?@127.0.0.1/", "h", 80),
            ("http://tä.org/", "http://xn--t-0fa.org/", "xn--t-0fa.org", 80),
            ("http://my_host-1/", "http://my_host-1/", "my_host-1", 80),
            # Digits and dots of other scripts are digits and dots.
            ("http://\uff11\uff12\uff17.0.0.1/", "http://127.0.0.1/", "127.0.0.1", 80),
            ("http://127\u30020\u30020\u30021/", "http://127.0.0.1/", "127.0.0.1", 80),
        ]:  # fmt: skip
            found = urls.parse(href)
            self.assertEqual(str(found), expected)
            self.assertEqual((found.host, found.port), (host, port), href)
            self.assertIsNone(found.credentials)

    def test_credentials(self) -> None:
        """The host is what stands behind the @; the rest is not shown."""
        for href, host, credentials in [
            ("http://example.org@127.0.0.1/", "127.0.0.1", "example.org"),
            ("http://u:p%40ss@h/", "h", "u:p@ss"),
            ("http://u:p:q@h/", "h", "u:p:q"),
            ("http://@h/", "h", ""),
        ]:
            found = urls.parse(href)
            self.assertEqual((found.host, found.credentials), (host, credentials))
            self.assertNotIn("p%40ss", str(found) + repr(found))
            self.assertNotIn("p@ss", str(found) + repr(found))

    def test_wrong(self) -> None:
        """What can be read in several ways, or not at all."""
        for href in [
            "http:///x",
            "http:x",
            "//h/x",
            "/x",
            "",
            "ftp://h/",
            "http://:80/",
            "http://u@/",
            "http://h:0/",
            "http://h:65536/",
            "http://h:123456/",
            "http://h:8o/",
            "http://h:-1/",
            "http://a@b@c/",
            "http://a\\@127.0.0.1/",
            "http://127.0.0.1\\.example.org/",
            "http://a b/",
            "http://a%2eb/",
            "http://127.0.0.1%00.example.org/",
            "http://%31%32%37.0.0.1/",
            "http://[::1/",
            "http://::1/",
            "http://[fe80::1%25eth0]/",
            "http://[::1]x/",
            "http://[127.0.0.1]/",
            "http://[v1.x]/",
            "http://h..x/",
            "http://.h/",
            "http://h!/",
            "http://" + "a" * 64 + "/",
            "http://" + "a." * 127 + "a/",
            "http://h/\r\nX: 1",
            "http://h\r\n/",
            "http://h/\tx",
            "http://h/\0",
            "http://h/\u2028x",
        ]:
            self.assertRaises(ValueError, urls.parse, href)

    def test_scheme(self) -> None:
        """Four are known; a text without one has none."""
        for href, expected in [
            ("http://h", "http"),
            ("HTTPS://h", "https"),
            ("Data:,x", "data"),
            ("file:///x", "file"),
        ]:
            self.assertEqual(urls.scheme(href), expected)
        for href, said in [
            ("ftp://h/", "'ftp'"),
            ("gopher://h/", "'gopher'"),
            ("javascript:1", "'javascript'"),
            ("/vsicurl/http://h", "no scheme"),
            ("//h/", "no scheme"),
            ("x" * 999 + ":", "'" + "x" * 20 + "'"),
        ]:
            error = self.assertRaises(ValueError, urls.scheme, href)
            self.assertIn(said, str(error))
            self.assertIn("expected http, https, data, file", str(error))


class DataTests(SynchronousTestCase):
    """URLs that have the data in them."""

    def test_data(self) -> None:
        """Percent-encoded or in base64, with a media type or without."""
        for href, expected in [
            ("data:,a%20b", ("", b"a b")),
            ("data:,", ("", b"")),
            ("DATA:text/csv,a,b", ("text/csv", b"a,b")),
            ("data:text/plain;charset=utf-8,%C3%A4", ("text/plain", b"\xc3\xa4")),
            ("data:,ä", ("", "ä".encode())),
            ("data:image/tiff;base64,SUkq", ("image/tiff", b"II*")),
            ("data:;BASE64,SUkqAA==", ("", b"II*\0")),
            ("data:;base64,SUkqAA", ("", b"II*\0")),
            ("data:;base64,SUkq\n AA%3D%3D", ("", b"II*\0")),
            ("data:;charset=x;base64,SUkq", ("", b"II*")),
        ]:
            self.assertEqual(urls.data(href), expected, href)

    def test_wrong(self) -> None:
        """No comma, no base64."""
        for href in ("data:", "data:text/csv", "data:;base64,S", "data:;base64,S!kq"):
            self.assertRaises(ValueError, urls.data, href)


class FileTests(SynchronousTestCase):
    """URLs of files."""

    def test_path(self) -> None:
        """The path, decoded."""
        for href, expected in [
            ("file:///a/b%20c", "/a/b c"),
            ("file:/a", "/a"),
            ("file://localhost/a", "/a"),
            ("FILE:///ä", "/ä"),
            ("file:///a/../b", "/a/../b"),
            ("file:///%2e%2e/b", "/../b"),
        ]:
            self.assertEqual(urls.path(href), expected)

    def test_wrong(self) -> None:
        """Other machines, relative paths, and what no path has."""
        for href in [
            "file:a",
            "file://",
            "file://other/a",
            "file:////other\n/a",
            "file:///a%00b",
            "file:///a%0a",
            "file:///a\nb",
            "file:///a?b",
            "file:///a#b",
            "file://[/a",
        ]:
            self.assertRaises(ValueError, urls.path, href)
