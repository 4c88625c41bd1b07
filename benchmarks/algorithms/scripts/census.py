"""Looks at all layers of its project."""

from qgis.core import QgsProcessingAlgorithm, QgsProcessingOutputNumber


class Census(QgsProcessingAlgorithm):
    def name(self):
        return "census"

    def displayName(self):
        return "Census"

    def createInstance(self):
        return Census()

    def initAlgorithm(self, configuration=None):
        self.addOutput(QgsProcessingOutputNumber("COUNT", "How many are valid"))

    def processAlgorithm(self, parameters, context, feedback):
        layers = context.project().mapLayers().values()
        return {"COUNT": sum(layer.isValid() for layer in layers)}
