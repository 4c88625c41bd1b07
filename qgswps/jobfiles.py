"""
The names of what is in a job's directory, for all processes that look there.

    task.json     what to do
    inputs/       data that the client sent, if there is any; what was fetched
                  for it is C{@} and a number
    outputs/      what clients may download
    result.json   what came of it
    log           what the run printed
    QGIS.conf     QGIS's settings, as the run has left them
    tmp/          empty after the run

The result project's name is L{qgswps.model.resultProject}.
"""

from __future__ import annotations

TASK = "task.json"
INPUTS = "inputs"
OUTPUTS = "outputs"
RESULT = "result.json"
LOG = "log"
TEMPORARY = "tmp"
