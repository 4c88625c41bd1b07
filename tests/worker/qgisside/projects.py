"""Projects: their summary, and opening what a job needs of them."""

from __future__ import annotations

import os
import shutil
import unittest
import zipfile
from pathlib import Path
from typing import Any

from qgis.core import (
    Qgis,
    QgsApplication,
    QgsCoordinateReferenceSystem,
    QgsExpression,
    QgsExpressionContext,
    QgsExpressionContextUtils,
    QgsField,
    QgsMapThemeCollection,
    QgsMeshLayer,
    QgsPointCloudLayer,
    QgsPrintLayout,
    QgsProcessingContext,
    QgsProcessingModelAlgorithm,
    QgsProcessingModelChildAlgorithm,
    QgsProcessingModelChildParameterSource,
    QgsProject,
    QgsPropertyDefinition,
    QgsRasterLayer,
    QgsRelation,
    QgsVectorLayer,
    QgsVectorLayerJoinInfo,
)
from qgis.PyQt.QtCore import QVariant

from qgswps.errors import OWSError
from qgswps.model import (
    ExecuteRequest,
    FieldSummary,
    LayerSummary,
    LiteralValue,
    OutputRequest,
    Result,
)
from qgswps.worker import lazyproject, needs, project, projectfile
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

#: A mesh of one triangle.
MESH = "MESH2D\nE3T 1 1 2 3 1\nND 1 0 0 1\nND 2 1 0 2\nND 3 0 1 3\n"

#: Datasets of it, in two groups.
DATASETS = "DATASET\nOBJTYPE mesh2d\n" + "".join(
    f'BEGSCL\nND 3\nNC 1\nNAME "{name}"\nTIMEUNITS hours\nTS 0 0\n{values}\nENDDS\n'
    for name, values in (("Depth", "5\n6\n7"), ("7", "1\n1\n1"))
)

#: The fields of a point cloud, as its provider asks for them.
POINT_CLOUD = "/nowhere/ept.json"


class ProjectCase(JobCase):
    """A case that makes projects."""

    def setUp(self) -> None:
        super().setUp()
        self.folder = Path(self.directory)
        self.data = self.folder / "world.gpkg"
        shutil.copy(DATA, self.data)
        self.made = QgsProject.instance()
        self.made.clear()
        self.made.setTitle("Made")

    def table(self, table: str, name: str, file: Path | None = None) -> Any:
        """A layer of a GeoPackage."""
        return QgsVectorLayer(f"{file or self.data}|layername={table}", name, "ogr")

    def write(self, name: str = "made.qgs") -> str:
        """Save the project, and close it."""
        path = str(self.folder / name)
        self.assertTrue(self.made.write(path), self.made.error())
        self.made.clear()
        return path

    def simple(self) -> list[Any]:
        """Put in some layers of which nothing is special."""
        layers = [
            self.table("cities", "cities"),
            self.table("countries", "countries"),
            self.table("disputed_borders", "borders"),
        ]
        self.made.addMapLayers(layers)
        return layers

    def world(self) -> str:
        """A project with a join, a computed field, twins and a broken layer."""
        layers = [
            self.table(table, name)
            for table, name in (
                ("cities", "cities"),
                ("countries", "twin"),
                ("disputed_borders", "twin"),
                ("countries", "joined"),
            )
        ]
        cities, first, _, joined = layers
        cities.addExpressionField('"millions" * 2', QgsField("double", QVariant.Double))
        self.made.addMapLayers(layers)
        join = QgsVectorLayerJoinInfo()
        join.setJoinLayer(first)
        join.setJoinFieldName("iso_a2")
        join.setTargetFieldName("iso_a2")
        joined.addJoin(join)
        gone = self.folder / "gone.gpkg"
        shutil.copy(DATA, gone)
        self.made.addMapLayer(self.table("cities", "gone", gone))
        path = self.write()
        gone.unlink()
        return path

    def opened(self, partial: project.PartialProject) -> set[str]:
        """The names of the layers that are open; none of them is broken."""
        layers = partial.project.mapLayers().values()
        self.assertTrue(all(layer.isValid() for layer in layers))
        return {layer.name() for layer in layers}


class SummaryTests(ProjectCase):
    """What is told of projects."""

    def test_summary(self) -> None:
        """Layers in the order of the tree, by kind, with fields and bands."""
        summary = project.summarize(WORLD)
        assert summary is not None
        self.assertEqual(summary.title, "World")
        self.assertEqual(summary.crs, "EPSG:4326")
        self.assertEqual(
            [(layer.name, layer.kind, layer.bands) for layer in summary.layers],
            [
                ("cities", "point", 0),
                ("disputed borders", "line", 0),
                ("countries", "polygon", 0),
                ("large countries", "polygon", 0),
                ("elevation", "raster", 1),
            ],
        )
        self.assertEqual(
            summary.layers[0],
            LayerSummary(
                "cities_00000000_0000_0000_0000_000000000001",
                "cities",
                "point",
                crs="EPSG:4326",
                fields=(
                    FieldSummary("fid", "numeric"),
                    FieldSummary("name", "string"),
                    FieldSummary("millions", "numeric"),
                ),
            ),
        )
        self.assertEqual(summary.files, (DATA, str(DEMO / "elevation.tif")))
        self.assertEqual(summary.modified, "")

    def test_invalidLayer(self) -> None:
        """A layer whose data is gone is told, and so is where it should be."""
        summary = project.summarize(self.world())
        assert summary is not None
        invalid = [layer.name for layer in summary.layers if not layer.valid]
        self.assertEqual(invalid, ["gone"])
        self.assertEqual(
            set(summary.files), {str(self.data), str(self.folder / "gone.gpkg")}
        )

    def test_fieldTypes(self) -> None:
        """Types as parameters ask for them."""
        fields = (
            "a:int(0,0)&field=b:double(0,0)&field=c:string(0,0)&field=d:date(0,0)"
            "&field=e:time(0,0)&field=f:datetime(0,0)&field=g:bool(0,0)"
            "&field=h:binary(0,0)"
        )
        layer = QgsVectorLayer(f"NoGeometry?field={fields}", "types", "memory")
        self.made.addMapLayer(layer)
        summary = project.summarize(self.write())
        assert summary is not None
        (told,) = summary.layers
        self.assertEqual(told.kind, "nogeometry")
        self.assertEqual(
            [field.type for field in told.fields],
            [
                *("numeric", "numeric", "string", "datetime", "datetime", "datetime"),
                *("boolean", "binary"),
            ],
        )
        self.assertEqual(summary.files, ())

    def test_otherKinds(self) -> None:
        """Meshes and point clouds; text files that have parameters in their URIs."""
        mesh = self.folder / "triangle.2dm"
        mesh.write_text(MESH)
        datasets = self.folder / "depth.dat"
        datasets.write_text(DATASETS)
        table = self.folder / "table.csv"
        table.write_text("x,y\n1,2\n")
        layers = [
            QgsMeshLayer(str(mesh), "mesh", "mdal"),
            QgsPointCloudLayer(POINT_CLOUD, "cloud", "ept"),
            QgsVectorLayer(
                f"file://{table}?xField=x&yField=y&crs=EPSG:4326",
                "table",
                "delimitedtext",
            ),
            QgsRasterLayer(f"/vsizip/{self.folder}/x.zip/x.tif", "zipped", "gdal"),
            QgsRasterLayer("/vsicurl/http://127.0.0.1:1/x.tif", "away", "gdal"),
        ]
        self.assertTrue(layers[0].isValid())
        self.assertTrue(layers[0].addDatasets(str(datasets)))
        self.made.addMapLayers(layers)
        summary = project.summarize(self.write())
        assert summary is not None
        self.assertEqual(
            {layer.name: (layer.kind, layer.valid) for layer in summary.layers},
            {
                "mesh": ("mesh", True),
                "cloud": ("pointcloud", False),
                "table": ("point", True),
                "zipped": ("raster", False),
                "away": ("raster", False),
            },
        )
        self.assertEqual(
            {layer.name: layer.groups for layer in summary.layers if layer.groups},
            {"mesh": ("Bed Elevation", "Depth", "7")},
        )
        self.assertEqual(
            set(summary.files),
            {str(mesh), str(table), POINT_CLOUD, str(self.folder / "x.zip")},
        )

    def test_meshGroups(self) -> None:
        """Jobs take groups of datasets by name and by number, as QGIS does."""
        mesh, datasets = self.folder / "triangle.2dm", self.folder / "depth.dat"
        mesh.write_text(MESH)
        datasets.write_text(DATASETS)
        layer = QgsMeshLayer(str(mesh), "mesh", "mdal")
        self.assertTrue(layer.addDatasets(str(datasets)))
        layer.setCrs(QgsCoordinateReferenceSystem("EPSG:3857"))
        self.made.addMapLayer(layer)
        path = self.write()

        def run(*groups: str) -> Result:
            return self.run_(
                "native:exportmeshvertices",
                literal("INPUT", "mesh"),
                *(literal("DATASET_GROUPS", each) for each in groups),
                literal("DATASET_TIME", "static"),
                outputs=(OutputRequest("OUTPUT", GEOJSON),),
                project=path,
            )

        for groups, expected in (
            (("Depth",), {"Depth": 5}),
            (("1",), {"Depth": 5}),
            # A name goes before a number.
            (("7",), {"7": 1}),
            (("Depth", "Bed Elevation"), {"Depth": 5, "Bed Elevation": 1}),
        ):
            first = features(self.file(run(*groups)))[0]["properties"]
            self.assertEqual({**first, **expected}, first, groups)
        for given in ("Speed", "3"):
            text = self.fault(run(given), "InvalidParameterValue", "DATASET_GROUPS")
            self.assertIn("from 0: Bed Elevation, Depth, 7", text)

    def test_layoutsAndThemes(self) -> None:
        """Their names, without that a layout is read."""
        self.simple()
        for name in ("first", "A & <B>"):
            layout = QgsPrintLayout(self.made)
            layout.initializeDefaults()
            layout.setName(name)
            self.made.layoutManager().addLayout(layout)
        theme = QgsMapThemeCollection.MapThemeRecord()
        self.made.mapThemeCollection().insert("theme", theme)
        for name in ("made.qgs", "made.qgz"):
            path = str(self.folder / name)
            self.assertTrue(self.made.write(path))
        self.made.clear()
        for name in ("made.qgs", "made.qgz"):
            summary = project.summarize(str(self.folder / name))
            assert summary is not None
            self.assertEqual(set(summary.layouts), {"first", "A & <B>"})
            self.assertEqual(summary.themes, ("theme",))
            self.assertEqual(self.made.layoutManager().layouts(), [])

    def test_stored(self) -> None:
        """A project in a database tells when it was saved."""
        self.simple()
        uri = f"geopackage:{self.data}?projectName=stored"
        self.assertTrue(self.made.write(uri), self.made.error())
        self.made.clear()
        summary = project.summarize(uri)
        assert summary is not None
        self.assertEqual([layer.valid for layer in summary.layers], [True] * 3)
        self.assertRegex(summary.modified, r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}")
        self.assertIsNone(project.summarize(uri, summary.modified))
        self.assertEqual(project.summarize(uri, "2001-01-01T00:00:00.000"), summary)

    def test_faults(self) -> None:
        """No project, or none that can be read: MAP is wrong."""
        broken = self.folder / "broken.qgs"
        broken.write_text("<qgis><unclosed>")
        archive = self.folder / "archive.qgz"
        archive.write_bytes(b"PK\x03\x04damaged")
        empty = self.folder / "empty.qgz"
        with zipfile.ZipFile(empty, "w") as file:
            file.writestr("readme.txt", "nothing")
        for path, text in (
            (self.folder / "none.qgs", "there is no project 'none.qgs'"),
            (broken, "the project 'broken.qgs' can't be read"),
            (archive, "the project 'archive.qgz' can't be read: it is a damaged"),
            (empty, "the project 'empty.qgz' can't be read: there is no .qgs in it"),
            (self.folder, "there is no project"),
        ):
            for fault in self.faults(str(path)):
                self.assertIn(text, fault)
                self.assertNotIn(self.directory, fault)

    def test_storageIsAway(self) -> None:
        """What leads to a database is not told."""
        for uri in (
            "postgresql://user:secret@127.0.0.1:1/db?schema=s&project=x",
            f"geopackage:{self.data}?projectName=none",
        ):
            for fault in self.faults(uri):
                self.assertEqual(
                    fault,
                    "there is no such project, or the database that has it is away",
                )

    def faults(self, path: str) -> list[str]:
        """What a summary and a job are told of a project."""
        texts = []
        for read in (project.summarize, lambda p: project.load(p, [])):
            with self.assertRaises(OWSError) as caught:
                read(path)
            (fault,) = caught.exception.faults
            self.assertEqual(fault.code, "InvalidParameterValue")
            self.assertEqual(fault.locator, "MAP")
            texts.append(fault.text)
        return texts


class LoadTests(ProjectCase):
    """Opening parts of projects."""

    def test_opensOnlyWhatIsNeeded(self) -> None:
        """The others are not even there."""
        partial = project.load(self.world(), ["cities"])
        self.assertEqual(self.opened(partial), {"cities"})
        self.assertFalse(partial.isComplete)
        (cities,) = partial.project.mapLayersByName("cities")
        self.assertIn("double", cities.fields().names())
        feature = next(cities.getFeatures())
        self.assertEqual(feature["double"], 2 * feature["millions"])

    def test_opensWhatIsJoined(self) -> None:
        """A joined layer comes along, and gives its fields."""
        partial = project.load(self.world(), ["joined"])
        self.assertEqual(self.opened(partial), {"joined", "twin"})
        (joined,) = partial.project.mapLayersByName("joined")
        self.assertIn("twin_name", joined.fields().names())
        feature = next(joined.getFeatures())
        self.assertEqual(feature["twin_name"], feature["name"])

    def test_opensWhatIsQueried(self) -> None:
        """The layers that a virtual layer or a computed field names."""
        cities, *_ = self.simple()
        virtual = QgsVectorLayer(
            "?query=SELECT%20count(*)%20AS%20n%20FROM%20Countries", "virtual", "virtual"
        )
        byId = QgsVectorLayer(
            f'?query=SELECT * FROM "{cities.id()}"', "byId", "virtual"
        )
        computed = self.table("cities", "computed")
        computed.addExpressionField(
            "aggregate('borders', 'count', 1)", QgsField("n", QVariant.Int)
        )
        self.made.addMapLayers([virtual, byId, computed])
        path = self.write()
        for name, others in (
            ("virtual", {"countries"}),
            ("byId", {"cities"}),
            ("computed", {"borders"}),
        ):
            with self.subTest(name):
                partial = project.load(path, [name])
                self.assertEqual(self.opened(partial), {name, *others})
        (layer,) = partial.project.mapLayersByName("computed")
        self.assertGreater(next(layer.getFeatures())["n"], 0)

    def test_circle(self) -> None:
        """Layers that need each other."""
        first, second, _ = self.simple()
        for layer, other in ((first, second), (second, first)):
            join = QgsVectorLayerJoinInfo()
            join.setJoinLayer(other)
            join.setJoinFieldName("name")
            join.setTargetFieldName("name")
            layer.addJoin(join)
        partial = project.load(self.write(), ["cities"])
        self.assertEqual(self.opened(partial), {"cities", "countries"})
        (cities,) = partial.project.mapLayersByName("cities")
        self.assertIn("countries_iso_a2", cities.fields().names())

    def test_opensAll(self) -> None:
        """Without a list, all that there is, with the layouts."""
        self.simple()
        layout = QgsPrintLayout(self.made)
        layout.setName("layout")
        self.made.layoutManager().addLayout(layout)
        path = self.write()
        partial = project.load(path, None)
        self.assertTrue(partial.isComplete)
        self.assertEqual(len(self.opened(partial)), 3)
        self.assertEqual(len(self.made.layoutManager().printLayouts()), 1)

    def test_opensTheRest(self) -> None:
        """Later, what was not opened at first; what is open stays as it is."""
        partial = project.load(self.world(), ["cities"])
        (cities,) = partial.project.mapLayersByName("cities")
        partial.openMentioned(["nothing", "cities"])
        self.assertEqual(self.opened(partial), {"cities"})
        partial.openAll()
        self.assertTrue(partial.isComplete)
        self.assertIs(partial.project.mapLayersByName("cities")[0], cities)
        names = sorted(x.name() for x in partial.project.mapLayers().values())
        self.assertEqual(names, ["cities", "gone", "joined", "twin", "twin"])
        (joined,) = partial.project.mapLayersByName("joined")
        self.assertIn("twin_name", joined.fields().names())

    def test_likeQgis(self) -> None:
        """An opened layer is the same as when QGIS reads the project."""
        layers = self.simple()
        layers[1].setSubsetString("\"name\" LIKE 'A%'")
        layers[1].setCustomProperty("key", "value")
        layers[1].setReadOnly(True)
        path = self.write()

        def facts(read: QgsProject) -> list[Any]:
            (layer,) = read.mapLayersByName("countries")
            return [
                layer.id(),
                layer.source(),
                layer.subsetString(),
                layer.featureCount(),
                layer.customProperty("key"),
                layer.readOnly(),
                layer.crs().authid(),
                layer.extent().toString(),
                layer.renderer().symbol().color().name(),
                [node.name() for node in read.layerTreeRoot().findLayers()],
                read.layerTreeRoot().findLayer(layer.id()).layer() is layer,
            ]

        whole = facts(project.load(path, None).project)
        partial = facts(project.load(path, ["countries"]).project)
        self.assertEqual(partial, whole)
        self.assertLess(whole[3], 30)
        self.assertTrue(whole[-1])

    def test_project(self) -> None:
        """The project's own properties, among them where it really is."""
        self.simple()
        self.made.setCrs(QgsCoordinateReferenceSystem("EPSG:3857"))
        self.made.setEllipsoid("EPSG:7004")
        self.made.setCustomVariables({"mine": "yours"})
        context = self.made.transformContext()
        operation = "+proj=pipeline +step +proj=noop"
        context.addCoordinateOperation(
            QgsCoordinateReferenceSystem("EPSG:4326"),
            QgsCoordinateReferenceSystem("EPSG:4258"),
            operation,
        )
        self.made.setTransformContext(context)
        path = self.write()
        read = project.load(path, ["cities"]).project
        self.assertEqual(read.crs().authid(), "EPSG:3857")
        self.assertEqual(read.ellipsoid(), "EPSG:7004")
        self.assertEqual(read.fileName(), path)
        self.assertEqual(read.homePath(), self.directory)
        self.assertTrue(
            read.transformContext().hasTransform(
                QgsCoordinateReferenceSystem("EPSG:4326"),
                QgsCoordinateReferenceSystem("EPSG:4258"),
            )
        )
        scopes = QgsExpressionContext()
        scopes.appendScope(QgsExpressionContextUtils.projectScope(read))
        for text, value in (
            ("@project_path", path),
            ("@project_folder", self.directory),
            ("@project_title", "Made"),
            ("@mine", "yours"),
        ):
            self.assertEqual(QgsExpression(text).evaluate(scopes), value)

    def test_paths(self) -> None:
        """Relative and absolute ones, as the project stores them."""
        for absolute in (False, True):
            self.made.clear()
            self.simple()
            kinds = Qgis.FilePathType
            self.made.setFilePathStorage(kinds.Absolute if absolute else kinds.Relative)
            os.makedirs(self.folder / "sub", exist_ok=True)
            path = self.write("sub/made.qgs")
            stored = f">{self.directory}/world.gpkg" if absolute else ">../world.gpkg"
            self.assertIn(stored, Path(path).read_text())
            partial = project.load(path, ["cities"])
            self.assertEqual(self.opened(partial), {"cities"})

    def test_archive(self) -> None:
        """A .qgz file, or a project in a database."""
        self.simple()
        for path in (
            str(self.folder / "made.qgz"),
            f"geopackage:{self.data}?projectName=made",
        ):
            self.assertTrue(self.made.write(path), self.made.error())
        self.made.clear()
        for path in (
            str(self.folder / "made.qgz"),
            f"geopackage:{self.data}?projectName=made",
        ):
            partial = project.load(path, ["borders"])
            self.assertEqual(self.opened(partial), {"borders"})
            self.assertEqual(partial.project.fileName(), path)

    def test_auxiliaryFields(self) -> None:
        """Values that QGIS keeps beside the project, in both kinds of file."""
        for name in ("made.qgz", "made.qgs"):
            self.made.clear()
            cities, *_ = self.simple()
            storage = self.made.auxiliaryStorage()
            key = cities.fields().field("fid")
            layer = storage.createAuxiliaryLayer(key, cities)
            cities.setAuxiliaryLayer(layer)
            definition = QgsPropertyDefinition(
                "size", QgsPropertyDefinition.DataTypeNumeric, "d", "s", "o"
            )
            definition.setOrigin("user")
            self.assertTrue(cities.auxiliaryLayer().addAuxiliaryField(definition))
            path = self.write(name)
            whole = project.load(path, None).project.mapLayersByName("cities")[0]
            names = whole.fields().names()
            self.assertEqual(len(names), 4)
            partial = project.load(path, ["cities"])
            (read,) = partial.project.mapLayersByName("cities")
            self.assertEqual(read.fields().names(), names)

    def test_themes(self) -> None:
        """A theme has the layers that are open."""
        cities, countries, _ = self.simple()
        theme = QgsMapThemeCollection.MapThemeRecord()
        for layer in (cities, countries):
            theme.addLayerRecord(QgsMapThemeCollection.MapThemeLayerRecord(layer))
        self.made.mapThemeCollection().insert("theme", theme)
        partial = project.load(self.write(), ["cities"])
        themes = partial.project.mapThemeCollection()
        (shown,) = themes.mapThemeVisibleLayers("theme")
        self.assertEqual(shown.name(), "cities")
        partial.openAll()
        self.assertEqual(len(themes.mapThemeVisibleLayers("theme")), 2)

    def test_relations(self) -> None:
        """A relation that is named brings its layers."""
        cities, countries, _ = self.simple()
        relation = QgsRelation()
        relation.setId("within")
        relation.setName("cities of a country")
        relation.setReferencingLayer(cities.id())
        relation.setReferencedLayer(countries.id())
        relation.addFieldPair("name", "name")
        self.made.relationManager().addRelation(relation)
        path = self.write()
        partial = project.load(path, ["relation_aggregate('within', 'count', 1)"])
        self.assertEqual(self.opened(partial), {"cities", "countries"})
        self.assertTrue(partial.project.relationManager().relation("within").isValid())

    def test_asAWhole(self) -> None:
        """What can't be read in parts is read at once: embedded, or of old."""
        cities, *_ = self.simple()
        tree = self.made.layerTreeRoot()
        tree.addGroup("shared").addLayer(cities)
        other = self.write("other.qgs")
        self.made.addMapLayer(self.table("countries", "own"))
        self.made.layerTreeRoot().addChildNode(
            self.made.createEmbeddedGroup("shared", other, [])
        )
        partial = project.load(self.write(), ["own"])
        self.assertTrue(partial.isComplete)
        self.assertEqual(self.opened(partial), {"own", "cities"})
        old = self.folder / "old.qgs"
        text = Path(other).read_text().replace('version="3.', 'version="2.', 1)
        old.write_text(text)
        partial = project.load(str(old), ["borders"])
        self.assertTrue(partial.isComplete)
        self.assertEqual(self.opened(partial), {"cities", "countries", "borders"})

    def test_find(self) -> None:
        """By id, by name; of twins the first in the tree."""
        path = self.world()
        loaded = project.load(path, None).project
        layers = [loaded.mapLayer(key) for key in project._order(loaded)]
        twins = [layer.id() for layer in layers if layer.name() == "twin"]
        for layer in layers:
            self.assertIs(project.find(loaded, layer.id()), layer)
        self.assertEqual(project.find(loaded, "twin").id(), twins[0])
        self.assertIsNone(project.find(loaded, "nobody"))
        # Also if others are not open, or were opened before.
        for texts in (["twin"], [twins[0]], [twins[1], "twin"], ["concat(1, 'twin')"]):
            partial = project.load(path, texts)
            found = project.find(partial.project, "twin")
            self.assertEqual(found.id(), twins[0], texts)
        partial = project.load(path, ["twin"])
        self.assertEqual(len(partial.project.mapLayers()), 1)

    def test_offered(self) -> None:
        """All that could be asked for, with its kind, without opening it."""
        path = self.world()
        expected = [
            (layer.name(), project.kindOf(layer))
            for layer in self.inOrder(project.load(path, None).project)
        ]
        # The data of one is gone, but not what the project says of it.
        self.assertEqual(dict(expected)["twin"], "line")
        partial = project.load(path, [])
        self.assertEqual(
            sorted(project.offered(partial.project)),
            sorted(
                (name, "point" if name == "gone" else kind) for name, kind in expected
            ),
        )
        self.assertEqual(partial.project.mapLayers(), {})

    def inOrder(self, read: QgsProject) -> list[Any]:
        """The layers as in the tree."""
        return [read.mapLayer(key) for key in project._order(read)]

    def test_sourcesAreLeftAlone(self) -> None:
        """Reading layers does not write to their files, or beside them."""
        path = os.path.join(self.directory, "world.qgs")
        for name in ("world.qgs", "world.gpkg", "elevation.tif"):
            shutil.copy(DEMO / name, self.directory)
        before = {each.name: each.stat().st_mtime_ns for each in self.folder.iterdir()}
        project.summarize(path)
        for needed in (["cities", "large countries", "elevation"], None):
            loaded = project.load(path, needed).project
            for layer in loaded.mapLayers().values():
                if project.kindOf(layer) != "raster":
                    self.assertTrue(list(layer.getFeatures()))
            loaded.clear()
        after = {each.name: each.stat().st_mtime_ns for each in self.folder.iterdir()}
        self.assertEqual(after, before)


class FileTests(unittest.TestCase):
    """The text of projects."""

    def file(self, *layers: str, before: str = "", after: str = "") -> Any:
        """A project with these layers' elements, in parts."""
        xml = (
            f'<qgis version="3.22.1-x">{before}<projectlayers>{"".join(layers)}'
            f"</projectlayers>{after}</qgis>"
        )
        return projectfile.parse(projectfile.Content(xml.encode()))

    def layer(self, id: str, name: str, more: str = "", attributes: str = "") -> str:
        """The element of a layer."""
        return (
            f"<maplayer {attributes}><extent><id>no</id></extent><id>{id}</id>"
            f"<layername>{name}</layername>{more}</maplayer>"
        )

    def test_cut(self) -> None:
        """Between layers only, whatever texts and comments say."""
        tricky = (
            "<script><![CDATA[</maplayer><maplayer></projectlayers>]]></script>"
            "<!-- <maplayer> --><maplayers/>"
        )
        file = self.file(
            self.layer("a", "A &amp; B", tricky),
            self.layer("b", "b", f"<styles>{'x' * 5000}</styles>"),
            before="<!-- <maplayer> --><x><![CDATA[<projectlayers>]]></x>",
            after="<after/>",
        )
        self.assertEqual(list(file.layers), ["a", "b"])
        self.assertEqual(file.layers["a"].name, "A & B")
        self.assertNotIn(b"script", file.skeleton)
        self.assertIn(b"<projectlayers></projectlayers><after/>", file.skeleton)
        for element in file.layers.values():
            self.assertTrue(element.xml.endswith(b"</maplayer>"))

    def test_longHead(self) -> None:
        """A layer whose name comes late."""
        late = self.layer("a", "late", attributes=f'x="{"y" * 9000}"')
        self.assertEqual(self.file(late).layers["a"].name, "late")

    def test_kinds(self) -> None:
        """As their elements tell."""
        for attributes, kind in (
            ('type="vector" geometry="Point"', "point"),
            ('type="vector" geometry="Line"', "line"),
            ('type="vector" geometry="Polygon"', "polygon"),
            ('type="vector" geometry="No geometry"', "nogeometry"),
            ('type="vector" geometry="Unknown geometry"', "vector"),
            ('type="raster"', "raster"),
            ('type="mesh"', "mesh"),
            ('type="point-cloud"', "pointcloud"),
            ('type="vector-tile"', "vectortile"),
            ('type="annotation"', "annotation"),
            ('type="plugin"', ""),
        ):
            file = self.file(self.layer("a", "a", attributes=attributes))
            self.assertEqual(file.layers["a"].kind, kind)

    def test_asAWhole(self) -> None:
        """What this does not understand is for QGIS to read."""
        fine = self.layer("a", "a")
        for layers, before in (
            (('<maplayer embedded="1" id="b"/>',), ""),
            ((self.layer("a", "a", attributes='embedded="1"'),), ""),
            ((fine, "<maplayer>"), ""),
            ((fine, "</maplayer>"), ""),
            ((fine,), fine),
            ((fine,), '<layer-tree-group><x key="embedded"/></layer-tree-group>'),
            ((fine,), "<unclosed>"),
            (("<maplayer><layername>x</layername></maplayer>",), ""),
        ):
            with self.subTest((layers, before)):
                self.assertIsNone(self.file(*layers, before=before))
        for xml in (
            b'<qgis version="2.18.0"><projectlayers/></qgis>',
            b"<qgis><projectlayers/></qgis>",
            b"<other version='3.0'/>",
            b"<?xml version='1.0' encoding='latin1'?><qgis version='3.0'/>",
            b"<!DOCTYPE qgis [<!ENTITY a 'b'>]><qgis version='3.0'/>",
            b"no xml",
            b"",
        ):
            with self.subTest(xml):
                self.assertIsNone(projectfile.parse(projectfile.Content(xml)))

    def test_mentioned(self) -> None:
        """Names and ids as words of their own, in any case."""
        file = self.file(
            self.layer("id_1", "cities"),
            self.layer("id_2", "large cities"),
            self.layer("id_3", "été (2)"),
            self.layer("id_4", "cities"),
            self.layer("id_5", "1"),
        )
        for text, expected in (
            ("cities", ["id_1"]),
            ("id_4", ["id_4"]),
            ("large cities", ["id_2"]),
            ("aggregate('cities', 'count', 0)", ["id_1", "id_4"]),
            ("SELECT * FROM Cities", ["id_1", "id_4"]),
            ("citiesx, xcities, my_cities", []),
            ('"large cities".x', ["id_1", "id_2", "id_4"]),
            ("x=ÉTÉ (2)", ["id_3"]),
            ("layer:%C3%A9t%C3%A9%20%282%29?select=x", ["id_3"]),
            ("['id_2', 'id_3']", ["id_2", "id_3"]),
            ("0.5", []),
            ("10", []),
            ("", []),
        ):
            with self.subTest(text):
                self.assertEqual(file.mentioned(text), expected)

    def test_computed(self) -> None:
        """All layers, if an expression finds out which one."""
        file = self.file(self.layer("a", "a name"), self.layer("b", "b name"))
        for text in (
            "aggregate(@which, 'count', 1)",
            "aggregate(layer := concat('a', ' name'), aggregate := 'count')",
            "aggregate( layer:=\"field\" , aggregate := 'count')",
            "array_length(@map_layers)",
            "get_feature ( \"field\", 'x', 1)",
            "overlay_nearest(@mine)",
        ):
            self.assertEqual(file.mentioned(text), ["a", "b"], text)
        for text in (
            "aggregate('a name', 'count', 1)",
            "aggregate(layer:='a name', aggregate:='count')",
        ):
            self.assertEqual(file.mentioned(text), ["a"], text)
        for text in (
            "aggregate(@layer, 'count', 1)",
            "layer_property(@layer_name, 'crs')",
            "num_selected()",
            "$area > 1",
        ):
            self.assertEqual(file.mentioned(text), [], text)


class NeedsTests(ProjectCase):
    """What jobs need of their projects."""

    def texts(self, processId: str, *inputs: Any) -> list[str] | None:
        """The texts that name layers."""
        algorithm = QgsApplication.processingRegistry().createAlgorithmById(processId)
        return needs.texts(algorithm, ExecuteRequest(processId, inputs))

    def test_inputs(self) -> None:
        """The texts of a request, and what references in it mean."""
        texts = self.texts(
            "native:buffer",
            literal("INPUT", "layer:a%20b?select=%22x%22%20%3D%201"),
            data("OTHER", "{}", "application/geo+json"),
            literal("LONG", "x" * 100_000),
            literal("WRONG", "layer:?"),
        )
        assert texts is not None
        self.assertIn("a b", texts)
        self.assertIn('"x" = 1', texts)
        self.assertNotIn("{}", texts)
        self.assertIn("layer:?", texts)
        self.assertLess(max(map(len, texts)), 1000)

    def test_whole(self) -> None:
        """Algorithms that use the project, or more of it than layers."""
        self.assertIsNone(self.texts("native:rasterize"))
        self.assertIsNone(self.texts("native:printlayouttoimage"))
        self.assertIsNotNone(self.texts("native:buffer"))

    def model(self, processId: str, name: str, value: str) -> Any:
        """A model of one algorithm."""
        child = QgsProcessingModelChildAlgorithm(processId)
        child.addParameterSources(
            name, [QgsProcessingModelChildParameterSource.fromStaticValue(value)]
        )
        model = QgsProcessingModelAlgorithm("model", "group")
        model.addChildAlgorithm(child)
        return model

    def test_model(self) -> None:
        """The layers that a model's own text names; what its parts do."""
        request = ExecuteRequest("model:model")
        model = self.model("native:buffer", "INPUT", "cities")
        texts = needs.texts(model, request)
        assert texts is not None
        self.assertTrue(any("cities" in text for text in texts))
        self.assertFalse(needs.reachesProject(model))
        self.assertIsNone(needs.texts(self.model("native:rasterize", "X", ""), request))
        model = self.model("script:looks", "HOW", "nowhere")
        self.assertTrue(needs.reachesProject(model))
        texts = needs.texts(model, request)
        assert texts is not None
        self.assertTrue(any("disputed borders" in text for text in texts))

    def test_job(self) -> None:
        """Nothing is opened that a job does not name."""
        result = self.run_(
            "native:stringconcatenation",
            literal("INPUT_1", "cities"),
            literal("INPUT_2", "aggregate('disputed borders', 'count', 1)"),
            project=WORLD,
        )
        self.assertEqual(result.faults, ())
        names = {layer.name() for layer in self.made.mapLayers().values()}
        self.assertEqual(names, {"cities", "disputed borders"})


ALL = "cities,countries,disputed borders,elevation,large countries"


class LazyTests(ProjectCase):
    """Scripts that look at the project."""

    def seen(self, how: str) -> str:
        """What a script saw, and that nothing of the watching is left."""
        watched = [
            (owner, name, vars(owner)[name])
            for owner, name in (
                (QgsProject, "instance"),
                (QgsProcessingContext, "project"),
            )
        ]
        result = self.run_("script:looks", literal("HOW", how), project=WORLD)
        self.assertEqual(result.faults, ())
        for owner, name, original in watched:
            self.assertIs(vars(owner)[name], original)
        value = result.outputs["SEEN"]
        assert isinstance(value, LiteralValue)
        return value.value

    def opened_(self) -> str:
        """The layers that are open."""
        return ",".join(sorted(x.name() for x in self.made.mapLayers().values()))

    def test_nowhere(self) -> None:
        """One that does not look at it costs nothing more than what it names."""
        self.assertEqual(self.seen("nowhere"), "")
        self.assertEqual(self.opened_(), "disputed borders")

    def test_looks(self) -> None:
        """One that does sees all layers."""
        for how in ("instance", "context"):
            self.assertEqual(self.seen(how), ALL)
            self.assertEqual(self.opened_(), ALL)

    def test_named(self) -> None:
        """One that asks for a layer, or runs an algorithm with it, gets that."""
        self.assertEqual(self.seen("layer"), "cities")
        self.assertEqual(self.opened_(), "cities,disputed borders")
        self.assertEqual(self.seen("run"), "1")
        self.assertEqual(self.opened_(), "cities,disputed borders")

    def test_expression(self) -> None:
        """One whose expressions name a layer finds it, which Python can't see."""
        self.assertGreater(float(self.seen("expression")), 0)

    def test_undone(self) -> None:
        """Also if the algorithm fails."""
        original = vars(QgsProject)["instance"]
        partial = project.load(WORLD, [])
        algorithm = QgsApplication.processingRegistry().createAlgorithmById(
            "script:looks"
        )
        with (
            self.assertRaises(ZeroDivisionError),
            lazyproject.opening(partial, algorithm),
        ):
            self.assertIsNot(vars(QgsProject)["instance"], original)
            raise ZeroDivisionError
        self.assertIs(vars(QgsProject)["instance"], original)

    def test_confined(self) -> None:
        """QGIS's own algorithms are not watched."""
        original = vars(QgsProject)["instance"]
        partial = project.load(WORLD, [])
        for processId in ("native:buffer", "gdal:warpreproject"):
            algorithm = QgsApplication.processingRegistry().createAlgorithmById(
                processId
            )
            with lazyproject.opening(partial, algorithm):
                self.assertIs(vars(QgsProject)["instance"], original)
