"""Maps and features of results, asked for by real clients."""

from __future__ import annotations

import contextlib
import io
import json
import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
import time
import warnings
import zipfile
from typing import Any
from urllib.parse import parse_qs, quote, urlencode, urlsplit

from lxml import etree
from osgeo import gdal, ogr
from twisted.trial import unittest

from tests import live
from tests.postgresserver import sharedPostgres

with warnings.catch_warnings():
    # Of libraries that OWSLib may have, and that miss their own data.
    warnings.simplefilter("ignore")
    from owslib.wfs import WebFeatureService
    from owslib.wms import WebMapService

# pyproj of Debian 13, which OWSLib takes, looks for it below sys.prefix.
os.environ.setdefault("PROJ_DATA", "/usr/share/proj")
gdal.UseExceptions()
ogr.UseExceptions()

WPS = "{http://www.opengis.net/wps/1.0.0}"
XLINK = "{http://www.w3.org/1999/xlink}"

#: What polygons are filled with that nobody has styled.
FILL = (0xD7, 0x60, 0x1A, 0xFF)

#: Degrees around each city.
DISTANCE = 3

_QGIS = """
import json, os, sys
os.environ["QT_QPA_PLATFORM"] = "offscreen"
from qgis.core import QgsApplication, QgsPointXY, QgsRasterLayer, QgsVectorLayer
application = QgsApplication([], False)
application.initQgis()
found = {}
for name, (provider, uri) in json.load(sys.stdin).items():
    if provider in ("wms", "wcs"):
        layer = QgsRasterLayer(uri, name, provider)
        found[name] = layer.isValid()
        if layer.isValid():
            block = layer.dataProvider().block(1, layer.extent(), 40, 20)
            values = {block.value(row, column) for row in range(20)
                      for column in range(40)}
            found[name] = len(values)
    else:
        layer = QgsVectorLayer(uri, name, provider)
        found[name] = layer.isValid() and len(list(layer.getFeatures()))
print(json.dumps(found))
sys.stdout.flush()
os._exit(0)
"""


def inQGIS(layers: dict[str, tuple[str, str]]) -> dict[str, Any]:
    """
    Open layers in a plain QGIS, as a user does.

    @param layers: provider and URI by name.
    @return: how many features it has, or of how many values it is; C{False}
        if it can't be opened.
    """
    with tempfile.TemporaryDirectory() as home:
        done = subprocess.run(
            [sys.executable, "-c", _QGIS],
            input=json.dumps(layers),
            text=True,
            check=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env={**os.environ, "XDG_RUNTIME_DIR": home, "HOME": home},
            timeout=live.PATIENCE,
        )
    found: dict[str, Any] = json.loads(done.stdout)
    return found


class Picture:
    """A picture that a server has sent."""

    def __init__(self, data: bytes) -> None:
        gdal.FileFromMemBuffer("/vsimem/picture", data)
        self._dataset = gdal.Open("/vsimem/picture")
        self.size = (self._dataset.RasterXSize, self._dataset.RasterYSize)
        self._bands = [
            self._dataset.GetRasterBand(n + 1).ReadRaster()
            for n in range(self._dataset.RasterCount)
        ]
        self._dataset = None
        gdal.Unlink("/vsimem/picture")

    def at(self, column: int, row: int) -> tuple[int, ...]:
        """The values of a pixel."""
        return tuple(band[row * self.size[0] + column] for band in self._bands)

    @property
    def colours(self) -> set[tuple[int, ...]]:
        """All values that there are."""
        return set(zip(*self._bands, strict=True))


def cities() -> list[tuple[float, float]]:
    """Where the cities of the demo are."""
    data = ogr.Open(os.path.join(live.PROJECTS, "world.gpkg"))
    found = []
    for feature in data.GetLayer("cities"):
        point = feature.GetGeometryRef()  # lives as long as its feature
        found.append((point.GetX(), point.GetY()))
    return found


class Map:
    """
    A layer that a job has made, as its reference says.

    @ivar href: the reference.
    @ivar base: the URL of the service, with the project.
    """

    def __init__(self, server: live.LiveServer, answer: live.Answer) -> None:
        assert answer.status == 200, answer.text
        root = etree.fromstring(answer.body)
        reference = root.find(f".//{WPS}Output/{WPS}Reference")
        assert reference is not None, answer.text
        self.href: str = reference.get("href") or reference.get(f"{XLINK}href")
        query = parse_qs(urlsplit(self.href).query)
        self.layer = query["layers"][0]
        self.map = query["MAP"][0]
        self.base = f"{server.url}ows/?MAP={self.map}"
        self.job = re.findall(r"[0-9a-f-]{36}", self.map)[0]
        self._server = server

    def get(self, service: str, request: str, **parameters: Any) -> live.Answer:
        """Ask a service."""
        query = {"SERVICE": service, "REQUEST": request, **parameters}
        return self._server.get(f"{self.base}&{urlencode(query)}")

    def getMap(self, **parameters: Any) -> live.Answer:
        """The whole world, 720 by 360 pixels."""
        query = {
            "VERSION": "1.3.0",
            "LAYERS": self.layer,
            "STYLES": "",
            "CRS": "EPSG:4326",
            "BBOX": "-90,-180,90,180",
            "WIDTH": 720,
            "HEIGHT": 360,
            "FORMAT": "image/png",
            "TRANSPARENT": "TRUE",
        }
        return self.get("WMS", "GetMap", **{**query, **parameters})


def buffered(server: live.LiveServer, service: str = "wms", **parameters: Any) -> Map:
    """Circles around the cities."""
    answer = server.execute(
        "native:buffer",
        {"INPUT": "cities", "DISTANCE": DISTANCE},
        MAP="world",
        responseDocument=f"OUTPUT@mimeType=application/x-ogc-{service}",
        **parameters,
    )
    return Map(server, answer)


def slope(server: live.LiveServer, service: str = "wcs") -> Map:
    """How steep the demo's elevation is."""
    answer = server.execute(
        "native:slope",
        {"INPUT": "elevation", "Z_FACTOR": 1},
        MAP="world",
        responseDocument=f"OUTPUT@mimeType=application/x-ogc-{service}",
    )
    return Map(server, answer)


class _MapCase(unittest.TestCase):
    def setUp(self) -> None:
        # OWSLib of Debian 12 leaves sockets to the garbage collector.
        warnings.simplefilter("ignore", ResourceWarning)

    def assertShowsCities(self, answer: live.Answer) -> None:
        """A map of the world with a disc where a city is."""
        self.assertEqual(answer.status, 200, answer.body[:500])
        self.assertEqual(answer.headers["content-type"], "image/png")
        picture = Picture(answer.body)
        self.assertEqual(picture.size, (720, 360))
        for x, y in cities():
            found = picture.at(int((x + 180) * 2), int((90 - y) * 2))
            self.assertEqual(found, FILL, (x, y))
        # The poles, the Southern Ocean, the Pacific.
        for column, row in ((0, 0), (719, 359), (360, 350), (60, 200)):
            self.assertEqual(picture.at(column, row)[3], 0, (column, row))


class ServiceTests(_MapCase):
    """Each service, by itself and by a client."""

    def setUp(self) -> None:
        super().setUp()
        self.server = live.sharedServer()

    def test_wms(self) -> None:
        """The reference leads to capabilities, these to a map of the result."""
        made = buffered(self.server)
        self.assertEqual(self.server.get(made.href).status, 200)
        service = WebMapService(made.href, version="1.3.0")
        self.assertIn(made.layer, service.contents)
        urls = [each["url"] for each in service.getOperationByName("GetMap").methods]
        for url in urls:
            self.assertTrue(url.startswith(made.base), url)
        answer = service.getmap(
            layers=[made.layer],
            styles=[""],
            srs="EPSG:4326",
            bbox=(-180, -90, 180, 90),
            size=(720, 360),
            format="image/png",
            transparent=True,
        )
        headers = {"content-type": "image/png"}
        self.assertShowsCities(live.Answer(200, headers, answer.read()))
        self.assertShowsCities(made.getMap())

    def test_wfs(self) -> None:
        """All features, by GET and by POST."""
        made = buffered(self.server, "wfs")
        for version in ("1.0.0", "1.1.0"):
            service = WebFeatureService(made.href, version=version)
            self.assertEqual(list(service.contents), [made.layer])
            answer = service.getfeature(typename=[made.layer], outputFormat="GeoJSON")
            features = json.loads(answer.read())["features"]
            self.assertEqual(len(features), len(cities()))
            self.assertEqual(features[0]["geometry"]["type"], "MultiPolygon")
        body = (
            '<GetFeature service="WFS" version="1.1.0"'
            ' xmlns="http://www.opengis.net/wfs">'
            f'<Query typeName="{made.layer}"/></GetFeature>'
        )
        query = urlsplit(made.base).query
        answer = self.server.post(body, f"?{query}")
        self.assertEqual(answer.status, 200, answer.text)
        members = etree.fromstring(answer.body).findall(
            "{http://www.opengis.net/gml}featureMember"
        )
        self.assertEqual(len(members), len(cities()))

    def test_wcs(self) -> None:
        """A coverage is the result, to the last bit."""
        made = slope(self.server)
        self.assertIn(f"<name>{made.layer}</name>", self.server.get(made.href).text)
        path = os.path.join(self.server.workdir, "jobs", made.job, "outputs")
        (name,) = (each for each in os.listdir(path) if each.endswith(".tif"))
        result = gdal.Open(os.path.join(path, name))
        answer = made.get(
            "WCS",
            "GetCoverage",
            VERSION="1.0.0",
            COVERAGE=made.layer,
            CRS="EPSG:4326",
            BBOX="-180,-90,180,90",
            WIDTH=result.RasterXSize,
            HEIGHT=result.RasterYSize,
            FORMAT="GTiff",
        )
        self.assertEqual(answer.status, 200, answer.body[:500])
        gdal.FileFromMemBuffer("/vsimem/coverage", answer.body)
        self.addCleanup(gdal.Unlink, "/vsimem/coverage")
        found = gdal.Open("/vsimem/coverage")
        self.assertEqual(
            found.GetRasterBand(1).Checksum(), result.GetRasterBand(1).Checksum()
        )
        self.assertGreater(found.GetRasterBand(1).ComputeRasterMinMax()[1], 0)

    def test_wmts(self) -> None:
        """A tile shows something, by the name that the capabilities have."""
        tile = {
            "VERSION": "1.0.0",
            "STYLE": "",
            "TILEMATRIXSET": "EPSG:3857",
            "TILEMATRIX": 0,
            "TILEROW": 0,
            "TILECOL": 0,
            "FORMAT": "image/png",
        }
        spaced = Map(
            self.server,
            self.server.execute(
                "native:buffer",
                {"INPUT": "cities", "DISTANCE": DISTANCE, "OUTPUT": "Wide cities"},
                MAP="world",
                responseDocument="OUTPUT@mimeType=application/x-ogc-wmts",
            ),
        )
        self.assertIn(">Wide_cities<", self.server.get(spaced.href).text)
        for layer in ("Wide_cities", "Wide cities"):
            answer = spaced.get("WMTS", "GetTile", LAYER=layer, **tile)
            self.assertEqual(answer.status, 200, answer.body[:500])
        made = slope(self.server, "wmts")
        self.assertIn(f">{made.layer}<", self.server.get(made.href).text)
        answer = made.get("WMTS", "GetTile", LAYER=made.layer, **tile)
        self.assertEqual(answer.status, 200, answer.body[:500])
        picture = Picture(answer.body)
        self.assertEqual(picture.size, (256, 256))
        self.assertGreater(len(picture.colours), 10)

    def test_features(self) -> None:
        """OGC API Features, page by page along its links."""
        made = buffered(self.server)
        root = f"jobs/{made.job}/wfs3"
        (collection,) = self.server.get(f"{root}/collections").json()["collections"]
        path = f"{root}/collections/{quote(collection['id'])}/items.json?limit=7"
        url: str | None = self.server.url + path
        seen = []
        while url is not None:
            self.assertTrue(url.startswith(f"{self.server.url}{root}/"), url)
            answer = self.server.get(url).json()
            self.assertEqual(answer["numberMatched"], len(cities()))
            seen += [feature["properties"]["name"] for feature in answer["features"]]
            links = {link["rel"]: link["href"] for link in answer["links"]}
            url = links.get("next")
        self.assertEqual(len(set(seen)), len(cities()))
        page = self.server.get(f"{root}.html")
        self.assertEqual(page.headers["content-type"], "text/html")
        for link in re.findall(r'"(/jobs/[^"]*/static/[^"]*)"', page.text):
            self.assertEqual(self.server.get(link[1:]).status, 200, link)

    def test_qgis(self) -> None:
        """QGIS opens the references as layers."""
        polygons, raster = buffered(self.server), slope(self.server)
        # As QGIS writes them; its WCS provider decodes no more than that.
        where = {made: quote(made.base, safe=":/?") for made in (polygons, raster)}
        picture = "styles=&format=image/png&layers="
        tiles = f"{raster.href}".replace("service=WCS", "service=WMTS")
        found = inQGIS(
            {
                "WMS": (
                    "wms",
                    f"crs=EPSG:4326&{picture}{polygons.layer}&url={where[polygons]}",
                ),
                "WMTS": (
                    "wms",
                    f"crs=EPSG:3857&tileMatrixSet=EPSG:3857&{picture}{raster.layer}"
                    f"&url={quote(tiles, safe='')}",
                ),
                "WCS": ("wcs", f"identifier={raster.layer}&url={where[raster]}"),
                "WFS": (
                    "WFS",
                    f"typename='{polygons.layer}' version='auto' url='{polygons.base}'",
                ),
                "API": (
                    "OAPIF",
                    f"typename='{polygons.layer}'"
                    f" url='{self.server.url}jobs/{polygons.job}/wfs3/'",
                ),
            }
        )
        self.assertEqual(found["WFS"], len(cities()))
        self.assertEqual(found["API"], len(cities()))
        self.assertGreater(found["WMS"], 1)
        self.assertGreater(found["WMTS"], 10)
        self.assertGreater(found["WCS"], 10)

    def ended(self, answer: live.Answer) -> str:
        """The id of an asynchronous job, which has succeeded."""
        self.assertEqual(answer.status, 200, answer.text)
        job = re.findall(r"uuid=([0-9a-f-]{36})", answer.text)[0]
        self.server.waitUntil(
            lambda: "ProcessSucceeded" in self.server.wps("GetResults", uuid=job).text,
            "the job has not succeeded",
        )
        return str(job)

    def test_madeLater(self) -> None:
        """A job whose client took data has a map too, made when it is wanted."""
        point = {"type": "Point", "coordinates": [9, 50]}
        feature = {"type": "Feature", "properties": {}, "geometry": point}
        data = json.dumps({"type": "FeatureCollection", "features": [feature]})
        job = self.ended(
            self.server.execute(
                "native:buffer",
                {"INPUT": data, "DISTANCE": 5},
                storeExecuteResponse="true",
                status="true",
            )
        )
        directory = os.path.join(self.server.workdir, "jobs", job)
        self.assertNotIn("native_buffer.qgs", os.listdir(directory))
        url = f"ows/?SERVICE=WMS&REQUEST=GetCapabilities&MAP={job}/native_buffer.qgs"
        answer = self.server.get(url)
        self.assertEqual(answer.status, 200)
        self.assertIn("<Name>Buffered</Name>", answer.text)
        self.assertIn("native_buffer.qgs", os.listdir(directory))

    def test_noLayers(self) -> None:
        """A job that has made no layers has no map, and says so."""
        job = self.ended(
            self.server.execute(
                "script:mishap",
                {"KIND": "nothing"},
                storeExecuteResponse="true",
                status="true",
            )
        )
        map = f"{job}/script_mishap.qgs"
        for path in (
            f"ows/?SERVICE=WMS&REQUEST=GetCapabilities&MAP={map}",
            f"jobs/{job}/wfs3/collections",
        ):
            answer = self.server.get(path)
            self.assertEqual(answer.status, 404)
            self.assertIn("no layers", answer.text)

    def test_scripts(self) -> None:
        """Pages with features in them are no part of the server for a browser."""
        made = buffered(self.server)
        root = f"jobs/{made.job}/wfs3/collections"
        (collection,) = self.server.get(root).json()["collections"]
        info = {"INFO_FORMAT": "text/html", "QUERY_LAYERS": made.layer, "I": 1, "J": 1}
        own = f"{self.server.url}jobs/{made.job}/"
        for answer, readable in (
            (self.server.get(f"{root}/{quote(collection['id'])}/items.html"), own),
            (made.getMap(REQUEST="GetFeatureInfo", **info), "'none'"),
        ):
            self.assertEqual(answer.status, 200, answer.text)
            self.assertTrue(answer.headers["content-type"].startswith("text/html"))
            policy = answer.headers["content-security-policy"]
            self.assertTrue(policy.startswith("sandbox allow-scripts"), policy)
            self.assertIn(f"; connect-src {readable};", policy)
            self.assertEqual(answer.headers["x-content-type-options"], "nosniff")

    def test_fields(self) -> None:
        """Features by the values of fields, which are values and nothing else."""
        made = buffered(self.server)
        root = f"jobs/{made.job}/wfs3/collections"
        (collection,) = self.server.get(root).json()["collections"]
        items = f"{root}/{quote(collection['id'])}/items.json"
        for query, count in (
            ("name=Lagos", 1),
            ("name=L*&limit=5&offset=0", 1),
            ("bbox=-180,-90,180,90&limit=1", len(cities())),
        ):
            answer = self.server.get(f"{items}?{query}")
            self.assertEqual(answer.status, 200, answer.text)
            self.assertEqual(answer.json()["numberMatched"], count, query)
        for value in ("x' OR '1'='1", "x%27 OR %271%27=%271"):
            answer = self.server.get(f"{items}?name={quote(value)}")
            self.assertEqual(answer.status, 400, answer.text)

    def test_reachesNothing(self) -> None:
        """Whatever a client writes, nobody else is asked."""
        made = buffered(self.server)
        with contextlib.closing(socket.create_server(("127.0.0.1", 0))) as other:
            other.setblocking(False)
            url = quote(f"http://127.0.0.1:{other.getsockname()[1]}/", safe="")
            asks = (
                "SERVICE=WMS&REQUEST=GetMap&VERSION=1.3.0&CRS=CRS:84&STYLES="
                "&BBOX=-180,-90,180,90&WIDTH=60&HEIGHT=30&FORMAT=image/png"
            )
            layers = f"LAYERS=EXTERNAL_WMS:x&x:url={url}&x:layers=a&x:format=image/png"
            harmless = f"LAYERS={made.layer}"
            features = f"jobs/{made.job}/wfs3"
            for path in (
                f"ows/?MAP={made.map}&{asks}&{layers}",
                f"ows/?MAP={made.map}&{asks}&{harmless}&{layers}",
                f"ows/?MAP={made.map}&{asks}&{harmless}&%4C{layers[1:]}",
                f"ows/?MAP={made.map}&{asks}&{harmless}&SLD={url}",
                f"ows/?MAP={made.map}&{asks}&{harmless}&SL%44={url}",
                f"{features}?{asks}&{layers}",
                f"{features}?%53{asks[1:]}&{harmless}&{layers}",
                f"{features}/collections?limit=1&{asks}&{harmless}&{layers}",
                f"{features}?SERVICE%00=x&+{asks}&{harmless}&{layers}",
                f"{features}?a;{asks}&{harmless}&{layers}",
            ):
                self.server.get(path)
                with self.assertRaises(BlockingIOError, msg=path):
                    other.accept()

    def test_large(self) -> None:
        """QGIS Server keeps its pictures within bounds."""
        answer = buffered(self.server).getMap(WIDTH=20000)
        self.assertEqual(answer.status, 400)
        self.assertIn("ServiceException", answer.text)


class ProcessTests(_MapCase):
    """The processes behind the maps."""

    def workers(self, server: live.LiveServer) -> list[int]:
        """The fork server's processes, which serve maps where no job runs."""
        pids = live.childrenOf(server.forkServer())
        return [pid for pid in pids if live.alive(pid)]

    def test_crash(self) -> None:
        """A dead worker costs one request at most, and the next one is served."""
        with live.liveServer(QGSWPS_MAPS_WORKERS="1") as server:
            made = buffered(server)
            self.assertShowsCities(made.getMap())
            (pid,) = server.waitUntil(
                lambda: len(found := self.workers(server)) == 1 and found,
                "there is not one map worker",
            )
            statuses = []
            os.kill(pid, signal.SIGKILL)
            server.waitUntil(lambda: not live.alive(pid), "it lives")
            for _ in range(3):
                statuses.append(made.getMap().status)
            self.assertLessEqual(statuses.count(502), 1)
            self.assertEqual(statuses[1:], [200, 200])
            self.assertShowsCities(made.getMap())

    def test_projectsTakeTurns(self) -> None:
        """One process serves many projects, each in its turn, and is recycled."""
        with live.liveServer(
            QGSWPS_MAPS_WORKERS="1", QGSWPS_MAPS_MAX_REQUESTS="3"
        ) as server:
            first, second = buffered(server), buffered(server)
            pids = set()
            for made in (first, second, first, first, first, first, second):
                self.assertShowsCities(made.getMap())
                found = self.workers(server)
                self.assertLessEqual(len(found), 1)
                pids.update(found)
            self.assertGreaterEqual(len(pids), 4)

    def test_idle(self) -> None:
        """A process without work ends."""
        with live.liveServer(QGSWPS_MAPS_IDLE_TIME="1") as server:
            self.assertShowsCities(buffered(server).getMap())
            server.waitUntil(lambda: not self.workers(server), "it did not end", 10)

    def test_expiry(self) -> None:
        """With a job goes its map, and its process."""
        with live.liveServer() as server:
            made = buffered(server, EXPIRE="3")
            self.assertShowsCities(made.getMap())
            self.assertEqual(len(self.workers(server)), 1)
            server.waitUntil(lambda: made.getMap().status == 404, "it is there", 15)
            server.waitUntil(lambda: not self.workers(server), "a process is there")
            directory = os.path.join(server.workdir, "jobs", made.job)
            server.waitUntil(lambda: not os.path.exists(directory), "it is there")

    def test_stop(self) -> None:
        """A server that ends leaves neither process nor file."""
        with tempfile.TemporaryDirectory() as folder:
            workdir = os.path.join(folder, "work")
            server = live.LiveServer(workdir=workdir)
            try:
                self.assertShowsCities(buffered(server).getMap())
                pids = self.workers(server)
                began = time.monotonic()
            finally:
                server.stop()
            self.assertLess(time.monotonic() - began, 10)
            self.assertEqual([pid for pid in pids if live.alive(pid)], [])
            self.assertEqual(os.listdir(os.path.join(workdir, "pool", "maps")), [])

    def test_sourceProjects(self) -> None:
        """A server may show the projects that it works with; by default not."""
        query = "ows/?SERVICE=WMS&REQUEST=GetCapabilities&MAP=world"
        self.assertEqual(live.sharedServer().get(query).status, 404)
        with live.liveServer(QGSWPS_MAPS_SOURCE_PROJECTS="yes") as server:
            answer = server.get(query)
            self.assertEqual(answer.status, 200, answer.text)
            self.assertIn("<Name>countries</Name>", answer.text)
            answer = server.get(query.replace("world", "nowhere"))
            self.assertEqual(answer.status, 400, answer.text)

    def test_badSourceProjects(self) -> None:
        """A project that is damaged, or not in its database, tells no secrets."""
        postgres = sharedPostgres()
        schema = postgres.newSchema()
        postgres.addPoints(schema, "sites", "a")
        source = postgres.source(schema, "sites")
        uri = f"{postgres.uri(schema)}&project=one"
        postgres.save(uri, "one", {"Sites": source})
        with tempfile.TemporaryDirectory() as folder:
            with open(os.path.join(folder, "broken.qgs"), "w") as file:
                file.write("<nothing")
            config = os.path.join(folder, "qgswps.conf")
            with open(config, "w") as file:
                file.write(
                    "[maps]\nsource_projects = yes\n[projects.schemes]\n"
                    f"gis = {postgres.uri(schema)}\n"
                    "away = postgresql://tester:topsecret@127.0.0.1:1/"
                    "?dbname=hidden&schema=y\n"
                )
            server = live.LiveServer(
                "--config",
                config,
                QGSWPS_CACHE_ROOTDIR=folder,
                **postgres.environment,
            )
            try:
                query = "ows/?SERVICE=WMS&REQUEST=GetCapabilities&MAP="
                answer = server.get(f"{query}gis:one")
                self.assertEqual(answer.status, 200, answer.text)
                self.assertIn("<Name>Sites</Name>", answer.text)
                for map, status in (
                    ("broken", 400),
                    ("gis:two", 404),
                    ("away:one", 404),
                ):
                    answer = server.get(query + map)
                    self.assertEqual(answer.status, status, answer.text)
                    [exception] = etree.fromstring(answer.body)
                    self.assertEqual(exception.get("code"), "InvalidParameterValue")
                    self.assertEqual(exception.get("locator"), "MAP")
                    for secret in ("topsecret", "hidden", "127.0.0", schema, folder):
                        self.assertNotIn(secret, answer.text)
            finally:
                server.stop()

    def test_disabled(self) -> None:
        """Without maps, all else works."""
        with live.liveServer(QGSWPS_MAPS_ENABLED="no") as server:
            answer = server.execute(
                "native:buffer",
                {"INPUT": "cities", "DISTANCE": DISTANCE},
                MAP="world",
                responseDocument="OUTPUT",
            )
            self.assertIn('mimeType="application/geo+json"', answer.text)
            described = server.wps("DescribeProcess", identifier="native:buffer").text
            self.assertNotIn("x-ogc-wms", described)
            query = "ows/?SERVICE=WMS&REQUEST=GetCapabilities&MAP=world"
            self.assertEqual(server.get(query).status, 501)
            [job] = server.get("status/").json()["status"]
            archive = server.get(f"jobs/{job['uuid']}/files.zip").body
            with zipfile.ZipFile(io.BytesIO(archive)) as found:
                self.assertIn("native_buffer.qgs", found.namelist())
