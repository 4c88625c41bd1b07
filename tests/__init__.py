"""The tests of qgswps."""
