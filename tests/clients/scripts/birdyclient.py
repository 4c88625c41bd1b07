"""birdy, as told by lines of JSON."""

from __future__ import annotations

import functools
import importlib.metadata
import inspect
import logging
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from birdy import WPSClient
from birdy.utils import sanitize
from lines import serve
from owslib.wps import ComplexDataInput

_clients: dict[bool, WPSClient] = {}
_log: list[str] = []


class _Keeper(logging.Handler):
    """Keeps what birdy logs of a job's progress."""

    def emit(self, record: logging.LogRecord) -> None:
        _log.append(record.getMessage())


def version() -> str:
    """Of the library."""
    return importlib.metadata.version("birdhouse-birdy")


def load(url: str, progress: bool = False, **options: Any) -> dict[str, Any]:
    """
    Make a client of all processes.

    @return: the seconds that it took, and what processes and names there are.
    """
    begin = time.monotonic()
    client = WPSClient(url, progress=progress, **options)
    seconds = time.monotonic() - begin
    # It would look at jobs every three seconds.
    client._console_monitor = functools.partial(client._console_monitor, sleep=0.05)
    if progress:
        client.logger.handlers = [_Keeper()]
    _clients[progress] = client
    processes = [each.identifier for each in client._wps.processes]
    return {
        "seconds": seconds,
        "processes": processes,
        "missing": [
            each
            for each in processes
            if not callable(getattr(client, sanitize(each), None))
        ],
    }


def signature(name: str) -> dict[str, Any]:
    """The arguments of a process, and their defaults."""
    function = getattr(_clients[False], name)
    return {
        each.name: None if each.default is each.empty else each.default
        for each in inspect.signature(function).parameters.values()
    }


def document(name: str) -> str | None:
    """The docstring of a process."""
    return inspect.getdoc(getattr(_clients[False], name))


def _argument(value: Any) -> Any:
    if isinstance(value, list):
        return [_argument(each) for each in value]
    if not isinstance(value, Mapping):
        return value
    if "path" in value:
        return Path(value["path"])
    if "mimeType" in value:
        return ComplexDataInput(
            value["data"],
            mimeType=value["mimeType"],
            encoding=value.get("encoding"),
        )
    return value


def _plain(value: Any) -> Any:
    """What JSON can tell of a value."""
    if isinstance(value, bytes):
        return f"{len(value)} bytes"
    if isinstance(value, (list, tuple)):
        return [_plain(each) for each in value]
    if value is None or isinstance(value, (str, int, float, Mapping)):
        return value
    return repr(value)


def call(
    name: str,
    arguments: dict[str, Any],
    progress: bool = False,
    convert: bool = False,
) -> dict[str, Any]:
    """
    Run a process.

    @param convert: have birdy's converters make objects of the outputs.
    """
    _log.clear()
    function = getattr(_clients[progress], name)
    output_formats = arguments.pop("output_formats", None)
    given = {key: _argument(value) for key, value in arguments.items()}
    if output_formats is not None:
        given["output_formats"] = output_formats
    response = function(**given)
    found: dict[str, Any] = {
        "status": response.status,
        "statusLocation": response.statusLocation,
        "errors": [each.text for each in response.errors],
        "log": list(_log),
    }
    if response.isSucceded():
        outputs = response.get(asobj=convert)._asdict()
        found["outputs"] = {key: _plain(value) for key, value in outputs.items()}
    return found


serve(version=version, load=load, signature=signature, document=document, call=call)
