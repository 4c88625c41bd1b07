"""Tests of L{qgswps.web}."""
