"""Result projects: what is in them, what they look like, and who serves them."""

from __future__ import annotations

import contextlib
import io
import json
import os
import pickle
import shutil
import tempfile
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest import mock
from urllib.parse import quote

import attrs
from lxml import etree
from qgis.core import (
    QgsCoordinateReferenceSystem,
    QgsPalLayerSettings,
    QgsProject,
    QgsProperty,
    QgsRasterLayer,
    QgsSymbolLayer,
    QgsVectorLayer,
    QgsVectorLayerSimpleLabeling,
)
from qgis.PyQt.QtGui import QColor, QImage

from qgswps import codec
from qgswps.errors import OWSError, failure
from qgswps.jobfiles import TASK
from qgswps.model import (
    ComplexValue,
    FileValue,
    Format,
    Input,
    LayerValue,
    OutputRequest,
    Result,
    ResultLayer,
    Task,
    resultProject,
)
from qgswps.worker import formats, resultproject, runner, styles
from qgswps.worker.feedback import Feedback
from tests.worker.qgisside import support
from tests.worker.qgisside.support import GEOJSON, WORLD, JobCase, literal

WMS = Format("application/x-ogc-wms")
WFS = Format("application/x-ogc-wfs")
WCS = Format("application/x-ogc-wcs")
WMTS = Format("application/x-ogc-wmts")
GML = Format("application/gml+xml")

POINT = ComplexValue('{"type": "Point", "coordinates": [7, 47]}', GEOJSON)

#: The colour of layers without a style.
PLAIN = "#d7601a"


def wanted(name: str, form: Format | None = None) -> tuple[OutputRequest, ...]:
    """One output in a format."""
    return (OutputRequest(name, format=form),)


def elsewhere(work: Callable[[], Any]) -> Any:
    """
    What a function gives in a process of its own: QGIS Server changes
    more than a test may.
    """
    with tempfile.NamedTemporaryFile() as file:
        pid = os.fork()
        if not pid:
            try:
                answer = work()
            except BaseException:
                answer = traceback.format_exc()
            Path(file.name).write_bytes(pickle.dumps(answer))
            os._exit(0)
        os.waitpid(pid, 0)
        return pickle.loads(Path(file.name).read_bytes())


def serve(path: str, *queries: str) -> list[tuple[int, bytes]]:
    """What QGIS Server answers for a project: statuses and bodies."""

    def work() -> list[tuple[int, bytes]]:
        from qgis.server import (
            QgsBufferServerRequest,
            QgsBufferServerResponse,
            QgsServer,
        )

        project = QgsProject()
        assert project.read(path)
        server = QgsServer()
        answers = []
        for query in queries:
            response = QgsBufferServerResponse()
            request = QgsBufferServerRequest(f"http://example.org/?{query}")
            server.handleRequest(request, response, project)
            answers.append((response.statusCode(), bytes(response.body())))
        return answers

    answers: list[tuple[int, bytes]] = elsewhere(work)
    assert isinstance(answers, list), answers
    return answers


def getMap(name: str, box: str, size: int = 100) -> str:
    """A request for a map of one layer; the box is south, west, north, east."""
    return (
        f"SERVICE=WMS&VERSION=1.3.0&REQUEST=GetMap&LAYERS={quote(name, safe='')}"
        f"&STYLES=&CRS=EPSG:4326&BBOX={box}&WIDTH={size}&HEIGHT={size}"
        "&FORMAT=image/png&TRANSPARENT=TRUE"
    )


def image(answer: tuple[int, bytes]) -> QImage:
    """The picture of an answer."""
    status, body = answer
    assert status == 200 and body.startswith(b"\x89PNG"), body[:500]
    picture = QImage()
    assert picture.loadFromData(body)
    return picture


def colours(picture: QImage) -> set[str]:
    """All colours of what is not transparent."""
    pixels = (
        picture.pixelColor(x, y)
        for x in range(picture.width())
        for y in range(picture.height())
    )
    return {pixel.name() for pixel in pixels if pixel.alpha() == 255}


def texts(document: bytes, name: str) -> list[str]:
    """The texts of all elements of a name, in any namespace."""
    found = etree.fromstring(document).xpath(f"//*[local-name()='{name}']/text()")
    return [str(text) for text in found]


class ResultCase(JobCase):
    """A case with jobs that make layers."""

    def setUp(self) -> None:
        super().setUp()
        self.log = io.StringIO()

    def make(self, processId: str, *inputs: Input, **options: Any) -> Result:
        """Run a job that succeeds; its standard error is kept."""
        with contextlib.redirect_stderr(self.log):
            result = self.run_(processId, *inputs, **options)
        self.assertEqual(result.faults, ())
        return result

    def open(self, processId: str, directory: str | None = None) -> QgsProject:
        """The result project, all of whose layers are valid."""
        project = QgsProject()
        path = os.path.join(directory or self.directory, resultProject(processId))
        self.assertTrue(project.read(path), path)
        self.addCleanup(project.clear)
        self.assertGreater(project.count(), 0)
        for layer in project.mapLayers().values():
            self.assertTrue(layer.isValid(), layer.source())
        return project

    def layer(self, processId: str, name: str) -> Any:
        """The one layer of that name."""
        [layer] = self.open(processId).mapLayersByName(name)
        return layer

    def files(self) -> set[str]:
        """All files of the job, relative to its directory."""
        root = Path(self.directory)
        return {str(p.relative_to(root)) for p in root.rglob("*") if p.is_file()}

    def source(self) -> str:
        """A copy of the demo's project that has more to keep."""
        folder = os.path.join(self.directory, "source")
        shutil.copytree(os.path.dirname(WORLD), folder)
        path = os.path.join(folder, "world.qgs")
        project = QgsProject()
        project.read(path)
        project.setCrs(QgsCoordinateReferenceSystem("EPSG:3857"))
        project.setEllipsoid("EPSG:7004")
        project.setBackgroundColor(QColor("#112233"))
        project.setCustomVariables({"owner": "me", "password": "secret"})
        project.writeEntry("WMSContactPerson", "/", "Ada")
        project.writeEntry("WMSFees", "/", "one coin")
        project.writeEntry("WMSUrl", "/", "http://source.example/")
        project.writeEntry("WMSMaxWidth", "/", 1234)
        project.writeEntry("WMSCrsList", "/", ["EPSG:2154"])
        project.writeEntry("WFSTLayers", "Update", ["x"])
        metadata = project.metadata()
        metadata.setAuthor("Ada")
        project.setMetadata(metadata)
        project.write(path)
        project.clear()
        return path


class ProjectTests(ResultCase):
    """The project of a job."""

    def test_adjustedEllipsoid(self) -> None:
        """If so configured, it has the ellipsoid of its CRS."""
        self.addCleanup(resultproject.install, support.settings)
        resultproject.install(attrs.evolve(support.settings, adjustEllipsoid=True))
        self.make(
            "native:buffer",
            literal("INPUT", "cities"),
            literal("OUTPUT", "x"),
            project=self.source(),
        )
        project = self.open("native:buffer")
        self.assertEqual(project.crs().authid(), "EPSG:3857")
        self.assertEqual(project.ellipsoid(), project.crs().ellipsoidAcronym())
        self.assertNotEqual(project.ellipsoid(), "EPSG:7004")

    def test_inProject(self) -> None:
        """It has what the source project has, and the layer as asked."""
        result = self.make(
            "native:buffer",
            literal("INPUT", "cities"),
            literal("OUTPUT", "Wide  cities"),
            project=self.source(),
        )
        self.assertEqual(
            result.outputs, {"OUTPUT": LayerValue("Wide cities", WMS, "Wide  cities")}
        )
        self.assertEqual(
            result.layers,
            (ResultLayer("OUTPUT", "Wide cities", "polygon", "outputs/OUTPUT.gpkg"),),
        )
        project = self.open("native:buffer")
        self.assertEqual(project.crs().authid(), "EPSG:3857")
        self.assertEqual(project.ellipsoid(), "EPSG:7004")
        self.assertEqual(project.backgroundColor().name(), "#112233")
        self.assertEqual(project.customVariables(), {})
        self.assertEqual(project.metadata().author(), "Ada")
        self.assertEqual(project.readEntry("WMSContactPerson", "/"), ("Ada", True))
        self.assertEqual(project.readEntry("WMSFees", "/"), ("one coin", True))
        self.assertEqual(project.readNumEntry("WMSMaxWidth", "/"), (1234, True))
        # Not those of the source: other places, other rights.
        self.assertEqual(project.readEntry("WMSUrl", "/"), ("", False))
        self.assertEqual(project.readListEntry("WFSTLayers", "Update")[0], [])
        [layer] = project.mapLayers().values()
        self.assertEqual((layer.name(), layer.title()), ("Wide cities", "Wide cities"))
        self.assertEqual(layer.shortName(), "")
        self.assertEqual(layer.crs().authid(), "EPSG:4326")
        self.assertEqual(
            [node.name() for node in project.layerTreeRoot().findLayers()],
            ["Wide cities"],
        )
        listed = project.readListEntry("WMSCrsList", "/")[0]
        self.assertEqual(listed, ["EPSG:3857", "EPSG:2154"])
        self.assertEqual(project.readListEntry("WFSLayers", "/")[0], [layer.id()])
        text = Path(self.directory, "native_buffer.qgs").read_text()
        self.assertNotIn(self.directory, text)
        self.assertNotRegex(text, "saveUser|secret")

    def test_variables(self) -> None:
        """Those that a style needs, and no others."""
        source = QgsProject()
        source.setCustomVariables({"owner": "me", "own": "x"})
        layer = QgsVectorLayer("Point", "x", "memory")
        layer.renderer().symbol().symbolLayer(0).setDataDefinedProperty(
            QgsSymbolLayer.PropertySize, QgsProperty.fromExpression("length(@owner)")
        )
        os.makedirs(os.path.join(self.directory, "outputs"))
        data = os.path.join(self.directory, "outputs", "x.geojson")
        with open(data, "w") as file:
            file.write('{"type": "Point", "coordinates": [1, 2]}')
        layer.saveNamedStyle(os.path.join(self.directory, "x.qml"))
        made = ResultLayer("X", "x", "point", "outputs/x.geojson", style="x.qml")
        resultproject.write(self.directory, "a:b", [made], source)
        self.assertEqual(self.open("a:b").customVariables(), {"owner": "me"})

    def test_unwritable(self) -> None:
        """Data that the client wants is not lost with the project."""
        for form, fails in ((GEOJSON, False), (WMS, True)):
            with (
                mock.patch.object(
                    resultproject, "write", side_effect=failure("no room")
                ),
                contextlib.redirect_stderr(self.log),
            ):
                result = self.run_(
                    "native:buffer",
                    literal("INPUT", "cities"),
                    project=WORLD,
                    outputs=wanted("OUTPUT", form),
                )
            self.assertEqual([f.text for f in result.faults], ["no room"] * fails)
        self.assertIn("no room", self.log.getvalue())

    def test_table(self) -> None:
        """There is nothing to draw of a table."""
        result = self.make(
            "native:dropgeometries", literal("INPUT", "cities"), project=WORLD
        )
        [output] = result.outputs.values()
        assert isinstance(output, LayerValue)
        self.assertEqual(output.format.mimeType, "application/x-ogc-wfs")

    def test_noMaps(self) -> None:
        """Without a map server there is data."""
        self.addCleanup(formats.install, support.settings)
        formats.install(attrs.evolve(support.settings, maps="nowhere"))
        result = self.make("native:buffer", literal("INPUT", "cities"), project=WORLD)
        [output] = result.outputs.values()
        assert isinstance(output, FileValue)
        self.assertEqual(output.format, GEOJSON)
        self.assertNotIn(WMS, formats.published(formats.vectorOutputs()))
        formats.install(attrs.evolve(support.settings, maps="another"))
        self.assertIn(WMS, formats.published(formats.vectorOutputs()))

    def test_extent(self) -> None:
        """It shows all layers, in its own CRS, and single points from afar."""
        self.make("native:buffer", literal("INPUT", "cities"), project=self.source())
        project = self.open("native:buffer")
        corners = [float(n) for n in project.readListEntry("WMSExtent", "/")[0]]
        layer = self.layer("native:buffer", "Buffered")
        # Meters, of a layer in degrees.
        self.assertAlmostEqual(
            corners[0], layer.extent().xMinimum() * 111319.49079, delta=1
        )
        view = project.viewSettings().defaultViewExtent()
        self.assertEqual(view.crs().authid(), "EPSG:3857")
        self.assertAlmostEqual(view.xMaximum(), corners[2], delta=1e-6)
        self.make(
            "script:layers",
            literal("HOW", "one"),
            outputs=wanted("SINK", WMS),
        )
        point = self.open("script:layers").readListEntry("WMSExtent", "/")[0]
        self.assertEqual([float(n) for n in point], [0.99, 0.99, 1.01, 1.01])

    def test_plain(self) -> None:
        """A job that wants data only leaves the project to be made later."""
        result = self.make("native:buffer", Input("INPUT", POINT))
        self.assertEqual(
            self.files(),
            {"task.json", "inputs/INPUT.geojson", "outputs/OUTPUT.geojson"},
        )
        expected = ResultLayer("OUTPUT", "Buffered", "vector", "outputs/OUTPUT.geojson")
        self.assertEqual(result.layers, (expected,))
        self.assertFalse(resultproject.exists(self.directory, "native:buffer"))
        # Written down, it is all that it takes.
        again = codec.loads(Result, codec.dumps(result))
        path = resultproject.write(self.directory, "native:buffer", again.layers, None)
        self.assertEqual(path, os.path.join(self.directory, "native_buffer.qgs"))
        self.assertTrue(resultproject.exists(self.directory, "native:buffer"))
        project = self.open("native:buffer")
        self.assertEqual(project.crs().authid(), "EPSG:4326")
        self.assertEqual(project.ellipsoid(), "EPSG:7030")
        listed = project.readListEntry("WMSCrsList", "/")[0]
        self.assertEqual(listed, ["EPSG:4326", "EPSG:3857"])
        self.assertEqual(
            [layer.name() for layer in project.mapLayers().values()], ["Buffered"]
        )

    def test_laterIsTheSame(self) -> None:
        """Made later, it is what it would have been at the end of the job."""
        names = []
        for outputs in (
            (OutputRequest("SINK", format=WMS), OutputRequest("RASTER", format=WMS)),
            (OutputRequest("SINK"), OutputRequest("RASTER")),
        ):
            result = self.make("script:layers", literal("HOW", "blue"), outputs=outputs)
            if not resultproject.exists(self.directory, "script:layers"):
                resultproject.write(
                    self.directory, "script:layers", result.layers, None
                )
            project = self.open("script:layers")
            names.append(
                [
                    project.readListEntry("WMSExtent", "/")[0],
                    project.readListEntry("WMSCrsList", "/")[0],
                    [
                        (node.name(), styles.isStyled(node.layer()))
                        for node in project.layerTreeRoot().findLayers()
                    ],
                ]
            )
            os.unlink(os.path.join(self.directory, "script_layers.qgs"))
        self.assertEqual(names[0], names[1])
        self.assertEqual(names[0][2], [("Points", True), ("Raster", False)])

    def test_movable(self) -> None:
        """It is as good elsewhere, with the files beside it."""
        self.make("native:slope", literal("INPUT", "elevation"), project=WORLD)
        with tempfile.TemporaryDirectory() as folder:
            moved = os.path.join(folder, "moved")
            shutil.copytree(self.directory, moved)
            project = self.open("native:slope", moved)
            [layer] = project.mapLayers().values()
            self.assertEqual(layer.source(), os.path.join(moved, "outputs/OUTPUT.tif"))
            project.clear()

    def test_leavesNothingElse(self) -> None:
        """Neither scratch files nor what GDAL notes beside data."""
        for processId, name in (
            ("native:slope", "elevation"),
            ("gdal:slope", "elevation"),
        ):
            with self.subTest(processId):
                self.make(processId, literal("INPUT", name), project=WORLD)
                self.assertEqual(
                    {f for f in self.files() if not f.startswith("tmp/")},
                    {"task.json", "outputs/OUTPUT.tif", resultProject(processId)},
                )
                os.unlink(os.path.join(self.directory, resultProject(processId)))
        self.make("native:buffer", Input("INPUT", POINT), outputs=wanted("OUTPUT", GML))
        layers = (ResultLayer("OUTPUT", "x", "vector", "outputs/OUTPUT.gml"),)
        for _ in range(2):
            resultproject.write(self.directory, "native:buffer", layers, None)
        self.assertEqual(
            {f for f in self.files() if not f.startswith(("tmp/", "inputs/"))},
            {"task.json", "outputs/OUTPUT.gml", "native_buffer.qgs"},
        )
        layer = self.layer("native:buffer", "x")
        self.assertEqual(layer.crs().authid(), "EPSG:4326")
        self.assertAlmostEqual(layer.extent().center().x(), 7)

    def test_noLayers(self) -> None:
        """A job without layers has no project."""
        result = self.make("script:outputs", project=WORLD)
        self.assertEqual(result.layers, ())
        self.assertFalse(resultproject.exists(self.directory, "script:outputs"))
        with self.assertRaises(OWSError) as caught:
            resultproject.write(self.directory, "script:outputs", (), None)
        self.assertEqual(caught.exception.status, 404)

    def test_lostData(self) -> None:
        """A layer whose file is gone is left out, and that is said."""
        layers = (ResultLayer("A", "lost", "vector", "outputs/none.gpkg"),)
        with contextlib.redirect_stderr(self.log):
            path = resultproject.write(self.directory, "x", layers, None)
        project = QgsProject()
        self.assertTrue(project.read(path))
        self.assertEqual(project.count(), 0)
        self.assertIn("lost can't be opened", self.log.getvalue())

    def test_failsAsAWhole(self) -> None:
        """What can't be written leaves nothing behind."""
        result = self.make("native:buffer", Input("INPUT", POINT))
        before = self.files()
        os.mkdir(os.path.join(self.directory, "native_buffer.qgs"))
        with self.assertRaises(OSError):
            resultproject.write(self.directory, "native:buffer", result.layers, None)
        self.assertEqual(self.files(), before)

    def test_onlyTaken(self) -> None:
        """Outputs that nobody takes are no layers of it."""
        result = self.make(
            "script:layers",
            literal("HOW", "red"),
            outputs=(OutputRequest("SINK"), OutputRequest("RASTER")),
        )
        self.assertEqual([layer.output for layer in result.layers], ["SINK", "RASTER"])
        self.assertEqual([layer.provider for layer in result.layers], ["ogr", "gdal"])

    def test_emptyResult(self) -> None:
        """A layer without features is a layer."""
        for form in (WMS, GEOJSON):
            result = self.make(
                "script:layers",
                literal("HOW", "empty"),
                outputs=wanted("SINK", form),
                project=WORLD,
            )
            self.assertEqual(len(result.layers), 1)
            layer = self.layer("script:layers", "Points")
            self.assertEqual(layer.featureCount(), 0)


class NameTests(ResultCase):
    """What layers are called."""

    def test_unique(self) -> None:
        """Layers of one name get numbers, also where only services mix them up."""
        unique = resultproject.uniqueName
        self.assertEqual(unique("a", []), "a")
        self.assertEqual(unique("a", ["b"]), "a")
        self.assertEqual(unique("a", ["a"]), "a (2)")
        self.assertEqual(unique("a", ["a", "a (2)"]), "a (3)")
        self.assertEqual(unique("a b", ["a_b"]), "a b (2)")
        self.assertEqual(unique("a,b", ["a&b"]), "a,b (2)")
        self.assertEqual(unique(" \t\n\x01", []), "layer")
        result = self.make(
            "script:layers",
            literal("SINK", "Same"),
            literal("RASTER", "Same"),
            outputs=(OutputRequest("SINK", format=WMS), OutputRequest("RASTER")),
        )
        self.assertEqual([each.name for each in result.layers], ["Same", "Same (2)"])
        self.assertEqual(
            sorted(x.name() for x in self.open("script:layers").mapLayers().values()),
            ["Same", "Same (2)"],
        )
        self.assertEqual(
            [output.title for output in result.outputs.values()],  # type: ignore[union-attr]
            ["Same", "Same"],
        )

    def test_services(self) -> None:
        """Each name can be asked for, in each service, under what it is called."""
        names = [
            "plain", "with space", "a,b", "a:b", "e/f", "a&c", "a<b>", "ünï 漢",
            "a\"b'",
            "name (2)", "a;b", "a+d", "a%20f", "a#e", "1 km", "-x", "a.b[c]", "a=b?",
        ]  # fmt: skip
        self.make("native:buffer", Input("INPUT", POINT), outputs=wanted("OUTPUT", WFS))
        layers = tuple(
            ResultLayer("OUTPUT", name, "polygon", "outputs/OUTPUT.gpkg")
            for name in names
        )
        path = resultproject.write(self.directory, "native:buffer", layers, None)
        self.assertEqual(
            sorted(x.name() for x in self.open("native:buffer").mapLayers().values()),
            sorted(names),
        )
        served = [resultproject.serviceName(name) for name in names]
        self.assertEqual(len(set(served)), len(names))
        [capabilities, *answers] = serve(
            path,
            "SERVICE=WMS&REQUEST=GetCapabilities",
            *(
                query.format(quote(name, safe=""), quote(self.typeName(name), safe=""))
                for name in served
                for query in (
                    getMap("{0}", "46,6,48,8").replace("%7B0%7D", "{0}"),
                    "SERVICE=WFS&VERSION=1.1.0&REQUEST=GetFeature&TYPENAME={1}",
                    "SERVICE=WMTS&VERSION=1.0.0&REQUEST=GetTile&LAYER={0}&STYLE="
                    "&TILEMATRIXSET=EPSG:3857&TILEMATRIX=0&TILEROW=0&TILECOL=0"
                    "&FORMAT=image/png",
                )
            ),
        )
        listed = texts(capabilities[1], "Name")
        titles = texts(capabilities[1], "Title")
        for n, name in enumerate(names):
            with self.subTest(name):
                self.assertIn(served[n], listed)
                self.assertIn(name, titles)
                picture, features, tile = answers[3 * n : 3 * n + 3]
                self.assertIn(PLAIN, colours(image(picture)))
                image(tile)
                self.assertEqual(len(texts(features[1], "posList")), 1)

    @staticmethod
    def typeName(name: str) -> str:
        """What WFS makes of a name."""
        return name.replace(" ", "_").replace(":", "-")


class ServiceTests(ResultCase):
    """Layers taken from services, and what these give."""

    def test_formats(self) -> None:
        """Each kind of layer has its services; others are refused."""
        for processId, name, forms, suffix in (
            ("native:buffer", "cities", (WMS, WFS, WMTS), "gpkg"),
            ("native:slope", "elevation", (WMS, WCS, WMTS), "tif"),
        ):
            for form in forms:
                result = self.make(
                    processId,
                    literal("INPUT", name),
                    outputs=wanted("OUTPUT", form),
                    project=WORLD,
                )
                value = result.outputs["OUTPUT"]
                assert isinstance(value, LayerValue)
                self.assertEqual(value.format, form)
                self.assertEqual(result.layers[0].path, f"outputs/OUTPUT.{suffix}")
        result = self.run_(
            "native:buffer",
            literal("INPUT", "cities"),
            outputs=wanted("OUTPUT", WCS),
            project=WORLD,
        )
        text = self.fault(result, "InvalidParameterValue", "OUTPUT")
        self.assertIn("application/x-ogc-wfs", text)

    def test_raw(self) -> None:
        """Raw output is data, unless a service is named."""
        directory = self.directory
        for form, expected in ((None, FileValue), (WMS, LayerValue)):
            request = attrs.evolve(
                self.job().request,
                processId="native:buffer",
                inputs=(literal("INPUT", "cities"),),
                outputs=wanted("OUTPUT", form),
                raw=True,
                map="world",
            )
            codec.write(os.path.join(directory, TASK), Task(request, WORLD))
            result = runner.run(directory, Feedback(lambda *report: None))
            self.assertIsInstance(result.outputs["OUTPUT"], expected)
            self.assertTrue(resultproject.exists(directory, "native:buffer"))

    def test_converted(self) -> None:
        """What an algorithm writes in a format of its own is converted."""
        result = self.make(
            "gdal:convertformat", literal("INPUT", "cities"), project=WORLD
        )
        self.assertEqual(result.layers[0].path, "outputs/OUTPUT.gpkg")
        layer = self.layer("gdal:convertformat", "Converted")
        self.assertGreater(layer.featureCount(), 10)
        result = self.make(
            "script:outputs", literal("LAYER", "cities"),
            outputs=wanted("SAME"), project=WORLD,
        )  # fmt: skip
        self.assertEqual(
            result.outputs["SAME"],
            LayerValue("The input layer", WMS, "The input layer"),
        )
        again = self.layer("script:outputs", "The input layer")
        self.assertEqual(again.featureCount(), layer.featureCount())

    def test_keys(self) -> None:
        """Attributes of the names that a GeoPackage has for its own are kept."""
        for how, expected in (
            ("fid", [(5, "x"), (7, "x")]),
            ("fid twice", [(1, "x"), (1, "x")]),
            ("fid text", [("a", "x"), ("b", "x")]),
        ):
            with self.subTest(how):
                self.make(
                    "script:layers", literal("HOW", how), outputs=wanted("SINK", WFS)
                )
                layer = self.layer("script:layers", "Points")
                got = [(f["fid"], f["geom"]) for f in layer.getFeatures()]
                self.assertEqual(sorted(got), sorted(expected))
                self.assertFalse(
                    any(f.geometry().isNull() for f in layer.getFeatures())
                )
        for processId in ("native:multiparttosingleparts", "native:boundary"):
            self.make(processId, literal("INPUT", "countries"), project=WORLD)
            [layer] = self.open(processId).mapLayers().values()
            self.assertGreaterEqual(layer.featureCount(), 170)

    def test_maps(self) -> None:
        """QGIS Server answers for both kinds of layer by all services."""
        result = self.make(
            "script:layers",
            literal("HOW", "plain"),
            literal("RASTER", "Heights"),
            outputs=(
                OutputRequest("MADE", format=WMS),
                OutputRequest("RASTER", format=WCS),
            ),
        )
        self.assertEqual(
            result.outputs["MADE"],
            LayerValue("Made by the script", WMS, "Made by the script"),
        )
        path = resultproject.path(self.directory, "script:layers")
        wms, wfs, wcs, wmts, polygon, both, coverage, insert = serve(
            path,
            "SERVICE=WMS&REQUEST=GetCapabilities",
            "SERVICE=WFS&REQUEST=GetCapabilities",
            "SERVICE=WCS&REQUEST=GetCapabilities",
            "SERVICE=WMTS&REQUEST=GetCapabilities",
            getMap("Made by the script", "1,1,9,9"),
            getMap("Heights", "0,0,10,10"),
            "SERVICE=WCS&VERSION=1.0.0&REQUEST=GetCoverage&COVERAGE=Heights"
            "&CRS=EPSG:4326&BBOX=0,0,10,10&WIDTH=10&HEIGHT=10&FORMAT=GTiff",
            "SERVICE=WFS&VERSION=1.1.0&REQUEST=DescribeFeatureType"
            "&TYPENAME=Made_by_the_script",
        )
        self.assertIn("Made by the script", texts(wms[1], "Name"))
        self.assertEqual(texts(wms[1], "Title")[0], "script:layers")
        self.assertIn("EPSG:3857", texts(wms[1], "CRS"))
        self.assertEqual(texts(wfs[1], "Name")[-1], "Made_by_the_script")
        self.assertNotIn(b"Transaction>Insert", wfs[1])
        self.assertIn("Heights", texts(wcs[1], "name"))
        self.assertIn("Heights", texts(wmts[1], "Identifier"))
        self.assertEqual(colours(image(polygon)), {PLAIN})
        self.assertGreater(len(colours(image(both))), 100)
        self.assertIn(coverage[1][:2], (b"II", b"MM"))
        self.assertIn("geometry", insert[1].decode())


class StyleTests(ResultCase):
    """Where the styles of layers come from."""

    def setUp(self) -> None:
        super().setUp()
        folder = tempfile.mkdtemp(prefix="qgswps-styles-")
        self.addCleanup(shutil.rmtree, folder)
        self.folder = Path(folder, "mine")
        self.folder.mkdir()
        self.addCleanup(styles.install, support.settings)
        styles.install(
            attrs.evolve(support.settings, providersPath=(str(self.folder),))
        )

    def qml(self, path: Path, colour: str, geometry: str = "Point") -> None:
        """Save a style of one colour."""
        path.parent.mkdir(exist_ok=True)
        layer = QgsVectorLayer(geometry, "x", "memory")
        layer.renderer().symbol().setColor(QColor(colour))
        layer.saveNamedStyle(str(path))

    def index(self, value: Any) -> None:
        """Write the index of the provider's styles."""
        text = value if isinstance(value, str) else json.dumps(value)
        (self.folder / "styles.json").write_text(text)

    def colour(self, how: str = "", form: Format = WMS) -> str:
        """Make points; the colour in which they are shown."""
        shutil.rmtree(os.path.join(self.directory, "styles"), ignore_errors=True)
        with contextlib.suppress(OSError):
            os.unlink(os.path.join(self.directory, "tmp", "SINK.qml"))
        os.makedirs(os.path.join(self.directory, "tmp"), exist_ok=True)
        before = os.getcwd()
        os.chdir(os.path.join(self.directory, "tmp"))
        try:
            result = self.make(
                "script:layers", literal("HOW", how), outputs=wanted("SINK", form)
            )
        finally:
            os.chdir(before)
        with contextlib.redirect_stderr(self.log):
            resultproject.write(self.directory, "script:layers", result.layers, None)
        layer = self.layer("script:layers", "Points")
        return str(layer.renderer().symbol().color().name())

    def test_default(self) -> None:
        """Without a style layers have a colour, always the same."""
        for form in (WMS, GEOJSON, GML):
            self.assertEqual(self.colour("", form), PLAIN)
        self.assertEqual(self.log.getvalue(), "")
        self.assertNotIn("styles", os.listdir(self.directory))

    def test_ofTheRun(self) -> None:
        """What the algorithm does to its layers goes before all else."""
        self.index({"script:layers": {"SINK": "a.qml"}})
        self.qml(self.folder / "a.qml", "#123456")
        for form in (WMS, GEOJSON):
            self.assertEqual(self.colour("blue", form), "#0000ff")
        result = self.make(
            "script:layers", literal("HOW", "red"), outputs=wanted("MADE", WMS)
        )
        self.assertEqual(result.layers[0].style, "styles/MADE.qml")
        layer = self.layer("script:layers", "Made by the script")
        self.assertEqual(layer.renderer().symbol().color().name(), "#ff0000")

    def test_postProcessorFails(self) -> None:
        """A post-processor that fails is in the log; the job goes on."""
        self.assertEqual(self.colour("fail"), PLAIN)
        self.assertIn("no paint", self.log.getvalue())

    def test_beside(self) -> None:
        """A file that the algorithm writes, before those of its provider."""
        self.index({"script:layers": {"SINK": "a.qml"}})
        self.qml(self.folder / "a.qml", "#123456")
        for form in (WMS, GEOJSON):
            self.assertEqual(self.colour("beside", form), "#00ff00")

    def test_broken(self) -> None:
        """A style that is none, or for other layers, is said to be so."""
        self.assertEqual(self.colour("broken"), PLAIN)
        self.assertIn("WARNING: SINK.qml is no style of QGIS", self.log.getvalue())
        self.log.truncate(0)
        self.assertEqual(self.colour("other"), PLAIN)
        self.assertIn("does not suit", self.log.getvalue())

    def test_ofProviders(self) -> None:
        """The provider's index names them, in the folder or below it."""
        for key in ("script:layers", "layers"):
            for place in (".", "qml", "styles"):
                with self.subTest(key=key, place=place):
                    self.index({key: {"SINK": "a.qml"}})
                    path = self.folder / place / "a.qml"
                    self.qml(path, "#123456")
                    self.assertEqual(self.colour("", GEOJSON), "#123456")
                    path.unlink()
        self.assertEqual(self.log.getvalue(), "")

    def test_outside(self) -> None:
        """Nothing outside of the provider's folder is a style."""
        outside = self.folder.parent / "a.qml"
        self.qml(outside, "#123456")
        (self.folder / "link.qml").symlink_to(outside)
        for name in ("../a.qml", str(outside), "link.qml"):
            self.index({"script:layers": {"SINK": name}})
            self.assertEqual(self.colour(), PLAIN)
            self.assertIn(f"mine/styles.json: there is no {name}", self.log.getvalue())

    def test_indexFaults(self) -> None:
        """A mistake in the index is one line in the log."""
        for text, said in (
            ('{"a": {},\n "b": oops}', "mine/styles.json, line 2: Expecting value."),
            ("[]", "mine/styles.json, line 1: expected an object"),
            ('{"script:layers": "a.qml"}', "line 1: expected an object"),
            ('{"script:layers": {"SINK": "no.qml"}}', "there is no no.qml for SINK"),
            ('{"script:layers": {"SINK": 3}}', "there is no 3 for SINK"),
        ):
            with self.subTest(text):
                self.log = io.StringIO()
                self.index(text)
                self.assertEqual(self.colour(), PLAIN)
                warnings = self.log.getvalue().splitlines()
                self.assertEqual(len(warnings), 1, warnings)
                self.assertTrue(warnings[0].startswith("WARNING: "))
                self.assertIn(said, warnings[0])

    def test_renderingStyles(self) -> None:
        """Those of QGIS's own dialog, after all others."""
        # A plugin of QGIS, which is found only when QGIS has started.
        from processing.gui.RenderingStyles import RenderingStyles

        path = self.folder.parent / "r.qml"
        self.qml(path, "#654321")
        RenderingStyles.styles["script:layers"] = {"SINK": str(path)}
        self.addCleanup(RenderingStyles.styles.clear)
        self.assertEqual(self.colour(), "#654321")
        self.index({"script:layers": {"SINK": "a.qml"}})
        self.qml(self.folder / "a.qml", "#123456")
        self.assertEqual(self.colour(), "#123456")

    def test_raster(self) -> None:
        """Whatever the values of a raster are, they can be told apart."""
        for how, fewest in (
            ("", 100),
            ("int16", 100),
            ("infinite", 100),
            ("constant", 1),
            ("nothing", 100),
        ):
            with self.subTest(how):
                self.make(
                    "script:layers", literal("HOW", how), outputs=wanted("RASTER", WMS)
                )
                [answer] = serve(
                    resultproject.path(self.directory, "script:layers"),
                    getMap("Raster", "0,0,10,10"),
                )
                picture = image(answer)
                shown = colours(picture)
                self.assertGreaterEqual(len(shown), fewest)
                self.assertFalse(shown <= {"#000000", "#ffffff"}, shown)
                top = picture.pixelColor(50, 10).alpha()
                self.assertEqual(top, 0 if how == "nothing" else 255)

    def test_isStyled(self) -> None:
        """A layer is styled when it is not as QGIS makes it."""
        layer = QgsVectorLayer("Point", "x", "memory")
        self.assertFalse(styles.isStyled(layer))
        layer.setLabeling(QgsVectorLayerSimpleLabeling(QgsPalLayerSettings()))
        layer.setLabelsEnabled(True)
        self.assertTrue(styles.isStyled(layer))
        self.assertFalse(styles.isStyled(QgsVectorLayer("NoGeometry", "x", "memory")))
        raster = QgsRasterLayer(str(support.DEMO / "elevation.tif"), "x")
        self.assertFalse(styles.isStyled(raster))
        raster.renderer().setOpacity(0.5)
        self.assertTrue(styles.isStyled(raster))
