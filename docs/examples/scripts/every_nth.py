"""An algorithm as a class: each nth feature of a layer."""

from qgis.core import (
    QgsFeatureSink,
    QgsProcessing,
    QgsProcessingAlgorithm,
    QgsProcessingException,
    QgsProcessingParameterFeatureSink,
    QgsProcessingParameterFeatureSource,
    QgsProcessingParameterNumber,
)


class EveryNth(QgsProcessingAlgorithm):
    """Keeps one feature of N."""

    def name(self):
        return "every_nth"

    def displayName(self):
        return "Every nth feature"

    def group(self):
        return "Examples"

    def groupId(self):
        return "examples"

    def shortHelpString(self):
        return "Keeps the first of each <b>N</b> features of a layer."

    def createInstance(self):
        return EveryNth()

    def initAlgorithm(self, configuration=None):
        self.addParameter(
            QgsProcessingParameterFeatureSource(
                "INPUT", "Layer", [QgsProcessing.TypeVectorAnyGeometry]
            )
        )
        self.addParameter(
            QgsProcessingParameterNumber("N", "N", defaultValue=2, minValue=1)
        )
        self.addParameter(QgsProcessingParameterFeatureSink("OUTPUT", "Features kept"))

    def processAlgorithm(self, parameters, context, feedback):
        source = self.parameterAsSource(parameters, "INPUT", context)
        if source is None:
            raise QgsProcessingException(self.invalidSourceError(parameters, "INPUT"))
        step = self.parameterAsInt(parameters, "N", context)
        sink, identifier = self.parameterAsSink(
            parameters,
            "OUTPUT",
            context,
            source.fields(),
            source.wkbType(),
            source.sourceCrs(),
        )
        for number, feature in enumerate(source.getFeatures()):
            # The client cancelled, or the time is over.
            if feedback.isCanceled():
                break
            if number % step == 0:
                sink.addFeature(feature, QgsFeatureSink.FastInsert)
            feedback.setProgress(100 * number / max(1, source.featureCount()))
        return {"OUTPUT": identifier}
