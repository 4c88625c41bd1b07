"""Makes layers of each kind, as odd as scripts make them."""

import os

import numpy
from osgeo import gdal, osr
from qgis.core import (
    QgsCoordinateReferenceSystem,
    QgsFeature,
    QgsFeatureSink,
    QgsField,
    QgsFields,
    QgsGeometry,
    QgsPointXY,
    QgsProcessing,
    QgsProcessingAlgorithm,
    QgsProcessingLayerPostProcessorInterface,
    QgsProcessingOutputVectorLayer,
    QgsProcessingParameterFeatureSink,
    QgsProcessingParameterRasterDestination,
    QgsProcessingParameterString,
    QgsRectangle,
    QgsVectorLayer,
    QgsWkbTypes,
)
from qgis.PyQt.QtCore import QVariant
from qgis.PyQt.QtGui import QColor

WGS84 = QgsCoordinateReferenceSystem("EPSG:4326")


#: QGIS does not keep what is Python of post-processors.
KEPT = []


class Paint(QgsProcessingLayerPostProcessorInterface):
    """Makes a layer blue."""

    def postProcessLayer(self, layer, context, feedback):
        layer.renderer().symbol().setColor(QColor("#0000ff"))
        layer.renderer().symbol().symbolLayer(0).setSize(20)


class Fail(QgsProcessingLayerPostProcessorInterface):
    """Can't do it."""

    def postProcessLayer(self, layer, context, feedback):
        raise ValueError("no paint")


class Layers(QgsProcessingAlgorithm):
    def name(self):
        return "layers"

    def displayName(self):
        return "Layers"

    def createInstance(self):
        return Layers()

    def initAlgorithm(self, configuration=None):
        self.addParameter(QgsProcessingParameterString("HOW", "How", "", False, True))
        self.addParameter(
            QgsProcessingParameterFeatureSink(
                "SINK",
                "Points",
                QgsProcessing.SourceType.TypeVectorPoint,
                optional=True,
                createByDefault=False,
            )
        )
        self.addParameter(
            QgsProcessingParameterRasterDestination(
                "RASTER", "Raster", optional=True, createByDefault=False
            )
        )
        self.addOutput(QgsProcessingOutputVectorLayer("MADE", "Made by the script"))

    def processAlgorithm(self, parameters, context, feedback):
        how = self.parameterAsString(parameters, "HOW", context)
        results = {}
        if "SINK" in parameters:
            results["SINK"] = self.points(parameters, context, how)
        if "RASTER" in parameters:
            path = self.parameterAsOutputLayer(parameters, "RASTER", context)
            self.raster(path, how)
            results["RASTER"] = path
        if how in ("red", "plain"):
            layer = QgsVectorLayer("Polygon?crs=EPSG:4326", "mine", "memory")
            feature = QgsFeature()
            feature.setGeometry(QgsGeometry.fromRect(QgsRectangle(0, 0, 10, 10)))
            layer.dataProvider().addFeature(feature)
            layer.updateExtents()
            if how == "red":
                layer.renderer().symbol().setColor(QColor("#ff0000"))
            context.temporaryLayerStore().addMapLayer(layer)
            results["MADE"] = layer.id()
        return results

    def points(self, parameters, context, how):
        fields = QgsFields()
        odd = how.startswith("fid")
        kind = QVariant.String if how == "fid text" else QVariant.LongLong
        fields.append(QgsField("fid" if odd else "id", kind))
        fields.append(QgsField("geom" if odd else "name", QVariant.String))
        sink, destination = self.parameterAsSink(
            parameters, "SINK", context, fields, QgsWkbTypes.Point, WGS84
        )
        numbers = {"fid twice": (1, 1), "fid text": ("a", "b"), "fid": (7, 5)}
        for x, number in enumerate(numbers.get(how, (1, 2))):
            if how == "empty":
                break
            feature = QgsFeature(fields)
            feature.setAttributes([number, "x"])
            feature.setGeometry(
                QgsGeometry.fromPointXY(QgsPointXY(10 * x + 1, 5 * x + 1))
            )
            sink.addFeature(feature, QgsFeatureSink.Flag.FastInsert)
            if how == "one":
                break
        processors = {"blue": Paint, "fail": Fail}
        if how in processors and context.willLoadLayerOnCompletion(destination):
            processor = processors[how]()
            KEPT.append(processor)
            details = context.layerToLoadOnCompletionDetails(destination)
            details.setPostProcessor(processor)
        if how in ("beside", "broken", "other"):
            colour = {"beside": "#00ff00", "other": "#00ff00", "broken": ""}[how]
            layer = QgsVectorLayer(
                "Polygon" if how == "other" else "Point", "x", "memory"
            )
            layer.renderer().symbol().setColor(QColor(colour))
            layer.saveNamedStyle(os.path.abspath("SINK.qml"))
            if how == "broken":
                with open("SINK.qml", "w") as file:
                    file.write("<qgis><broken>")
        return destination

    def raster(self, path, how):
        values = numpy.arange(10000, dtype="float64").reshape(100, 100)
        kind, nothing = gdal.GDT_Float32, None
        if how == "constant":
            values[:] = 5
        elif how == "infinite":
            values[0, 0] = numpy.inf
        elif how == "int16":
            values, kind = values - 5000, gdal.GDT_Int16
        elif how == "nothing":
            nothing, values[:50] = -9999, -9999
        dataset = gdal.GetDriverByName("GTiff").Create(path, 100, 100, 1, kind)
        dataset.SetGeoTransform((0, 0.1, 0, 10, 0, -0.1))
        reference = osr.SpatialReference()
        reference.ImportFromEPSG(4326)
        dataset.SetProjection(reference.ExportToWkt())
        band = dataset.GetRasterBand(1)
        if nothing is not None:
            band.SetNoDataValue(nothing)
        band.WriteArray(values)
