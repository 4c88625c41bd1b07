"""qgswps: a Web Processing Service for QGIS, on Twisted."""

__version__ = "0.1.0"
