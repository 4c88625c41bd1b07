"""
What a request may know of: the processes that the access policy leaves to its
sender.

Every operation of every protocol takes the processes from here.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from itertools import count
from typing import Any

import attrs
from twisted.application.service import Service
from twisted.internet.defer import Deferred, maybeDeferred, succeed
from twisted.internet.task import LoopingCall
from twisted.web.http import Request

from qgswps.interfaces import ICatalogue
from qgswps.journal import Logger
from qgswps.model import ProcessDescription
from qgswps.policy import Caller, Policy, PolicyError, State, load, stateOf
from qgswps.threads import inThread
from qgswps.web.access import HEADER
from qgswps.web.proxies import Proxies

log = Logger()

#: Seconds between looks at the files of a policy.
INTERVAL = 1.0

#: A user and his groups, as a proxy tells of them.
_LIZMAP = ("X-Lizmap-User", "X-Lizmap-User-Groups")

#: How many views are kept: one for each set of rules that apply together.
_KEPT = 32


class PolicyKeeper(Service):
    """
    Keeps the policy as its files are.

    A change is taken up when the files look the same twice, since somebody
    may still be writing.

    @ivar policy: the one in force.
    """

    def __init__(self, reactor: Any, source: str, policy: Policy) -> None:
        """
        @param source: where it comes from; see L{load}.
        """
        self.policy = policy
        self._reactor = reactor
        self._source = source
        self._known = policy.files
        self._seen: Mapping[str, State] | None = None
        self._looking: LoopingCall | None = None
        self._ended: Deferred[Any] = succeed(None)

    def startService(self) -> None:
        """Begin to look at the files."""
        super().startService()
        if not self._known:
            return
        self._looking = LoopingCall(self._look)
        self._looking.clock = self._reactor
        self._ended = self._looking.start(INTERVAL, now=False)
        self._ended.addErrback(lambda reason: log.failure("no more reloads", reason))

    def stopService(self) -> Deferred[Any]:
        """Stop, when the thread that looks has ended."""
        super().stopService()
        if self._looking is not None and self._looking.running:
            self._looking.stop()
        self._looking = None
        return maybeDeferred(lambda: self._ended)

    def _look(self) -> Deferred[None]:
        # A disk may be slow.  The next look waits for this one.
        d = inThread(self._reactor, self._read)
        d.addCallbacks(self._take, self._failed)
        return d

    def _read(self) -> Policy | PolicyError | None:
        """In a thread: the new policy, why there is none, None for no news."""
        found = {path: stateOf(path) for path in self._known}
        if found == self._known:
            self._seen = None
            return None
        if found != self._seen:
            self._seen = found
            return None
        try:
            return load(self._source)
        except PolicyError as error:
            return error

    def _take(self, found: Policy | PolicyError | None) -> None:
        if found is None:
            return
        self._known = found.files
        self._seen = None
        if isinstance(found, PolicyError):
            log.error("{error}; the access policy stays as it was", error=found)
        else:
            self.policy = found
            log.info("the access policy has changed")

    def _failed(self, reason: Any) -> None:
        log.failure("the access policy stays as it was", reason)


@attrs.frozen(eq=False)
class View:
    """
    What some callers see.

    @ivar number: another for each view that differs.
    """

    number: int
    processes: Mapping[str, ProcessDescription]


class Exposure:
    """
    The catalogue, as each caller sees it.

    @ivar catalogue: as nobody sees it, for jobs that are there already.
    """

    def __init__(
        self,
        catalogue: ICatalogue,
        keeper: PolicyKeeper,
        proxies: Proxies | None = None,
    ) -> None:
        """
        @param proxies: whose word on users and groups is believed.
        """
        self.catalogue = catalogue
        self._keeper = keeper
        self._proxies = proxies or Proxies()
        self._numbers = count()
        self._of: tuple[int, Policy] | None = None
        self._views: OrderedDict[tuple[int, ...], View] = OrderedDict()

    @property
    def vary(self) -> str:
        """The headers that L{view} depends on."""
        return ", ".join((HEADER, *(_LIZMAP if self._proxies.isThere else ())))

    def view(self, request: Request) -> View:
        """
        What the sender of a request sees.

        @raise qgswps.errors.OWSError: C{ServerBusy}, nothing is known yet.
        """
        processes = self.catalogue.processes()
        policy = self._keeper.policy
        of = self._of
        if of is None or of[0] != self.catalogue.generation or of[1] is not policy:
            self._of = (self.catalogue.generation, policy)
            self._views.clear()
        applying = policy.applying(self._caller(request))
        view = self._views.get(applying)
        if view is None:
            view = self._views[applying] = self._make(
                policy.exposed(processes, applying)
            )
        self._views.move_to_end(applying)
        while len(self._views) > _KEPT:
            self._views.popitem(last=False)
        return view

    def _make(self, processes: Mapping[str, ProcessDescription]) -> View:
        """A view, or the one that shows the same."""
        for view in self._views.values():
            if view.processes == processes:
                return view
        return View(next(self._numbers), processes)

    def _caller(self, request: Request) -> Caller:
        realm = request.getHeader(HEADER) or ""
        if not self._proxies.believes(request):
            # Anybody could say so.
            return Caller(realm)
        user, groups = _LIZMAP
        names = request.requestHeaders.getRawHeaders(groups) or []
        members = (name.strip() for each in names for name in each.split(","))
        return Caller(realm, request.getHeader(user) or "", frozenset(members) - {""})
