"""Tests of L{qgswps.ows.context}."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from qgswps.model import (
    Format,
    InputDescription,
    LayerSummary,
    LayerType,
    LiteralType,
    Metadata,
    OutputDescription,
    ProcessDescription,
    ProjectSummary,
)
from qgswps.ows.context import fits, fittingLayers, inProject
from qgswps.ows.wps100.documents import processDescriptions
from tests.schemas import assertValid

GEOJSON = Format("application/geo+json")


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
            labels = [
                label for label, _ in fittingLayers(LayerType(kinds, ()), PROJECT)
            ]
            self.assertEqual("|".join(labels), expected, kinds)
        every = [label for label, _ in fittingLayers(LayerType((), ()), PROJECT)]
        self.assertEqual(len(every), 11)
        self.assertEqual(len(set(every)), 11)

    def test_fits(self) -> None:
        """A layer of unknown geometry is no point layer."""
        self.assertFalse(fits(("point",), "vector"))
        self.assertTrue(fits(("vector",), "vector"))
        self.assertFalse(fits(("vector",), "raster"))


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
        after = inProject(before, PROJECT)
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
            data = inProject(description, PROJECT).inputs[0].data
            assert isinstance(data, LiteralType)
            self.assertEqual(data.default, expected, default)

    def test_none(self) -> None:
        """Where no layer fits there is nothing to choose, and no fault."""
        after = inProject(self.describe("pointcloud"), PROJECT)
        self.assertEqual(after.inputs[0].data, LiteralType())
        assertValid(self, processDescriptions([after]), "ProcessDescriptions")

    def test_untouched(self) -> None:
        """A process without layers is the same with a project."""
        description = ProcessDescription("a:b", "A")
        self.assertIs(inProject(description, PROJECT), description)
