"""The plugin and its provider."""

from qgis.core import QgsApplication, QgsProcessingProvider

from .mirror import Mirror


class Provider(QgsProcessingProvider):
    """All algorithms of the plugin."""

    def id(self):
        return "example"

    def name(self):
        return "Example"

    def versionInfo(self):
        return "1.0"

    def loadAlgorithms(self):
        self.addAlgorithm(Mirror())


class Plugin:
    """What classFactory() makes."""

    def __init__(self):
        self.provider = None

    def initProcessing(self):
        """Without a desktop, this is all that is called."""
        self.provider = Provider()
        QgsApplication.processingRegistry().addProvider(self.provider)

    def initGui(self):
        """In the desktop; menus and widgets belong here, nowhere else."""
        self.initProcessing()

    def unload(self):
        """The desktop does not want it any more."""
        QgsApplication.processingRegistry().removeProvider(self.provider)
