"""Writes its token into a file, so that it can be seen what ran how often."""

import os
import time

from qgis.core import (
    QgsProcessingAlgorithm,
    QgsProcessingOutputNumber,
    QgsProcessingParameterNumber,
    QgsProcessingParameterString,
)


class Ledger(QgsProcessingAlgorithm):
    def name(self):
        return "ledger"

    def displayName(self):
        return "Ledger"

    def createInstance(self):
        return Ledger()

    def initAlgorithm(self, configuration=None):
        self.addParameter(QgsProcessingParameterString("FILE", "Where to write"))
        self.addParameter(QgsProcessingParameterString("TOKEN", "What to write"))
        self.addParameter(
            QgsProcessingParameterNumber(
                "SECONDS", "How long to take", QgsProcessingParameterNumber.Double, 0.0
            )
        )
        self.addOutput(QgsProcessingOutputNumber("PID", "Process"))

    def processAlgorithm(self, parameters, context, feedback):
        path = self.parameterAsString(parameters, "FILE", context)
        token = self.parameterAsString(parameters, "TOKEN", context)
        seconds = self.parameterAsDouble(parameters, "SECONDS", context)
        with open(path, "ab", buffering=0) as file:
            file.write(f"{token}\n".encode())
        print(f"token {token}")
        steps = 10
        for step in range(steps):
            if feedback.isCanceled():
                break
            time.sleep(seconds / steps)
            feedback.setProgress(100 * (step + 1) / steps)
        return {"PID": os.getpid()}
