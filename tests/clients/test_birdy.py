"""birdy: all of the toolbox as functions, run in both modes."""

from __future__ import annotations

import json
import os
from typing import Any

from twisted.trial import unittest

from tests import live
from tests.clients import data
from tests.clients.session import NEWEST, Session, sharedSession

LAYER = {"data": data.GEOJSON, "mimeType": "application/geo+json"}

#: birdy takes the default CRS of a box for the box, and can't send one.
NO_BOX: dict[str, Any] = {"extent": None}


def client() -> Session:
    """birdy."""
    return sharedSession(NEWEST, "birdyclient.py")


class ToolboxTests(unittest.TestCase):
    """C{WPSClient(url)} of a server that publishes all there is."""

    def test_loads(self) -> None:
        """Every process becomes a function, in one go."""
        with live.liveServer(QGSWPS_PROCESSING_ACCESSPOLICY="none") as server:
            found = client().ask("load", url=server.url + "ows/")
            self.assertEqual(found["missing"], [])
            # 328 without GRASS, on Debian 12.
            self.assertGreater(len(found["processes"]), 300)
            # On one idle core it is 0.6 s.
            self.assertLess(found["seconds"], 15)
            self.assertIn("grass", " ".join(found["processes"]))
            # GRASS tells -a from -A, Python arguments can't.
            [name] = [each for each in found["processes"] if each.endswith(":r.stats")]
            name = name.replace(":", "_").replace(".", "_")
            found = client().ask("signature", name=name)
            self.assertLessEqual({"_a", "_a_2", "_n", "_n_2"}, set(found))


class BirdyTests(unittest.TestCase):
    """Processes as functions."""

    def setUp(self) -> None:
        self.server = live.sharedServer()
        self.client = client()
        self.url = self.server.url + "ows/"
        for progress in (False, True):
            self.client.ask("load", url=self.url, progress=progress)

    def call(self, name: str, **arguments: Any) -> dict[str, Any]:
        """Run a process in both modes; it has to give the same."""
        options = {key: arguments.pop(key) for key in ("convert",) if key in arguments}
        found = []
        for progress in (False, True):
            answer = self.client.ask(
                "call", name=name, arguments=arguments, progress=progress, **options
            )
            self.assertEqual(answer["status"], "ProcessSucceeded", answer)
            found.append(answer["outputs"])
        self.assertEqual(set(found[0]), set(found[1]))
        return dict(found[1])

    def test_version(self) -> None:
        """It is the one that is pinned."""
        with open(os.path.join(live.ROOT, "requirements-clients.txt")) as file:
            self.assertIn(
                f"birdhouse-birdy=={self.client.ask('version')}\n", file.read()
            )

    def test_signature(self) -> None:
        """Defaults of each type are Python's."""
        found = self.client.ask("signature", name="native_buffer")
        self.assertEqual(found["distance"], 10)
        self.assertEqual(found["segments"], 5)
        self.assertIs(found["dissolve"], False)
        self.assertEqual(found["end_cap_style"], "Round")
        self.assertIn(
            "distance", self.client.ask("document", name="native_buffer") or ""
        )

    def test_literals(self) -> None:
        """Defaults, and several choices."""
        found = self.call("script_outputs", **NO_BOX)
        self.assertEqual(found["integer"], 3)
        self.assertEqual(found["float"], 0.1)
        self.assertIs(found["boolean"], True)
        self.assertIn("[0, 2], 'green', 7.0", found["string"])
        found = self.call(
            "script_outputs", many=["two", "three"], static="red", number=-2, **NO_BOX
        )
        self.assertIn("[1, 2], 'red', -2.0", found["string"])

    def test_vector(self) -> None:
        """Features as text, as a file and as OWSLib's; out by reference."""
        path = self.mktemp() + ".geojson"
        with open(path, "w", encoding="utf-8") as file:
            file.write(data.GEOJSON)
        for layer in (data.GEOJSON, {"path": os.path.abspath(path)}, LAYER):
            found = self.call("native_buffer", input=layer, distance=0.25)
            content = self.server.get(found["output"]).body
            self.assertEqual(data.names(content), data.NAMES)
            self.assertEqual(data.kinds(content), {"Polygon"})

    def test_converters(self) -> None:
        """GeoJSON becomes an object, text files a text, archives a list."""
        found = self.call("native_buffer", input=data.GEOJSON, convert=True)
        self.assertEqual(data.names(json.dumps(found["output"])), data.NAMES)
        found = self.call("script_outputs", convert=True, **NO_BOX)
        self.assertEqual(found["text"], "text")
        zipped = {"OUTPUT": {"as_ref": True, "mimetype": "application/zip"}}
        found = self.call(
            "native_buffer",
            input=data.GEOJSON,
            output_formats=zipped,
            convert=True,
        )
        self.assertGreaterEqual(len(found["output"]), 1)

    def test_embedded(self) -> None:
        """An output by value, in a format of the client's choice."""
        form = {"as_ref": False, "mimetype": "application/vnd.geo+json"}
        for progress in (False, True):
            answer = self.client.ask(
                "call",
                name="native_centroids",
                arguments={"input": data.GEOJSON, "output_formats": {"OUTPUT": form}},
                progress=progress,
            )
            self.assertEqual(answer["status"], "ProcessSucceeded", answer)

    def test_raster(self) -> None:
        """A raster in base64; the result by reference."""
        raster = {
            "data": data.encoded(data.ELEVATION),
            "mimeType": "image/tiff",
            "encoding": "base64",
        }
        found = self.call("native_slope", input=raster)
        content = self.server.get(found["output"]).body
        with open(data.ELEVATION, "rb") as file:
            self.assertEqual(data.size(content), data.size(file.read()))

    def test_fileInput(self) -> None:
        """A file by its path, beside a raster."""
        raster = {
            "data": data.encoded(data.ELEVATION),
            "mimeType": "image/tiff",
            "encoding": "base64",
        }
        path = os.path.abspath(self.mktemp() + ".txt")
        with open(path, "w") as file:
            file.write(data.COLORS)
        found = self.call("gdal_colorrelief", input=raster, color_table={"path": path})
        self.assertTrue(data.size(self.server.get(found["output"]).body))

    def test_several(self) -> None:
        """A list is several occurrences."""
        found = self.call("native_mergevectorlayers", layers=[LAYER, LAYER])
        content = self.server.get(found["output"]).body
        self.assertEqual(data.names(content), [*data.NAMES, *data.NAMES])

    def test_progress(self) -> None:
        """What birdy logs of a job as it goes on."""
        answer = self.client.ask(
            "call", name="script_mishap", arguments={"kind": "progress"}, progress=True
        )
        self.assertEqual(answer["status"], "ProcessSucceeded")
        log = "\n".join(answer["log"])
        self.assertRegex(log, r"script:mishap \[[1-9][0-9]?/100\] - at [0-9]+")
        self.assertEqual(answer["log"][-1], "script:mishap done.")

    def test_failure(self) -> None:
        """birdy tells that a process has failed, and why."""
        for progress in (False, True):
            answer = self.client.ask(
                "call",
                name="script_mishap",
                arguments={"kind": "fail"},
                progress=progress,
            )
            self.assertNotEqual(answer["status"], "ProcessSucceeded")
            self.assertEqual(answer["errors"], ["the moon is in the way"])
        self.assertEqual(answer["log"][-1], "script:mishap failed.")

    def test_project(self) -> None:
        """Layers by name, the result as a map."""
        for progress in (False, True):
            self.client.ask("load", url=self.url + "?MAP=world", progress=progress)
        found = self.call("native_buffer", input="cities", output="zones")
        self.assertIn("service=WMS", found["output"])
        self.assertIn(b"<Title>zones</Title>", self.server.get(found["output"]).body)
