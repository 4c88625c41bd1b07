"""
What QGIS itself gives: C{processing.run} in a plain QGIS process, without
anything of ours.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import Any

_PROGRAM = """
import json, os, sys
os.environ["QT_QPA_PLATFORM"] = "offscreen"
from qgis.core import QgsApplication
application = QgsApplication([], False)
application.initQgis()
sys.path.append(os.path.join(application.pkgDataPath(), "python", "plugins"))
from processing.core.Processing import Processing
Processing.initialize()
import processing
for algorithm, parameters in json.load(sys.stdin):
    processing.run(algorithm, parameters)
sys.stdout.flush()
os._exit(0)
"""


def run(*calls: tuple[str, dict[str, Any]]) -> None:
    """
    Run algorithms, in one process.

    @param calls: their ids and parameters; outputs go to files.
    """
    subprocess.run(
        [sys.executable, "-c", _PROGRAM],
        input=json.dumps(calls),
        text=True,
        check=True,
        capture_output=True,
        env={**os.environ, "XDG_RUNTIME_DIR": "/tmp"},
    )


def features(data: bytes | str) -> list[dict[str, Any]]:
    """The features of GeoJSON, without what is no part of them."""
    found = json.loads(data)["features"]
    return [
        {"properties": each["properties"], "geometry": each["geometry"]}
        for each in found
    ]
