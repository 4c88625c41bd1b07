"""Looks at the project in the way that is asked for, and says what it saw."""

import processing
from qgis.core import (
    QgsExpression,
    QgsExpressionContext,
    QgsProcessingAlgorithm,
    QgsProcessingOutputString,
    QgsProcessingParameterString,
    QgsProcessingUtils,
    QgsProject,
)


class Looks(QgsProcessingAlgorithm):
    def name(self):
        return "looks"

    def displayName(self):
        return "Looks"

    def createInstance(self):
        return Looks()

    def initAlgorithm(self, configuration=None):
        self.addParameter(QgsProcessingParameterString("HOW", "How"))
        self.addOutput(QgsProcessingOutputString("SEEN", "Seen"))

    def processAlgorithm(self, parameters, context, feedback):
        how = self.parameterAsString(parameters, "HOW", context)
        return {"SEEN": getattr(self, f"by_{how}")(context, feedback)}

    def by_nowhere(self, context, feedback):
        return ""

    def by_instance(self, context, feedback):
        return self.valid(QgsProject.instance())

    def by_context(self, context, feedback):
        return self.valid(context.project())

    def by_layer(self, context, feedback):
        layer = QgsProcessingUtils.mapLayerFromString("".join(["cit", "ies"]), context)
        return layer.name()

    def by_run(self, context, feedback):
        result = processing.run(
            "native:extractbyexpression",
            {
                "INPUT": "".join(["cit", "ies"]),
                "EXPRESSION": "name = 'Wien'",
                "OUTPUT": "memory:",
            },
            context=context,
            feedback=feedback,
        )
        return str(result["OUTPUT"].featureCount())

    def by_expression(self, context, feedback):
        expression = QgsExpression("aggregate('disputed borders', 'count', 1)")
        return str(expression.evaluate(QgsExpressionContext()))

    @staticmethod
    def valid(project):
        layers = project.mapLayers().values()
        return ",".join(sorted(layer.name() for layer in layers if layer.isValid()))
