"""The least that an algorithm can do: what is measured is all around it."""

from qgis.core import (
    QgsProcessingAlgorithm,
    QgsProcessingOutputNumber,
    QgsProcessingParameterNumber,
)


class Trivial(QgsProcessingAlgorithm):
    def name(self):
        return "trivial"

    def displayName(self):
        return "Trivial"

    def createInstance(self):
        return Trivial()

    def initAlgorithm(self, configuration=None):
        self.addParameter(QgsProcessingParameterNumber("NUMBER", "A number"))
        self.addOutput(QgsProcessingOutputNumber("RESULT", "The number plus one"))

    def processAlgorithm(self, parameters, context, feedback):
        number = self.parameterAsInt(parameters, "NUMBER", context)
        return {"RESULT": number + 1}
