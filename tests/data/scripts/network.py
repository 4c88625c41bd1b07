"""Downloads again and again and spins an event loop, and says how long it took."""

import time

from qgis.core import (
    QgsBlockingNetworkRequest,
    QgsProcessingAlgorithm,
    QgsProcessingOutputNumber,
    QgsProcessingParameterNumber,
    QgsProcessingParameterString,
)
from qgis.PyQt.QtCore import QEventLoop, QTimer, QUrl
from qgis.PyQt.QtNetwork import QNetworkRequest


class Network(QgsProcessingAlgorithm):
    def name(self):
        return "network"

    def displayName(self):
        return "Network"

    def createInstance(self):
        return Network()

    def initAlgorithm(self, configuration=None):
        self.addParameter(QgsProcessingParameterString("URL", "Where from"))
        self.addParameter(QgsProcessingParameterNumber("COUNT", "How often"))
        self.addOutput(QgsProcessingOutputNumber("SLOWEST", "Longest download, s"))
        self.addOutput(QgsProcessingOutputNumber("BYTES", "Bytes in all"))
        self.addOutput(QgsProcessingOutputNumber("LOOPS", "Event loops that ended"))

    def processAlgorithm(self, parameters, context, feedback):
        url = QUrl(self.parameterAsString(parameters, "URL", context))
        slowest, size, loops = 0.0, 0, 0
        for _ in range(self.parameterAsInt(parameters, "COUNT", context)):
            begun = time.monotonic()
            request = QgsBlockingNetworkRequest()
            network = QNetworkRequest(url)
            network.setAttribute(QNetworkRequest.CacheLoadControlAttribute, 0)
            request.get(network, True)
            size += len(bytes(request.reply().content()))
            slowest = max(slowest, time.monotonic() - begun)
            loop = QEventLoop()
            QTimer.singleShot(1, loop.quit)
            loop.exec_()
            loops += 1
        return {"SLOWEST": slowest, "BYTES": size, "LOOPS": loops}
