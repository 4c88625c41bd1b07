"""
The worker: a forked child that does one thing and exits.

It answers one command on its own socket.  The job's output and errors go to
the file C{log} in the job directory.

A worker that is asked for a map does nothing else from then on, until the
server closes the socket.
"""

from __future__ import annotations

import contextlib
import errno
import os
import resource
import signal
import socket
import sys
import tempfile
import traceback
from collections.abc import Callable
from typing import Any

import attrs
from qgis.core import QgsSettings
from qgis.PyQt.QtCore import QSettings

from qgswps import codec, removal
from qgswps.errors import Fault, OWSError
from qgswps.jobfiles import LOG, OUTPUTS, RESULT, TEMPORARY
from qgswps.model import Result
from qgswps.pool.commands import (
    Execute,
    LogMessage,
    PrepareProject,
    Progress,
    QuietAMP,
    ServeMap,
    SummarizeProject,
    WorkerFault,
    clip,
)
from qgswps.worker import maps, project, runner
from qgswps.worker.feedback import Feedback
from qgswps.worker.loop import BlockingTransport
from qgswps.worker.sandbox import Sandbox

#: The errors of disks that are full, or of which somebody has had their share.
NO_ROOM = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})


class WorkerProtocol(QuietAMP):
    """Answers the server's one command, or many of them if they are for maps."""

    def __init__(self, sandbox: Sandbox) -> None:
        """
        @param sandbox: to be entered before a client's words are looked at.
        """
        super().__init__()
        self._sandbox = sandbox
        self._entered = False
        self.maps: maps.Maps | None = None
        self.feedback = Feedback(self.report)
        self.done = False
        self.temporary: str | None = None

    def report(self, percent: float | None, message: str) -> None:
        """Tell the server how far the run is."""
        self.callRemote(
            Progress,
            percent=-1.0 if percent is None else percent,
            message=clip(message),
        )

    def cancel(self, *_: Any) -> None:
        """SIGTERM: the algorithm is to end when it next looks."""
        self.feedback.cancel()

    @Execute.responder
    def execute(self, directory: str) -> dict[str, str]:
        """Run the job of a directory; what goes wrong is in the result."""
        return self._once(lambda: self._execute(directory))

    def _execute(self, directory: str) -> dict[str, str]:
        redirectOutput(directory)
        self.temporary = os.path.join(directory, TEMPORARY)
        useTemporaryFolder(self.temporary)
        useOwnSettings(directory)
        self._enter(self.temporary, writable=[directory])
        try:
            result = runner.run(directory, self.feedback)
        except SystemExit as error:
            text = f"The process called sys.exit({error.code!r})."
            result = Result(faults=(Fault("NoApplicableCode", text),))
        self._sandbox.loosen()
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        result = attrs.evolve(result, peakMemory=peak)
        writeResult(directory, result)
        return {"result": RESULT}

    @SummarizeProject.responder
    def summarizeProject(self, map: str, output: str, known: str) -> dict[str, Any]:
        """Look into a project."""

        def summarize() -> dict[str, Any]:
            folder = os.path.dirname(output)
            # A packed project is unpacked there.
            useTemporaryFolder(os.path.join(folder, TEMPORARY))
            self._enter(folder)
            summary = project.summarize(map, known)
            if summary is not None:
                codec.write(output, summary)
            return {"changed": summary is not None}

        return self._once(summarize)

    @ServeMap.responder
    def serveMap(self, output: str, **arguments: str) -> dict[str, Any]:
        """Have QGIS Server answer a request."""

        def serve() -> dict[str, Any]:
            if self.maps is None:
                # There is no run that could be told to end.
                signal.signal(signal.SIGTERM, signal.SIG_DFL)
                # The server removes it when this process is gone.
                folder = os.path.dirname(output)
                useTemporaryFolder(os.path.join(folder, TEMPORARY))
                self._enterForMaps(folder, arguments)
                self.maps = maps.Maps(self.log)
            return self.maps.serve(output=output, **arguments)

        return self._guarded(lambda: _withStatus(serve))

    @PrepareProject.responder
    def prepareProject(self, directory: str) -> dict[str, Any]:
        """Make a job's result project."""

        def prepare() -> dict[str, Any]:
            self._enter(directory)
            maps.prepare(directory)
            return {}

        return self._guarded(lambda: _withStatus(prepare))

    def _enter(self, home: str, **folders: Any) -> None:
        if not self._entered:
            self._entered = True
            self._sandbox.enter(home, **folders)

    def _enterForMaps(self, folder: str, arguments: dict[str, str]) -> None:
        """Only a result project that is missing is to be written."""
        directory = arguments["directory"]
        missing = bool(directory) and not os.path.isfile(arguments["project"])
        self._enter(
            folder,
            writable=[directory] if missing else [],
            readable=[directory] if directory else [],
        )

    def log(self, level: str, text: str) -> None:
        """Send a line to the server's log."""
        self.callRemote(LogMessage, level=level, text=clip(text))

    def _once(self, work: Callable[[], dict[str, Any]]) -> dict[str, Any]:
        self.done = True
        return self._guarded(work)

    def _guarded(self, work: Callable[[], dict[str, Any]]) -> dict[str, Any]:
        try:
            return work()
        except WorkerFault:
            raise
        except OWSError as error:
            raise WorkerFault(clip(str(error))) from None
        except BaseException as error:
            # An undeclared error would end the connection without a word.
            _printTrace()
            said = str(error)
            if isinstance(error, OSError) and error.strerror:
                said = error.strerror  # where a file lies is nobody's business
            raise WorkerFault(clip(f"{type(error).__name__}: {said}")) from None


def _printTrace() -> None:
    """Write what went wrong to standard error, which may be on a full disk."""
    with contextlib.suppress(OSError):
        traceback.print_exc()


def _withStatus(work: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """
    Begin the faults of work for maps with an HTTP status.

    The answers to map requests have many.  What is wrong with a project in a
    summary is always the client's C{MAP}, and the faults of jobs are results.
    """
    try:
        return work()
    except OWSError as error:
        raise WorkerFault(clip(f"{error.status} {error}")) from None
    except OSError as error:
        if error.errno not in NO_ROOM:
            raise
        _printTrace()
        raise WorkerFault("507 there is no room for this map") from None


def redirectOutput(directory: str) -> None:
    """Send standard output and errors, Python's and C's, to the job's log."""
    log = os.open(
        os.path.join(directory, LOG), os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o640
    )
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    os.dup2(log, 1)
    os.dup2(log, 2)
    os.close(log)
    sys.stdout.reconfigure(line_buffering=True)  # type: ignore[union-attr]


def useTemporaryFolder(folder: str) -> None:
    """Have all that asks for a temporary place find it in the job."""
    os.makedirs(folder, exist_ok=True)
    for name in ("TMPDIR", "TMP", "TEMP"):
        os.environ[name] = folder
    tempfile.tempdir = folder
    # What is written with a relative path belongs to the job as well.
    os.chdir(folder)


def writeResult(directory: str, result: Result) -> None:
    """Say what came of a job, at the cost of what it has made if there is no room."""
    path = os.path.join(directory, RESULT)
    try:
        codec.write(path, result)
    except OSError as error:
        if error.errno not in NO_ROOM:
            raise
        removal.empty(os.path.join(directory, OUTPUTS))
        removal.empty(os.path.join(directory, TEMPORARY))
        text = "there is no room left on the server's disk"
        told = "; ".join(fault.text for fault in result.faults)
        fault = Fault("NotEnoughStorage", f"{text}: {told}" if told else text)
        codec.write(path, attrs.evolve(result, outputs={}, layers=(), faults=(fault,)))


def useOwnSettings(directory: str) -> None:
    """
    Give QGIS a copy of its settings: what a job changes goes with it.

    @param directory: absolute path of the job directory.
    """
    path = QgsSettings().fileName()
    text = b""
    if os.path.exists(path):
        with open(path, "rb") as file:
            text = file.read()
    # QSettings would write through to the disk; and it joins sections.
    temporary = os.path.join(directory, TEMPORARY)
    text += f"\n[Processing]\nConfiguration\\TEMP_PATH2={temporary}\n".encode()
    with open(os.path.join(directory, os.path.basename(path)), "wb") as file:
        file.write(text)
    QSettings.setPath(QSettings.defaultFormat(), QSettings.UserScope, directory)


def main(
    connection: socket.socket, mask: set[int | signal.Signals], sandbox: Sandbox
) -> None:
    """
    Serve one command, then end the process.

    @param connection: the worker's own socket to the server.
    @param mask: the signals to block from now on.
    """
    protocol = WorkerProtocol(sandbox)
    signal.signal(signal.SIGTERM, protocol.cancel)
    signal.pthread_sigmask(signal.SIG_SETMASK, mask)
    transport = BlockingTransport(connection, protocol)
    while not protocol.done and transport.receive():
        pass
    if protocol.temporary is not None:
        removal.empty(protocol.temporary)
    # No clean-up of QGIS: it takes time, and the kernel does it all.
    with contextlib.suppress(Exception):
        sys.stdout.flush()
        sys.stderr.flush()
    os._exit(0)
