"""OWSLib as Debian ships it: lists, describes and executes."""

from __future__ import annotations

import json
import os
import tempfile
import warnings
from typing import Any

from owslib.wps import (
    ComplexDataInput,
    WebProcessingService,
    WPSExecution,
    monitorExecution,
)
from twisted.trial import unittest

from tests import live, oracle

POINTS = {
    "type": "FeatureCollection",
    "features": [
        {
            "type": "Feature",
            "properties": {"name": name},
            "geometry": {"type": "Point", "coordinates": [x, 0.5]},
        }
        for name, x in (("west", -1.5), ("east", 1.5))
    ],
}


class OWSLibTests(unittest.TestCase):
    """A client of the field, in the way that its documentation shows."""

    def setUp(self) -> None:
        self.server = live.sharedServer()
        # OWSLib of Debian 12 leaves sockets to the garbage collector.
        warnings.simplefilter("ignore", ResourceWarning)
        self.wps = WebProcessingService(self.server.url + "ows/", version="1.0.0")

    def features(self, execution: WPSExecution) -> list[dict[str, Any]]:
        """The features of an execution's output, as a user would get them."""
        self.assertTrue(execution.isSucceded(), execution.errors)
        (output,) = execution.processOutputs
        self.assertEqual(output.identifier, "OUTPUT")
        if output.data:
            return oracle.features(output.data[0])
        with tempfile.TemporaryDirectory() as folder:
            path = os.path.join(folder, "output.geojson")
            execution.getOutput(path)
            with open(path) as file:
                return oracle.features(file.read())

    def assertBuffered(self, found: list[dict[str, Any]]) -> None:
        self.assertEqual(
            [each["properties"] for each in found], [{"name": "west"}, {"name": "east"}]
        )
        for each in found:
            self.assertIn(each["geometry"]["type"], ("Polygon", "MultiPolygon"))

    def inputs(self) -> list[tuple[str, object]]:
        layer = ComplexDataInput(json.dumps(POINTS), mimeType="application/geo+json")
        return [("INPUT", layer), ("DISTANCE", "0.25")]

    def test_lists(self) -> None:
        self.wps.getcapabilities()
        self.assertEqual(self.wps.identification.type, "WPS")
        self.assertIn("native:buffer", [each.identifier for each in self.wps.processes])

    def test_describes(self) -> None:
        process = self.wps.describeprocess("native:buffer")
        inputs = {each.identifier: each for each in process.dataInputs}
        self.assertEqual(inputs["INPUT"].minOccurs, 1)
        self.assertEqual(inputs["DISTANCE"].minOccurs, 0)
        self.assertIn("Round", inputs["END_CAP_STYLE"].allowedValues)
        formats = [each.mimeType for each in inputs["INPUT"].supportedValues]
        self.assertIn("application/geo+json", formats)
        self.assertEqual(
            [each.identifier for each in process.processOutputs], ["OUTPUT"]
        )

    def test_executesSynchronously(self) -> None:
        execution = self.wps.execute(
            "native:buffer", self.inputs(), output=[("OUTPUT", False)], mode="sync"
        )
        self.assertBuffered(self.features(execution))

    def test_executesAsynchronously(self) -> None:
        execution = self.wps.execute(
            "native:buffer", self.inputs(), output=[("OUTPUT", True)], mode="async"
        )
        monitorExecution(execution, sleepSecs=0.05)
        self.assertTrue(execution.isComplete())
        self.assertEqual(execution.percentCompleted, 100)
        self.assertBuffered(self.features(execution))

    def test_failure(self) -> None:
        """What goes wrong is an error that OWSLib can tell."""
        execution = self.wps.execute("script:mishap", [("KIND", "fail")], mode="async")
        monitorExecution(execution, sleepSecs=0.05)
        self.assertFalse(execution.isSucceded())
        self.assertIn("the moon is in the way", execution.errors[0].text)
