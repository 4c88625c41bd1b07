"""Inputs that are layers, parts of layers, or parts of a project."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

from qgis.core import (
    QgsMapThemeCollection,
    QgsMeshLayer,
    QgsPrintLayout,
    QgsProcessing,
    QgsProcessingParameterAnnotationLayer,
    QgsProcessingParameterBand,
    QgsProcessingParameterDefinition,
    QgsProcessingParameterFeatureSource,
    QgsProcessingParameterField,
    QgsProcessingParameterLayout,
    QgsProcessingParameterMapLayer,
    QgsProcessingParameterMapTheme,
    QgsProcessingParameterMeshLayer,
    QgsProcessingParameterMultipleLayers,
    QgsProcessingParameterPointCloudLayer,
    QgsProcessingParameterRasterLayer,
    QgsProcessingParameterVectorLayer,
    QgsProcessingUtils,
    QgsProject,
    QgsRasterLayer,
    QgsVectorLayer,
)

from qgswps.errors import OWSError
from qgswps.model import (
    BoundingBoxValue,
    ComplexType,
    ComplexValue,
    Format,
    InputValue,
    LayerType,
    LiteralType,
    LiteralValue,
    OutputRequest,
    ProjectPart,
)
from qgswps.worker import formats, parameters, project
from qgswps.worker.job import Job
from tests.worker.qgisside.support import GEOJSON, WORLD, JobCase, features, literal

COLLECTION = (
    '{"type": "FeatureCollection", "features": [{"type": "Feature", "properties":'
    ' {"a": 1}, "geometry": {"type": "Point", "coordinates": [7, 47]}}]}'
)


class LayerInputCase(JobCase):
    """A case with an open project."""

    def open(self) -> Job:
        """A job in the world."""
        project.load(WORLD, None)
        job = self.job()
        job.hasProject = True
        return job

    def value(
        self, param: QgsProcessingParameterDefinition, job: Job, *given: str
    ) -> Any:
        """What QGIS gets for some texts."""
        return parameters.value(param, [LiteralValue(text) for text in given], job)

    def refused(
        self, param: QgsProcessingParameterDefinition, job: Job, *given: Any
    ) -> str:
        """What a client is told."""
        inputs: list[InputValue] = [
            LiteralValue(each) if isinstance(each, str) else each for each in given
        ]
        with self.assertRaises(OWSError) as caught:
            parameters.value(param, inputs, job)
        (fault,) = caught.exception.faults
        self.assertEqual(fault.code, "InvalidParameterValue")
        self.assertEqual(fault.locator, param.name())
        return fault.text


class LayerDescriptionTests(LayerInputCase):
    """How these inputs are published."""

    def test_kinds(self) -> None:
        """Each type of layer, and the formats that it is sent in."""
        vectors, rasters = formats.VECTOR_INPUTS, formats.RASTER_INPUTS
        meshes = formats.MESH_INPUTS
        for param, kinds, accepted in (
            (
                QgsProcessingParameterMapLayer("X"),
                (),
                tuple(dict.fromkeys(vectors + rasters + meshes)),
            ),
            (
                QgsProcessingParameterMapLayer(
                    "X",
                    types=[QgsProcessing.TypeRaster, QgsProcessing.TypeMesh],
                ),
                ("raster", "mesh"),
                tuple(dict.fromkeys(rasters + meshes)),
            ),
            (QgsProcessingParameterMeshLayer("X"), ("mesh",), meshes),
            (QgsProcessingParameterPointCloudLayer("X"), ("pointcloud",), ()),
            (QgsProcessingParameterAnnotationLayer("X"), ("annotation",), ()),
            (
                QgsProcessingParameterMultipleLayers("X", "", QgsProcessing.TypeRaster),
                ("raster",),
                rasters,
            ),
            (
                QgsProcessingParameterMultipleLayers(
                    "X", "", QgsProcessing.TypeVectorLine
                ),
                ("line",),
                vectors,
            ),
        ):
            with self.subTest(param.type()):
                told = parameters.describe(param)
                self.assertEqual(told.data, LayerType(kinds, accepted))

    def test_default(self) -> None:
        """A layer that QGIS takes when none is given."""
        param = QgsProcessingParameterVectorLayer("X", "", [], "cities")
        told = parameters.describe(param)
        assert isinstance(told.data, LayerType)
        self.assertEqual(told.data.default, "cities")
        self.assertEqual(told.minOccurs, 0)

    def test_several(self) -> None:
        """How many layers there may be."""
        param = QgsProcessingParameterMultipleLayers("X")
        told = parameters.describe(param)
        self.assertEqual((told.minOccurs, told.maxOccurs), (1, 1000))
        param.setMinimumNumberInputs(2)
        self.assertEqual(parameters.describe(param).minOccurs, 2)
        param = QgsProcessingParameterMultipleLayers("X", optional=True)
        self.assertEqual(parameters.describe(param).minOccurs, 0)
        files = QgsProcessingParameterMultipleLayers("X", "", QgsProcessing.TypeFile)
        described = parameters.describe(files)
        self.assertIsInstance(described.data, ComplexType)
        self.assertEqual((described.minOccurs, described.maxOccurs), (1, 1000))

    def test_parts(self) -> None:
        """Literals that are chosen from a project."""
        fields = QgsProcessingParameterField
        for param, part in (
            (fields("X", "", None, "P"), ProjectPart("field", "P")),
            (
                fields("X", "", None, "P", fields.Numeric),
                ProjectPart("field", "P", "numeric"),
            ),
            (
                fields("X", "", None, "P", fields.DateTime),
                ProjectPart("field", "P", "datetime"),
            ),
            (fields("X"), ProjectPart("field")),
            (
                QgsProcessingParameterBand("X", "", 1, "P"),
                ProjectPart("band", "P"),
            ),
            (QgsProcessingParameterLayout("X"), ProjectPart("layout")),
            (QgsProcessingParameterMapTheme("X"), ProjectPart("theme")),
        ):
            told = parameters.describe(param).data
            assert isinstance(told, LiteralType)
            self.assertEqual(told.part, part)


class LayerValueTests(LayerInputCase):
    """What QGIS gets."""

    def test_anyLayer(self) -> None:
        """A layer of each kind by name, or data."""
        job = self.open()
        param = QgsProcessingParameterMapLayer("X")
        for name in ("cities", "elevation"):
            self.assertEqual(self.value(param, job, name).name(), name)
        inline = ComplexValue(COLLECTION, GEOJSON)
        self.assertEqual(parameters.value(param, [inline], job).featureCount(), 1)

    def test_mesh(self) -> None:
        """Of a project, or sent."""
        path = f"{self.directory}/triangle.2dm"
        with open(path, "w") as file:
            file.write("MESH2D\nE3T 1 1 2 3 1\nND 1 0 0 1\nND 2 1 0 2\nND 3 0 1 3\n")
        job = self.open()
        QgsProject.instance().addMapLayer(QgsMeshLayer(path, "mesh", "mdal"))
        param = QgsProcessingParameterMeshLayer("X")
        self.assertEqual(self.value(param, job, "mesh").name(), "mesh")
        self.assertEqual(
            self.refused(param, job, "cities"),
            "X is a point layer, expected a mesh layer",
        )
        sent = ComplexValue(COLLECTION, Format(""))
        self.assertIn("X is not valid 2DM mesh", self.refused(param, job, sent))
        with open(path) as file:
            mesh = ComplexValue(file.read(), formats.MESH)
        self.assertTrue(parameters.value(param, [mesh], job).isValid())

    def test_notSent(self) -> None:
        """Layers of a kind that has no format."""
        job = self.job()
        param = QgsProcessingParameterPointCloudLayer("X")
        expected = "expected the name of a point cloud layer of a project"
        sent = ComplexValue(COLLECTION, Format(""))
        self.assertIn(f"X is data, {expected}", self.refused(param, job, sent))
        self.assertIn(f"X is 'none', {expected}", self.refused(param, job, "none"))

    def test_several(self) -> None:
        """By name, data and a part, all in one."""
        job = self.open()
        param = QgsProcessingParameterMultipleLayers("X")
        given: list[InputValue] = [
            LiteralValue("cities"),
            ComplexValue(COLLECTION, GEOJSON),
            LiteralValue("layer:cities?select=name='Wien'"),
        ]
        layers = parameters.value(param, given, job)
        self.assertEqual([layer.featureCount() for layer in layers], [15, 1, 1])
        self.assertEqual(layers[2].name(), "cities")
        param.setMinimumNumberInputs(2)
        self.assertEqual(
            self.refused(param, job, "cities"), "X is 1 layer, expected at least 2"
        )
        self.assertIn("expected", self.refused(param, job, "cities", "elevation"))
        rasters = QgsProcessingParameterMultipleLayers(
            "X", "", QgsProcessing.TypeRaster
        )
        self.assertEqual(len(self.value(rasters, job, "elevation", "elevation")), 2)

    def test_severalRun(self) -> None:
        """Algorithms of QGIS and GDAL take them."""
        result = self.run_(
            "native:mergevectorlayers",
            literal("LAYERS", "layer:cities?select=millions > 10"),
            literal("LAYERS", "layer:cities?select=name in ('Wien','Paris')"),
            project=WORLD,
            outputs=(_geojson("OUTPUT"),),
        )
        names = [f["properties"]["name"] for f in features(self.file(result))]
        self.assertEqual(names[-2:], ["Paris", "Wien"])
        self.assertGreater(len(names), 2)
        result = self.run_(
            "gdal:merge",
            literal("INPUT", "elevation"),
            literal("INPUT", "elevation"),
            project=WORLD,
            outputs=(_tiff("OUTPUT"),),
        )
        self.assertTrue(QgsRasterLayer(str(self.file(result))).isValid())

    def test_parts(self) -> None:
        """Layouts and themes that there are."""
        job = self.open()
        made = QgsProject.instance()
        layout = QgsPrintLayout(made)
        layout.setName("plan")
        made.layoutManager().addLayout(layout)
        theme = QgsMapThemeCollection.MapThemeRecord()
        made.mapThemeCollection().insert("night", theme)
        for param, name, said in (
            (QgsProcessingParameterLayout("X"), "plan", "a layout"),
            (QgsProcessingParameterMapTheme("X"), "night", "a map theme"),
        ):
            job.hasProject = True
            self.assertEqual(self.value(param, job, name), name)
            self.assertEqual(
                self.refused(param, job, "y"),
                f"X is 'y', expected {said} of the project: {name}",
            )
            job.hasProject = False
            self.assertIn("that MAP names", self.refused(param, job, "y"))

    def test_unknown(self) -> None:
        """The layers that fit are told, also those that are not open."""
        project.load(WORLD, ["nobody"])
        job = self.job()
        job.hasProject = True
        param = QgsProcessingParameterFeatureSource(
            "X", "", [QgsProcessing.TypeVectorPolygon]
        )
        self.assertEqual(
            self.refused(param, job, "layer:nobody?select=1"),
            "X is 'nobody', expected a polygon layer of the project:"
            " countries, large countries",
        )


class SubsetTests(LayerInputCase):
    """Some features of a layer."""

    param = QgsProcessingParameterFeatureSource

    def names(self, given: str, job: Job) -> list[str]:
        """The cities that an algorithm gets."""
        value = self.value(self.param("X"), job, given)
        source = QgsProcessingUtils.variantToSource(value, job.context)
        return [feature["name"] for feature in source.getFeatures()]

    def test_select(self) -> None:
        """Those for which an expression is true."""
        job = self.open()
        for select, expected in (
            ("name = 'Wien'", ["Wien"]),
            ("%22name%22 %3D 'Wien'", ["Wien"]),
            ("\"name\" in ('Paris','Wien') and x($geometry) > 10", ["Wien"]),
            ("aggregate('countries', 'count', 1) < 0", []),
            ("@layer_name = 'cities' and fid = 1", [self.names("cities", job)[0]]),
            ("NULL", []),
            ("if(name = 'Wien', 'yes', '0')", ["Wien"]),
        ):
            with self.subTest(select):
                self.assertEqual(
                    self.names(f"layer:cities?select={select}", job), expected
                )

    def test_curiosity(self) -> None:
        """Expressions that ask for more than the features."""
        job = self.open()
        for select, named in (
            ("env('HOME') like '/%'", "the function env"),
            ("file_exists('/etc/passwd')", "the function file_exists"),
            ("eval('env(1)')", "the function eval"),
            ("decode_uri('cities', 'path') != ''", "the function decode_uri"),
            ("layer_property('cities', 'source') != ''", "layer_property"),
            ("@project_folder like '/%'", "the variable @project_folder"),
            ("var('project' || '_path') != ''", "variables whose name is computed"),
            ("array_first(array_filter(array(1), env('A') = 1)) = 1", "env"),
        ):
            with self.subTest(select):
                reference = f"layer:cities?select={quote(select)}"
                with self.assertRaises(OWSError) as caught:
                    self.names(reference, job)
                self.assertIn(named, str(caught.exception))

    def test_rect(self) -> None:
        """Those that touch a rectangle, in any CRS; not just their boxes."""
        job = self.open()
        europe = {"Paris", "Wien", "Zürich", "Montpellier"}
        for rect in ("0,40,20,60", "0,4865942,2226389,8399737,EPSG:3857"):
            self.assertEqual(set(self.names(f"layer:cities?rect={rect}", job)), europe)
        both = "layer:cities?rect=0,40,20,60&select=name like '%r%'"
        self.assertEqual(set(self.names(both, job)), europe - {"Wien"})
        # Within the box of a country, but not in it.
        found = self.names("layer:countries?rect=-160,55,-159,56", job)
        boxes = [
            feature["name"]
            for feature in project.find(job.project, "countries").getFeatures()
            if feature.geometry().boundingBox().contains(-159.5, 55.5)
        ]
        self.assertLess(len(found), len(boxes))

    def test_nothing(self) -> None:
        """A subset without features is an empty input."""
        result = self.run_(
            "native:buffer",
            literal("INPUT", "layer:cities?select=false"),
            project=WORLD,
            outputs=(_geojson("OUTPUT"),),
        )
        self.assertEqual(features(self.file(result)), [])

    def test_apart(self) -> None:
        """Two parts of a layer, and the layer, in one job."""
        job = self.open()
        values = [
            self.value(self.param("X"), job, given)
            for given in (
                "layer:cities?select=name='Wien'",
                "layer:cities?select=name='Paris'",
                "layer:cities",
            )
        ]
        counts = [
            QgsProcessingUtils.variantToSource(value, job.context).featureCount()
            for value in values
        ]
        self.assertEqual(counts, [1, 1, 15])
        self.assertEqual(project.find(job.project, "cities").selectedFeatureCount(), 0)

    def test_filter(self) -> None:
        """Of a layer with a filter, only what passes that."""
        result = self.run_(
            "native:centroids",
            literal("INPUT", "layer:large countries?select=true"),
            project=WORLD,
            outputs=(_geojson("OUTPUT"),),
        )
        layer = project.find(QgsProject.instance(), "large countries")
        self.assertTrue(layer.subsetString())
        self.assertEqual(len(features(self.file(result))), layer.featureCount())
        self.assertLess(layer.featureCount(), 100)

    def test_programs(self) -> None:
        """Algorithms that open files themselves get a copy."""
        for processId, more in (
            ("gdal:buffervectors", (literal("GEOMETRY", "geom"),)),
            ("gdal:convertformat", ()),
        ):
            result = self.run_(
                processId,
                literal("INPUT", "layer:cities?select=name in ('Wien', 'Paris')"),
                *more,
                project=WORLD,
                outputs=(_geojson("OUTPUT"),),
            )
            names = {f["properties"]["name"] for f in features(self.file(result))}
            self.assertEqual(names, {"Wien", "Paris"})

    def test_copy(self) -> None:
        """Where QGIS takes a layer it gets one of those features."""
        job = self.open()
        param = QgsProcessingParameterVectorLayer("X")
        copied = self.value(param, job, "layer:cities?select=name='Wien'")
        original = project.find(job.project, "cities")
        self.assertEqual(copied.featureCount(), 1)
        self.assertEqual(copied.name(), "cities")
        self.assertEqual(copied.crs(), original.crs())
        self.assertEqual(copied.fields().names(), original.fields().names())
        whole = self.value(param, job, "layer:cities")
        self.assertIs(whole, original)

    def test_nameLikeAReference(self) -> None:
        """A layer that is really called so."""
        job = self.open()
        odd = QgsVectorLayer("Point?crs=EPSG:4326", "layer:cities?select=1", "memory")
        QgsProject.instance().addMapLayer(odd)
        value = self.value(self.param("X"), job, "layer:cities?select=1")
        self.assertIs(value, odd)

    def test_faults(self) -> None:
        """What can't be selected, and why."""
        job = self.open()
        for given, text in (
            ("layer:cities?select=name = ", "X has select=name =  that can't be"),
            ("layer:cities?select=nofield = 1", "'nofield' not found"),
            ("layer:cities?select=to_int(name) > 1", "Cannot convert"),
            ("layer:cities?select=nofunction(1)", "nofunction"),
            ("layer:cities?rect=1,2,3", "has rect=minx,miny,maxx,maxy"),
            ("layer:cities?rect=1,2,3,4,EPSG:0", "rect= in EPSG:0, which is not"),
            ("layer:cities?where=1", "X has select= and rect="),
            ("layer:", "X needs the name of a layer"),
            ("layer:elevation?select=1", "raster layer"),
        ):
            with self.subTest(given):
                self.assertIn(text, self.refused(self.param("X"), job, given))
        self.assertEqual(
            self.refused(
                QgsProcessingParameterRasterLayer("X"), job, "layer:elevation?select=1"
            ),
            "X is a part of a raster layer, expected the whole of it:"
            " only vector layers have features to select",
        )
        table = QgsVectorLayer("NoGeometry?field=a:int", "table", "memory")
        QgsProject.instance().addMapLayer(table)
        self.assertIn(
            "has no geometry",
            self.refused(
                QgsProcessingParameterVectorLayer("X"), job, "layer:table?rect=1,2,3,4"
            ),
        )
        box = BoundingBoxValue((0, 0), (1, 1))
        self.assertIn("of another kind", self.refused(self.param("X"), job, box))


def _geojson(name: str) -> OutputRequest:
    return OutputRequest(name, GEOJSON)


def _tiff(name: str) -> OutputRequest:
    return OutputRequest(name, formats.GEOTIFF)
