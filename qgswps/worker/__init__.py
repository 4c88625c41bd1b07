"""The QGIS side: C{python3 -m qgswps.worker} is the fork server."""
