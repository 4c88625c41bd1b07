"""Tests of the QGIS side; see L{tests.worker.test_qgisside}."""
