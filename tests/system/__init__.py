"""Tests through HTTP, against a running server with a real QGIS."""
