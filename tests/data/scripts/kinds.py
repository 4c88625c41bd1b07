"""Has an output of each kind that is neither a value nor a layer to be styled."""

import os

from qgis.core import (
    QgsAnnotationLayer,
    QgsAnnotationMarkerItem,
    QgsFeature,
    QgsGeometry,
    QgsPoint,
    QgsPointXY,
    QgsProcessingAlgorithm,
    QgsProcessingOutputDefinition,
    QgsProcessingOutputMapLayer,
    QgsProcessingOutputMultipleLayers,
    QgsProcessingOutputString,
    QgsProcessingParameterCrs,
    QgsProcessingParameterEnum,
    QgsProcessingParameterExpression,
    QgsProcessingParameterFileDestination,
    QgsProcessingParameterFolderDestination,
    QgsProcessingParameterMapLayer,
    QgsProcessingParameterNumber,
    QgsProcessingParameterString,
    QgsProcessingParameterVectorLayer,
    QgsRectangle,
    QgsVectorLayer,
)


class Output(QgsProcessingOutputDefinition):
    """An output of a type that this QGIS may not have."""

    def __init__(self, name, kind):
        super().__init__(name, name.lower())
        self.kind = kind

    def type(self):
        return self.kind


class Kinds(QgsProcessingAlgorithm):
    def name(self):
        return "kinds"

    def displayName(self):
        return "Kinds"

    def createInstance(self):
        return Kinds()

    def initAlgorithm(self, configuration=None):
        add = self.addParameter
        add(QgsProcessingParameterMapLayer("LAYER", "Layer", optional=True))
        add(QgsProcessingParameterString("PATH", "Path", optional=True))
        add(
            QgsProcessingParameterFolderDestination(
                "FOLDER", "Folder", optional=True, createByDefault=False
            )
        )
        add(
            QgsProcessingParameterFileDestination(
                "FILE",
                "File",
                "Tables (*.csv);;Drawings (*.dxf *.DXF);;Shapefiles (*.shp)",
                optional=True,
                createByDefault=False,
            )
        )
        self.addOutput(QgsProcessingOutputMapLayer("SAME", "The input layer"))
        self.addOutput(QgsProcessingOutputMapLayer("NOTES", "Annotations"))
        self.addOutput(QgsProcessingOutputMultipleLayers("LAYERS", "Layers"))
        self.addOutput(Output("VARIANT", "outputVariant"))
        self.addOutput(Output("BRANCH", "outputConditionalBranch"))
        self.addOutput(Output("TILES", "outputVectorTile"))
        self.addOutput(Output("MESH", "outputMesh"))
        self.addOutput(Output("CLOUD", "outputPointCloud"))
        self.addOutput(Output("NEW", "outputOfTomorrow"))
        self.addOutput(Output("ELSEWHERE", "outputFolder"))

    def processAlgorithm(self, parameters, context, feedback):
        store = context.temporaryLayerStore()
        results = {
            "VARIANT": {
                "box": QgsRectangle(1, 2, 3, 4),
                "list": [1, 2.5, float("nan"), None, True, "é"],
            },
            "BRANCH": True,
            "NEW": [QgsPointXY(1, 2)],
        }
        layer = self.parameterAsLayer(parameters, "LAYER", context)
        if layer is not None:
            results["SAME"] = layer.id()
        path = self.parameterAsString(parameters, "PATH", context)
        if path.endswith(".mbtiles"):
            results["TILES"] = path
        elif path.endswith(".2dm"):
            results["MESH"] = path
        elif path.endswith(".laz"):
            results["CLOUD"] = path
        elif path:
            results["ELSEWHERE"] = path
        if parameters.get("FOLDER"):
            folder = self.parameterAsString(parameters, "FOLDER", context)
            os.makedirs(os.path.join(folder, "deep"))
            for name in ("a.txt", "deep/b.txt"):
                with open(os.path.join(folder, name), "w") as file:
                    file.write(name)
            os.symlink("/etc/passwd", os.path.join(folder, "link"))
            results["FOLDER"] = folder
        if parameters.get("FILE"):
            file = self.parameterAsFileOutput(parameters, "FILE", context)
            with open(file, "w") as opened:
                opened.write("x")
            results["FILE"] = file
        names = []
        for name in ("first", "second"):
            made = QgsVectorLayer("Point?crs=EPSG:4326&field=a:int", name, "memory")
            feature = QgsFeature(made.fields())
            feature.setAttributes([len(name)])
            feature.setGeometry(QgsGeometry.fromPointXY(QgsPointXY(7, 47)))
            made.dataProvider().addFeature(feature)
            store.addMapLayer(made)
            names.append(made.id())
        results["LAYERS"] = names
        options = QgsAnnotationLayer.LayerOptions(context.transformContext())
        notes = QgsAnnotationLayer("notes", options)
        notes.addItem(QgsAnnotationMarkerItem(QgsPoint(7, 47)))
        store.addMapLayer(notes)
        results["NOTES"] = notes.id()
        return results


class Silent(QgsProcessingAlgorithm):
    """Has no output."""

    def name(self):
        return "silent"

    def displayName(self):
        return "Silent"

    def createInstance(self):
        return Silent()

    def initAlgorithm(self, configuration=None):
        self.addParameter(
            QgsProcessingParameterString("WORD", "Word", defaultValue="done")
        )

    def processAlgorithm(self, parameters, context, feedback):
        feedback.pushInfo(self.parameterAsString(parameters, "WORD", context))
        feedback.pushWarning("careful")
        return {"COUNT": 3}


class Picky(QgsProcessingAlgorithm):
    """Has a say of its own in what its parameters are."""

    def name(self):
        return "picky"

    def displayName(self):
        return "Picky"

    def createInstance(self):
        return Picky()

    def helpUrl(self):
        return "http://example.org/a b?c=<d>"

    def initAlgorithm(self, configuration=None):
        add = self.addParameter
        add(QgsProcessingParameterVectorLayer("LAYER", "Layer"))
        add(QgsProcessingParameterNumber("LOW", "Least", defaultValue=0))
        add(QgsProcessingParameterNumber("HIGH", "Most", defaultValue=9))
        add(QgsProcessingParameterCrs("CRS", "Target"))
        add(QgsProcessingParameterExpression("RULE", "Rule", "1"))
        add(
            QgsProcessingParameterEnum(
                "WAYS", "Ways", ["on foot", "by bus", "by air"], True, [0, 2]
            )
        )
        self.addOutput(QgsProcessingOutputString("SAID", "What it was given"))

    def checkParameterValues(self, parameters, context):
        low = self.parameterAsInt(parameters, "LOW", context)
        if low > self.parameterAsInt(parameters, "HIGH", context):
            return False, "LOW is more than HIGH"
        return super().checkParameterValues(parameters, context)

    def processAlgorithm(self, parameters, context, feedback):
        return {"SAID": str(self.parameterAsEnums(parameters, "WAYS", context))}
