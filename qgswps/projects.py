"""
Source projects: what C{MAP} names, and what is in it.

A summary is made by a worker, once for all requests that want it, and kept
until the project is saved again.
"""

from __future__ import annotations

import os
from collections import OrderedDict
from typing import Any

from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from qgswps.errors import invalid
from qgswps.interfaces import IExecutor
from qgswps.model import ProjectSummary
from qgswps.threads import inThread

#: Endings that a project may have; the first that fits an ending left out.
_ENDINGS = (".qgs", ".qgz")

#: How many summaries are kept.
_KEPT = 100

#: A project's path, time of its last change and size.
_Key = tuple[str, int, int]


def locate(root: str, map: str) -> str:
    """
    The file that a client means by C{MAP}.  Looks at the disk.

    @param root: folder that holds the projects; empty for none.
    @param map: path below it, with C{/}, with or without the ending.
    @return: an absolute path.
    @raise qgswps.errors.OWSError: there is no such project below the root;
        all that is outside is answered like what does not exist.
    """
    unknown = invalid("MAP", f"there is no project {map!r}")
    if not root:
        raise invalid("MAP", "this server has no projects")
    if "\0" in map:
        raise unknown
    base = os.path.realpath(root)
    path = os.path.realpath(os.path.join(base, map.lstrip("/")))
    if os.path.commonpath([base, path]) != base:
        raise unknown
    if path.endswith(_ENDINGS):
        candidates = [path]
    else:
        candidates = [os.path.realpath(path + ending) for ending in _ENDINGS]
    for candidate in candidates:
        if os.path.commonpath([base, candidate]) == base and os.path.isfile(candidate):
            return candidate
    raise unknown


class Projects:
    """The projects that clients may name."""

    def __init__(self, reactor: Any, root: str, executor: IExecutor) -> None:
        """
        @param root: folder that holds the projects; empty for none.
        """
        self._reactor = reactor
        self._root = root
        self._executor = executor
        self._summaries: OrderedDict[
            _Key, ProjectSummary | list[Deferred[ProjectSummary]]
        ] = OrderedDict()

    def _identify(self, map: str) -> _Key:
        path = locate(self._root, map)
        state = os.stat(path)
        return path, state.st_mtime_ns, state.st_size

    def locate(self, map: str) -> Deferred[str]:
        """L{locate}, off the reactor's thread: the disk may be a slow one."""
        return inThread(self._reactor, locate, self._root, map)

    async def summary(self, map: str) -> ProjectSummary:
        """
        What is in a project.

        @raise qgswps.errors.OWSError: there is no such project, or it is broken.
        """
        key = await inThread(self._reactor, self._identify, map)
        known = self._summaries.get(key)
        if isinstance(known, ProjectSummary):
            self._summaries.move_to_end(key)
            return known
        waiting: Deferred[ProjectSummary] = Deferred()
        if known is not None:
            known.append(waiting)
            return await waiting
        waiters = self._summaries[key] = [waiting]
        # Whoever asked first may go away; the others still want an answer.
        summarizing: Deferred[ProjectSummary] = self._executor.summarize(key[0])
        summarizing.addCallbacks(
            self._made,
            self._failed,
            callbackArgs=(key, waiters),
            errbackArgs=(key, waiters),
        )
        return await waiting

    def _made(
        self,
        summary: ProjectSummary,
        key: _Key,
        waiters: list[Deferred[ProjectSummary]],
    ) -> None:
        self._summaries[key] = summary
        while len(self._summaries) > _KEPT:
            self._summaries.popitem(last=False)
        for waiter in waiters:
            if not waiter.called:
                waiter.callback(summary)

    def _failed(
        self,
        reason: Failure,
        key: _Key,
        waiters: list[Deferred[ProjectSummary]],
    ) -> None:
        self._summaries.pop(key, None)
        for waiter in waiters:
            if not waiter.called:
                waiter.errback(reason)
