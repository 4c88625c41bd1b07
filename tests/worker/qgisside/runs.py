"""Jobs from task to result, against what QGIS gives by itself."""

from __future__ import annotations

import base64
import os
import shutil
from pathlib import Path
from typing import Any

from osgeo import gdal
from qgis.core import (
    QgsProject,
    QgsRasterLayer,
    QgsVectorFileWriter,
    QgsVectorLayer,
)

from qgswps.model import (
    BoundingBoxValue,
    FileValue,
    Format,
    Input,
    LiteralValue,
    OutputRequest,
)
from tests.worker.qgisside.support import (
    DATA,
    DEMO,
    GEOJSON,
    WORLD,
    JobCase,
    data,
    features,
    literal,
)

COUNTRIES = f"{DATA}|layername=countries"
CITIES = f"{DATA}|layername=cities"
MERCATOR = "EPSG:3857"
GML = Format("application/gml+xml")
GEOTIFF = Format("image/tiff", "base64")

#: The data of the one output, also where its services would be the default.
DATA_TAKEN = (OutputRequest("OUTPUT", format=GEOJSON),)

POINT = '{"type": "Point", "coordinates": [7, 47]}'
FEATURE = f'{{"type": "Feature", "properties": {{"a": 1}}, "geometry": {POINT}}}'
COLLECTION = f'{{"type": "FeatureCollection", "features": [{FEATURE}]}}'
VRT = (
    '<OGRVRTDataSource><OGRVRTLayer name="x"><SrcDataSource>'
    f"{DATA}</SrcDataSource><SrcLayer>cities</SrcLayer></OGRVRTLayer>"
    "</OGRVRTDataSource>"
)


def inQgis(processId: str, parameters: dict[str, Any]) -> dict[str, Any]:
    """Run an algorithm as users of QGIS do."""
    # A plugin of QGIS, which is found only when QGIS has started.
    import processing

    results: dict[str, Any] = processing.run(processId, parameters)
    return results


def checksum(path: str | Path) -> int:
    """A number that tells whether two rasters are the same."""
    dataset = gdal.Open(str(path))
    return int(dataset.GetRasterBand(1).Checksum())


def asGeoJson(layer: Any, directory: str) -> str:
    """A layer as a client would send it."""
    path = os.path.join(directory, "sent.geojson")
    save = QgsVectorFileWriter.SaveVectorOptions()
    save.driverName = "GeoJSON"
    save.layerOptions = ["COORDINATE_PRECISION=15", "RFC7946=NO"]
    QgsVectorFileWriter.writeAsVectorFormatV3(
        layer, path, QgsProject.instance().transformContext(), save
    )
    return Path(path).read_text()


class RunTests(JobCase):
    """Jobs that succeed."""

    def assertSame(self, layer: Any, path: Path, tolerance: float = 1e-12) -> None:
        """The features of a file are those of a layer."""
        got = QgsVectorLayer(str(path), "got", "ogr")
        self.assertTrue(got.isValid(), path)
        ours, theirs = list(got.getFeatures()), list(layer.getFeatures())
        self.assertEqual(len(ours), len(theirs))
        self.assertGreater(len(ours), 0)
        names = [n for n in layer.fields().names() if n not in ("fid", "gml_id")]
        for mine, other in zip(ours, theirs, strict=True):
            self.assertEqual([mine[n] for n in names], [other[n] for n in names])
            distance = mine.geometry().hausdorffDistance(other.geometry())
            self.assertLessEqual(distance, tolerance)

    def buffer(self, source: Any, **parameters: Any) -> Any:
        """What QGIS gives for a buffer."""
        return inQgis(
            "native:buffer", {"INPUT": source, "OUTPUT": "memory:", **parameters}
        )["OUTPUT"]

    def test_bufferByMap(self) -> None:
        """A layer of a project, by its name."""
        expected = self.buffer(COUNTRIES, DISTANCE=0.25, SEGMENTS=3, END_CAP_STYLE=1)
        result = self.run_(
            "native:buffer",
            literal("INPUT", "countries"),
            literal("DISTANCE", 0.25),
            literal("SEGMENTS", 3),
            literal("END_CAP_STYLE", "Flat"),
            literal("OUTPUT", "Wide countries"),
            outputs=DATA_TAKEN,
            project=WORLD,
        )
        path = self.file(result)
        self.assertSame(expected, path)
        self.assertEqual(
            result.outputs["OUTPUT"],
            FileValue("outputs/OUTPUT.geojson", GEOJSON, "Wide countries"),
        )

    def test_bufferInline(self) -> None:
        """Features in the request, in each of the names that GeoJSON has."""
        layer = QgsVectorLayer(CITIES, "cities", "ogr")
        expected = self.buffer(layer, DISTANCE=0.5)
        sent = asGeoJson(layer, self.directory)
        for mimeType in (
            "application/geo+json",
            "application/vnd.geo+json; charset=utf-8",
            "application/json",
            "",
        ):
            with self.subTest(mimeType):
                result = self.run_(
                    "native:buffer",
                    data("INPUT", sent, mimeType),
                    literal("DISTANCE", 0.5),
                )
                self.assertSame(expected, self.file(result))

    def test_loneGeometry(self) -> None:
        """A feature, and a geometry, may stand alone."""
        for sent in (POINT, FEATURE, COLLECTION, f"\ufeff {COLLECTION}"):
            with self.subTest(sent[:40]):
                result = self.run_(
                    "native:buffer", data("INPUT", sent, GEOJSON.mimeType)
                )
                self.assertEqual(len(features(self.file(result))), 1)

    def test_asLiteral(self) -> None:
        """Data that came as a text is data nevertheless."""
        result = self.run_("native:buffer", literal("INPUT", COLLECTION))
        self.assertEqual(len(features(self.file(result))), 1)

    def test_emptyCollection(self) -> None:
        """No features in, none out."""
        sent = '{"type": "FeatureCollection", "features": []}'
        result = self.run_("native:buffer", data("INPUT", sent, GEOJSON.mimeType))
        self.assertEqual(features(self.file(result)), [])

    def test_file(self) -> None:
        """Data that the server fetched is a file of the job."""
        path = Path(self.directory, "fetched", "1")
        path.parent.mkdir()
        path.write_text(COLLECTION)
        given = FileValue("fetched/1", GEOJSON, "fetched")
        result = self.run_("native:buffer", Input("INPUT", given))
        self.assertEqual(len(features(self.file(result))), 1)
        self.assertEqual(path.read_text(), COLLECTION)

    def test_gmlInOut(self) -> None:
        """GML is read and written, with its order of axes."""
        cities = QgsVectorLayer(CITIES, "cities", "ogr")
        expected = self.buffer(cities, DISTANCE=0.5)
        result = self.run_(
            "native:buffer",
            literal("INPUT", "cities"),
            literal("DISTANCE", 0.5),
            outputs=(OutputRequest("OUTPUT", GML),),
            project=WORLD,
        )
        path = self.file(result)
        self.assertEqual(path.suffix, ".gml")
        self.assertSame(expected, path)
        text = path.read_text()
        for mimeType in ("application/gml+xml", "text/xml; subtype=gml/3.1.1", ""):
            centroids = self.run_("native:centroids", data("INPUT", text, mimeType))
            for mine, city in zip(
                features(self.file(centroids)), cities.getFeatures(), strict=True
            ):
                point = city.geometry().asPoint()
                self.assertEqual(mine["properties"]["name"], city["name"])
                x, y = mine["geometry"]["coordinates"]
                self.assertAlmostEqual(x, point.x())
                self.assertAlmostEqual(y, point.y())

    def test_declaredEncoding(self) -> None:
        """XML that came as a text is read though it says that it was Latin-1."""
        result = self.run_(
            "native:centroids",
            literal("INPUT", "cities"),
            outputs=(OutputRequest("OUTPUT", GML),),
            project=WORLD,
        )
        _, _, text = self.file(result).read_text().partition("?>")
        self.assertIn("Zürich", text)
        declared = '<?xml version="1.0" encoding="ISO-8859-1"?>' + text
        again = self.run_("native:centroids", data("INPUT", declared, GML.mimeType))
        names = [each["properties"]["name"] for each in features(self.file(again))]
        self.assertIn("Zürich", names)

    def test_geoJsonIsInWgs84(self) -> None:
        """Plain GeoJSON is transformed, the other has the layer's own CRS."""
        expected = inQgis(
            "native:reprojectlayer",
            {"INPUT": CITIES, "TARGET_CRS": MERCATOR, "OUTPUT": "memory:"},
        )["OUTPUT"]
        cities = QgsVectorLayer(CITIES, "cities", "ogr")
        for mimeType, reference in (
            ("application/geo+json", cities),
            ("application/vnd.geo+json", expected),
        ):
            result = self.run_(
                "native:reprojectlayer",
                literal("INPUT", "cities"),
                literal("TARGET_CRS", MERCATOR),
                outputs=(OutputRequest("OUTPUT", Format(mimeType)),),
                project=WORLD,
            )
            path = self.file(result)
            self.assertEqual(path.name, "OUTPUT.geojson")
            self.assertSame(reference, path, 1e-8)
            self.assertEqual(
                QgsVectorLayer(str(path), "x", "ogr").crs().authid(),
                reference.crs().authid(),
            )

    def test_crsWithoutCode(self) -> None:
        """A CRS that GeoJSON can't name is transformed all the same."""
        wkt = "+proj=laea +lat_0=50 +lon_0=9 +ellps=bessel"
        result = self.run_(
            "native:reprojectlayer",
            literal("INPUT", "cities"),
            literal("TARGET_CRS", wkt),
            outputs=DATA_TAKEN,
            project=WORLD,
        )
        self.assertSame(QgsVectorLayer(CITIES, "c", "ogr"), self.file(result), 1e-6)

    def test_raster(self) -> None:
        """A raster by name and inline, by native and gdal."""
        # QGIS writes statistics beside what it opens by its path.
        elevation = Path(self.directory, "elevation.tif")
        shutil.copy(DEMO / "elevation.tif", elevation)
        sent = base64.b64encode(elevation.read_bytes()).decode()
        for processId in ("native:slope", "gdal:aspect"):
            target = os.path.join(self.directory, "expected.tif")
            inQgis(processId, {"INPUT": str(elevation), "BAND": 1, "OUTPUT": target})
            expected = checksum(target)
            wrapped = "\n".join(sent[i : i + 76] for i in range(0, len(sent), 76))
            for given, project in (
                (literal("INPUT", "elevation"), WORLD),
                (data("INPUT", wrapped, "image/tiff", "base64"), None),
                (data("INPUT", sent, "application/geotiff"), None),
            ):
                with self.subTest(f"{processId} {project}"):
                    wanted = (OutputRequest("OUTPUT", format=GEOTIFF),)
                    path = self.file(
                        self.run_(processId, given, outputs=wanted, project=project)
                    )
                    self.assertEqual(checksum(path), expected)
                    self.assertTrue(QgsRasterLayer(str(path)).isValid())

    def test_extent(self) -> None:
        """A box in another order of axes selects the same."""
        for crs, lower, upper in (
            ("EPSG:4326", (0, 40), (20, 60)),
            ("urn:ogc:def:crs:EPSG::4326", (40, 0), (60, 20)),
        ):
            result = self.run_(
                "native:extractbyextent",
                literal("INPUT", "cities"),
                Input("EXTENT", BoundingBoxValue(lower, upper, crs)),
                outputs=DATA_TAKEN,
                project=WORLD,
            )
            names = [f["properties"]["name"] for f in features(self.file(result))]
            self.assertEqual(names, ["Paris", "Wien", "Zürich", "Montpellier"])

    def test_simpleOutputs(self) -> None:
        """Each kind of output, with the defaults of QGIS."""
        result = self.run_("script:outputs", literal("TEXT", "note"))
        self.assertEqual(result.faults, ())
        outputs = result.outputs
        self.assertEqual(outputs["INTEGER"], LiteralValue("3", "integer"))
        self.assertEqual(outputs["FLOAT"], LiteralValue("0.1", "float"))
        self.assertEqual(outputs["NAN"], LiteralValue("NaN", "float"))
        self.assertEqual(outputs["BOOLEAN"], LiteralValue("true", "boolean"))
        self.assertEqual(self.file(result, "HTML").read_text(), "<p>report</p>")
        self.assertEqual(self.file(result, "ELSEWHERE").read_text(), "<p>report</p>")
        self.assertEqual(
            outputs["TEXT"],
            FileValue("outputs/note.txt", Format("text/plain"), "Text file"),
        )
        said = outputs["STRING"]
        assert isinstance(said, LiteralValue)
        self.assertIn("[[0, 2], 'green', 7.0, ''", said.value)
        self.assertTrue(said.value.endswith("False]"), said.value)
        self.assertNotIn("SINK", outputs)
        self.assertIn("half way", [text for _, text in self.reports])

    def test_onlyWhatIsWanted(self) -> None:
        """Other outputs are not returned; an optional one is made when asked for."""
        result = self.run_("script:outputs", outputs=(OutputRequest("INTEGER"),))
        self.assertEqual(set(result.outputs), {"INTEGER"})
        wanted = self.run_(
            "script:outputs", outputs=(OutputRequest("STRING"), OutputRequest("SINK"))
        )
        said = wanted.outputs["STRING"]
        assert isinstance(said, LiteralValue)
        self.assertTrue(said.value.endswith("True]"), said.value)

    def test_destinationThatCannotBeGiven(self) -> None:
        """An optional destination that nobody handles is left out."""
        result = self.run_(
            "native:pointstopath",
            literal("INPUT", "cities"),
            outputs=DATA_TAKEN,
            project=WORLD,
        )
        self.assertEqual(len(features(self.file(result))), 1)

    def test_severalDefaults(self) -> None:
        """Several defaults are taken, all of them, when nothing is given."""
        given = [literal("CRS", "EPSG:4326"), data("LAYER", POINT, GEOJSON.mimeType)]
        for ways, expected in (
            ([], "[0, 2]"),
            ([literal("WAYS", "by bus")], "[1]"),
            ([literal("WAYS", "by air"), literal("WAYS", "on foot")], "[2, 0]"),
        ):
            result = self.run_("script:picky", *given, *ways)
            self.assertEqual(result.outputs["SAID"], LiteralValue(expected, "string"))

    def test_gdalVector(self) -> None:
        """A program of GDAL writes what the client gets."""
        for inputs, project in (
            ((literal("INPUT", "cities"), literal("GEOMETRY", "geom")), WORLD),
            ((data("INPUT", COLLECTION, GEOJSON.mimeType),), None),
        ):
            field = "name" if project else "a"
            result = self.run_(
                "gdal:dissolve",
                *inputs,
                literal("FIELD", field),
                outputs=DATA_TAKEN,
                project=project,
            )
            count = 15 if project else 1
            self.assertEqual(len(features(self.file(result))), count)

    def test_inputAsOutput(self) -> None:
        """An algorithm that answers with its input gives the data of it."""
        wanted = (OutputRequest("SAME", format=GEOJSON),)
        result = self.run_(
            "script:outputs",
            literal("LAYER", "cities"),
            outputs=wanted,
            project=WORLD,
        )
        self.assertEqual(len(features(self.file(result, "SAME"))), 15)

    def test_demoScripts(self) -> None:
        """What a newcomer tries first."""
        result = self.run_("script:hello", literal("NAME", "you"))
        greeting = LiteralValue("Hello you!", "string")
        self.assertEqual(result.outputs, {"GREETING": greeting})
        near = self.run_(
            "script:within_distance",
            literal("INPUT", "cities"),
            literal("X", 8),
            literal("Y", 47),
            literal("KILOMETRES", 500),
            outputs=(OutputRequest("OUTPUT", format=GEOJSON), OutputRequest("COUNT")),
            project=WORLD,
        )
        names = [f["properties"]["name"] for f in features(self.file(near))]
        self.assertEqual(names, ["Zürich", "Paris", "Montpellier"])
        self.assertEqual(near.outputs["COUNT"], LiteralValue("3", "integer"))


class FaultTests(JobCase):
    """Jobs that fail say why."""

    def test_inputs(self) -> None:
        """Wrong inputs, each with the input as its locator."""
        invalid = "InvalidParameterValue"
        for inputs, project, locator, text in (
            ((literal("INPUT", "nobody"),), WORLD, "INPUT", "layer of the project: c"),
            ((literal("INPUT", "elevation"),), WORLD, "INPUT", "a raster layer"),
            (
                (literal("INPUT", DATA),),
                None,
                "INPUT",
                "the layer's data, or a project",
            ),
            ((literal("INPUT", DATA),), WORLD, "INPUT", "layer of the project"),
            (
                (data("INPUT", "{nope", "application/geo+json"),),
                None,
                "INPUT",
                "GeoJSON",
            ),
            ((data("INPUT", '{"a": 1}', ""),), None, "INPUT", "neither features"),
            ((data("INPUT", VRT, "application/geo+json"),), None, "INPUT", "GeoJSON"),
            ((data("INPUT", VRT, "text/xml"),), None, "INPUT", "not valid GML"),
            ((data("INPUT", VRT, ""),), None, "INPUT", "not valid GML"),
            ((data("INPUT", "<a/>", "text/xml"),), None, "INPUT", "not valid GML"),
            (
                (data("INPUT", "x", "image/png"),),
                None,
                "INPUT",
                "expected GeoJSON or G",
            ),
            ((data("INPUT", "!", "", "base64"),), None, "INPUT", "not valid base64"),
            (
                (literal("INPUT", "cities"), literal("DISTANCE", "far")),
                WORLD,
                "DISTANCE",
                "expected a number",
            ),
            (
                (literal("INPUT", "cities"), literal("WHAT", "x")),
                WORLD,
                "WHAT",
                "has no input 'WHAT'",
            ),
        ):
            with self.subTest(inputs):
                result = self.run_("native:buffer", *inputs, project=project)
                self.assertIn(text, self.fault(result, invalid, locator))

    def test_rasterData(self) -> None:
        """A text that GDAL would take for a list of files is no GeoTIFF."""
        vrt = '<VRTDataset rasterXSize="1" rasterYSize="1"></VRTDataset>'
        for text, encoding in ((vrt, None), (base64.b64encode(vrt.encode()), "base64")):
            sent = text if isinstance(text, str) else text.decode()
            result = self.run_(
                "native:slope", data("INPUT", sent, "image/tiff", encoding)
            )
            self.assertIn(
                "not valid", self.fault(result, "InvalidParameterValue", "INPUT")
            )

    def test_gmlWithSecondRoot(self) -> None:
        """What hides in GML is not opened by another driver."""
        hidden = (
            '<ogr:FeatureCollection xmlns:ogr="http://ogr.maptools.org/"'
            ' xmlns:gml="http://www.opengis.net/gml"></ogr:FeatureCollection>' + VRT
        )
        result = self.run_("native:buffer", data("INPUT", hidden, "text/xml"))
        self.fault(result, "InvalidParameterValue", "INPUT")

    def test_fileOutsideTheJob(self) -> None:
        """A file of the request is one of the job."""
        for path in ("../../../etc/passwd", "/etc/passwd", "none"):
            given = FileValue(path, GEOJSON)
            result = self.run_("native:buffer", Input("INPUT", given))
            self.assertIn(
                "no data", self.fault(result, "InvalidParameterValue", "INPUT")
            )

    def test_severalAtOnce(self) -> None:
        """All that is wrong in one answer."""
        result = self.run_(
            "native:buffer",
            literal("INPUT", "nobody"),
            literal("SEGMENTS", "0"),
            literal("DISSOLVE", "perhaps"),
            outputs=(OutputRequest("NOTHING"),),
            project=WORLD,
        )
        self.assertEqual(
            {fault.locator for fault in result.faults},
            {"INPUT", "SEGMENTS", "DISSOLVE", "NOTHING"},
        )

    def test_withQgisOwn(self) -> None:
        """What conversion finds, what QGIS finds and what the algorithm finds."""
        result = self.run_(
            "script:picky",
            literal("LOW", "7"),
            literal("HIGH", "3"),
            literal("RULE", "nothing("),
            literal("WAYS", "by boat"),
            literal("OTHER", "1"),
        )
        found = {fault.locator: fault for fault in result.faults}
        self.assertEqual(len(found), len(result.faults))
        self.assertEqual(
            {name: fault.code for name, fault in found.items()},
            {
                "OTHER": "InvalidParameterValue",
                "RULE": "InvalidParameterValue",
                "WAYS": "InvalidParameterValue",
                "LAYER": "MissingParameterValue",
                "CRS": "MissingParameterValue",
                "HIGH": "InvalidParameterValue",
            },
        )
        self.assertEqual(found["HIGH"].text, "LOW is more than HIGH")

    def test_whatFollows(self) -> None:
        """An algorithm's word on an input that is wrong already is not repeated."""
        result = self.run_(
            "script:picky",
            literal("LOW", "12"),
            literal("HIGH", "much"),
            data("LAYER", POINT, GEOJSON.mimeType),
            literal("CRS", "EPSG:4326"),
        )
        self.assertEqual([fault.locator for fault in result.faults], ["HIGH"])
        self.assertIn("expected an integer", result.faults[0].text)

    def test_missing(self) -> None:
        """A required input that was not given, as QGIS itself sees it."""
        result = self.run_("native:buffer")
        self.fault(result, "MissingParameterValue", "INPUT")

    def test_formats(self) -> None:
        """A format that a result does not come in."""
        result = self.run_(
            "native:buffer",
            literal("INPUT", "cities"),
            outputs=(OutputRequest("OUTPUT", Format("image/png")),),
            project=WORLD,
        )
        text = self.fault(result, "InvalidParameterValue", "OUTPUT")
        self.assertIn("only as application/geo+json", text)

    def test_unknownProcess(self) -> None:
        """There is no such algorithm."""
        result = self.run_("native:nothing")
        self.fault(result, "InvalidParameterValue", "identifier")

    def test_noProject(self) -> None:
        """The project is gone."""
        result = self.run_("native:buffer", project="/nowhere/x.qgs")
        self.fault(result, "InvalidParameterValue", "MAP")

    def test_algorithmSaysWhy(self) -> None:
        """The text of the exception, after the errors reported before it."""
        result = self.run_("script:outputs", literal("FAIL", "processing"))
        text = self.fault(result, "NoApplicableCode")
        self.assertEqual(text, "the first sign\nit can't be done")

    def test_unexpected(self) -> None:
        """A fault of the script's own: class and text, the rest in the log."""
        result = self.run_("script:outputs", literal("FAIL", "python"))
        text = self.fault(result, "NoApplicableCode")
        self.assertEqual(text, "IndexError: list index out of range")

    def test_programSaysWhy(self) -> None:
        """What a program of GDAL says, without its traceback or our paths."""
        result = self.run_(
            "gdal:rgbtopct", literal("INPUT", "elevation"), project=WORLD
        )
        text = self.fault(result, "NoApplicableCode")
        self.assertIn("Process returned error code 1", text)
        self.assertGreater(len(text.splitlines()), 1, text)
        self.assertNotIn(self.directory, text)

    def test_noFile(self) -> None:
        """A file that was promised and not made."""
        result = self.run_("script:outputs", literal("FAIL", "nofile"))
        text = self.fault(result, "NoApplicableCode")
        self.assertIn("made no file for its output ELSEWHERE", text)

    def test_noTask(self) -> None:
        """A directory without a task is answered too."""
        from qgswps.worker import runner
        from qgswps.worker.feedback import Feedback

        result = runner.run(self.directory, Feedback(lambda *report: None))
        self.assertIn("FileNotFoundError", self.fault(result, "NoApplicableCode"))
