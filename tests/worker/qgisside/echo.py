"""The process that gives back what it is given."""

from __future__ import annotations

import base64
import os
import threading
import time

import attrs

from qgswps import codec
from qgswps.jobfiles import TASK
from qgswps.model import (
    BoundingBoxValue,
    ExecuteRequest,
    FileValue,
    Format,
    Input,
    LiteralValue,
    OutputRequest,
    ReferenceValue,
    Task,
)
from qgswps.worker import catalogue, echo, runner
from qgswps.worker.feedback import Feedback
from tests.worker.qgisside import support
from tests.worker.qgisside.support import JobCase, data, literal

PNG = b"\x89PNG\r\n\x1a\n\0\xff"


class EchoTests(JobCase):
    """L{echo}, through L{runner.run}"""

    def test_isSwitched(self) -> None:
        """It is published only if the settings say so."""
        for isOn in (False, True):
            settings = attrs.evolve(
                support.settings, exposedProviders=("script",), echo=isOn
            )
            published = [p.identifier for p in catalogue.build(settings).processes]
            self.assertEqual("echo" in published, isOn)
            self.assertEqual(published, sorted(published))

    def test_description(self) -> None:
        """Each output is of the same kind as the input of its name."""
        for output in echo.DESCRIPTION.outputs:
            given = echo.DESCRIPTION.input(output.identifier)
            assert given is not None
            self.assertEqual(given.data, output.data)
            self.assertEqual(given.minOccurs, 0)

    def test_values(self) -> None:
        """Literals and a box come back as they were."""
        box = BoundingBoxValue((1.5, -2), (3, 4), "urn:ogc:def:crs:EPSG::4326")
        result = self.run_("echo", literal("literal", " ä "), Input("boundingBox", box))
        self.assertEqual(result.faults, ())
        expected = {"literal": LiteralValue(" ä ", "string"), "boundingBox": box}
        self.assertEqual(result.outputs, expected)

    def test_nothing(self) -> None:
        """Nothing is given back where nothing was given."""
        self.assertEqual(self.run_("echo").outputs, {})
        wanted = (OutputRequest("literal"),)
        self.assertEqual(self.run_("echo", outputs=wanted).outputs, {})

    def test_wanted(self) -> None:
        """Only what is asked for is made."""
        given = (literal("literal", "a"), data("complex", "b", "text/plain"))
        result = self.run_("echo", *given, outputs=(OutputRequest("literal"),))
        self.assertEqual(set(result.outputs), {"literal"})

    def test_quantity(self) -> None:
        """A number comes in the unit that is asked for."""
        for value, wanted, expected in (
            (LiteralValue("1.5"), None, LiteralValue("1.5", "float", "m")),
            (LiteralValue("2", uom="km"), None, LiteralValue("2", "float", "km")),
            (LiteralValue("2", uom="km"), "m", LiteralValue("2000", "float", "m")),
        ):
            outputs = (OutputRequest("quantity", uom=wanted),)
            result = self.run_("echo", Input("quantity", value), outputs=outputs)
            self.assertEqual(result.outputs, {"quantity": expected})

    def test_data(self) -> None:
        """Data of each format, as text and in base64."""
        for mimeType, content in (
            ("text/xml", "<a>ä</a>".encode()),
            ("application/json", b'{"a": 1}'),
            ("text/plain", b"a\r\nb"),
            ("image/png", PNG),
        ):
            encoded = base64.b64encode(content).decode()
            given = [data("complex", encoded, mimeType, "base64")]
            if content != PNG:
                given.append(data("complex", content.decode(), mimeType))
            for each in given:
                result = self.run_("echo", each)
                self.assertEqual(self.file(result, "complex").read_bytes(), content)
                made = result.outputs["complex"]
                assert isinstance(made, FileValue)
                self.assertEqual(made.format.mimeType, mimeType)

    def test_fetched(self) -> None:
        """Data that was sent by reference, of a media type with parameters."""
        os.mkdir(os.path.join(self.directory, "inputs"))
        with open(os.path.join(self.directory, "inputs", "x"), "wb") as sent:
            sent.write(PNG)
        for mimeType in ("image/png", "Image/PNG; a=b"):
            file = FileValue("inputs/x", Format(mimeType))
            value = ReferenceValue("http://h/", Format(""), file=file)
            request = ExecuteRequest("echo", (Input("complex", value),))
            codec.write(f"{self.directory}/{TASK}", Task(request))
            result = runner.run(self.directory, Feedback(lambda *report: None))
            self.assertEqual(self.file(result, "complex").read_bytes(), PNG)

    def test_faults(self) -> None:
        """What can't be given back."""
        wanted = (OutputRequest("complex", Format("application/json")),)
        for each, outputs, text in (
            (data("complex", "<a/>", "text/xml"), wanted, "not as application/json"),
            (data("complex", "!", "image/png", "base64"), (), "not valid base64"),
            (data("complex", "a", "text/csv"), (), "'text/csv', which is not offered"),
            (literal("complex", "a"), (), "of another kind"),
        ):
            result = self.run_("echo", each, outputs=outputs)
            self.assertIn(text, self.fault(result, "InvalidParameterValue", "complex"))

    def test_pause(self) -> None:
        """It waits, and tells how far it is."""
        begin = time.monotonic()
        result = self.run_("echo", literal("pause", 0.5), literal("literal", "a"))
        self.assertGreaterEqual(time.monotonic() - begin, 0.5)
        self.assertEqual(set(result.outputs), {"literal"})
        percents = [percent for percent, _ in self.reports if percent is not None]
        self.assertGreater(len(percents), 2)
        self.assertIn("Waiting for 0.5 s", [text for _, text in self.reports])

    def test_cancelled(self) -> None:
        """The pause can be ended."""
        request = ExecuteRequest("echo", (literal("pause", 60),))
        codec.write(f"{self.directory}/{TASK}", Task(request))
        feedback = Feedback(lambda *report: None)
        timer = threading.Timer(0.1, feedback.cancel)
        timer.start()
        self.addCleanup(timer.join)
        result = runner.run(self.directory, feedback)
        self.assertIn("cancelled", self.fault(result, "NoApplicableCode"))
