"""Tests of L{qgswps.jobs}."""
