"""The catalogue of the QGIS that is here."""

from __future__ import annotations

import unittest
from collections import Counter
from collections.abc import Iterator
from typing import Any

import attrs
from qgis.core import (
    QgsApplication,
    QgsProcessingAlgorithm,
    QgsProcessingParameterDefinition,
)

from qgswps import codec
from qgswps.model import (
    Catalogue,
    ComplexType,
    DataType,
    LayerType,
    LiteralType,
    ProcessDescription,
)
from qgswps.worker import catalogue, compat, parameters, plugins
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
                if isinstance(each.data, LayerType) and each.data.kinds != (
                    "vectortile",
                ):
                    self.assertTrue(each.data.formats, where)
                if isinstance(each.data, LiteralType) and each.data.allowed:
                    self.assertIn(each.data.default, (None, *each.data.allowed), where)

    def ofQgis(self) -> Iterator[tuple[Any, ProcessDescription]]:
        """The published algorithms of QGIS itself, with their descriptions."""
        for identifier, process in self.processes.items():
            if identifier.partition(":")[0] in ("3d", "gdal", "native", "qgis"):
                registry = QgsApplication.processingRegistry()
                yield registry.algorithmById(identifier), process

    def test_occurrences(self) -> None:
        """What QGIS has a default for, or does not need, need not be given."""
        taken: Counter[str] = Counter()
        for algorithm, process in self.ofQgis():
            for param in algorithm.parameterDefinitions():
                told = process.input(param.name())
                if told is None:
                    continue
                where = f"{process.identifier} {param.name()}"
                optional = compat.isSet(param.flags(), compat.PARAMETER_OPTIONAL)
                value = parameters.default(param)
                if optional or param.isDestination():
                    self.assertEqual(told.minOccurs, 0, where)
                elif param.type() == "file" or value in (None, []):
                    # A default file would be one of the server.
                    self.assertGreaterEqual(told.minOccurs, 1, where)
                else:
                    self.assertEqual(told.minOccurs, 0, where)
                    taken[param.type()] += self.isTold(told.data)
        for type_, least in (("number", 200), ("enum", 50), ("boolean", 50)):
            self.assertGreater(taken[type_], least, type_)

    def isTold(self, data: DataType) -> bool:
        """Whether a default is published."""
        several = isinstance(data, LiteralType) and bool(data.defaults)
        return several or data.default is not None

    def test_defaultsAreTold(self) -> None:
        """Numbers, enums, booleans and texts have theirs in the description."""
        for algorithm, process in self.ofQgis():
            for param in algorithm.parameterDefinitions():
                told = process.input(param.name())
                value = parameters.default(param)
                kind = param.type()
                if told is None or value in (None, "", []):
                    continue
                if kind in ("number", "distance", "enum", "boolean", "string", "crs"):
                    where = f"{process.identifier} {param.name()} {value!r}"
                    self.assertTrue(self.isTold(told.data), where)

    def test_flags(self) -> None:
        """Flags, help and parents are metadata of the names that clients know."""
        seen: Counter[str] = Counter()
        flags = (
            (compat.ALGORITHM_DEPRECATED, "processing:deprecated"),
            (compat.ALGORITHM_REQUIRES_PROJECT, "processing:requiresProject"),
            (compat.ALGORITHM_NO_THREADING, "processing:noThreading"),
        )
        parent = "processing:parentLayerParameterName"
        for algorithm, process in self.ofQgis():
            facts = {each.title: each.value for each in process.metadata}
            for flag, title in flags:
                isSet = compat.isSet(algorithm.flags(), flag)
                self.assertEqual(title in facts, isSet, (process.identifier, title))
                seen[title] += isSet
            self.assertEqual(facts.get("processing:helpUrl", ""), algorithm.helpUrl())
            for param in algorithm.parameterDefinitions():
                told = process.input(param.name())
                if told is None:
                    continue
                facts = {each.title: each.value for each in told.metadata}
                self.assertEqual(facts["processing:type"], param.type())
                isAdvanced = compat.isSet(param.flags(), compat.PARAMETER_ADVANCED)
                self.assertEqual("processing:advanced" in facts, isAdvanced)
                seen["processing:advanced"] += isAdvanced
                if hasattr(param, "parentLayerParameterName"):
                    name = param.parentLayerParameterName()
                    self.assertEqual(facts.get(parent, ""), name, process.identifier)
                    seen[parent] += bool(name)
        facts = {e.title: e.value for e in self.processes["script:picky"].metadata}
        self.assertEqual(facts["processing:helpUrl"], "http://example.org/a b?c=<d>")
        for title in ("processing:advanced", parent):
            self.assertGreater(seen[title], 10, title)
        self.assertGreater(seen["processing:requiresProject"], 0)
        self.assertGreater(seen["processing:noThreading"], 0)

    def test_notShown(self) -> None:
        """What QGIS hides, and what needs the desktop, is not published."""
        hiddenFlag = int(QgsProcessingParameterDefinition.FlagHidden)
        hidden, desktop = [], []
        for algorithm in QgsApplication.processingRegistry().algorithms():
            if algorithm.provider().id() not in ("3d", "gdal", "native", "qgis"):
                continue
            flags = int(algorithm.flags())
            if flags & int(QgsProcessingAlgorithm.FlagHideFromToolbox):
                hidden.append(algorithm.id())
            elif flags & int(QgsProcessingAlgorithm.FlagNotAvailableInStandaloneTool):
                desktop.append(algorithm.id())
        self.assertGreater(len(hidden), 5)
        self.assertGreaterEqual(len(desktop), 9)
        self.assertEqual({*hidden, *desktop} & set(self.processes), set())
        for algorithm, process in self.ofQgis():
            for param in algorithm.parameterDefinitions():
                if int(param.flags()) & hiddenFlag:
                    self.assertIsNone(process.input(param.name()), process.identifier)

    def test_reports(self) -> None:
        """Algorithms without an output have one: the report of the run."""
        without = [
            process
            for algorithm, process in self.ofQgis()
            if not algorithm.outputDefinitions()
        ]
        self.assertGreaterEqual(len(without), 9)
        for process in without:
            (output,) = process.outputs
            assert isinstance(output.data, ComplexType)
            self.assertEqual(output.data.formats[0].mimeType, "application/json")

    def test_geoJson(self) -> None:
        """Both names of GeoJSON, of each vector input and output."""
        both = {"application/geo+json", "application/vnd.geo+json"}
        count = 0
        for _, process in self.ofQgis():
            for data in (
                *(each.data for each in process.inputs),
                *(each.data for each in process.outputs),
            ):
                vectors = {"vector", "point", "line", "polygon", "nogeometry"}
                if isinstance(data, LayerType) and vectors & set(data.kinds):
                    named = {form.mimeType for form in data.formats}
                    self.assertLessEqual(both, named, process.identifier)
                    count += 1
        self.assertGreater(count, 300)

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
