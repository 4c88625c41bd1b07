"""Tests of L{qgswps.web.addresses}."""

from __future__ import annotations

from urllib.parse import parse_qs, urlsplit

from twisted.internet.address import IPv4Address
from twisted.trial.unittest import SynchronousTestCase
from twisted.web.server import Request
from twisted.web.test.requesthelper import DummyChannel

from qgswps.web.addresses import Addresses
from qgswps.web.proxies import Proxies


class FakeRequest(Request):
    """A request that came to an address of its own."""

    secure = False

    def isSecure(self) -> bool:
        """See C{Request}."""
        return self.secure

    def getHost(self) -> IPv4Address:
        """See C{Request}."""
        return IPv4Address("TCP", "10.0.0.1", 8080)


#: The peer of a C{DummyChannel}, and one more.
TRUSTED = Proxies(True, ("192.168.1.1", "10.0.0.0/8"))


def request(headers: dict[str, str], secure: bool = False) -> FakeRequest:
    """A request with these headers."""
    made = FakeRequest(DummyChannel(), False)
    made.secure = secure
    for name, value in headers.items():
        made.requestHeaders.setRawHeaders(name, [value])
    return made


FORWARDED = {
    "Host": "inner:8080",
    "X-Forwarded-Proto": "https",
    "X-Forwarded-Host": "maps.example.org",
}


class BaseTests(SynchronousTestCase):
    """The base of all URLs."""

    def test_fromRequest(self) -> None:
        """It is what the client has used, as far as that makes sense."""
        for headers, expected in [
            ({"Host": "example.org"}, "http://example.org/"),
            ({"Host": "example.org:8080"}, "http://example.org:8080/"),
            ({"Host": "[2001:db8::1]:8080"}, "http://[2001:db8::1]:8080/"),
            # No use for us; the request's own address is.
            ({}, "http://10.0.0.1:8080/"),
            ({"Host": ""}, "http://10.0.0.1:8080/"),
            ({"Host": "a b"}, "http://10.0.0.1:8080/"),
            ({"Host": 'x"><script>'}, "http://10.0.0.1:8080/"),
            ({"Host": "evil.org/path?"}, "http://10.0.0.1:8080/"),
            ({"Host": "user@evil.org"}, "http://10.0.0.1:8080/"),
            # Not from everybody.
            (FORWARDED, "http://inner:8080/"),
            ({"Host": "a", "X-Forwarded-Url": "https://evil.org/"}, "http://a/"),
        ]:
            self.assertEqual(Addresses().base(request(headers)), expected, headers)
        secure = request({"Host": "example.org"}, secure=True)
        self.assertEqual(Addresses().base(secure), "https://example.org/")

    def test_behindProxy(self) -> None:
        """The headers of a proxy are believed if there is one."""
        addresses = Addresses(proxies=TRUSTED)
        for headers, expected in [
            (FORWARDED, "https://maps.example.org/"),
            ({**FORWARDED, "X-Forwarded-Host": "a:1"}, "https://a:1/"),
            ({"Host": "a"}, "http://a/"),
            (
                {**FORWARDED, "X-Forwarded-Url": "https://b/wps/?SERVICE=WPS"},
                "https://b/wps/",
            ),
            ({"X-Forwarded-Url": "https://b/wps"}, "https://b/wps/"),
            ({"X-Forwarded-Url": "HTTP://b:81?a/b"}, "http://b:81/"),
            ({"X-Forwarded-Url": "https://[::1]/#a"}, "https://[::1]/"),
            # What the client has said itself does not count.
            (
                {"X-Forwarded-Proto": "http, HTTPS", "X-Forwarded-Host": "a, b"},
                "https://b/",
            ),
            # Of several proxies the first counts that is trusted.
            (
                {
                    "X-Forwarded-For": "192.0.2.1, 10.0.0.7",
                    "X-Forwarded-Proto": "gopher, HTTPS, http",
                    "X-Forwarded-Host": "x, a, b",
                },
                "https://a/",
            ),
            (
                {"X-Forwarded-For": "192.0.2.1, 10.0.0.7", "X-Forwarded-Host": "a"},
                "http://a/",
            ),
        ]:
            self.assertEqual(addresses.base(request(headers)), expected, headers)

    def test_ignored(self) -> None:
        """What makes no sense is as if it was not there."""
        addresses = Addresses(proxies=TRUSTED)
        for name, value in [
            ("X-Forwarded-Proto", "javascript"),
            ("X-Forwarded-Proto", ""),
            ("X-Forwarded-Host", 'x"><script>'),
            ("X-Forwarded-Host", ""),
            ("X-Forwarded-Url", "javascript:alert(1)"),
            ("X-Forwarded-Url", "ftp://b/"),
            ("X-Forwarded-Url", "//b/"),
            ("X-Forwarded-Url", "/wps"),
            ("X-Forwarded-Url", "https:///wps"),
            ("X-Forwarded-Url", "https://[b/wps"),
            ("X-Forwarded-Url", "https://user@b/wps"),
            ("X-Forwarded-Url", 'https://b/"><script>'),
            ("Forwarded", "proto=javascript;host=a/b"),
            ("Forwarded", "proto=https;host=b, for=10.0.0.2;;nothing"),
        ]:
            made = request({"Host": "a", name: value})
            self.assertEqual(addresses.base(made), "http://a/", (name, value))

    def test_forwarded(self) -> None:
        """The standard's header (RFC 7239), less than those of habit."""
        addresses = Addresses(proxies=TRUSTED)
        for headers, expected in [
            ({"Forwarded": "proto=https;host=b"}, "https://b/"),
            ({"Forwarded": 'for=c; Host="b:81" ;PROTO=HTTPS'}, "https://b:81/"),
            ({"Forwarded": 'host="[::1]:81"'}, "http://[::1]:81/"),
            ({"Forwarded": "host=b;proto=https, host=c;proto=http"}, "http://c/"),
            (
                {"Forwarded": "host=b;proto=https;for=192.0.2.1, for=10.0.0.7;host=c"},
                "https://b/",
            ),
            ({"Forwarded": "host=b", **FORWARDED}, "https://maps.example.org/"),
        ]:
            made = request({"Host": "a", **headers})
            self.assertEqual(addresses.base(made), expected, headers)
        twice = request({"Forwarded": "host=b"})
        twice.requestHeaders.addRawHeader("Forwarded", "host=c")
        self.assertEqual(addresses.base(twice), "http://c/")
        believing = Addresses().base(request({"Host": "a", "Forwarded": "host=b"}))
        self.assertEqual(believing, "http://a/")

    def test_configured(self) -> None:
        """What is configured goes before all else."""
        for proxies in (None, TRUSTED):
            addresses = Addresses("https://c/x/", proxies)
            made = request({**FORWARDED, "X-Forwarded-Url": "https://b/"})
            self.assertEqual(addresses.base(made), "https://c/x/")


class LayerTests(SynchronousTestCase):
    """References to layers of result projects."""

    def test_layer(self) -> None:
        """The URL can be read, and names are quoted as a whole."""
        for layer, service, mimeType, quoted in [
            ("plain", "WMS", "application/x-ogc-wms", "plain"),
            ("with space", "WFS", "application/x-ogc-wfs", "with%20space"),
            ("a&b=c+d/ä", "WCS", "application/x-ogc-wcs", "a%26b%3Dc%2Bd%2F%C3%A4"),
            ("1", "WMTS", "application/x-ogc-wmts", "1"),
        ]:
            self.assertEqual(
                Addresses().layer("http://m", "j-1", "native:buffer", layer, mimeType),
                "http://m?MAP=wps-results:j-1/native_buffer.qgs"
                f"&service={service}&request=GetCapabilities&layers={quoted}",
            )
        other = Addresses(mapPrefix="a b:/c&/")
        url = other.layer("http://m", "j", "ä:b c", "x", "application/x-ogc-wms")
        self.assertEqual(parse_qs(urlsplit(url).query)["MAP"], ["a b:/c&/j/ä_b_c.qgs"])
        self.assertIn("MAP=a%20b:/c%26/j/", url)

    def test_service(self) -> None:
        """This server, another one, or what a proxy tells."""
        header = {"X-Qgis-Service-Url": "HTTPS://b/maps/?MAP=x"}
        made = request({"Host": "a", **header})
        self.assertEqual(Addresses().maps(made), "http://a/ows/")
        self.assertEqual(Addresses("https://c/").maps(made), "https://c/ows/")
        other = Addresses(mapService="http://m/qgis")
        self.assertEqual(other.maps(made), "http://m/qgis")
        other.proxies = TRUSTED
        self.assertEqual(other.maps(made), "https://b/maps/")
        for wrong in ("javascript:alert(1)", "//b/", 'https://b/"><script>', ""):
            made = request({"Host": "a", "X-Qgis-Service-Url": wrong})
            self.assertEqual(other.maps(made), "http://m/qgis", wrong)


class PathTests(SynchronousTestCase):
    """The URLs below it."""

    def test_paths(self) -> None:
        """Each resource has its URL."""
        self.assertEqual(Addresses.service("http://a/"), "http://a/ows/")
        self.assertEqual(Addresses.record("http://a/", "j"), "http://a/status/j")
        self.assertEqual(
            Addresses.archive("http://a/", "j"), "http://a/jobs/j/files.zip"
        )
        self.assertEqual(
            Addresses.file("http://a/", "j", "sub dir/ä#1?.tif"),
            "http://a/jobs/j/files/sub%20dir/%C3%A4%231%3F.tif",
        )
        parts = urlsplit(Addresses.status("http://a/", "j"))
        self.assertEqual(parts.path, "/ows/")
        self.assertEqual(
            parse_qs(parts.query),
            {
                "service": ["WPS"],
                "version": ["1.0.0"],
                "request": ["GetResults"],
                "executionId": ["j"],
                "uuid": ["j"],
            },
        )
