"""Has an output of each simple kind, and says what it was given."""

import os

from qgis.core import (
    QgsProcessing,
    QgsProcessingAlgorithm,
    QgsProcessingException,
    QgsProcessingOutputBoolean,
    QgsProcessingOutputFile,
    QgsProcessingOutputHtml,
    QgsProcessingOutputNumber,
    QgsProcessingOutputString,
    QgsProcessingOutputVectorLayer,
    QgsProcessingParameterCrs,
    QgsProcessingParameterDefinition,
    QgsProcessingParameterEnum,
    QgsProcessingParameterExtent,
    QgsProcessingParameterFeatureSink,
    QgsProcessingParameterFileDestination,
    QgsProcessingParameterNumber,
    QgsProcessingParameterString,
    QgsProcessingParameterVectorLayer,
    QgsProcessingUtils,
)


class Outputs(QgsProcessingAlgorithm):
    def name(self):
        return "outputs"

    def displayName(self):
        return "Outputs"

    def shortHelpString(self):
        return "<p>All <b>kinds</b> of output &amp; more.</p><ul><li>one</li></ul>"

    def createInstance(self):
        return Outputs()

    def initAlgorithm(self, configuration=None):
        add = self.addParameter
        add(
            QgsProcessingParameterString(
                "FAIL", "How to fail", optional=True, defaultValue=""
            )
        )
        add(
            QgsProcessingParameterEnum(
                "MANY",
                "Several",
                options=["one", "two", "three"],
                allowMultiple=True,
                defaultValue=[0, 2],
            )
        )
        add(
            QgsProcessingParameterEnum(
                "STATIC",
                "Texts",
                options=["red", "green"],
                defaultValue="green",
                usesStaticStrings=True,
            )
        )
        add(QgsProcessingParameterNumber("NUMBER", "Number", defaultValue=7))
        add(QgsProcessingParameterCrs("CRS", "CRS", optional=True))
        add(QgsProcessingParameterExtent("EXTENT", "Extent", optional=True))
        add(QgsProcessingParameterVectorLayer("LAYER", "Layer", optional=True))
        hidden = QgsProcessingParameterString("HIDDEN", "Hidden", optional=True)
        hidden.setFlags(
            hidden.flags() | QgsProcessingParameterDefinition.Flag.FlagHidden
        )
        add(hidden)
        add(
            QgsProcessingParameterFileDestination(
                "TEXT", "Text file", "Text files (*.txt)"
            )
        )
        add(
            QgsProcessingParameterFeatureSink(
                "SINK",
                "Features",
                QgsProcessing.SourceType.TypeVectorAnyGeometry,
                optional=True,
                createByDefault=False,
            )
        )
        self.addOutput(QgsProcessingOutputNumber("INTEGER", "Integer"))
        self.addOutput(QgsProcessingOutputNumber("FLOAT", "Float"))
        self.addOutput(QgsProcessingOutputNumber("NAN", "No number"))
        self.addOutput(QgsProcessingOutputBoolean("BOOLEAN", "Boolean"))
        self.addOutput(QgsProcessingOutputString("STRING", "String"))
        self.addOutput(QgsProcessingOutputHtml("HTML", "Report"))
        self.addOutput(QgsProcessingOutputFile("ELSEWHERE", "File"))
        self.addOutput(QgsProcessingOutputVectorLayer("SAME", "The input layer"))

    def processAlgorithm(self, parameters, context, feedback):
        fail = self.parameterAsString(parameters, "FAIL", context)
        if fail == "processing":
            feedback.reportError("the first sign")
            raise QgsProcessingException("it can't be done")
        if fail == "python":
            return {"INTEGER": [0, 1][len(fail)]}
        if fail == "nofile":
            return {"ELSEWHERE": "/nowhere/at/all"}
        print("a script prints")
        feedback.setProgressText("half way")
        feedback.setProgress(50)
        given = [
            self.parameterAsEnums(parameters, "MANY", context),
            self.parameterAsEnumString(parameters, "STATIC", context),
            self.parameterAsDouble(parameters, "NUMBER", context),
            self.parameterAsCrs(parameters, "CRS", context).authid(),
            self.parameterAsExtent(parameters, "EXTENT", context).toString(2),
            "SINK" in parameters,
        ]
        text = self.parameterAsFileOutput(parameters, "TEXT", context)
        with open(text, "w") as file:
            file.write("text")
        folder = QgsProcessingUtils.tempFolder()
        os.makedirs(folder, exist_ok=True)
        html = os.path.join(folder, "report.html")
        with open(html, "w") as file:
            file.write("<p>report</p>")
        results = {
            "INTEGER": 3,
            "FLOAT": 0.1,
            "NAN": float("nan"),
            "BOOLEAN": True,
            "STRING": repr(given),
            "HTML": html,
            "ELSEWHERE": html,
            "TEXT": text,
        }
        layer = self.parameterAsVectorLayer(parameters, "LAYER", context)
        if layer is not None:
            results["SAME"] = layer.id()
        return results
