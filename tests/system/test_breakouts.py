"""What clients send that asks for more than it has in it."""

from __future__ import annotations

import base64
import io
import json
import os
import sqlite3
import stat
import tempfile
import threading
import zipfile
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import ClassVar
from xml.sax.saxutils import escape

from lxml import etree
from twisted.trial import unittest

from qgswps import landlock
from tests import live

OWS = "{http://www.opengis.net/ows/1.1}"

GEOJSON = "application/geo+json"
GEOPACKAGE = "application/geopackage+sqlite3"
GML = "text/xml; subtype=gml/3.1.1"
KML = "application/vnd.google-earth.kml+xml"
ZIP = "application/zip"

#: What nobody but the server has.
SECRET = "do-not-tell-this"

POINT = {"type": "Point", "coordinates": [7, 47]}

EXECUTE = """<wps:Execute service="WPS" version="1.0.0"
 xmlns:wps="http://www.opengis.net/wps/1.0.0" xmlns:ows="http://www.opengis.net/ows/1.1"
 xmlns:xlink="http://www.w3.org/1999/xlink"><ows:Identifier>{process}</ows:Identifier>
 <wps:DataInputs>{inputs}</wps:DataInputs>
 <wps:ResponseForm><wps:RawDataOutput mimeType="{wanted}">
 <ows:Identifier>{output}</ows:Identifier></wps:RawDataOutput></wps:ResponseForm>
</wps:Execute>"""


class _Listener(BaseHTTPRequestHandler):
    """Notes who asks for what."""

    asked: ClassVar[list[str]] = []

    def do_GET(self) -> None:
        self.asked.append(self.path)
        self.send_error(404)

    do_HEAD = do_POST = do_GET

    def log_message(self, format: str, *args: object) -> None:
        pass


class BreakoutCase(unittest.TestCase):
    """A server, and one that it should never ask for anything."""

    def setUp(self) -> None:
        _Listener.asked.clear()
        web = ThreadingHTTPServer(("127.0.0.1", 0), _Listener)
        serving = threading.Thread(target=web.serve_forever)
        serving.start()
        self.addCleanup(web.server_close)
        self.addCleanup(serving.join)
        self.addCleanup(web.shutdown)
        self.port = web.server_port
        self.url = f"http://127.0.0.1:{web.server_port}"
        # The sandbox would let jobs ask: what is tried is what stands before it.
        self.server = live.sharedServer(
            QGSWPS_SANDBOX_PORTS="any",
            QGSWPS_SANDBOX_ENVIRONMENT="SECRET_OF_JOBS",
            SECRET_OF_JOBS=SECRET,
        )

    def tearDown(self) -> None:
        """Whatever was tried, nobody was asked, and the next job runs."""
        self.assertEqual(_Listener.asked, [])
        answer = self.send(json.dumps(POINT), GEOJSON)
        self.assertEqual(answer.status, 200, answer.text)

    def send(
        self,
        data: str | bytes,
        mimeType: str,
        process: str = "native:buffer",
        name: str = "INPUT",
        wanted: str = GEOJSON,
        output: str = "OUTPUT",
        **more: str,
    ) -> live.Answer:
        """Execute with inline data, in base64 if it is bytes."""
        encoding = ""
        if isinstance(data, bytes):
            encoding = ' encoding="base64"'
            data = base64.b64encode(data).decode()
        complexData = f'<wps:ComplexData mimeType="{mimeType}"{encoding}>'
        given = {name: f"{complexData}{escape(data)}</wps:ComplexData>"}
        for each, text in more.items():
            given[each] = f"<wps:LiteralData>{escape(text)}</wps:LiteralData>"
        inputs = "".join(
            f"<wps:Input><ows:Identifier>{each}</ows:Identifier>"
            f"<wps:Data>{value}</wps:Data></wps:Input>"
            for each, value in given.items()
        )
        return self.server.post(
            EXECUTE.format(process=process, inputs=inputs, wanted=wanted, output=output)
        )

    def assertRefused(self, answer: live.Answer, text: str, status: int = 400) -> None:
        """It is an exception that says something."""
        self.assertEqual(answer.status, status, answer.text[:1000])
        said = " ".join(etree.fromstring(answer.body).itertext(f"{OWS}ExceptionText"))
        self.assertIn(text, said)
        self.assertNotIn(self.server.workdir, said)
        self.assertNotIn("root:", answer.text)
        self.assertNotIn(SECRET, answer.text)

    def assertHarmless(self, answer: live.Answer) -> None:
        """It is read, without what is elsewhere."""
        self.assertEqual(answer.status, 200, answer.text[:1000])
        self.assertEqual(len(answer.json()["features"]), 1)
        self.assertNotIn("root:", answer.text)


class ExpressionTests(BreakoutCase):
    """Formulas."""

    def formula(self, text: str) -> live.Answer:
        """What comes of one."""
        return self.server.execute(
            "native:fieldcalculator",
            {
                "INPUT": "cities",
                "FIELD_NAME": "x",
                "FORMULA": text,
            },
            MAP="world",
            rawdataoutput=f"OUTPUT@mimeType={GEOJSON}",
        )

    def test_refused(self) -> None:
        """Those that ask for what is beside the data."""
        for text, named in (
            ("env('SECRET_OF_JOBS')", "the function env"),
            ("eval('env(''SECRET_OF_JOBS'')')", "the function eval"),
            ("array_first(array_foreach(array(1),env('HOME')))", "the function env"),
            ("with_variable('x', 1, env('HOME'))", "the function env"),
            ("file_exists('/etc/passwd')", "the function file_exists"),
            ("file_size('/etc/passwd')", "the function file_size"),
            ("exif('/etc/passwd')", "the function exif"),
            ("base_file_name('/etc/passwd')", "the function base_file_name"),
            ("layer_property('countries', 'source')", "the function layer_property"),
            ("decode_uri('countries', 'path')", "the function decode_uri"),
            (
                "sqlite_fetch_and_increment('/tmp/x','t','c','f','1')",
                "the function sqlite_fetch_and_increment",
            ),
            ("@project_path", "the variable @project_path"),
            ("var('project' || '_path')", "variables whose name is computed"),
            ("@user_account_name", "the variable @user_account_name"),
        ):
            with self.subTest(text):
                self.assertRefused(self.formula(text), named)

    def test_foreignLayers(self) -> None:
        """No function takes a path or a URL for a layer."""
        for source in (
            f"/vsicurl/{self.url}/x.geojson",
            f"WFS:{self.url}",
            os.path.join(live.PROJECTS, "world.gpkg"),
            "/etc/passwd",
        ):
            for text in (
                f"aggregate('{source}', 'count', 1)",
                f"raster_value('{source}', 1, make_point(0, 0))",
                f"overlay_intersects('{source}')",
            ):
                with self.subTest(text):
                    answer = self.formula(text)
                    self.assertRefused(answer, "Evaluation error", 500)
            for text in (
                f"get_feature('{source}', 'name', 'x')",
                f"get_feature_by_id('{source}', 1)",
                f"raster_statistic('{source}', 1, 'max')",
            ):
                with self.subTest(text):
                    features = self.formula(text).json()["features"]
                    self.assertEqual({f["properties"]["x"] for f in features}, {None})
        answer = self.formula("load_layer('/etc/passwd', 'ogr')")
        self.assertEqual(answer.status, 400)


class AlgorithmTests(BreakoutCase):
    """Processes and inputs that take a client's word for a command."""

    def test_unpublished(self) -> None:
        """The shipped policy has none that runs SQL, Python or a program."""
        for process, inputs in (
            ("qgis:executesql", {"INPUT_QUERY": "SELECT load_extension('x')"}),
            ("gdal:executesql", {"INPUT": "cities", "SQL": "ATTACH 'x' AS y"}),
            ("native:spatialiteexecutesql", {"SQL": "SELECT 1"}),
            ("qgis:postgisexecutesql", {"SQL": "SELECT 1"}),
            ("gdal:rastercalculator", {"FORMULA": "__import__('os')"}),
            ("native:filedownloader", {"URL": self.url}),
            ("native:loadlayer", {"INPUT": "/etc/passwd"}),
        ):
            answer = self.server.execute(process, inputs, MAP="world")
            self.assertRefused(answer, f"there is no process '{process}'")

    def test_options(self) -> None:
        """Nor inputs that are options of a program, or paths of the server's."""
        for process, inputs, text in (
            ("gdal:translate", {"EXTRA": "-of VRT /etc/passwd"}, "no input 'EXTRA'"),
            ("gdal:warpreproject", {"EXTRA": "-co X=Y"}, "no input 'EXTRA'"),
            ("gdal:translate", {"OPTIONS": "X=Y"}, "no input 'OPTIONS'"),
            ("native:stylefromproject", {"INPUT": "x"}, "no input 'INPUT'"),
            ("native:setlayerstyle", {"STYLE": "x"}, "there is no process"),
            ("gdal:dissolve", {"FIELD": 'name" FROM x; --'}, "FIELD is one of"),
        ):
            given = {"INPUT": "cities", **inputs}
            answer = self.server.execute(process, given, MAP="world")
            self.assertRefused(answer, text)

    def test_places(self) -> None:
        """A layer, a project and a CRS are none of the server's files, nor URLs."""
        for source in (
            "/etc/passwd",
            f"/vsicurl/{self.url}/x.geojson",
            f"WFS:{self.url}",
            f"PG:host=127.0.0.1 port={self.port}",
            f"{live.PROJECTS}/world.gpkg|layername=cities",
        ):
            with self.subTest(source):
                answer = self.server.execute(
                    "native:buffer", {"INPUT": source}, rawdataoutput="OUTPUT"
                )
                self.assertRefused(answer, "INPUT")
                answer = self.server.execute(
                    "native:buffer", {"INPUT": source}, MAP="world"
                )
                self.assertRefused(answer, "no such layer")
                answer = self.server.execute(
                    "native:buffer", {"INPUT": "cities"}, MAP=source
                )
                self.assertEqual(answer.status, 400, answer.text)
        for crs in (f"{self.url}/crs", "/etc/passwd", "+init=/etc/passwd:1"):
            with self.subTest(crs):
                answer = self.server.execute(
                    "native:reprojectlayer",
                    {"INPUT": "cities", "TARGET_CRS": crs},
                    MAP="world",
                    rawdataoutput="OUTPUT",
                )
                self.assertRefused(answer, "TARGET_CRS")


class DataTests(BreakoutCase):
    """Layers that are lists of what to open elsewhere."""

    def test_otherFormats(self) -> None:
        """Data of a format that names files is none of those that are read."""
        url = self.url
        vrt = (
            '<OGRVRTDataSource><OGRVRTLayer name="a"><SrcDataSource>{}</SrcDataSource>'
            "</OGRVRTLayer></OGRVRTDataSource>"
        )
        raster = (
            '<VRTDataset rasterXSize="1" rasterYSize="1"><VRTRasterBand dataType="Byte"'
            ' band="1"><SimpleSource><SourceFilename>{}</SourceFilename></SimpleSource>'
            "</VRTRasterBand></VRTDataset>"
        )
        project = (
            '<qgis version="3.22"><projectlayers><maplayer><datasource>{}</datasource>'
            "<provider>ogr</provider></maplayer></projectlayers></qgis>"
        )
        other = os.path.join(self.server.workdir, "jobs.sqlite")
        contents = [
            vrt.format(source)
            for source in ("/etc/passwd", other, f"/vsicurl/{url}/x.json")
        ]
        contents += [text.format(f"/vsicurl/{url}/x.tif") for text in (raster, project)]
        contents += [
            f"/vsicurl/{url}/x.geojson",
            f"{url}/x.geojson",
            f"WFS:{url}",
            f"<OGRWFSDataSource><URL>{url}</URL></OGRWFSDataSource>",
            f"<GDAL_WMS><Service name='WMS'><ServerUrl>{url}</ServerUrl></Service>"
            "</GDAL_WMS>",
            f"PG:host=127.0.0.1 port={self.port}",
            "<svg xmlns='http://www.w3.org/2000/svg'"
            " xmlns:xlink='http://www.w3.org/1999/xlink'>"
            f"<image xlink:href='{url}/x.png'/></svg>",
            f"<qgis><renderer-v2 type='singleSymbol'><layer class='SvgMarker'>"
            f"<prop k='name' v='{url}/x.svg'/></layer></renderer-v2></qgis>",
        ]
        for content in contents:
            for mimeType in (GEOJSON, GML, KML, ""):
                with self.subTest(content=content[:60], mimeType=mimeType):
                    self.assertRefused(self.send(content, mimeType), "INPUT")
            for mimeType in ("image/tiff", GEOPACKAGE):
                with self.subTest(content=content[:60], mimeType=mimeType):
                    process = (
                        "native:slope" if mimeType.startswith("i") else "native:buffer"
                    )
                    answer = self.send(
                        content.encode(),
                        mimeType,
                        process,
                        wanted="image/tiff" if process == "native:slope" else GEOJSON,
                    )
                    self.assertRefused(answer, "INPUT")

    def test_jsonCrs(self) -> None:
        """A CRS that is to be fetched is refused, whoever it is of."""

        def collection(geometry: object, **more: object) -> str:
            feature = {"type": "Feature", "properties": {}, "geometry": geometry}
            whole = {"type": "FeatureCollection", **more, "features": [feature]}
            return json.dumps(whole)

        for kind in ("link", "url", "LINK", "Url"):
            href = {"href": f"{self.url}/crs", "url": f"{self.url}/crs"}
            crs = {"type": kind, "properties": href}
            for text in (
                collection(POINT, crs=crs),
                collection({**POINT, "crs": crs}),
                collection(POINT, crs=crs).replace('"Url"', '"\\u0055rl"'),
                collection(POINT, crs=crs).replace('"link"', '"lin\\u006b"'),
                collection(POINT, crs=crs).replace('"link"', '"name", "type": "link"'),
                collection(POINT, crs=crs).replace('"', "'"),
            ):
                with self.subTest(text):
                    self.assertRefused(self.send(text, GEOJSON), "not valid GeoJSON")
        # What only looks so is read.
        named = {"type": "name", "properties": {"name": "EPSG:4326"}}
        link = {**POINT, "properties": {"link": self.url}}
        self.assertHarmless(self.send(collection(link, crs=named), GEOJSON))

    def test_geometries(self) -> None:
        """Nor does a geometry have one fetched."""
        crs = {"type": "link", "properties": {"href": f"{self.url}/crs"}}
        polygon = {
            "type": "Polygon",
            "coordinates": [[[0, 0], [1, 0], [1, 1], [0, 0]]],
            "crs": crs,
        }
        gml = (
            '<gml:MultiPoint xmlns:gml="http://www.opengis.net/gml"'
            ' srsName="EPSG:4326"><gml:pointMember>'
            f'<gml:Point srsName="{self.url}/crs"><gml:pos>7 47</gml:pos></gml:Point>'
            "</gml:pointMember></gml:MultiPoint>"
        )
        for text in (
            json.dumps({"type": "Feature", "properties": {}, "geometry": polygon}),
            json.dumps({"type": "GeometryCollection", "geometries": [polygon]}),
            gml,
        ):
            answer = self.send(
                text,
                "application/gml+xml" if text == gml else GEOJSON,
                "script:attempt",
                "PLACE",
                wanted="text/plain",
                output="TOLD",
                CODE="told = place.upper()",
            )
            self.assertEqual(answer.status, 200, answer.text)
            self.assertIn("((", answer.text)

    def test_xml(self) -> None:
        """GML and KML have no entities, schemas or links that are followed."""
        url = self.url
        gml = (
            '<ogr:FeatureCollection xmlns:ogr="http://ogr"'
            ' xmlns:gml="http://www.opengis.net/gml"'
            ' xmlns:xlink="http://www.w3.org/1999/xlink"'
            ' xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance"'
            f' xsi:schemaLocation="http://ogr {url}/s.xsd"><gml:featureMember>'
            f'<ogr:a fid="1"><ogr:g><gml:Point srsName="{url}/crs">'
            f'<gml:pos>7 47</gml:pos></gml:Point></ogr:g><ogr:n xlink:href="{url}/n">'
            "&e;</ogr:n></ogr:a></gml:featureMember></ogr:FeatureCollection>"
        )
        self.assertHarmless(self.send(gml.replace("&e;", "x"), GML))
        for source in ("file:///etc/passwd", f"{url}/e"):
            doctype = f'<!DOCTYPE x [<!ENTITY e SYSTEM "{source}">]>'
            answer = self.send((doctype + gml).encode(), GML)
            self.assertNotIn("root:", answer.text)
        laughs = "".join(f'<!ENTITY e{n + 1} "{f"&e{n};" * 10}">' for n in range(12))
        doctype = f'<!DOCTYPE x [<!ENTITY e0 "ha">{laughs}<!ENTITY e "&e12;">]>'
        self.assertLess(len(self.send((doctype + gml).encode(), GML).body), 10_000)
        kml = (
            '<kml xmlns="http://www.opengis.net/kml/2.2"><Document><NetworkLink><Link>'
            f"<href>{url}/n.kml</href></Link></NetworkLink><Style id='a'><IconStyle>"
            f"<Icon><href>{url}/i.png</href></Icon></IconStyle></Style><Placemark>"
            f"<styleUrl>{url}/s.kml#a</styleUrl><Point><coordinates>7,47</coordinates>"
            "</Point></Placemark></Document></kml>"
        )
        self.assertHarmless(self.send(kml, KML))

    def geoPackages(self) -> Iterator[tuple[str, bytes]]:
        """Databases that do something, by what is said of them, empty if nothing."""
        plain = self.send(json.dumps(POINT), GEOJSON, wanted=GEOPACKAGE).body
        load = "SELECT load_extension('/tmp/x')"
        virtual = "CREATE VIRTUAL TABLE v USING VirtualOGR(''/etc/passwd'')"
        for text, statements in (
            ("", [f"CREATE TRIGGER t AFTER INSERT ON x BEGIN {load}; END"]),
            ("", [f"CREATE TRIGGER t AFTER UPDATE ON x BEGIN {load}; END"]),
            ("v is a view", [f"CREATE VIEW v AS {load}"]),
            ("v is a view", ["CREATE VIEW v AS SELECT ogr_geocode('x')"]),
            (
                "v is no plain table",
                [
                    "PRAGMA writable_schema=1",
                    f"UPDATE sqlite_master SET sql='{virtual}' WHERE name='v'",
                ],
            ),
            (
                "t is no plain table",
                ["CREATE TABLE t (a, b GENERATED ALWAYS AS (upper(a)))"],
            ),
            ("", [f"UPDATE gpkg_spatial_ref_sys SET definition='{self.url}/crs'"]),
        ):
            with tempfile.TemporaryDirectory() as folder:
                path = os.path.join(folder, "x.gpkg")
                with open(path, "wb") as file:
                    file.write(plain)
                database = sqlite3.connect(path)
                [[name]] = database.execute(
                    "SELECT table_name FROM gpkg_contents"
                ).fetchall()
                database.execute("CREATE TABLE v (a)") if "plain" in text else None
                for statement in statements:
                    database.execute(statement.replace(" ON x ", f' ON "{name}" '))
                database.commit()
                database.close()
                with open(path, "rb") as file:
                    yield text, file.read()

    def test_databases(self) -> None:
        """Triggers don't fire, and what computes is refused."""
        for text, content in self.geoPackages():
            with self.subTest(text):
                answer = self.send(content, GEOPACKAGE)
                if text:
                    self.assertRefused(answer, text)
                else:
                    self.assertHarmless(answer)


class ArchiveTests(BreakoutCase):
    """What is packed."""

    def packed(self, **members: bytes) -> bytes:
        """A zip archive."""
        target = io.BytesIO()
        with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
            for name, content in members.items():
                archive.writestr(name, content)
        return target.getvalue()

    def test_bomb(self) -> None:
        """What grows too much, and many in one."""
        bomb = self.packed(**{"a.csv": b"0" * (40 << 20)})
        self.assertRefused(self.send(bomb, ZIP), "too large")
        many = self.packed(**{f"{n}.txt": b"" for n in range(10_001)})
        self.assertRefused(self.send(many, ZIP), "more than 10000 files")

    def test_names(self) -> None:
        """No name leads anywhere else, and no link is one."""
        table = b"x,y\n7,47\n"
        for name in ("../../../../evil.csv", "/tmp/qgswps-evil.csv", "..\\evil.csv"):
            self.assertHarmless(self.send(self.packed(**{name: table}), ZIP))
        self.assertFalse(os.path.exists("/tmp/qgswps-evil.csv"))
        jobs = os.path.join(self.server.workdir, "jobs")
        self.assertNotIn("evil.csv", os.listdir(jobs) + os.listdir(self.server.workdir))
        link = zipfile.ZipInfo("a.csv")
        link.create_system = 3
        link.external_attr = (stat.S_IFLNK | 0o777) << 16
        target = io.BytesIO()
        with zipfile.ZipFile(target, "w") as archive:
            archive.writestr(link, "/etc/passwd")
        # It is a file with that text, which newer GDAL takes for a table.
        answer = self.send(target.getvalue(), ZIP)
        if answer.status != 200:
            self.assertRefused(answer, "not valid CSV")
        self.assertNotIn("root:", answer.text)

    def test_inOther(self) -> None:
        """What is not read plain is not read packed either."""
        vrt = b"<OGRVRTDataSource/>"
        for name in ("a.vrt", "a.qgs", "a.svg", "a.qml"):
            answer = self.send(self.packed(**{name: vrt}), ZIP)
            self.assertRefused(answer, "found none")


class LinkTests(BreakoutCase):
    """Symbolic links among a job's results."""

    def test_nowhere(self) -> None:
        """No way to results follows one."""
        code = (
            "import os\n"
            "os.makedirs('../outputs/deep')\n"
            "os.symlink('/etc/passwd', '../outputs/users')\n"
            "os.symlink('/etc', '../outputs/deep/etc')\n"
            f"os.symlink({self.server.workdir!r}, '../outputs/work')\n"
            "open('../outputs/plain', 'w').write('x')\n"
        )
        answer = self.server.execute("script:attempt", {"CODE": code})
        job = answer.text.partition("uuid=")[2][:36]
        self.assertEqual(self.server.get(f"jobs/{job}/files/plain").body, b"x")
        for path in (
            *("users", "deep/etc/passwd", "work/jobs.sqlite", "deep/etc"),
            *("%2e%2e/task.json", "..%2f..%2f..%2fjobs.sqlite"),
        ):
            found = self.server.get(f"jobs/{job}/files/{path}")
            self.assertIn(found.status, (400, 404), path)
            self.assertNotIn("root:", found.text)
        listed = self.server.get(f"status/{job}").json()["status"]["output_files"]
        self.assertEqual([name for name, _ in listed], ["plain"])
        for path in (f"jobs/{job}/files.zip", f"jobs/{job}/files/?format=zip"):
            archive = self.server.get(path)
            self.assertNotIn(b"root:", archive.body)


class SandboxedTests(unittest.TestCase):
    """The sandbox stands behind all of these."""

    def test_ports(self) -> None:
        """Whatever a job is made to ask, it does not get there."""
        if not landlock.version() >= 4:
            raise unittest.SkipTest("this kernel restricts no connections")
        server = live.sharedServer()
        _Listener.asked.clear()
        with ThreadingHTTPServer(("127.0.0.1", 0), _Listener) as web:
            serving = threading.Thread(target=web.serve_forever)
            serving.start()
            try:
                for kind in ("geojson", "tif"):
                    code = (
                        "from osgeo import gdal\ngdal.UseExceptions()\n"
                        f"gdal.OpenEx('/vsicurl/http://127.0.0.1:{web.server_port}"
                        f"/x.{kind}')"
                    )
                    answer = server.execute(
                        "script:attempt", {"CODE": code}, rawdataoutput="TOLD"
                    )
                    self.assertIn("RuntimeError", answer.text)
            finally:
                web.shutdown()
                serving.join()
        self.assertEqual(_Listener.asked, [])
