"""Tests of L{qgswps.ows}."""
