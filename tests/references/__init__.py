"""Tests of L{qgswps.references}."""
