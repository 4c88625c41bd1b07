"""Does what a Python text says: what anybody's script could try."""

import traceback

from qgis.core import (
    QgsProcessingAlgorithm,
    QgsProcessingOutputString,
    QgsProcessingParameterGeometry,
    QgsProcessingParameterString,
)


class Attempt(QgsProcessingAlgorithm):
    def name(self):
        return "attempt"

    def displayName(self):
        return "Attempt"

    def createInstance(self):
        return Attempt()

    def initAlgorithm(self, configuration=None):
        self.addParameter(QgsProcessingParameterString("CODE", "What to try"))
        self.addParameter(
            QgsProcessingParameterGeometry("PLACE", "Where", optional=True)
        )
        self.addOutput(QgsProcessingOutputString("TOLD", "What came of it"))

    def processAlgorithm(self, parameters, context, feedback):
        place = self.parameterAsGeometry(parameters, "PLACE", context).asWkt()
        known = {"told": "", "feedback": feedback, "place": place}
        try:
            exec(self.parameterAsString(parameters, "CODE", context), known)
        except Exception as error:
            traceback.print_exc()
            known["told"] = f"{type(error).__name__}: {error}"
        return {"TOLD": str(known["told"])}
