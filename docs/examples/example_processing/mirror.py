"""An algorithm that makes a feature of each feature."""

from qgis.core import (
    QgsGeometry,
    QgsProcessing,
    QgsProcessingFeatureBasedAlgorithm,
    QgsProcessingParameterNumber,
)
from qgis.PyQt.QtGui import QTransform


class Mirror(QgsProcessingFeatureBasedAlgorithm):
    """Mirrors features at a north-south line."""

    def name(self):
        return "mirror"

    def displayName(self):
        return "Mirror"

    def shortHelpString(self):
        return "Mirrors the features of a layer at a north-south line."

    def outputName(self):
        return "Mirrored"

    def inputLayerTypes(self):
        return [QgsProcessing.TypeVectorAnyGeometry]

    def createInstance(self):
        return Mirror()

    def initParameters(self, configuration=None):
        self.addParameter(
            QgsProcessingParameterNumber(
                "X", "X of the line", QgsProcessingParameterNumber.Double, 0
            )
        )

    def prepareAlgorithm(self, parameters, context, feedback):
        x = self.parameterAsDouble(parameters, "X", context)
        self.transform = QTransform(-1, 0, 0, 1, 2 * x, 0)
        return True

    def processFeature(self, feature, context, feedback):
        geometry = QgsGeometry(feature.geometry())
        geometry.transform(self.transform)
        feature.setGeometry(geometry)
        return [feature]
