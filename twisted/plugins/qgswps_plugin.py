"""
C{twistd qgswps}.

Neither this folder nor its parent may ever have an C{__init__.py}: it would
hide Twisted itself, or its other plugins.
"""

from twisted.application.service import ServiceMaker

qgswps = ServiceMaker(
    "qgswps", "qgswps.tap", "Web Processing Service for QGIS.", "qgswps"
)
