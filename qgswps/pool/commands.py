"""
The AMP vocabulary between server, fork server and workers.

AMP values are at most 65 535 bytes, and too long an answer or error ends the
connection: payloads go by file, texts are clipped with L{clip}.  A responder
maps whatever goes wrong to L{WorkerFault}, the one declared error.
"""

from __future__ import annotations

from typing import Any

from twisted.internet.protocol import connectionDone
from twisted.protocols import amp
from twisted.python.failure import Failure

# amp.Command declares its lists as attributes of instances.
# ruff: noqa: RUF012

#: Grows when server and fork server of different releases can't talk.
PROTOCOL_VERSION = 2

#: No text in a message is longer, in characters.
TEXT_LIMIT = 4000


def clip(text: str, limit: int = TEXT_LIMIT) -> str:
    """A text that fits into a message; what is cut is marked by an ellipsis."""
    return text if len(text) <= limit else text[: limit - 1] + "…"


class QuietAMP(amp.AMP):
    """AMP that does not log each connection: there is one a job."""

    def makeConnection(self, transport: Any) -> None:
        """Begin, without a word."""
        amp.BinaryBoxProtocol.makeConnection(self, transport)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """End, without a word."""
        amp.BinaryBoxProtocol.connectionLost(self, reason)
        self.transport = None


class WorkerFault(Exception):
    """A worker or fork server could not do what a command asks."""


class _Command(amp.Command):
    errors = {WorkerFault: b"WORKER_FAULT"}


class Ready(_Command):
    """Fork server to server: QGIS is warmed up, the catalogue is written."""

    arguments = [
        (b"pid", amp.Integer()),
        (b"protocol", amp.Integer()),
        (b"qgisVersion", amp.Unicode()),
        (b"catalogue", amp.Unicode()),
    ]
    requiresAnswer = False


class Fork(_Command):
    """Server to fork server: make a worker that talks on this socket."""

    arguments = [(b"socket", amp.Descriptor())]
    response = [(b"pid", amp.Integer())]


class Exited(_Command):
    """
    Fork server to server: a worker is gone.

    C{status} is as of wait(2), C{peak} its largest resident size in KiB, and
    C{excess} what it had too much of; empty if it was not ended for that.
    """

    arguments = [
        (b"pid", amp.Integer()),
        (b"status", amp.Integer()),
        (b"peak", amp.Integer()),
        (b"excess", amp.Unicode()),
    ]
    requiresAnswer = False


class Execute(_Command):
    """
    Server to worker: run the job of a directory.

    The result file, relative to it, holds outputs or faults.
    """

    arguments = [(b"directory", amp.Unicode())]
    response = [(b"result", amp.Unicode())]


class SummarizeProject(_Command):
    """
    Server to worker: write a summary of a project to a file.

    Nothing is written if the project is still as C{known} says, which is the
    C{modified} of an earlier summary.
    """

    arguments = [
        (b"map", amp.Unicode()),
        (b"output", amp.Unicode()),
        (b"known", amp.Unicode()),
    ]
    response = [(b"changed", amp.Boolean())]


class PrepareProject(_Command):
    """Server to map worker: make the result project of a job if it is missing."""

    arguments = [(b"directory", amp.Unicode())]


class ServeMap(_Command):
    """
    Server to map worker: answer a request by QGIS Server; any number of them,
    one after the other.

    C{directory} is that of a job whose result project is to be served, or
    empty; C{headers} are a JSON object; C{body} is the path of a file, or
    empty.  The answer's body goes to the file C{output}, its headers are a
    JSON object.
    """

    arguments = [
        (b"project", amp.Unicode()),
        (b"directory", amp.Unicode()),
        (b"method", amp.Unicode()),
        (b"url", amp.Unicode()),
        (b"headers", amp.Unicode()),
        (b"body", amp.Unicode()),
        (b"output", amp.Unicode()),
    ]
    response = [(b"status", amp.Integer()), (b"headers", amp.Unicode())]


class Progress(_Command):
    """Worker to server: percent of the run, C{-1} for no news, and a text."""

    arguments = [(b"percent", amp.Float()), (b"message", amp.Unicode())]
    requiresAnswer = False


class LogMessage(_Command):
    """Fork server or worker to server: a line for the server's log."""

    arguments = [(b"level", amp.Unicode()), (b"text", amp.Unicode())]
    requiresAnswer = False
