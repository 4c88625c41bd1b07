"""Tests of L{qgswps.pool}."""
