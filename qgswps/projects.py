"""
Source projects: what C{MAP} names, and what is in it.

A summary is made by a worker, once for all requests that want it, and kept
until the project is saved again.
"""

from __future__ import annotations

import os
import re
import time
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Generic, TypeVar
from urllib.parse import quote, unquote, urlsplit

import attrs
from twisted.internet.defer import Deferred

from qgswps.errors import HTTP_STATUS, OWSError, invalid
from qgswps.interfaces import IExecutor
from qgswps.journal import Logger
from qgswps.kinds import ProjectDatabase, ProjectPlace
from qgswps.model import ProjectSummary
from qgswps.threads import inThread

log = Logger()

T = TypeVar("T")

#: Endings that a project may have; the first that fits an ending left out.
_ENDINGS = (".qgs", ".qgz")

#: How many summaries are kept.
_KEPT = 100

#: Seconds after which layers that can't be opened are tried again.
_RETRY = 10.0

#: Nanoseconds by which the clock of a file system may be behind.
_LAG = 50_000_000

#: How many layers that can't be opened are named.
_NAMED = 20

#: What QGIS, reading a URI, takes as it is but does not decode.
_PLAIN = "!$'()*+,/:;?@[]"

#: Time of the last change and size of a file, None if there is none.  One that
#: may have changed while it was read is unlike any other.
_State = tuple[int, int] | None
_UNSETTLED = (-1, -1)


# What MAP means


def _unknown(map: str) -> OWSError:
    return invalid("MAP", f"there is no project {map!r}")


def locate(root: str, map: str, schemes: Mapping[str, ProjectPlace]) -> str:
    """
    What a client means by C{MAP}.  Looks at the disk.

    @param root: folder that holds the projects; empty for none.
    @param map: C{scheme:name}, or a name in the root.
    @return: the absolute path of a file, or the URI of a project in
        PostgreSQL, which may be there or not.
    @raise qgswps.errors.OWSError: there is no such project, as far as can be
        seen here.
    """
    scheme, colon, name = map.partition(":")
    place = schemes.get(scheme) if colon else None
    if isinstance(place, ProjectDatabase):
        return _inDatabase(place.uri, name, map)
    if place is not None:
        return _inFolder(place.path, name, map)
    if not root:
        if schemes:
            raise _unknown(map)
        raise invalid("MAP", "this server has no projects")
    return _inFolder(root, map, map)


def _inDatabase(uri: str, name: str, map: str) -> str:
    # QGIS would look for another name.
    if not name or re.search(r"[\x00-\x1f\x7f]", name):
        raise _unknown(map)
    try:
        return f"{uri}&project={quote(name, safe=_PLAIN)}"
    except UnicodeEncodeError:
        raise _unknown(map) from None


def _inFolder(root: str, name: str, map: str) -> str:
    """
    The file of a name, with C{/}, with or without the ending.  All that is
    outside of the root is answered like what does not exist.
    """
    if "\0" in name:
        raise _unknown(map)
    base = os.path.realpath(root)
    path = os.path.realpath(os.path.join(base, name.lstrip("/")))
    if os.path.commonpath([base, path]) != base:
        error = _unknown(map)
        error.event = "path-refused"
        raise error
    if path.endswith(_ENDINGS):
        candidates = [path]
    else:
        candidates = [os.path.realpath(path + ending) for ending in _ENDINGS]
    for candidate in candidates:
        if os.path.commonpath([base, candidate]) == base and os.path.isfile(candidate):
            return candidate
    raise _unknown(map)


# What is in a project


def _state(path: str) -> _State:
    try:
        found = os.stat(path)
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size


def _settledState(path: str, since: int) -> _State:
    """The state of a file that somebody has read since then."""
    try:
        found = os.stat(path)
        changed = max(found.st_mtime_ns, found.st_ctime_ns)
    except OSError:
        found = None
        # It may have gone meanwhile.
        try:
            changed = os.stat(os.path.dirname(path)).st_mtime_ns
        except OSError:
            changed = 0
    if changed >= since:
        return _UNSETTLED
    return None if found is None else (found.st_mtime_ns, found.st_size)


def _states(paths: Iterable[str]) -> dict[str, _State]:
    return {path: _state(path) for path in paths}


def _settledStates(paths: Iterable[str], since: int) -> dict[str, _State]:
    return {path: _settledState(path, since) for path in paths}


class _Shared(Generic[T]):
    """
    Work that many want done at once.

    It is done once for all who ask before it begins, never twice at a time.
    Who asks while it is done waits for the next turn, since what it finds may
    have been older than the question.
    """

    def __init__(self, work: Callable[[], Deferred[T]]) -> None:
        self._work = work
        self._waiting: list[Deferred[T]] = []
        self.busy = False

    def ask(self) -> Deferred[T]:
        """
        Have it done.

        @return: a Deferred of what it finds.  Whoever cancels it leaves the
            others theirs.
        """
        waiting: Deferred[T] = Deferred()
        self._waiting.append(waiting)
        if not self.busy:
            self._begin()
        return waiting

    def _begin(self) -> None:
        self.busy = True
        waiting, self._waiting = self._waiting, []

        def end(result: Any) -> None:
            if self._waiting:
                self._begin()
            else:
                self.busy = False
            for each in waiting:
                if not each.called:
                    each.callback(result)

        self._work().addBoth(end)


class _Project:
    """
    One project, and its summary once there is one.

    @ivar shared: brings the summary up to date.
    """

    def __init__(
        self, reactor: Any, place: str, executor: IExecutor, watching: bool, name: str
    ) -> None:
        """
        @param place: absolute path or URI.
        @param watching: look at the files of its layers, too.
        @param name: what to call it in the log.
        """
        self._reactor = reactor
        self._place = place
        self._executor = executor
        self._watching = watching
        self._name = name
        self._own = {place} if os.path.isabs(place) else set()
        self._summary: ProjectSummary | None = None
        self._states: dict[str, _State] = {}
        self._made = 0.0
        self.shared: _Shared[ProjectSummary] = _Shared(
            lambda: Deferred.fromCoroutine(self._check())
        )

    @property
    def isKnown(self) -> bool:
        """There is a summary, perhaps not of today."""
        return self._summary is not None

    async def _check(self) -> ProjectSummary:
        states = await inThread(self._reactor, _states, {*self._states, *self._own})
        known = self._summary
        if known is not None and (states != self._states or self._isDoubtful(known)):
            known = None
        if known is not None and self._own:
            return known
        # Clocks of file systems may lag behind.
        since = time.time_ns() - _LAG
        summary: ProjectSummary | None = await self._executor.summarize(
            self._place, known.modified if known is not None else ""
        )
        if summary is None:
            assert known is not None
            return known
        files = set(summary.files) - self._own if self._watching else set()
        settled = await inThread(self._reactor, _settledStates, files, since)
        # This one is from before: a project saved meanwhile differs from it.
        settled.update((path, states[path]) for path in self._own)
        self._summary, self._states = summary, settled
        self._made = self._reactor.seconds()
        log.info(
            "summary of {project}: {layers} layers",
            project=self._name,
            layers=len(summary.layers),
        )
        return summary

    def _isDoubtful(self, summary: ProjectSummary) -> bool:
        """
        Layers that could not be opened are tried again: what is no file may
        be there again, and nothing tells.
        """
        age = self._reactor.seconds() - self._made
        return age >= _RETRY and any(not layer.valid for layer in summary.layers)


class Projects:
    """The projects that clients may name."""

    def __init__(
        self,
        reactor: Any,
        root: str,
        executor: IExecutor,
        schemes: Mapping[str, ProjectPlace] | None = None,
        strict: bool = True,
    ) -> None:
        """
        @param root: folder that holds the projects; empty for none.
        @param schemes: further places, by what C{MAP} begins with.
        @param strict: refuse projects with layers that can't be opened.
        """
        self._reactor = reactor
        self._root = root
        self._executor = executor
        self._schemes = dict(schemes or {})
        self._strict = strict
        #: By place, the one used last at the end.
        self._projects: OrderedDict[str, _Project] = OrderedDict()

    def locate(self, map: str) -> Deferred[str]:
        """L{locate}, off the reactor's thread: the disk may be a slow one."""
        return inThread(self._reactor, locate, self._root, map, self._schemes)

    async def summary(self, map: str) -> ProjectSummary:
        """
        What is in a project.

        @raise qgswps.errors.OWSError: there is no such project, it is broken,
            or it has layers that can't be opened, and must not.
        """
        place = await self.locate(map)
        project = self._projects.get(place)
        if project is None:
            project = _Project(
                self._reactor, place, self._executor, self._strict, name=map
            )
            self._projects[place] = project
            while len(self._projects) > _KEPT:
                self._projects.popitem(last=False)
        self._projects.move_to_end(place)
        try:
            summary = await project.shared.ask()
        except OWSError as error:
            # Names that mean nothing must not drive out those that do.
            if not (project.isKnown or project.shared.busy):
                self._projects.pop(place, None)
            raise _forClients(error, place, map) from None
        if self._strict:
            _checkLayers(summary, map)
        return summary


def _forClients(error: OWSError, place: str, map: str) -> OWSError:
    """An error in words that tell of a project no more than its name."""
    if os.path.isabs(place):
        told = [
            attrs.evolve(fault, text=fault.text.replace(place, map))
            for fault in error.faults
        ]
        return OWSError(told, error.status, error.retryAfter)
    if error.status == HTTP_STATUS["ServerBusy"]:
        return error
    # What PostgreSQL says is for who runs the server, but for passwords.
    reason = str(error).replace(place, map)
    for password in filter(None, (urlsplit(place).password,)):
        for form in (password, unquote(password)):
            reason = reason.replace(form, "********")
    log.warn("the project {project}: {reason}", project=map, reason=reason)
    text = f"there is no project {map!r}, or it can't be opened"
    told = [attrs.evolve(fault, text=text) for fault in error.faults]
    return OWSError(told, error.status)


def _checkLayers(summary: ProjectSummary, map: str) -> None:
    broken = [repr(each.name or each.id) for each in summary.layers if not each.valid]
    if broken:
        more = len(broken) - _NAMED
        names = ", ".join(broken[:_NAMED]) + (f" and {more} more" if more > 0 else "")
        text = f"the project {map!r} has layers that can't be opened: {names}"
        raise invalid("MAP", text, 422)
