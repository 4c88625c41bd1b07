"""Tests of L{qgswps.codec}."""

from __future__ import annotations

import json
import os
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from qgswps import codec, model
from qgswps.errors import Fault
from qgswps.model import (
    BoundingBoxType,
    BoundingBoxValue,
    Catalogue,
    ComplexType,
    ComplexValue,
    ExecuteRequest,
    FileValue,
    Format,
    Input,
    InputDescription,
    LayerType,
    LiteralType,
    LiteralValue,
    Omission,
    OutputDescription,
    OutputRequest,
    ProcessDescription,
    Range,
    ReferenceValue,
    Result,
    Task,
    WorkerSettings,
)
from tests.jobs.storesuite import FULL

JSON = Format("application/json", "UTF-8", "https://example.org/schema")

#: One value of each member of each union.
DATA_TYPES: tuple[model.DataType, ...] = (
    LiteralType("float", "1", ("1", "2"), (Range("0"), Range("1", "2")), ("m", "ft")),
    ComplexType((JSON,), 5),
    BoundingBoxType(("EPSG:4326", "EPSG:3857"), (1.0, 2.0, 3.5, 4.0)),
    LayerType(("vector",), (JSON,), "France"),
)
INPUT_VALUES: tuple[model.InputValue, ...] = (
    LiteralValue("1 < 2", "string", "m"),
    ComplexValue("<a/>", JSON),
    ReferenceValue("https://x", JSON, "POST", (("A", "b"),), "body", None),
    BoundingBoxValue((1.0, 2.0), (3.0, 4.0), "urn:ogc:def:crs:EPSG::4326"),
    FileValue("inputs/ä.json", JSON, "Ä"),
)
PROCESS = ProcessDescription(
    "p:q",
    "Ä process",
    inputs=tuple(
        InputDescription(f"IN{n}", "in", data, minOccurs=0, maxOccurs=3)
        for n, data in enumerate(DATA_TYPES)
    ),
    outputs=tuple(OutputDescription(type(d).__name__, "out", d) for d in DATA_TYPES),
    metadata=(model.Metadata("processing:a", "b"),),
)
REQUEST = ExecuteRequest(
    "p:q",
    tuple(Input(f"IN{n}", value) for n, value in enumerate(INPUT_VALUES)),
    (OutputRequest("OUT", JSON, asReference=True),),
    map="m",
    timeout=5,
)


class CodecTests(SynchronousTestCase):
    """Values as JSON."""

    def test_roundTrip(self) -> None:
        """What is written is read again, and is JSON in between."""
        outputs: dict[str, model.OutputData] = {
            type(value).__name__: value
            for value in INPUT_VALUES
            if isinstance(value, LiteralValue | BoundingBoxValue | FileValue)
        }
        outputs["LayerValue"] = model.LayerValue(
            "ä", Format("application/x-ogc-wms"), "t"
        )
        values: list[Any] = [
            PROCESS,
            REQUEST,
            FULL,
            Task(REQUEST, "/path"),
            Result(
                outputs,
                (Fault("NoApplicableCode", "ü"),),
                (model.ResultLayer("OUTPUT", "ä", "point", "outputs/a.gpkg"),),
                5,
            ),
            Result(),
            model.Catalogue((PROCESS,), (model.Omission("a", "b"),)),
            model.ProjectSummary(
                "t",
                "EPSG:1",
                (
                    model.LayerSummary(
                        "i", "n", "point", fields=(model.FieldSummary("a"),)
                    ),
                ),
            ),
            WorkerSettings("/c", "/p", ("a", "b"), qgisSettings={"k": "v"}),
        ]
        for value in values:
            data = codec.dumps(value)
            self.assertEqual(codec.loads(type(value), data), value)
            self.assertIsInstance(json.loads(data), dict)

    def test_everyMember(self) -> None:
        """The values above have each member of each union."""
        for union, values in [
            (model.DataType, DATA_TYPES),
            (model.InputValue, INPUT_VALUES),
        ]:
            self.assertEqual({type(v) for v in values}, set(union.__args__))

    def test_small(self) -> None:
        """Defaults are not written, what a union holds is named."""
        written = json.loads(codec.dumps(Input("a", LiteralValue("1"))))
        expected = {"identifier": "a", "value": {"is": "LiteralValue", "value": "1"}}
        self.assertEqual(written, expected)

    def test_wrong(self) -> None:
        """What is no value is refused."""
        for text, error in [
            ("", ValueError),
            ("{}", BaseExceptionGroup),
            ('{"identifier": "a", "value": {"is": "Job"}}', BaseExceptionGroup),
        ]:
            self.assertRaises(error, codec.loads, Input, text)

    def test_files(self) -> None:
        """A file is written as a whole, in place of one that was there."""
        folder = self.mktemp()
        os.mkdir(folder)
        path = os.path.join(folder, "task.json")
        for request in (REQUEST, ExecuteRequest("other")):
            codec.write(path, request)
            self.assertEqual(codec.read(path, ExecuteRequest), request)
            self.assertEqual(os.listdir(folder), ["task.json"])

    def test_unwritable(self) -> None:
        """What can't be written leaves what was there, and nothing else."""
        folder = self.mktemp()
        os.mkdir(folder)
        path = os.path.join(folder, "task.json")
        codec.write(path, REQUEST)
        self.assertRaises(TypeError, codec.write, path, object())
        os.mkdir(os.path.join(folder, "taken"))
        taken = os.path.join(folder, "taken")
        self.assertRaises(OSError, codec.write, taken, REQUEST)
        self.assertEqual(codec.read(path, ExecuteRequest), REQUEST)
        self.assertEqual(sorted(os.listdir(folder)), ["taken", "task.json"])


class CatalogueTests(SynchronousTestCase):
    """L{codec.writeCatalogue} and L{codec.readCatalogue}"""

    def test_roundTrip(self) -> None:
        """What is written is read, and what is equal in it is one."""
        text = LiteralType(allowed=("a", "b"))
        processes = tuple(
            ProcessDescription(
                f"test:{n}",
                f"Über\n{n}",
                inputs=(InputDescription("TEXT", "Text", text, minOccurs=n),),
            )
            for n in range(2)
        )
        catalogue = Catalogue(processes, (Omission("x", "it is\nbroken"),))
        path = self.mktemp()
        codec.writeCatalogue(path, catalogue)
        read = codec.readCatalogue(path)
        self.assertEqual(read, catalogue)
        first, second = (process.inputs[0] for process in read.processes)
        self.assertIs(first.data, second.data)
        # What is equal to Python is not the same number or word here.
        self.assertEqual([first.minOccurs, second.minOccurs], [0, 1])
