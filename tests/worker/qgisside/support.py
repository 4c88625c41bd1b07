"""What the tests of this package share."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
import unittest
from pathlib import Path
from typing import Any

from qgis.core import QgsProcessingContext, QgsProject

from qgswps import codec
from qgswps.jobfiles import TASK
from qgswps.model import (
    ComplexValue,
    ExecuteRequest,
    FileValue,
    Format,
    Input,
    LiteralValue,
    OutputRequest,
    Result,
    Task,
    WorkerSettings,
)
from qgswps.worker import qgisapp, runner
from qgswps.worker.feedback import Feedback
from qgswps.worker.job import Job

ROOT = Path(__file__).resolve().parents[3]
DEMO = ROOT / "conf" / "demo"
EXAMPLES = ROOT / "docs" / "examples"
WORLD = str(DEMO / "world.qgs")
DATA = str(DEMO / "world.gpkg")
GEOJSON = Format("application/geo+json")

#: As QGIS was started; set by C{__main__}.
settings = WorkerSettings("", "")

#: Scripts that can't be loaded, by file name.
BROKEN = {
    "syntax.py": "def broken(:\n",
    "exits.py": "import sys\nsys.exit(3)\n",
    "aborts.py": "import os\nos.abort()\n",
    "modules.py": "import not_there\n",
    "raises.py": "raise RuntimeError('not today')\n",
    "nothing.py": "x = 1\n",
    "interrupted.py": "class Odd(BaseException): pass\nraise Odd('odd')\n",
    "twin.py": (
        "from qgis.processing import alg\n"
        "@alg(name='outputs', label='x', group='g', group_label='G')\n"
        "@alg.output(type=alg.NUMBER, name='N', label='n')\n"
        "def twin(instance, parameters, context, feedback, inputs):\n"
        "    'twin'\n"
    ),
    "unmade.py": (
        "from qgis.core import QgsProcessingAlgorithm\n"
        "class Unmade(QgsProcessingAlgorithm):\n"
        "    def name(self): return 'unmade'\n"
        "    def displayName(self): return 'Unmade'\n"
        "    def createInstance(self): return None\n"
    ),
    "undescribed.py": (
        "from qgis.core import QgsProcessingAlgorithm\n"
        "class Undescribed(QgsProcessingAlgorithm):\n"
        "    def name(self): return 'undescribed'\n"
        "    def displayName(self): return 'Undescribed'\n"
        "    def shortHelpString(self): raise KeyError('help')\n"
        "    def createInstance(self): return Undescribed()\n"
    ),
}


def scriptFolders(directory: str) -> tuple[str, ...]:
    """The folders with scripts: of the demo, of these tests, and broken ones."""
    broken = Path(directory, "broken", "scripts")
    broken.mkdir(parents=True)
    for name, text in BROKEN.items():
        (broken / name).write_text(text)
    return (
        str(DEMO / "algorithms"),
        str(ROOT / "tests" / "data"),
        str(EXAMPLES),
        str(broken.parent),
    )


def features(path: str | Path) -> list[dict[str, Any]]:
    """The features of a GeoJSON file."""
    found: list[dict[str, Any]] = json.loads(Path(path).read_text())["features"]
    return found


def literal(identifier: str, value: object) -> Input:
    """An input that is a text."""
    return Input(identifier, LiteralValue(str(value)))


def data(
    identifier: str, text: str, mimeType: str, encoding: str | None = None
) -> Input:
    """An input that is inline data."""
    return Input(identifier, ComplexValue(text, Format(mimeType, encoding)))


class JobCase(unittest.TestCase):
    """A case with a job directory."""

    def setUp(self) -> None:
        self.directory = tempfile.mkdtemp(prefix="qgswps-job-")
        self.addCleanup(shutil.rmtree, self.directory)
        # A worker has it for itself; here the tests share it.
        self.addCleanup(qgisapp.defaultProject, "EPSG:4326")
        self.reports: list[tuple[float | None, str]] = []
        self.maxDiff = None

    def job(self) -> Job:
        """A job to convert values for."""
        project = QgsProject.instance()
        context = QgsProcessingContext()
        context.setProject(project)
        return Job(self.directory, ExecuteRequest("x"), project, context)

    def run_(
        self,
        processId: str,
        *inputs: Input,
        outputs: tuple[OutputRequest, ...] = (),
        project: str | None = None,
    ) -> Result:
        """Run a job as a worker does."""
        shutil.rmtree(os.path.join(self.directory, "outputs"), ignore_errors=True)
        shutil.rmtree(os.path.join(self.directory, "inputs"), ignore_errors=True)
        map_ = "world" if project else None
        request = ExecuteRequest(processId, inputs, outputs, map=map_)
        codec.write(os.path.join(self.directory, TASK), Task(request, project))
        feedback = Feedback(lambda *report: self.reports.append(report))
        return runner.run(self.directory, feedback)

    def file(self, result: Result, output: str = "OUTPUT") -> Path:
        """The file of an output, of a job that succeeded."""
        self.assertEqual(result.faults, ())
        value = result.outputs[output]
        assert isinstance(value, FileValue), value
        self.assertTrue(value.path.startswith("outputs/"), value.path)
        path = Path(self.directory, value.path)
        self.assertTrue(path.is_file(), path)
        return path

    def fault(self, result: Result, code: str, locator: str | None = None) -> str:
        """The text of the one fault of a job that failed."""
        self.assertEqual([f.code for f in result.faults], [code], result)
        self.assertEqual(result.faults[0].locator, locator, result)
        self.assertNotIn("Traceback", result.faults[0].text)
        return result.faults[0].text
