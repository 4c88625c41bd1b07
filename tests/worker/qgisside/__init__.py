"""
Tests that need QGIS in their own process.

QGIS is started once in a process, and the process of trial is to be free of
it: C{python3 -m tests.worker.qgisside REPORT} runs the L{unittest} cases of
all modules here, and writes what became of each to the file REPORT.
"""
