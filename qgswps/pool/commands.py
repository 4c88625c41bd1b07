"""
The AMP vocabulary between server, fork server and workers.

AMP values are at most 65 535 bytes, and too long an answer or error ends the
connection: payloads go by file, texts are clipped with L{clip}.  A responder
maps whatever goes wrong to L{WorkerFault}, the one declared error.
"""

from __future__ import annotations

from typing import ClassVar

from twisted.protocols import amp

#: Grows when server and fork server of different releases can't talk.
PROTOCOL_VERSION = 1

#: No text in a message is longer, in characters.
TEXT_LIMIT = 4000


def clip(text: str, limit: int = TEXT_LIMIT) -> str:
    """A text that fits into a message; what is cut is marked by an ellipsis."""
    return text if len(text) <= limit else text[: limit - 1] + "…"


class WorkerFault(Exception):
    """A worker or fork server could not do what a command asks."""


class _Command(amp.Command):
    errors: ClassVar[dict[type[Exception], bytes]] = {WorkerFault: b"WORKER_FAULT"}


class Ready(_Command):
    """Fork server to server: QGIS is warmed up, the catalogue is written."""

    arguments: ClassVar = [
        (b"pid", amp.Integer()),
        (b"protocol", amp.Integer()),
        (b"qgisVersion", amp.Unicode()),
        (b"catalogue", amp.Unicode()),
    ]
    requiresAnswer = False


class Fork(_Command):
    """Server to fork server: make a worker that talks on this socket."""

    arguments: ClassVar = [(b"socket", amp.Descriptor())]
    response: ClassVar = [(b"pid", amp.Integer())]


class Exited(_Command):
    """
    Fork server to server: a worker is gone.

    C{status} is as of wait(2), C{peak} its largest resident size in KiB.
    """

    arguments: ClassVar = [
        (b"pid", amp.Integer()),
        (b"status", amp.Integer()),
        (b"peak", amp.Integer()),
    ]
    requiresAnswer = False


class Execute(_Command):
    """
    Server to worker: run the job of a directory.

    The result file, relative to it, holds outputs or faults.
    """

    arguments: ClassVar = [(b"directory", amp.Unicode())]
    response: ClassVar = [(b"result", amp.Unicode())]


class SummarizeProject(_Command):
    """Server to worker: write a summary of a project to a file."""

    arguments: ClassVar = [(b"map", amp.Unicode()), (b"output", amp.Unicode())]
    response: ClassVar = [(b"output", amp.Unicode())]


class Progress(_Command):
    """Worker to server: percent of the run, C{-1} for no news, and a text."""

    arguments: ClassVar = [(b"percent", amp.Float()), (b"message", amp.Unicode())]
    requiresAnswer = False


class LogMessage(_Command):
    """Fork server or worker to server: a line for the server's log."""

    arguments: ClassVar = [(b"level", amp.Unicode()), (b"text", amp.Unicode())]
    requiresAnswer = False
