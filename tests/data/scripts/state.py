"""Leaves traces in Python and QGIS, and reports those that it finds."""

import os
import random
import tempfile

from qgis.core import (
    QgsApplication,
    QgsProcessingAlgorithm,
    QgsProcessingOutputNumber,
    QgsProcessingOutputString,
    QgsProcessingUtils,
    QgsProject,
    QgsSettings,
)

traces = 0


class State(QgsProcessingAlgorithm):
    def name(self):
        return "state"

    def displayName(self):
        return "State"

    def createInstance(self):
        return State()

    def initAlgorithm(self, configuration=None):
        self.addOutput(QgsProcessingOutputNumber("TRACES", "Traces found"))
        self.addOutput(QgsProcessingOutputNumber("PID", "Process"))
        self.addOutput(QgsProcessingOutputString("RANDOM", "A random number"))

    def processAlgorithm(self, parameters, context, feedback):
        global traces
        found = traces
        found += int(QgsProject.instance().title() == "trace")
        found += int(QgsApplication.instance().property("trace") == "trace")
        found += int(QgsSettings().value("qgswps/trace", "") == "trace")
        found += int(os.environ.get("QGSWPS_TRACE") == "trace")
        traces += 1
        QgsProject.instance().setTitle("trace")
        QgsApplication.instance().setProperty("trace", "trace")
        QgsSettings().setValue("qgswps/trace", "trace")
        os.environ["QGSWPS_TRACE"] = "trace"
        if not QgsProcessingUtils.tempFolder().startswith(tempfile.gettempdir()):
            raise ValueError(f"{QgsProcessingUtils.tempFolder()} is for all jobs")
        return {"TRACES": found, "PID": os.getpid(), "RANDOM": str(random.random())}
