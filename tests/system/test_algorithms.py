"""Scripts, models and plugins of a real server, good ones beside bad ones."""

from __future__ import annotations

import atexit
import json
import os
import shutil
import tempfile
import textwrap
import time
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

from lxml import etree
from twisted.trial import unittest

from tests import badplugins, live

WPS = "{http://www.opengis.net/wps/1.0.0}"
OWS = "{http://www.opengis.net/ows/1.1}"
EXAMPLES = os.path.join(live.ROOT, "docs", "examples")

POINTS = '{"type": "MultiPoint", "coordinates": [[0, 0], [4, 0], [2, 3]]}'
LINE = '{"type": "LineString", "coordinates": [[0, 0], [0, 1]]}'
ONE = '{"type": "Point", "coordinates": [7, 47]}'

#: A home that is not there.
NO_HOME = "/nonexistent/qgswps"

#: What the examples of the documentation publish.
PUBLISHED = {
    "script:every_nth",
    "script:total_length",
    "model:surroundings",
    "model:middle_of_surroundings",
    "example:mirror",
    "examplewps:quadrupled",
}


class Started(NamedTuple):
    """A server, and how many seconds it took to be ready."""

    server: live.LiveServer
    seconds: float


@cache
def started() -> Started:
    """The server with the examples, and with all that can't be loaded."""
    folder = Path(tempfile.mkdtemp(prefix="qgswps-algorithms-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    # One that hangs would make each start of these tests last longer.
    badplugins.write(folder, *(set(badplugins.PLUGINS) - {"hangs"}))
    for kind, name, text in (
        ("scripts", "aborts.py", "import os\nos.abort()\n"),
        ("scripts", "wrong.py", "def wrong(:\n"),
        ("models", "broken.model3", "<Option"),
    ):
        (folder / kind).mkdir(exist_ok=True)
        (folder / kind / name).write_text(text)
    begin = time.monotonic()
    server = live.LiveServer(
        QGSWPS_PROCESSING_PROVIDERS_MODULE_PATH=f"{EXAMPLES},{folder}",
        QGSWPS_PROCESSING_ECHO="no",
        # As it is with users that are there for a service only.
        HOME=NO_HOME,
    )
    return Started(server, time.monotonic() - begin)


def offered(server: live.LiveServer) -> list[str]:
    """The identifiers in the capabilities."""
    root = etree.fromstring(server.wps("GetCapabilities").body)
    return [each.findtext(f"{OWS}Identifier") for each in root.iter(f"{WPS}Process")]


class AlgorithmTests(unittest.TestCase):
    """What is below C{processing.providers_module_path}."""

    def setUp(self) -> None:
        self.server = started().server

    def data(self, answer: live.Answer) -> str:
        """The one output of an ExecuteResponse, as text."""
        self.assertEqual(answer.status, 200, answer.text)
        (output,) = etree.fromstring(answer.body).iter(f"{WPS}Output")
        (data,) = output.find(f"{WPS}Data")
        return str(data.text)

    def features(self, answer: live.Answer) -> list[dict[str, Any]]:
        """The features that are the one output."""
        found: list[dict[str, Any]] = json.loads(self.data(answer))["features"]
        return found

    def test_published(self) -> None:
        """All that can be run, and nothing that is not for clients."""
        own = {
            each
            for each in offered(self.server)
            if each.split(":")[0] not in ("native", "qgis", "gdal", "3d")
            and not each.startswith("grass")
        }
        self.assertEqual(own, PUBLISHED)

    def test_described(self) -> None:
        """Each is described."""
        for identifier in PUBLISHED:
            answer = self.server.wps("DescribeProcess", identifier=identifier)
            self.assertEqual(answer.status, 200, answer.text)
            (process,) = etree.fromstring(answer.body).iter("ProcessDescription")
            self.assertEqual(process.findtext(f"{OWS}Identifier"), identifier)
            self.assertTrue(process.findall("ProcessOutputs/Output"), identifier)
        abstract = self.server.wps(
            "DescribeProcess", identifier="model:surroundings"
        ).text
        self.assertIn("What lies within a distance of some places", abstract)
        self.assertIn("Points, lines or areas.", abstract)

    def test_unexposed(self) -> None:
        """What is registered for models only is not there for clients."""
        for answer in (
            self.server.wps("DescribeProcess", identifier="exampleparts:doubled"),
            self.server.execute("exampleparts:doubled", {"NUMBER": 2}),
        ):
            self.assertEqual(answer.status, 400, answer.text)

    def test_scripts(self) -> None:
        """A function and a class."""
        length = self.server.execute("script:total_length", {"INPUT": LINE})
        self.assertAlmostEqual(float(self.data(length)), 110.574, places=2)
        kept = self.server.execute(
            "script:every_nth",
            {"INPUT": "cities", "N": 1000},
            MAP="world",
            responsedocument="OUTPUT@mimeType=application/geo+json",
        )
        self.assertEqual(len(self.features(kept)), 1)

    def test_models(self) -> None:
        """One, and one that runs it; its output has a name with a colon."""
        area = self.server.execute(
            "model:surroundings", {"places": POINTS, "distance": 0.5}
        )
        (feature,) = self.features(area)
        self.assertEqual(len(feature["geometry"]["coordinates"]), 3)
        middle = self.server.execute("model:middle_of_surroundings", {"places": ONE})
        (feature,) = self.features(middle)
        x, y = feature["geometry"]["coordinates"]
        self.assertAlmostEqual(x, 7)
        self.assertAlmostEqual(y, 47)

    def test_modelByReference(self) -> None:
        """A model's output as a URL."""
        answer = self.server.execute(
            "model:surroundings",
            {"places": ONE},
            responsedocument="joined%3ASurroundings=@asReference=true",
        )
        self.assertEqual(answer.status, 200, answer.text)
        (reference,) = etree.fromstring(answer.body).iter(f"{WPS}Reference")
        file = self.server.get(reference.get("href"))
        self.assertEqual(file.status, 200, file.text)
        self.assertEqual(len(file.json()["features"]), 1)

    def test_plugins(self) -> None:
        """Both kinds."""
        mirrored = self.server.execute("example:mirror", {"INPUT": ONE, "X": 5})
        (feature,) = self.features(mirrored)
        self.assertEqual(feature["geometry"]["coordinates"], [3, 47])
        result = self.server.execute("examplewps:quadrupled", {"NUMBER": 2.5})
        self.assertEqual(float(self.data(result)), 10)

    def test_leftOut(self) -> None:
        """The log has one line for each that was left out, with the reason."""
        lines = [
            line for line in self.server.log().splitlines() if "not published:" in line
        ]
        for name, plugin in badplugins.PLUGINS.items():
            said = [line for line in lines if f"plugin Bad {name} (" in line]
            if name in ("hangs", "bad_metadata"):
                # Its title can't be read.
                self.assertEqual(said, [])
                continue
            self.assertEqual(len(said), 1, name)
            self.assertIn(plugin.reason, said[0])
        for name, reason in (
            ("plugin bad_metadata (", "its metadata.txt can't be read"),
            ("/scripts/aborts.py: ", "it ends the process with SIGABRT"),
            ("/scripts/wrong.py: ", "SyntaxError"),
            ("/models/broken.model3: ", "it is no model"),
        ):
            (line,) = (line for line in lines if name in line)
            self.assertIn(reason, line)

    def test_documented(self) -> None:
        """What the documentation shows is what is run here."""
        page = Path(live.ROOT, "docs", "algorithms.md").read_text()
        for name in (
            "scripts/total_length.py",
            "example_processing/plugin.py",
            "example_wps/__init__.py",
        ):
            code = Path(EXAMPLES, name).read_text()
            self.assertIn(textwrap.indent(code, "    "), page, name)

    def test_startsInTime(self) -> None:
        """All of these together cost far less than the time for a start."""
        self.assertLess(started().seconds, 30)


class GrassTests(unittest.TestCase):
    """The provider that is there when GRASS is installed."""

    def setUp(self) -> None:
        self.server = started().server
        self.prefix = next(
            each.split(":")[0]
            for each in offered(self.server)
            if each.endswith(":v.buffer")
        )

    def run_(self, name: str, inputs: dict[str, Any], **parameters: str) -> bytes:
        """The raw output of an algorithm of GRASS."""
        answer = self.server.execute(f"{self.prefix}:{name}", inputs, **parameters)
        self.assertEqual(answer.status, 200, answer.body)
        self.assertNotIn(b"ExceptionReport", answer.body[:500])
        return answer.body

    def polygons(self, name: str, inputs: dict[str, Any]) -> list[list[Any]]:
        """The outer rings of the areas that come out."""
        found = json.loads(self.run_(name, inputs, rawdataoutput="output"))
        return [f["geometry"]["coordinates"][0] for f in found["features"]]

    def test_sideBySide(self) -> None:
        """Runs at one time don't get into each other's way."""
        sizes = [0.1, 0.2, 0.3, 0.4]

        def width(distance: float) -> float:
            (ring,) = self.polygons("v.buffer", {"input": ONE, "distance": distance})
            return max(x for x, _ in ring) - min(x for x, _ in ring)

        with ThreadPoolExecutor(len(sizes)) as pool:
            for size, got in zip(sizes, pool.map(width, sizes), strict=True):
                self.assertAlmostEqual(got, 2 * size, places=2)

    def test_voronoi(self) -> None:
        """An area for each point."""
        self.assertEqual(len(self.polygons("v.voronoi", {"input": POINTS})), 3)

    def test_raster(self) -> None:
        """A raster in and out."""
        slope = self.run_(
            "r.slope.aspect",
            {"elevation": "elevation"},
            MAP="world",
            rawdataoutput="slope",
        )
        self.assertIn(slope[:4], (b"II*\0", b"MM\0*"))

    def test_leavesNothing(self) -> None:
        """GRASS keeps its things in the job, where they are removed."""
        self.polygons("v.buffer", {"input": ONE, "distance": 1})
        jobs = os.path.join(self.server.workdir, "jobs")

        def gone() -> bool:
            return not any(
                "grass" in name
                for _, folders, files in os.walk(jobs)
                for name in (*folders, *files)
            )

        # The worker removes them when it has answered.
        self.server.waitUntil(gone, "files of GRASS are still there")
        self.assertFalse(os.path.exists(NO_HOME))
