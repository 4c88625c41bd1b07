"""The catalogue of the QGIS that is here."""

from __future__ import annotations

import unittest

import attrs
from qgis.core import QgsApplication

from qgswps import codec
from qgswps.model import Catalogue, LayerType, LiteralType, ProcessDescription
from qgswps.worker import catalogue, parameters, plugins
from tests.worker.qgisside import support


class CatalogueTests(unittest.TestCase):
    """What is published, and what is said of the rest."""

    catalogue: Catalogue
    processes: dict[str, ProcessDescription]

    @classmethod
    def setUpClass(cls) -> None:
        cls.catalogue = catalogue.build(support.settings)
        cls.processes = {each.identifier: each for each in cls.catalogue.processes}

    def test_everyAlgorithmIsAccountedFor(self) -> None:
        """Each algorithm of the toolbox is described, or named with a reason."""
        omitted = {each.name: each.reason for each in self.catalogue.omitted}
        for algorithm in QgsApplication.processingRegistry().algorithms():
            published = algorithm.id() in self.processes
            exposed = plugins.isExposed(algorithm.provider().id())
            if not exposed or not catalogue.isPublished(algorithm):
                self.assertFalse(published, algorithm.id())
            elif not published:
                self.assertTrue(omitted.get(algorithm.id()), algorithm.id())
        self.assertEqual(len(self.processes), len(self.catalogue.processes))

    def test_enoughIsPublished(self) -> None:
        """Most of what QGIS 3.22 has; newer ones have more."""
        count = dict.fromkeys(("native", "qgis", "gdal", "script"), 0)
        for identifier in self.processes:
            provider = identifier.split(":")[0]
            count[provider] = count.get(provider, 0) + 1
        self.assertGreaterEqual(count["native"], 160)
        self.assertGreaterEqual(count["qgis"], 30)
        self.assertGreaterEqual(count["gdal"], 40)
        self.assertGreaterEqual(count["script"], 3)

    def test_everyParameterIsAccountedFor(self) -> None:
        """Each parameter is an input, hidden, or named with a reason."""
        omitted = {each.name for each in self.catalogue.omitted}
        for identifier, process in self.processes.items():
            algorithm = QgsApplication.processingRegistry().algorithmById(identifier)
            for param in algorithm.parameterDefinitions():
                name = f"{identifier} {param.name()}"
                known = process.input(param.name()) is not None or name in omitted
                self.assertIs(known, not parameters.isHidden(param), name)
            for output in algorithm.outputDefinitions():
                name = f"{identifier} {output.name()}"
                known = process.output(output.name()) is not None or name in omitted
                self.assertTrue(known, name)

    def test_descriptionsAreSound(self) -> None:
        """Titles, outputs, occurrences, and defaults among the allowed values."""
        for process in self.catalogue.processes:
            self.assertTrue(process.title, process.identifier)
            self.assertTrue(process.outputs, process.identifier)
            for each in process.inputs:
                where = f"{process.identifier} {each.identifier}"
                self.assertTrue(each.title, where)
                self.assertIn(each.minOccurs, (0, 1), where)
                self.assertGreaterEqual(each.maxOccurs, 1, where)
                if isinstance(each.data, LayerType):
                    self.assertTrue(each.data.formats, where)
                if isinstance(each.data, LiteralType) and each.data.allowed:
                    self.assertIn(each.data.default, (None, *each.data.allowed), where)

    def test_buffer(self) -> None:
        """One description, as clients know it."""
        buffer = self.processes["native:buffer"]
        self.assertEqual(buffer.title, "Buffer")
        self.assertEqual(
            [each.identifier for each in buffer.inputs][:3],
            ["INPUT", "DISTANCE", "SEGMENTS"],
        )
        style = buffer.input("END_CAP_STYLE")
        assert style is not None
        self.assertEqual(
            style.data, LiteralType("string", "Round", ("Round", "Flat", "Square"))
        )
        output = buffer.output("OUTPUT")
        assert output is not None and isinstance(output.data, LayerType)
        self.assertEqual(output.data.kinds, ("polygon",))
        self.assertEqual(output.data.formats[0], support.GEOJSON)

    def test_script(self) -> None:
        """Plain text from HTML, no hidden parameter, each kind of output."""
        process = self.processes["script:outputs"]
        self.assertEqual(process.abstract, "All kinds of output & more.\none")
        self.assertIsNone(process.input("HIDDEN"))
        kinds = {o.identifier: type(o.data).__name__ for o in process.outputs}
        self.assertEqual(kinds["INTEGER"], "LiteralType")
        self.assertEqual(kinds["HTML"], "ComplexType")
        self.assertEqual(kinds["SAME"], "LayerType")

    def test_badAlgorithmIsNamed(self) -> None:
        """One that fails while it is described is left out alone."""
        self.assertNotIn("script:undescribed", self.processes)
        reasons = {each.name: each.reason for each in self.catalogue.omitted}
        self.assertIn("help", reasons["script:undescribed"])

    def test_exposedProviders(self) -> None:
        """Only what is to be published is."""
        settings = attrs.evolve(support.settings, exposedProviders=("script",))
        providers = {
            each.identifier.split(":")[0]
            for each in catalogue.build(settings).processes
        }
        self.assertEqual(providers, {"script"})

    def test_asFile(self) -> None:
        """It goes through the codec unchanged."""
        again = codec.loads(Catalogue, codec.dumps(self.catalogue))
        self.assertEqual(again, self.catalogue)

    def test_plainText(self) -> None:
        """HTML becomes text; what is none stays."""
        for html, text in (
            ("plain a < b", "plain a < b"),
            ("  a\nb ", "a\nb"),
            ("<html><head><style>p {}</style></head><p>a  b<br>c</p></html>", "a b\nc"),
            ("a&nbsp;&lt;b&gt;", "a <b>"),
            ("</style>x", "x"),
        ):
            self.assertEqual(catalogue.plainText(html), text)
