"""Tests of L{qgswps.ows.context}."""

from __future__ import annotations

import attrs
from twisted.trial.unittest import SynchronousTestCase

from qgswps.model import (
    BoundingBoxType,
    ComplexType,
    FieldSummary,
    Format,
    InputDescription,
    LayerSummary,
    LayerType,
    LiteralType,
    Metadata,
    OutputDescription,
    ProcessDescription,
    ProjectPart,
    ProjectSummary,
    Range,
    fits,
)
from qgswps.ows.context import Context
from qgswps.ows.wps100.documents import processDescriptions
from tests.schemas import assertValid

GEOJSON = Format("application/geo+json")
GML = Format("text/xml; subtype=gml/3.1.1")


def layer(id: str, name: str, kind: str, valid: bool = True) -> LayerSummary:
    return LayerSummary(id, name, kind, valid=valid)


PROJECT = ProjectSummary(
    "A project",
    "EPSG:3857",
    (
        layer("p1", "Towns", "point"),
        layer("p2", "Sites & <more>", "point"),
        layer("l1", "Roads", "line"),
        layer("g1", "Lakes", "polygon"),
        layer("n1", "Names", "nogeometry"),
        layer("r1", "Relief", "raster"),
        layer("m1", "Mesh", "mesh"),
        layer("l2", "Twin", "line"),
        layer("r2", "Twin", "raster"),
        layer("x1", "Broken", "point", valid=False),
        layer("Relief", "Odd", "vectortile"),
        layer("e1", "", "annotation"),
    ),
)


class FitsTests(SynchronousTestCase):
    """Which layers an input takes."""

    def test_kinds(self) -> None:
        """C{vector} means all vector layers, no kinds mean any layer."""
        for kinds, expected in [
            (("point",), "Towns|Sites & <more>"),
            (("line",), "Roads|l2"),
            (("point", "polygon"), "Towns|Sites & <more>|Lakes"),
            (("vector",), "Towns|Sites & <more>|Roads|Lakes|Names|l2"),
            (("nogeometry",), "Names"),
            (("raster",), "r1|r2"),
            (("vector", "mesh"), "Towns|Sites & <more>|Roads|Lakes|Names|Mesh|l2"),
            (("pointcloud",), ""),
        ]:
            labels = [label for label, _ in Context(PROJECT).fitting(kinds)]
            self.assertEqual("|".join(labels), expected, kinds)
        every = [label for label, _ in Context(PROJECT).fitting(())]
        self.assertEqual(len(every), 11)
        self.assertEqual(len(set(every)), 11)

    def test_fits(self) -> None:
        """A layer of mixed geometries may have points; a table has none."""
        for kinds, kind, expected in (
            (("point",), "vector", True),
            (("raster", "line"), "vector", True),
            (("nogeometry",), "vector", False),
            (("raster",), "vector", False),
            (("vector",), "vector", True),
            (("vector",), "nogeometry", True),
            (("point", "line", "polygon"), "nogeometry", False),
            (("vector",), "raster", False),
            (("line",), "point", False),
            ((), "raster", True),
        ):
            self.assertIs(fits(kinds, kind), expected, (kinds, kind))


class InProjectTests(SynchronousTestCase):
    """Descriptions with a project."""

    def describe(self, *kinds: str, default: str | None = None) -> ProcessDescription:
        return ProcessDescription(
            "a:b",
            "A",
            inputs=(
                InputDescription(
                    "INPUT",
                    "Input",
                    LayerType(kinds, (GEOJSON,), default),
                    abstract="About it",
                    minOccurs=0,
                    maxOccurs=3,
                    metadata=(Metadata("processing:type", "source"),),
                ),
                InputDescription("N", "Number", LiteralType("integer")),
            ),
            outputs=(OutputDescription("O", "Out", LayerType((), (GEOJSON,))),),
        )

    def test_literal(self) -> None:
        """A layer input is a literal with the names; all else stays."""
        before = self.describe("polygon", "raster")
        after = Context(PROJECT).inProject(before)
        item = after.input("INPUT")
        assert item is not None
        self.assertEqual(item.data, LiteralType(allowed=("Lakes", "r1", "r2")))
        self.assertEqual(item.metadata, before.inputs[0].metadata)
        self.assertEqual((item.minOccurs, item.maxOccurs), (0, 3))
        self.assertEqual(after.inputs[1], before.inputs[1])
        self.assertEqual(after.outputs, before.outputs)
        assertValid(self, processDescriptions([after]), "ProcessDescriptions")

    def test_default(self) -> None:
        """A default is shown by the name that is shown, if it fits."""
        for default, expected in [
            ("Lakes", "Lakes"),
            ("g1", "Lakes"),
            ("r2", "r2"),
            ("Roads", None),
            ("", None),
            (None, None),
        ]:
            description = self.describe("polygon", "raster", default=default)
            data = Context(PROJECT).inProject(description).inputs[0].data
            assert isinstance(data, LiteralType)
            self.assertEqual(data.default, expected, default)

    def test_none(self) -> None:
        """Where no layer fits there is nothing to choose, and no fault."""
        after = Context(PROJECT).inProject(self.describe("pointcloud"))
        self.assertEqual(after.inputs[0].data, LiteralType())
        assertValid(self, processDescriptions([after]), "ProcessDescriptions")

    def test_untouched(self) -> None:
        """A process without layers is the same with a project."""
        description = ProcessDescription(
            "a:b", "A", inputs=(InputDescription("N", "N", LiteralType("integer")),)
        )
        self.assertEqual(Context(PROJECT).inProject(description), description)

    def test_services(self) -> None:
        """Layers that are made are shown by services unless asked otherwise."""
        wms, wfs = Format("application/x-ogc-wms"), Format("application/x-ogc-wfs")
        description = ProcessDescription(
            "a:b",
            "A",
            outputs=(
                OutputDescription("L", "L", LayerType((), (GEOJSON, GML, wms, wfs))),
                OutputDescription("D", "D", LayerType((), (GEOJSON, GML))),
                OutputDescription("F", "F", ComplexType((GEOJSON, wms))),
            ),
        )
        layer, data, file = Context(PROJECT).inProject(description).outputs
        assert isinstance(layer.data, LayerType)
        self.assertEqual(layer.data.formats, (wms, wfs, GEOJSON, GML))
        self.assertEqual((data, file), description.outputs[1:])


class ExtentTests(SynchronousTestCase):
    """The CRS of extents."""

    def test_crs(self) -> None:
        """That of the project comes first, and a default stays with its own."""
        box = (0.0, 0.0, 1.0, 1.0)
        for given, crs, expected in [
            (
                BoundingBoxType(("EPSG:4326", "EPSG:2154"), box),
                "EPSG:3857",
                BoundingBoxType(("EPSG:3857", "EPSG:4326", "EPSG:2154")),
            ),
            (
                BoundingBoxType(("EPSG:4326", "EPSG:3857"), box),
                "EPSG:3857",
                BoundingBoxType(("EPSG:3857", "EPSG:4326")),
            ),
            (
                BoundingBoxType(("EPSG:3857", "EPSG:4326"), box),
                "EPSG:3857",
                BoundingBoxType(("EPSG:3857", "EPSG:4326"), box),
            ),
            (
                BoundingBoxType(("EPSG:4326",), box),
                "",
                BoundingBoxType(("EPSG:4326",), box),
            ),
        ]:
            summary = ProjectSummary("", crs, ())
            process = ProcessDescription(
                "a:b", "A", inputs=(InputDescription("E", "E", given),)
            )
            described = Context(summary).inProject(process)
            self.assertEqual(described.inputs[0].data, expected)


class PartTests(SynchronousTestCase):
    """Fields, bands, layouts and themes."""

    project = ProjectSummary(
        "",
        "EPSG:4326",
        (
            LayerSummary(
                "a",
                "A",
                "point",
                fields=(FieldSummary("id", "numeric"), FieldSummary("name", "string")),
            ),
            LayerSummary(
                "b",
                "B",
                "line",
                fields=(
                    FieldSummary("size", "numeric"),
                    FieldSummary("id", "string"),
                    FieldSummary("odd"),
                ),
            ),
            LayerSummary(
                "c", "C", "line", valid=False, fields=(FieldSummary("c", "numeric"),)
            ),
            LayerSummary("r", "R", "raster", bands=3),
            LayerSummary("s", "S", "raster", bands=1),
            LayerSummary("m", "M", "mesh", groups=("Depth", "Flow/x")),
            LayerSummary("n", "N", "mesh", groups=("Bed", "Depth")),
        ),
        layouts=("Map", "Atlas"),
        themes=("Night",),
    )

    def part(
        self,
        kind: str,
        kinds: tuple[str, ...] = (),
        fieldType: str | None = None,
        default: str | None = None,
        layer: str | None = None,
        dataType: str = "string",
        project: ProjectSummary | None = None,
    ) -> LiteralType:
        """Such an input, of a parent that takes such layers."""
        process = ProcessDescription(
            "a:b",
            "A",
            inputs=(
                InputDescription("L", "L", LayerType(kinds, (GEOJSON,), layer)),
                InputDescription(
                    "P",
                    "P",
                    LiteralType(
                        dataType,
                        default,
                        # As numbers of bands are without a project.
                        ranges=(Range("1"),) if kind == "band" else (),
                        part=ProjectPart(kind, "L", fieldType),
                    ),
                ),
            ),
            outputs=(OutputDescription("O", "O", LiteralType()),),
        )
        described = Context(project or self.project).inProject(process)
        assertValid(self, processDescriptions([described]), "ProcessDescriptions")
        data = described.inputs[1].data
        assert isinstance(data, LiteralType)
        return data

    def test_fields(self) -> None:
        """The fields of the layers that fit, each once, in order."""
        for kinds, fieldType, layer, expected in [
            (("vector",), None, None, "id name size odd"),
            ((), None, None, "id name size odd"),
            (("vector",), None, "B", "size id odd name"),
            (("vector",), None, "b", "size id odd name"),
            (("vector",), None, "C", "id name size odd"),
            (("vector",), "numeric", None, "id size"),
            (("vector",), "string", None, "name id"),
            (("line",), "string", None, "id"),
            (("vector",), "binary", None, ""),
            (("raster",), None, None, ""),
            (("polygon",), None, None, ""),
        ]:
            data = self.part("field", kinds, fieldType, layer=layer)
            self.assertEqual(" ".join(data.allowed), expected)

    def test_default(self) -> None:
        """A default that is not there to choose is none."""
        for kinds, default, expected in [
            (("point",), "name", "name"),
            (("point",), "size", None),
            (("polygon",), "size", "size"),
        ]:
            data = self.part("field", kinds, default=default)
            self.assertEqual(data.default, expected)

    def test_bands(self) -> None:
        """The numbers of the bands."""
        data = self.part("band", ("raster",), default="1", dataType="integer")
        self.assertEqual((data.allowed, data.default), (("1", "2", "3"), "1"))
        self.assertEqual(data.ranges, ())
        data = self.part("band", ("raster",), default="4", dataType="integer")
        self.assertEqual((data.allowed, data.default), (("1", "2", "3"), None))
        data = self.part("band", ("mesh",), default="4", dataType="integer")
        self.assertEqual(data.allowed, ())
        self.assertEqual((data.ranges, data.default), ((Range("1"),), "4"))

    def test_manyBands(self) -> None:
        """Of very many only the first and the last are named."""
        for bands, default, expected in [
            (256, "256", LiteralType("integer", "256", tuple(map(str, range(1, 257))))),
            (257, "257", LiteralType("integer", "257", ranges=(Range("1", "257"),))),
            (257, "258", LiteralType("integer", None, ranges=(Range("1", "257"),))),
        ]:
            layers = (LayerSummary("r", "R", "raster", bands=bands),)
            project = ProjectSummary("", "", layers)
            data = self.part(
                "band", default=default, dataType="integer", project=project
            )
            self.assertEqual(attrs.evolve(data, part=None), expected)

    def test_groups(self) -> None:
        """The groups of datasets of all meshes, each once."""
        data = self.part("group", ("mesh",))
        self.assertEqual(data.allowed, ("Depth", "Flow/x", "Bed"))
        self.assertEqual(self.part("group", ("raster",)).allowed, ())

    def test_layoutsAndThemes(self) -> None:
        """Those of the project; of none, any text."""
        self.assertEqual(self.part("layout").allowed, ("Map", "Atlas"))
        self.assertEqual(self.part("theme", default="Day").allowed, ("Night",))
        self.assertIsNone(self.part("theme", default="Day").default)
        bare = ProjectSummary("", "", ())
        for kind in ("layout", "theme"):
            self.assertEqual(self.part(kind, project=bare).allowed, ())

    def test_noParent(self) -> None:
        """What names no layer has nothing to choose from."""
        for parent in (None, "X", "P"):
            data = LiteralType(part=ProjectPart("field", parent))
            process = ProcessDescription(
                "a:b", "A", inputs=(InputDescription("P", "P", data),)
            )
            described = Context(self.project).inProject(process)
            self.assertEqual(described.inputs[0].data, data)
