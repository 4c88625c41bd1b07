"""An algorithm as a class: the features near a place, nearest first."""

from qgis.core import (
    QgsDistanceArea,
    QgsFeature,
    QgsFeatureSink,
    QgsField,
    QgsFields,
    QgsPointXY,
    QgsProcessing,
    QgsProcessingAlgorithm,
    QgsProcessingException,
    QgsProcessingOutputNumber,
    QgsProcessingParameterFeatureSink,
    QgsProcessingParameterFeatureSource,
    QgsProcessingParameterNumber,
)
from qgis.PyQt.QtCore import QVariant


class WithinDistance(QgsProcessingAlgorithm):
    """Features within some kilometres of a place given by its coordinates."""

    def name(self):
        return "within_distance"

    def displayName(self):
        return "Features within a distance"

    def group(self):
        return "Demonstration"

    def groupId(self):
        return "demo"

    def shortHelpString(self):
        return (
            "Finds the features of a layer within some kilometres of a place,"
            " measured on the ellipsoid to their centre, nearest first."
        )

    def createInstance(self):
        return WithinDistance()

    def initAlgorithm(self, configuration=None):
        self.addParameter(
            QgsProcessingParameterFeatureSource(
                "INPUT", "Layer", [QgsProcessing.TypeVectorAnyGeometry]
            )
        )
        for name, description, bound in (
            ("X", "X of the place, in the layer's CRS", None),
            ("Y", "Y of the place, in the layer's CRS", None),
            ("KILOMETRES", "Distance in kilometres", 0),
        ):
            number = QgsProcessingParameterNumber(
                name, description, QgsProcessingParameterNumber.Double
            )
            if bound is not None:
                number.setMinimum(bound)
            self.addParameter(number)
        self.addParameter(
            QgsProcessingParameterFeatureSink("OUTPUT", "Features within the distance")
        )
        self.addOutput(QgsProcessingOutputNumber("COUNT", "How many there are"))

    def processAlgorithm(self, parameters, context, feedback):
        source = self.parameterAsSource(parameters, "INPUT", context)
        if source is None:
            raise QgsProcessingException(self.invalidSourceError(parameters, "INPUT"))
        place = QgsPointXY(
            self.parameterAsDouble(parameters, "X", context),
            self.parameterAsDouble(parameters, "Y", context),
        )
        limit = self.parameterAsDouble(parameters, "KILOMETRES", context)
        measure = QgsDistanceArea()
        measure.setSourceCrs(source.sourceCrs(), context.transformContext())
        measure.setEllipsoid(context.ellipsoid() or "EPSG:7030")

        found = []
        total = max(1, source.featureCount())
        for number, feature in enumerate(source.getFeatures()):
            if feedback.isCanceled():
                break
            feedback.setProgress(100 * number / total)
            if not feature.hasGeometry():
                continue
            centre = feature.geometry().centroid().asPoint()
            distance = measure.measureLine(place, centre) / 1000
            if distance <= limit:
                found.append((distance, feature))

        fields = QgsFields(source.fields())
        fields.append(QgsField("kilometres", QVariant.Double))
        sink, identifier = self.parameterAsSink(
            parameters,
            "OUTPUT",
            context,
            fields,
            source.wkbType(),
            source.sourceCrs(),
        )
        found.sort(key=lambda pair: pair[0])
        for distance, feature in found:
            near = QgsFeature(fields)
            near.setGeometry(feature.geometry())
            near.setAttributes([*feature.attributes(), round(distance, 3)])
            sink.addFeature(near, QgsFeatureSink.FastInsert)
        return {"OUTPUT": identifier, "COUNT": len(found)}
