"""
When to load all algorithms anew: a signal, a file that is touched, or a change
in the scripts, models and plugins.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any

from twisted.application.service import MultiService, Service
from twisted.internet.defer import Deferred, maybeDeferred, succeed
from twisted.internet.task import LoopingCall

from qgswps.journal import Logger
from qgswps.threads import inThread

log = Logger()

#: Seconds between looks at the file that is to be touched.
INTERVAL = 1.0

#: What QGIS loads when it starts.  Other files are not looked at: an algorithm
#: may write them when it is loaded, and each reload would cause the next one.
_SUFFIXES = (".py", ".so", ".model3", ".model", ".ui")
_METADATA = "metadata.txt"

#: What changes when a file does.
State = tuple[int, int, int]

Files = Mapping[str, State]


def look(paths: Sequence[str]) -> Files:
    """The states of those files that are there.  Looks at the disk."""
    found = {}
    for path in paths:
        try:
            status = os.stat(path)
        except OSError:
            continue
        found[path] = (status.st_mtime_ns, status.st_size, status.st_ino)
    return found


def lookInto(folders: Sequence[str]) -> Files:
    """The states of all files that algorithms come from.  Looks at the disk."""
    return look([path for folder in folders for path in _sources(folder)])


def _sources(folder: str) -> Iterator[str]:
    if _isPlugin(folder):
        yield from _filesBelow(folder)
        return
    try:
        names = os.listdir(folder)
    except OSError:
        return  # it may come
    for name in names:
        path = os.path.join(folder, name)
        if name in ("scripts", "models") or _isPlugin(path):
            yield from _filesBelow(path)


def _isPlugin(folder: str) -> bool:
    return os.path.isfile(os.path.join(folder, _METADATA))


def _filesBelow(folder: str) -> Iterator[str]:
    for directory, below, names in os.walk(folder):
        below[:] = [each for each in below if each[0] != "." and each != "__pycache__"]
        for name in names:
            # Editors keep their own files hidden.
            isSource = name.lower().endswith(_SUFFIXES) or name == _METADATA
            if isSource and name[0] != ".":
                yield os.path.join(directory, name)


class Watch(Service):
    """
    Tells of a change of files as soon as they look the same twice, since
    somebody may still be writing.
    """

    def __init__(
        self,
        reactor: Any,
        look: Callable[[], Files],
        interval: float,
        changed: Callable[[Files, Files], None],
    ) -> None:
        """
        Look for the first time: what changes from now on is a change.

        @param look: is called in threads.
        @param interval: seconds between looks.
        @param changed: is told what was there and what is.
        """
        self._reactor = reactor
        self._look = look
        self._interval = interval
        self._changed = changed
        self._known = look()
        self._seen = self._known
        self._looking: LoopingCall | None = None
        self._ended: Deferred[Any] = succeed(None)

    def startService(self) -> None:
        """Begin to look again and again."""
        super().startService()
        self._looking = LoopingCall(self._lookAgain)
        self._looking.clock = self._reactor
        self._ended = self._looking.start(self._interval, now=False)

    def stopService(self) -> Deferred[Any]:
        """Stop, when the thread that looks has ended."""
        super().stopService()
        if self._looking is not None and self._looking.running:
            self._looking.stop()
        self._looking = None
        return maybeDeferred(lambda: self._ended)

    def _lookAgain(self) -> Deferred[None]:
        # A disk may be slow.  The next look waits for this one.
        looking = inThread(self._reactor, self._look).addCallback(self._compare)
        return looking.addErrback(lambda reason: log.failure("can't look", reason))

    def _compare(self, found: Files) -> None:
        seen, self._seen = self._seen, found
        if not self.running or found == self._known or found != seen:
            return
        known, self._known = self._known, found
        self._changed(known, found)


class Reloader(MultiService):
    """Has all algorithms loaded anew when there is a reason to."""

    def __init__(
        self,
        reactor: Any,
        reload: Callable[[], None],
        restartmon: str,
        folders: Sequence[str],
        interval: float,
    ) -> None:
        """
        @param restartmon: absolute path of a file to be touched; empty for
            none.
        @param folders: absolute paths of what is to be watched.
        @param interval: seconds between looks there; 0 for no looks.
        """
        super().__init__()
        self._reactor = reactor
        self._reload = reload
        self._terminal = False
        if restartmon:
            touched = partial(look, (restartmon,))
            Watch(reactor, touched, INTERVAL, self._touched).setServiceParent(self)
        if interval and folders:
            sources = partial(lookInto, folders)
            Watch(reactor, sources, interval, self._changed).setServiceParent(self)

    def startService(self) -> None:
        """Begin to listen to SIGHUP, and to look."""
        super().startService()
        # It stays: a server that is ending must not be ended by it before its
        # jobs are.
        before = signal.signal(
            signal.SIGHUP, lambda *_: self._reactor.callFromThread(self._hungUp)
        )
        # nohup ignores it for us.
        self._terminal = before is not signal.SIG_IGN and _terminal()

    def _hungUp(self) -> None:
        if self.running and self._terminal and not _terminal():
            # This is what the signal was made for: the terminal was closed.
            log.info("the terminal is gone")
            self._reactor.stop()
            return
        self._because("SIGHUP")

    def _touched(self, _: Files, found: Files) -> None:
        for path in found:  # which was not just removed
            self._because(f"{path} was touched")

    def _changed(self, known: Files, found: Files) -> None:
        paths = sorted(
            path for path in {**known, **found} if known.get(path) != found.get(path)
        )
        more = f" and {len(paths) - 1} more" if len(paths) > 1 else ""
        self._because(f"{paths[0]}{more} changed")

    def _because(self, reason: str) -> None:
        if self.running:
            log.info("reload: {reason}", reason=reason)
            self._reload()


def _terminal() -> bool:
    """Whether this process belongs to a terminal."""
    try:
        os.close(os.open(os.ctermid(), os.O_RDWR | os.O_NOCTTY))
    except OSError:
        return False
    return True
