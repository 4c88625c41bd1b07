"""Tests of L{qgswps.ows.wps100}."""
