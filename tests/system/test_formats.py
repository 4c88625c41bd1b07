"""Results in each format, over HTTP: embedded, raw, by reference and as maps."""

from __future__ import annotations

import base64
import io
import json
import zipfile
from urllib.parse import quote

from lxml import etree
from twisted.trial import unittest

from tests import live, schemas

WPS = "{http://www.opengis.net/wps/1.0.0}"
POINT = '{"type": "Point", "coordinates": [7, 47]}'
SQLITE = b"SQLite format 3\0"


class FormatTests(unittest.TestCase):
    """What clients get in the formats that they ask for."""

    def setUp(self) -> None:
        self.server = live.sharedServer()

    def execute(self, mimeType: str, kind: str = "responsedocument") -> live.Answer:
        """A buffer in a format."""
        output = f"OUTPUT@mimeType={quote(mimeType, safe='')}"
        answer = self.server.execute(
            "native:buffer", {"INPUT": POINT}, **{kind: output}
        )
        self.assertEqual(answer.status, 200, answer.body[:1000])
        return answer

    def test_embedded(self) -> None:
        """Binary data in base64, texts as they are; valid in any case."""
        for mimeType, start in (
            ("application/geopackage+sqlite3", SQLITE),
            ("application/flatgeobuf", b"fgb\x03fgb"),
            ("application/x-zipped-shp", b"PK\x03\x04"),
            ("text/csv", b"WKT"),
        ):
            answer = self.execute(mimeType)
            schemas.assertValid(self, answer.body, "ExecuteResponse")
            [data] = etree.fromstring(answer.body).iter(f"{WPS}ComplexData")
            self.assertEqual(data.get("mimeType"), mimeType)
            content = (data.text or "").encode()
            if data.get("encoding") == "base64":
                content = base64.b64decode(content)
            self.assertTrue(content.startswith(start), content[:100])
        answer = self.execute("application/vnd.google-earth.kml+xml")
        schemas.assertValid(self, answer.body, "ExecuteResponse")
        [data] = etree.fromstring(answer.body).iter(f"{WPS}ComplexData")
        self.assertEqual(etree.QName(data[0]).localname, "kml")

    def test_raw(self) -> None:
        """The file itself, with its media type."""
        for mimeType, start in (
            ("application/geopackage+sqlite3", SQLITE),
            ("text/csv", b"WKT"),
        ):
            answer = self.execute(mimeType, "rawdataoutput")
            found = answer.headers["content-type"].partition(";")[0]
            self.assertEqual(found, mimeType)
            self.assertTrue(answer.body.startswith(start), answer.body[:100])

    def test_rasters(self) -> None:
        """Rasters in each format, raw."""
        for mimeType, start in (
            ("image/tiff", b"II*\0"),
            ("image/tiff; application=geotiff; profile=cloud-optimized", b"II*\0"),
            ("image/png", b"\x89PNG"),
            ("application/netcdf", (b"CDF", b"\x89HDF")),
        ):
            answer = self.server.execute(
                "native:slope",
                {"INPUT": "elevation"},
                MAP="world",
                rawdataoutput=f"OUTPUT@mimeType={quote(mimeType, safe='')}",
            )
            self.assertEqual(answer.status, 200, answer.body[:1000])
            self.assertTrue(answer.body.startswith(start), (mimeType, answer.body[:20]))

    def test_severalLayers(self) -> None:
        """An archive of them, and a map of all."""
        for form, check in (
            ("application/zip", self.isArchive),
            ("application/x-ogc-wms", self.isMap),
        ):
            answer = self.server.execute(
                "native:package",
                {"LAYERS": "cities"},
                MAP="world",
                responsedocument=f"OUTPUT_LAYERS@mimeType={form}",
            )
            self.assertEqual(answer.status, 200, answer.body[:1000])
            check(etree.fromstring(answer.body))

    def isArchive(self, document: etree._Element) -> None:
        """An embedded archive with a GeoPackage."""
        [data] = document.iter(f"{WPS}ComplexData")
        with zipfile.ZipFile(io.BytesIO(base64.b64decode(data.text or ""))) as archive:
            [name] = archive.namelist()
            self.assertTrue(archive.read(name).startswith(SQLITE))

    def isMap(self, document: etree._Element) -> None:
        """A reference to a map service that has the layer."""
        [reference] = document.iter(f"{WPS}Reference")
        answer = self.server.get(reference.get("href", ""))
        self.assertEqual(answer.status, 200, answer.body[:1000])
        self.assertIn("<Name>cities</Name>", answer.text)

    def test_sent(self) -> None:
        """What one job gives, the next one takes."""
        content = self.execute("application/geopackage+sqlite3", "rawdataoutput").body
        body = f"""<wps:Execute service="WPS" version="1.0.0"
            xmlns:wps="http://www.opengis.net/wps/1.0.0"
            xmlns:ows="http://www.opengis.net/ows/1.1">
          <ows:Identifier>native:centroids</ows:Identifier>
          <wps:DataInputs><wps:Input><ows:Identifier>INPUT</ows:Identifier>
            <wps:Data><wps:ComplexData encoding="base64"
                mimeType="application/geopackage+sqlite3"
              >{base64.b64encode(content).decode()}</wps:ComplexData></wps:Data>
          </wps:Input></wps:DataInputs>
          <wps:ResponseForm><wps:RawDataOutput mimeType="application/geo+json">
            <ows:Identifier>OUTPUT</ows:Identifier>
          </wps:RawDataOutput></wps:ResponseForm>
        </wps:Execute>"""
        answer = self.server.post(body)
        self.assertEqual(answer.status, 200, answer.body[:1000])
        [feature] = json.loads(answer.body)["features"]
        x, y = feature["geometry"]["coordinates"]
        self.assertAlmostEqual(x, 7, 6)
        self.assertAlmostEqual(y, 47, 6)
