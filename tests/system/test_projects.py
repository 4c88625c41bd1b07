"""Source projects of a real server: files, and projects in PostgreSQL."""

from __future__ import annotations

import atexit
import json
import os
import shutil
import subprocess
import tempfile
import zipfile
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import ClassVar
from urllib.parse import quote

from lxml import etree
from twisted.trial import unittest

from tests.live import PROJECTS, Answer, LiveServer
from tests.postgresserver import PostgresServer, sharedPostgres

#: Run by Debian's python3 with QGIS's bindings: the file to save to, and a
#: JSON object of the layers' sources by name.
_SAVE = """
import json, sys
from qgis.core import QgsApplication, QgsProject, QgsVectorLayer
application = QgsApplication([], False)
application.initQgis()
project = QgsProject.instance()
path, layers = sys.argv[1:]
for name, source in json.loads(layers).items():
    project.addMapLayer(QgsVectorLayer(source, name, "ogr"))
assert project.write(path), project.error()
project.clear()
application.exitQgis()
"""


def save(path: str, layers: Mapping[str, str]) -> None:
    """
    Have QGIS save a project to a file.

    @param layers: the sources of its layers, by name.
    """
    done = subprocess.run(
        ["/usr/bin/python3", "-c", _SAVE, path, json.dumps(layers)],
        env={**os.environ, "QT_QPA_PLATFORM": "offscreen"},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        check=False,
        text=True,
    )
    assert done.returncode == 0, done.stdout


def points(path: str) -> str:
    """
    Write a file of points.

    @return: its path.
    """
    features = [
        {
            "type": "Feature",
            "properties": {"name": f"n{x}", "size": x},
            "geometry": {"type": "Point", "coordinates": [x, 0]},
        }
        for x in range(3)
    ]
    with open(path, "w", encoding="utf-8") as file:
        json.dump({"type": "FeatureCollection", "features": features}, file)
    return path


def choices(answer: Answer, identifier: str = "INPUT") -> list[str]:
    """The values that an input of the one described process may have."""
    document = etree.fromstring(answer.body)
    found = document.xpath(
        "//Input[ows:Identifier = $name]//ows:AllowedValues/ows:Value",
        namespaces={"ows": "http://www.opengis.net/ows/1.1"},
        name=identifier,
    )
    return [value.text for value in found]


class ProjectsTestCase(unittest.TestCase):
    """
    A server with projects.

    @cvar options: further settings, as environment variables.
    @cvar schemes: lines for C{[projects.schemes]}.
    """

    server: ClassVar[LiveServer]
    root: ClassVar[str]
    base: ClassVar[str]
    options: ClassVar[dict[str, str]] = {}

    @classmethod
    def schemes(cls) -> str:
        """Lines for C{[projects.schemes]}."""
        return ""

    def setUp(self) -> None:
        # Trial has no fixtures of classes.
        if "server" not in type(self).__dict__:
            self.begin()

    @classmethod
    def begin(cls) -> None:
        """Start the server, which ends with this process."""
        cls.base = tempfile.mkdtemp(prefix="qgswps-projects-")
        atexit.register(shutil.rmtree, cls.base)
        cls.root = os.path.join(cls.base, "root")
        shutil.copytree(PROJECTS, cls.root)
        config = os.path.join(cls.base, "qgswps.conf")
        with open(config, "w", encoding="utf-8") as file:
            file.write(f"[projects.schemes]\n{cls.schemes()}")
        cls.server = LiveServer(
            "--config",
            config,
            QGSWPS_CACHE_ROOTDIR=cls.root,
            # The data of these projects is not beside them.
            QGSWPS_SANDBOX_READABLE=cls.base,
            **cls.options,
        )

    def path(self, name: str) -> str:
        """A path below the root."""
        return os.path.join(self.root, name)

    def describe(self, map: str, process: str = "native:buffer") -> Answer:
        """DescribeProcess with a project."""
        return self.server.wps("DescribeProcess", identifier=process, map=map)

    def layers(self, map: str) -> list[str]:
        """The layers that a buffer may be made of."""
        answer = self.describe(map)
        self.assertEqual(answer.status, 200, answer.text)
        return choices(answer)

    def buffer(self, map: str, layer: str) -> Answer:
        """Make a buffer of a layer; the answer is GeoJSON."""
        return self.server.execute(
            "native:buffer",
            {"INPUT": layer, "DISTANCE": 0.1},
            map=map,
            rawdataoutput="OUTPUT=@mimetype=application/geo+json",
        )

    def refused(self, answer: Answer, status: int = 400) -> str:
        """
        MAP is refused.

        @return: why.
        """
        self.assertEqual(answer.status, status, answer.text)
        [exception] = etree.fromstring(answer.body)
        self.assertEqual(exception.get("exceptionCode"), "InvalidParameterValue")
        self.assertEqual(exception.get("locator"), "MAP")
        return str(exception[0].text)

    def summaries(self, map: str) -> int:
        """How many summaries of a project were made."""
        return self.server.log().count(f"summary of {map}:")


class FileTests(ProjectsTestCase):
    """Projects that are files."""

    def test_endings(self) -> None:
        """A project is C{.qgs} or C{.qgz}, said or not."""
        expected = self.layers("world.qgs")
        self.assertIn("cities", expected)
        with zipfile.ZipFile(self.path("packed.qgz"), "w") as archive:
            archive.write(self.path("world.qgs"), "packed.qgs")
        for map in ("world", "/world", "packed.qgz", "packed"):
            self.assertEqual(self.layers(map), expected, map)

    def test_together(self) -> None:
        """Of many first requests for one project, one has its summary made."""
        shutil.copy(self.path("world.qgs"), self.path("many.qgs"))
        with ThreadPoolExecutor(50) as pool:
            answers = list(pool.map(lambda _: self.describe("many"), range(50)))
        self.assertEqual({answer.status for answer in answers}, {200})
        self.assertEqual({answer.body for answer in answers}, {answers[0].body})
        self.assertEqual(self.summaries("many"), 1)
        self.layers("many")
        self.assertEqual(self.summaries("many"), 1)

    def test_used(self) -> None:
        """Jobs change nothing that would have the summary made again."""
        self.layers("world")
        count = self.summaries("world")
        self.assertEqual(self.buffer("world", "cities").status, 200)
        self.layers("world")
        self.assertEqual(self.summaries("world"), count)

    def test_savedAgain(self) -> None:
        """A project that was saved is as it is now."""
        data = points(os.path.join(self.base, "saved.geojson"))
        save(self.path("saved.qgs"), {"One": data})
        self.assertEqual(self.layers("saved"), ["One"])
        save(self.path("saved.qgs"), {"Two": data, "Three": data})
        self.assertEqual(sorted(self.layers("saved")), ["Three", "Two"])
        self.assertEqual(self.buffer("saved", "Two").status, 200)

    def test_parts(self) -> None:
        """Fields of the layers that fit are there to choose from."""
        data = points(os.path.join(self.base, "fields.geojson"))
        save(self.path("fields.qgs"), {"One": data})
        answer = self.describe("fields", "native:dissolve")
        self.assertEqual(choices(answer, "FIELD"), ["name", "size"])

    def test_subset(self) -> None:
        """Some of a layer's features."""
        data = points(os.path.join(self.base, "subset.geojson"))
        save(self.path("subset.qgs"), {"A & B": data})
        name = "layer:" + quote("A & B", safe="")
        for reference, count in [
            (name, 3),
            (f"{name}?select=" + quote('"size" >= 1', safe=""), 2),
            (f"{name}?rect=1.5,-1,9,1", 1),
            (f"{name}?rect=0.5,-1,9,1&select=" + quote('"size" < 2', safe=""), 1),
        ]:
            answer = self.buffer("subset", reference)
            self.assertEqual(answer.status, 200, answer.text)
            self.assertEqual(len(answer.json()["features"]), count, reference)
        answer = self.buffer("subset", f"{name}?select=")
        self.assertEqual(answer.status, 400)
        self.assertIn("has an empty select=", answer.text)

    def test_all(self) -> None:
        """All processes are described with a project."""
        answer = self.describe("world", "all")
        self.assertEqual(answer.status, 200)
        self.assertTrue("<ows:Value>cities</ows:Value>" in answer.text)

    def test_missing(self) -> None:
        """What is not there, or not within, is refused alike."""
        shutil.copy(self.path("world.qgs"), os.path.join(self.base, "secret.qgs"))
        os.symlink("../secret.qgs", self.path("link.qgs"))
        for map in [
            "nothing",
            "nothing.qgz",
            "world.gpkg",
            "../secret",
            "../secret.qgs",
            "x/../../secret.qgs",
            "..%2Fsecret.qgs",
            "%2e%2e/secret.qgs",
            f"{self.base}/secret.qgs",
            f"//{self.base}/secret.qgs",
            f"file://{self.base}/secret.qgs",
            "link",
            "link.qgs",
            "world.qgs\0",
            "world\0.qgs",
            f"postgresql://?service=x&schema=public&project=world#{self.base}",
            "postgresql://tester@localhost/?dbname=gis&schema=public&project=a",
            "nosuch:world",
        ]:
            for answer in (self.describe(map), self.buffer(map, "cities")):
                self.assertIn("there is no project", self.refused(answer))

    def test_escapedPath(self) -> None:
        """Whatever is escaped, and how often."""
        shutil.copy(self.path("world.qgs"), os.path.join(self.base, "up.qgs"))
        for map in ("%2E%2E%2Fup", "..%2fup.qgs", "%252e%252e%252fup", "..%5Cup"):
            answer = self.server.get(
                "ows/?service=WPS&version=1.0.0&request=DescribeProcess"
                f"&identifier=native:buffer&MAP={map}"
            )
            self.refused(answer)

    def test_broken(self) -> None:
        """What is no project is told without saying where it is."""
        with open(self.path("broken.qgs"), "w", encoding="utf-8") as file:
            file.write("<qgis><nothing")
        with open(self.path("broken2.qgz"), "w", encoding="utf-8") as file:
            file.write("PK")
        for map in ("broken", "broken2"):
            for answer in (self.describe(map), self.buffer(map, "cities")):
                self.assertIn(map, self.refused(answer))
                self.assertNotIn(self.base, answer.text)


class StrictTests(ProjectsTestCase):
    """Layers that can't be opened, where they must be."""

    def test_refused(self) -> None:
        """The project is refused, until the file is back."""
        good = points(os.path.join(self.base, "good.geojson"))
        bad = points(os.path.join(self.base, "bad.geojson"))
        save(self.path("strict.qgs"), {"Good": good, "Bad one": bad})
        self.assertEqual(sorted(self.layers("strict")), ["Bad one", "Good"])
        os.rename(bad, bad + ".away")
        for answer in (self.describe("strict"), self.buffer("strict", "Good")):
            self.assertEqual(
                self.refused(answer, 422),
                "the project 'strict' has layers that can't be opened: 'Bad one'",
            )
        count = self.summaries("strict")
        self.describe("strict")
        self.assertLessEqual(self.summaries("strict"), count + 1)
        os.rename(bad + ".away", bad)
        self.assertEqual(sorted(self.layers("strict")), ["Bad one", "Good"])
        self.assertEqual(self.buffer("strict", "Bad one").status, 200)


class LenientTests(ProjectsTestCase):
    """Layers that can't be opened, where they may be."""

    options: ClassVar[dict[str, str]] = {"QGSWPS_CACHE_STRICT_CHECK": "no"}

    def test_notOffered(self) -> None:
        """They are not offered, and the others serve."""
        good = points(os.path.join(self.base, "good.geojson"))
        bad = points(os.path.join(self.base, "bad.geojson"))
        save(self.path("lenient.qgs"), {"Good": good, "Bad": bad})
        os.unlink(bad)
        self.assertEqual(self.layers("lenient"), ["Good"])
        self.assertEqual(self.buffer("lenient", "Good").status, 200)
        answer = self.buffer("lenient", "Bad")
        self.assertEqual(answer.status, 400)
        self.assertIn("can't be the layer 'Bad', which can't be opened", answer.text)


class DatabaseTests(ProjectsTestCase):
    """Projects in PostgreSQL."""

    postgres: ClassVar[PostgresServer]
    schema: ClassVar[str]

    @classmethod
    def begin(cls) -> None:
        """Start PostgreSQL as well."""
        cls.postgres = sharedPostgres()
        cls.schema = cls.postgres.newSchema()
        cls.postgres.addPoints(cls.schema, "sites", "a", "b", "c")
        cls.options = dict(cls.postgres.environment)
        super().begin()

    @classmethod
    def schemes(cls) -> str:
        """A database, one that is away, and a folder."""
        more = os.path.join(cls.base, "more")
        os.mkdir(more)
        return (
            f"gis = {cls.postgres.uri(cls.schema)}\n"
            "away = postgresql://tester:topsecret@127.0.0.1:1/?dbname=x&schema=y\n"
            f"more = {more}\n"
        )

    def save(self, name: str, *layers: str) -> None:
        """Save a project with the sites under some names."""
        source = self.postgres.source(self.schema, "sites")
        uri = f"{self.postgres.uri(self.schema)}&project={name}"
        self.postgres.save(uri, name, dict.fromkeys(layers, source))

    def test_project(self) -> None:
        """Its layers are described and used, and those saved last."""
        self.save("one", "Sites")
        self.assertEqual(self.layers("gis:one"), ["Sites"])
        answer = self.buffer("gis:one", "Sites")
        self.assertEqual(answer.status, 200, answer.text)
        names = [each["properties"]["name"] for each in answer.json()["features"]]
        self.assertEqual(sorted(names), ["a", "b", "c"])
        self.assertEqual(self.layers("gis:one"), ["Sites"])
        self.assertEqual(self.summaries("gis:one"), 1)
        self.save("one", "Sites", "Places")
        self.assertEqual(sorted(self.layers("gis:one")), ["Places", "Sites"])
        self.assertEqual(self.summaries("gis:one"), 2)

    def test_together(self) -> None:
        """Of many first requests for one project, one has its summary made."""
        self.save("many", "Sites")
        with ThreadPoolExecutor(50) as pool:
            answers = list(pool.map(lambda _: self.describe("gis:many"), range(50)))
        self.assertEqual({answer.status for answer in answers}, {200})
        self.assertEqual(self.summaries("gis:many"), 1)

    def test_names(self) -> None:
        """Whatever a name holds, it is no more than a name."""
        self.save("plain", "Sites")
        for name in ["a b", "é", "a&b=c", "a+b", "a?b", "a#b", "a;b", "a'b\"c", "a/b"]:
            quoted = name.replace("'", "''")
            table = f"{self.schema}.qgis_projects"
            self.postgres.sql(
                f"insert into {table} select '{quoted}', metadata, content"
                f" from {table} where name = 'plain'"
            )
            self.assertEqual(self.layers(f"gis:{name}"), ["Sites"], name)
        for name in [
            "",
            "nothing",
            "plain&schema=public",
            "nothing&project=plain",
            "plain#",
            "plain%00",
            "plain\0",
            "x' or name='plain",
        ]:
            for answer in (
                self.describe(f"gis:{name}"),
                self.buffer(f"gis:{name}", "Sites"),
            ):
                self.assertIn("there is no project", self.refused(answer))

    def test_away(self) -> None:
        """A database that is away: its address and password stay here."""
        for answer in (self.describe("away:x"), self.buffer("away:x", "Sites")):
            self.assertEqual(
                self.refused(answer),
                "there is no project 'away:x', or it can't be opened",
            )
        self.assertNotIn("topsecret", self.server.log())

    def test_folder(self) -> None:
        """A scheme may be a folder, and as closed as the root."""
        data = points(os.path.join(self.base, "points.geojson"))
        save(os.path.join(self.base, "more", "two.qgs"), {"Two": data})
        save(os.path.join(self.base, "outside.qgs"), {"Two": data})
        self.assertEqual(self.layers("more:two"), ["Two"])
        for map in (
            "two",
            "more:../outside",
            "more:world",
            f"more:{self.base}/outside",
        ):
            self.refused(self.describe(map))
