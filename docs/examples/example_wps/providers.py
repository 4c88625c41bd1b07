"""Two providers."""

from qgis.core import (
    QgsProcessingAlgorithm,
    QgsProcessingOutputNumber,
    QgsProcessingParameterNumber,
    QgsProcessingProvider,
)


class Doubled(QgsProcessingAlgorithm):
    """A number, twice."""

    def name(self):
        return "doubled"

    def displayName(self):
        return "Doubled"

    def createInstance(self):
        return Doubled()

    def initAlgorithm(self, configuration=None):
        double = QgsProcessingParameterNumber.Double
        self.addParameter(QgsProcessingParameterNumber("NUMBER", "Number", double))
        self.addOutput(QgsProcessingOutputNumber("RESULT", "Twice the number"))

    def processAlgorithm(self, parameters, context, feedback):
        return {"RESULT": 2 * self.parameterAsDouble(parameters, "NUMBER", context)}


class Quadrupled(Doubled):
    """A number, four times, by way of an algorithm that is not published."""

    def name(self):
        return "quadrupled"

    def displayName(self):
        return "Quadrupled"

    def createInstance(self):
        return Quadrupled()

    def processAlgorithm(self, parameters, context, feedback):
        import processing

        number = self.parameterAsDouble(parameters, "NUMBER", context)
        for _ in range(2):
            number = processing.run(
                "exampleparts:doubled",
                {"NUMBER": number},
                context=context,
                feedback=feedback,
                is_child_algorithm=True,
            )["RESULT"]
        return {"RESULT": number}


class Parts(QgsProcessingProvider):
    """What is not published."""

    def id(self):
        return "exampleparts"

    def name(self):
        return "Parts of examples"

    def loadAlgorithms(self):
        self.addAlgorithm(Doubled())


class Numbers(QgsProcessingProvider):
    """What is published."""

    def id(self):
        return "examplewps"

    def name(self):
        return "Example for WPS"

    def loadAlgorithms(self):
        self.addAlgorithm(Quadrupled())
