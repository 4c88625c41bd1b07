"""
Trying in a forked child what might end or block the process.

The code of plugins and scripts is not ours: some of it aborts, exits or never
returns when it is loaded on a server.
"""

from __future__ import annotations

import contextlib
import importlib.util
import linecache
import os
import select
import signal
import sys
import traceback
import warnings
from collections.abc import Callable
from typing import NoReturn

from qgswps.worker import isolation

#: Seconds that one attempt may take.
PATIENCE = 20.0

#: How much of what a child wrote last is looked at for its last words.
_TAIL = 4096

#: What an answer begins with: the end of a child alone says nothing.
_DONE = "done:"


class Refusal(Exception):
    """Something is not published; the text says why."""


def attempt(work: Callable[[], object], seconds: float = PATIENCE) -> str:
    """
    Do something in a forked child, of which nothing stays.

    @param work: may raise anything, or end its process.
    @return: why it can't be done; empty if it can.
    """
    answer, words = (os.memfd_create(name) for name in ("answer", "words"))
    try:
        parent = os.getpid()
        events = isolation.eventDescriptors()
        sys.stdout.flush()
        sys.stderr.flush()
        with warnings.catch_warnings():
            # Python warns of a fork beside threads. As with the workers it is
            # meant here: the idle threads of Qt are not needed in the child.
            warnings.simplefilter("ignore", DeprecationWarning)
            pid = os.fork()
        if pid == 0:
            _child(work, parent, events, answer, words)
        status = _wait(pid, seconds)
        if status is None:
            return f"it was not loaded after {seconds:g} s"
        if os.WIFSIGNALED(status):
            name = signal.Signals(os.WTERMSIG(status)).name
            return _lastWords(f"it ends the process with {name}", words)
        text = _read(answer)
        if text:
            return text.removeprefix(_DONE)
        end = f"it ends the process with status {os.WEXITSTATUS(status)}"
        return _lastWords(end, words)
    finally:
        os.close(answer)
        os.close(words)


def _child(
    work: Callable[[], object],
    parent: int,
    events: tuple[int, ...],
    answer: int,
    words: int,
) -> NoReturn:
    status = 70
    try:
        isolation.becomeWorker(parent, events)
        os.dup2(words, 1)
        os.dup2(words, 2)
        try:
            work()
            said = ""
        except BaseException as error:
            said = reason(error)
        os.write(answer, (_DONE + said).encode())
        sys.stdout.flush()
        sys.stderr.flush()
        status = 0
    finally:
        # Whatever happens, a child never goes on as its parent does.
        os._exit(status)


def _wait(pid: int, seconds: float) -> int | None:
    """The wait status of a child that leads a group; None if it took too long."""
    descriptor = os.pidfd_open(pid)
    try:
        ended, _, _ = select.select([descriptor], [], [], seconds)
    finally:
        os.close(descriptor)
    isolation.killGroup(pid)
    with contextlib.suppress(ProcessLookupError):
        # It may not have had time to become the leader of its group.
        os.kill(pid, signal.SIGKILL)
    _, status = os.waitpid(pid, 0)
    return status if ended else None


def _read(descriptor: int) -> str:
    size = os.fstat(descriptor).st_size
    start = max(0, size - _TAIL)
    return os.pread(descriptor, size - start, start).decode(errors="replace")


def _lastWords(end: str, words: int) -> str:
    lines = [line.strip() for line in _read(words).splitlines()]
    last = next((line for line in reversed(lines) if line), "")
    return f"{end}: {last[:200]}" if last else end


def reason(error: BaseException) -> str:
    """What to tell an administrator, in one line, of code that raised this."""
    if isinstance(error, Refusal):
        return str(error)
    text = " ".join(f"{type(error).__name__}: {error}".split())
    if isinstance(error, ModuleNotFoundError) and error.name:
        top = error.name.partition(".")[0]
        if top != error.name and importlib.util.find_spec(top) is not None:
            return f"the Python package {top!r} has no module {error.name!r}"
        package = top.lower().replace("_", "-")
        return (
            f"the Python module {error.name!r} is missing (apt-get install"
            f" python3-{package} or pip install {package} may bring it)"
        )
    frames = traceback.extract_tb(error.__traceback__)
    if not frames:
        return text
    last = frames[-1]
    line = linecache.getline(last.filename, last.lineno or 0)
    if "'NoneType'" in text and "iface" in line:
        text = f"it needs the desktop of QGIS: {text}"
    return f"{text} ({os.path.basename(last.filename)}, line {last.lineno})"
