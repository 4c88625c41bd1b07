"""A plain QGIS process, and what it says."""

from __future__ import annotations

import itertools
import json
import os
import select
import shutil
import subprocess
import sys
import tempfile
import threading
from typing import Any

from tests import live
from tests.toolbox.inputs import Task

#: Seconds that the process may take for anything.
PATIENCE = 120


class PlainQGIS:
    """
    QGIS in a process of its own; see L{tests.toolbox.qgisside}.  It does one
    thing at a time, for any thread.

    @ivar world: the folder with the data and the project C{world.qgs}.
    @ivar version: of QGIS.
    @ivar algorithms: what can be run, by id.
    """

    def __init__(self) -> None:
        self._home = tempfile.mkdtemp(prefix="qgswps-plain-")
        self.world = os.path.join(self._home, "world")
        runtime = os.path.join(self._home, "runtime")
        os.mkdir(self.world)
        os.mkdir(runtime, 0o700)
        self._log = open(os.path.join(self._home, "log"), "wb")  # noqa: SIM115
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.toolbox.qgisside", self.world],
            cwd=live.ROOT,
            env={
                **os.environ,
                "PYTHONPATH": live.ROOT,
                "XDG_RUNTIME_DIR": runtime,
                "HOME": self._home,
                "TMPDIR": runtime,
            },
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
        )
        self._lock = threading.Lock()
        self._count = itertools.count(1)
        said = self._read()
        self.version: str = said["version"]
        self.algorithms: dict[str, Any] = said["algorithms"]

    def _read(self) -> Any:
        stream = self._process.stdout
        assert stream is not None
        if not select.select([stream], [], [], PATIENCE)[0]:
            raise AssertionError("QGIS says nothing")
        line = stream.readline()
        if not line:
            with open(self._log.name, encoding="utf-8", errors="replace") as log:
                raise AssertionError(f"QGIS has ended:\n{log.read()[-3000:]}")
        return json.loads(line)

    def folder(self) -> str:
        """A new folder for results."""
        path = os.path.join(self._home, "results", str(next(self._count)))
        os.makedirs(path)
        return path

    def run(self, task: Task, folder: str) -> dict[str, Any]:
        """
        Run an algorithm.

        @return: C{result} with C{errors} that did not end it, or C{error}.
        """
        told = {
            "algorithm": task.algorithm,
            "parameters": task.parameters,
            "folder": folder,
        }
        stream = self._process.stdin
        assert stream is not None
        with self._lock:
            stream.write(json.dumps(told).encode() + b"\n")
            stream.flush()
            answer: dict[str, Any] = self._read()
        return answer

    def stop(self) -> None:
        """End it, and remove all that it made."""
        for stream in (self._process.stdin, self._process.stdout, self._log):
            if stream is not None:
                stream.close()
        self._process.kill()
        self._process.wait()
        shutil.rmtree(self._home, ignore_errors=True)
