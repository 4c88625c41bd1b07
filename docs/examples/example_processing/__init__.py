"""A plugin with a Processing provider, as it is for QGIS itself."""


def classFactory(iface):
    """QGIS asks for the plugin; on a server iface is None."""
    from example_processing.plugin import Plugin

    return Plugin()
