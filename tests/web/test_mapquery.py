"""Tests of L{qgswps.web.mapquery}."""

from __future__ import annotations

import io
import time
from typing import Any
from urllib.parse import quote

from twisted.trial.unittest import SynchronousTestCase
from twisted.web.test.requesthelper import DummyRequest

from qgswps.errors import OWSError
from qgswps.web import mapquery

GET_FEATURE = (
    '<wfs:GetFeature service="WFS" xmlns:wfs="http://www.opengis.net/wfs"'
    ' xmlns:ogc="http://www.opengis.net/ogc"{attributes}>'
    '<wfs:Query typeName="a">{inner}</wfs:Query></wfs:GetFeature>'
)


def request(query: str, body: bytes | None = None) -> Any:
    """A request as the site has it."""
    made: Any = DummyRequest([])
    made.uri = f"/ows/?{query}".encode()
    made.method = b"GET"
    if body is not None:
        made.method = b"POST"
        made.content = io.BytesIO(body)
    return made


class ServiceTests(SynchronousTestCase):
    """Which service a request is for."""

    def test_named(self) -> None:
        """A request says it, in any letter case."""
        for query, name in (
            ("SERVICE=WMS", "WMS"),
            ("service=wfs&map=x", "WFS"),
            ("SerVice=+wcs", "WCS"),
            ("SERVICE=WMTS", "WMTS"),
            ("SERVICE=WPS&MAP=x&REQUEST=GetMap", None),
            ("SERVICE=CSW", None),
            ("REQUEST=GetCapabilities", None),
            ("", None),
        ):
            self.assertEqual(mapquery.service(request(query)), name, query)

    def test_byRequest(self) -> None:
        """Old clients leave it out where it is clear; with a project only."""
        self.assertEqual(mapquery.service(request("MAP=x&REQUEST=GetMap")), "WMS")
        self.assertEqual(mapquery.service(request("MAP=x&REQUEST=getfeature")), "WFS")
        self.assertIsNone(mapquery.service(request("REQUEST=GetMap")))
        self.assertIsNone(mapquery.service(request("MAP=x&REQUEST=DescribeProcess")))

    def test_byBody(self) -> None:
        """The body says it, and is still there to be read."""
        for body, name in (
            (b'<?xml version="1.0"?>\n<!-- a --><GetFeature service="WFS"/>', "WFS"),
            (b"<wfs:GetFeature a='b'\n service='WFS'><a/>", "WFS"),
            (b'<wps:Execute service="WPS" version="1.0.0">', None),
            (b'<?pi <a service="WFS"?>\n<Execute><a service="WFS"/>', None),
            (b'<!-- <a service="WFS"/> --><Execute><a service="WFS"/>', None),
            (b"\xef\xbb\xbf <!-- > --> <a service='wfs'>", "WFS"),
            (b"<!-- - --- a --><?a ??><a b='>' c = \"'\" service = 'WFS'", "WFS"),
            (b"<a b=' service=\"WFS\"'/>", None),
            (b"<a myservice='WFS'/>", None),
            (b"SERVICE=WMS&REQUEST=GetMap", "WMS"),
            (b"REQUEST=GetMap", "WMS"),
            (b"", None),
        ):
            asked = request("MAP=x", body)
            self.assertEqual(mapquery.service(asked), name, body)
            self.assertEqual(asked.content.read(), body)

    def test_quickly(self) -> None:
        """No text is tried in more ways than one."""
        for part in (b"<!---->", b" ", b"<??>", b"<a " + b"b='' " * 20, b"<a b"):
            body = part * (mapquery.HEAD // len(part))
            began = time.process_time()
            self.assertIsNone(mapquery.service(request("MAP=x", body)))
            self.assertLess(time.process_time() - began, 0.5, part)


class ParameterTests(SynchronousTestCase):
    """What is read is what is passed on."""

    def test_roundTrip(self) -> None:
        """Names in upper case, the first of several, values as they were meant."""
        found = mapquery.parse(
            b"map=wps-results%3Aa/b&Layers=A%20b,c&layers=d&x=&%20=1"
        )
        self.assertEqual(found, {"MAP": "wps-results:a/b", "LAYERS": "A b,c", "X": ""})
        self.assertEqual(
            mapquery.compose(found), "MAP=wps-results:a/b&LAYERS=A%20b,c&X="
        )

    def test_encodings(self) -> None:
        """Whatever a value is, it comes back the same."""
        for text in ("a+b", "ä&b=c", "%20", "#", "<a/>", " "):
            query = mapquery.compose({"A": text})
            self.assertEqual(mapquery.parse(query.encode()), {"A": text})


class CheckTests(SynchronousTestCase):
    """What QGIS Server is not asked."""

    def refused(self, query: str) -> OWSError:
        """The error for a query."""
        parameters = mapquery.parse(query.encode())
        return self.assertRaises(OWSError, mapquery.check, parameters)

    def test_parameters(self) -> None:
        """What reaches out, writes, or runs expressions is refused by its name."""
        external = "LAYERS=a,EXTERNAL_WMS:b&b:url=http://h/"
        function = "<Filter><Function name='env'/></Filter>"
        for query, name, status in (
            ("SLD=http://127.0.0.1/", "SLD", 403),
            ("sld=", "SLD", 403),
            ("%53LD=http://h/", "SLD", 403),
            ("SLD_BODY=<a/>", "SLD_BODY", 403),
            ("HIGHLIGHT_SYMBOL=a", "HIGHLIGHT_SYMBOL", 403),
            ("map0:HIGHLIGHT_SYMBOL=a", "MAP0:HIGHLIGHT_SYMBOL", 403),
            (external, "LAYERS", 403),
            (quote(external, safe="=&"), "LAYERS", 403),
            ("LAYERS=external%255fwms:b", "LAYERS", 403),
            ("LAYER=EXTERNAL_WMS:b", "LAYER", 403),
            ("EXP_FILTER=env('HOME')", "EXP_FILTER", 403),
            ("REQUEST_BODY=<a/>", "REQUEST_BODY", 403),
            (f"FILTER={quote(function)}", "FILTER", 403),
            (f"FILTER={quote(quote(function))}", "FILTER", 403),
            ("FILTER=<ogc:Function%20name='x'/>", "FILTER", 403),
            ("FILTER=<!DOCTYPE%20a>", "FILTER", 403),
            ("FILTER=a:'x'||env('HOME')||'y'%20=%20'z'", "FILTER", 403),
            ("FILTER=a:'x'||ENV/**/%20('HOME')||'y'%20=%20'z'", "FILTER", 403),
            ("REQUEST=Transaction", "REQUEST", 501),
            ("request=transaction", "REQUEST", 501),
            ("REQUEST=GetPrint", "REQUEST", 501),
            ("REQUEST=LockFeature", "REQUEST", 501),
        ):
            error = self.refused(query)
            self.assertEqual(error.status, status, query)
            self.assertEqual(error.faults[0].locator, name, query)

    def test_harmless(self) -> None:
        """All else is QGIS Server's affair."""
        for query in (
            "SERVICE=WMS&REQUEST=GetMap&LAYERS=a,b&STYLES=&BBOX=1,2,3,4",
            "SERVICE=WMS&REQUEST=GetCapabilities&SLD_VERSION=1.1.0",
            "REQUEST=GetFeature&FILTER=<Filter><FeatureId%20fid='a.1'/></Filter>",
            "FILTER=a:%22name%22%20=%20'Function'",
            "FILTER=a:%22env%22%20IN%20(%20'Rome%20(Lazio)'%20,%20'env'%20)",
            "REQUEST=GetStyles",
            "",
        ):
            mapquery.check(mapquery.parse(query.encode()))

    def test_coverages(self) -> None:
        """A coverage is at most as large as a picture."""
        for query, locator in (
            ("WIDTH=8192&HEIGHT=8192", None),
            ("WIDTH=8193&HEIGHT=1", "WIDTH"),
            ("WIDTH=1&HEIGHT=0", "HEIGHT"),
            ("WIDTH=many", "WIDTH"),
            ("BBOX=0,0,8192,8&RESX=1&RESY=1", None),
            ("BBOX=0,0,8,8192&RESX=1&RESY=.5", "RESY"),
            ("BBOX=0,0,8,8&RESX=0", "RESX"),
            ("BBOX=0,0,nan,8&RESX=1", "RESX"),
            ("RESX=1", "RESX"),
        ):
            asked = mapquery.parse(f"REQUEST=GetCoverage&{query}".encode())
            if locator is None:
                mapquery.check(asked)
            else:
                error = self.assertRaises(OWSError, mapquery.check, asked)
                self.assertEqual(error.faults[0].locator, locator, query)

    def test_features(self) -> None:
        """OGC API Features has none of the other services' parameters."""
        fine = mapquery.parseAsGiven(b"Name=a&limit=2&name=b&bbox=1,2,3,4")
        self.assertEqual(fine, {"Name": "a", "limit": "2", "bbox": "1,2,3,4"})
        mapquery.checkFeatures(fine)
        for name in ("SERVICE", "service", "%53ervice", "%C5%BFervice", "Map"):
            asked = mapquery.parseAsGiven(f"limit=1&{name}=WMS".encode())
            error = self.assertRaises(OWSError, mapquery.checkFeatures, asked)
            self.assertEqual(error.status, 400)
        self.assertEqual(mapquery.parseAsGiven(b"SERVICE%00=WMS&a%0A=1"), {"a": "1"})

    def test_values(self) -> None:
        """Values of fields are part of an expression in QGIS Server."""
        for value in ("a' OR env('HOME') LIKE 'x", "\\", "%27", "%2527"):
            asked = mapquery.parseAsGiven(f"name={quote(value)}".encode())
            error = self.assertRaises(OWSError, mapquery.checkFeatures, asked)
            self.assertEqual((error.status, error.faults[0].locator), (400, "NAME"))
        for value in ("a*", "ä b", '"', "5%"):
            mapquery.checkFeatures({"name": value})

    def test_body(self) -> None:
        """XML is passed on as it was understood, if it is harmless."""
        body = GET_FEATURE.format(attributes="", inner="<ogc:Filter/>").encode("utf-16")
        checked = mapquery.checkBody(body, {})
        self.assertTrue(checked.startswith(b"<?xml version='1.0' encoding='UTF-8'?>"))
        self.assertIn(b"<ogc:Filter/>", checked)

    def test_coveragesByPOST(self) -> None:
        """Root and query together say how large a coverage is to be."""
        for root, parameters in (
            ("<GetCoverage WIDTH='9000'/>", {}),
            ("<w:GetCoverage xmlns:w='u'/>", {"WIDTH": "9000"}),
            ("<GetCoverage RESX='1'/>", {"BBOX": "0,0,9000,1"}),
            ("<GetCoverage/>", {"WIDTH": "9000", "REQUEST": "GetCapabilities"}),
        ):
            error = self.assertRaises(
                OWSError, mapquery.checkBody, root.encode(), parameters
            )
            self.assertEqual(error.status, 400, root)
        mapquery.checkBody(b"<GetCoverage WIDTH='9'/>", {"WIDTH": "9000"})

    def test_badBody(self) -> None:
        """What is refused in a query is refused in XML, however it is written."""
        function = '<ogc:Filter><x:Function xmlns:x="u" name="env"/></ogc:Filter>'
        for body, status in (
            (GET_FEATURE.format(attributes="", inner=function), 403),
            (GET_FEATURE.format(attributes=' sld="http://h/"', inner=""), 403),
            (GET_FEATURE.format(attributes=' ogc:EXP_FILTER="1"', inner=""), 403),
            (GET_FEATURE.format(attributes=' request="Transaction"', inner=""), 501),
            ('<wfs:Transaction xmlns:wfs="u" service="WFS"/>', 501),
            ("<!DOCTYPE a><a/>", 400),
            ("<a", 400),
        ):
            for encoding in ("utf-8", "utf-16"):
                error = self.assertRaises(
                    OWSError, mapquery.checkBody, body.encode(encoding), {}
                )
                self.assertEqual(error.status, status, body)
