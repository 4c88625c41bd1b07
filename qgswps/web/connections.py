"""
The connections of clients: how many there are, what each waits for, and since
when.

A connection that waits costs memory and a descriptor, and there are clients
that open many and say nothing, or a byte now and then.  So each phase of a
connection has its time, and when there are as many connections as there may
be, a new one takes the place of the one that waits longest for its client.
Whoever has sent a whole request is never put out.
"""

from __future__ import annotations

import enum
import resource
from typing import Any, Protocol

import attrs
from twisted.internet.task import LoopingCall

from qgswps.audit import note
from qgswps.journal import Logger
from qgswps.threads import collect, inThread

log = Logger()

#: Seconds between looks at the connections.
INTERVAL = 1.0

#: Seconds between requests that were sent before the one before them was
#: answered, of all connections.
TURN = 0.05

#: When of so many connections or more half have gone, memory is given back.
_MANY = 100

#: Open files that are for other things than connections.
_OTHERS = 256


@attrs.frozen
class ConnectionLimits:
    """
    What clients may take of the server's time and room.

    @ivar connections: how many there may be.
    @ivar eachAddress: how many of these one address may have; 0 for all.
    @ivar headerSize: the longest first line and headers of a request, in bytes.
    @ivar parameters: how many a URL may have.
    @ivar idleTimeout: seconds without a request.
    @ivar headerTimeout: seconds from the first byte of a request to the end of
        its headers.
    @ivar bodyTimeout: seconds without a byte of a body; and that it has more
        than at C{bodyRate}.
    @ivar bodyRate: bytes a second.
    @ivar sendTimeout: seconds for a client to take 64 KiB of an answer.
    """

    connections: int = 2000
    eachAddress: int = 0
    headerSize: int = 128 * 1024
    parameters: int = 1000
    idleTimeout: float = 60.0
    headerTimeout: float = 20.0
    bodyTimeout: float = 30.0
    bodyRate: float = 512.0
    sendTimeout: float = 60.0


class Phase(enum.Enum):
    """
    What a connection waits for.  When there are too many, those in the first
    phases go first.
    """

    #: The client, which has its last answer, to close it.
    CLOSING = 0
    #: A request.
    IDLE = 1
    #: The headers of one.
    HEAD = 2
    #: The body of one.
    BODY = 3
    #: The server itself, or for the client to take its answer.
    BUSY = 4


class IConnection(Protocol):
    """What L{Connections} knows of a connection."""

    address: str
    phase: Phase

    def isLate(self, now: float) -> bool:
        """Whether its client has let the time of the phase pass."""

    def timedOut(self) -> None:
        """End it, and tell the client, if it can be told."""

    def putOut(self) -> None:
        """End it, and say so to L{Connections.remove} at once."""

    def refuseMore(self, why: str) -> None:
        """Tell the client that there are too many."""

    def goOn(self) -> None:
        """Read what was kept."""


class Connections:
    """
    All connections of the server.

    @ivar limits: what they have to keep to.
    """

    def __init__(self, reactor: Any, limits: ConnectionLimits | None = None) -> None:
        self.limits = limits or ConnectionLimits()
        self._reactor = reactor
        # Those of a phase are in the order in which they came to it.
        self._phases: dict[Phase, dict[IConnection, None]] = {p: {} for p in Phase}
        self._addresses: dict[str, int] = {}
        self._looking = LoopingCall(self._look)
        self._looking.clock = reactor
        self._queue: dict[IConnection, None] = {}
        self._turn: Any = None
        self._most = 0

    def __len__(self) -> int:
        return sum(map(len, self._phases.values()))

    def now(self) -> float:
        """The time, in seconds."""
        return float(self._reactor.seconds())

    def add(self, connection: IConnection) -> None:
        """There is a new one.  It may be refused in here."""
        if not self._looking.running:
            self._looking.start(INTERVAL, now=False)
        address = connection.address
        count = self._addresses.get(address, 0)
        # Those of a UNIX socket have no address.
        if address and 0 < self.limits.eachAddress <= count:
            isFull, whose = not self._makeRoom(address), "this address has"
        else:
            isFull = len(self) >= self.limits.connections and not self._makeRoom()
            whose = "there are"
        self._addresses[address] = self._addresses.get(address, 0) + 1
        self._phases[connection.phase][connection] = None
        self._most = max(self._most, len(self))
        if isFull:
            connection.refuseMore(f"{whose} too many connections already")

    def _makeRoom(self, address: str | None = None) -> bool:
        """Put out the one that waits longest, of an address if that is given."""
        for phase in Phase:
            if phase is Phase.BUSY:
                break
            for each in self._phases[phase]:
                if address in (None, each.address):
                    note("connection-put-out", client=each.address, phase=phase.name)
                    each.putOut()
                    return True
        return False

    def enter(self, connection: IConnection, phase: Phase) -> None:
        """One waits for something else now."""
        # It may have been lost already.
        if self._phases[connection.phase].pop(connection, self) is None:
            self._phases[phase][connection] = None
        connection.phase = phase

    def remove(self, connection: IConnection) -> None:
        """One has ended."""
        self._queue.pop(connection, None)
        if self._phases[connection.phase].pop(connection, self) is not None:
            return
        left = self._addresses[connection.address] - 1
        if left:
            self._addresses[connection.address] = left
        else:
            del self._addresses[connection.address]
        if not self._addresses:
            self._giveBack()
            self._looking.stop()
            if self._turn is not None:
                self._turn.cancel()
                self._turn = None

    def _giveBack(self) -> None:
        """Give back the memory of those that have gone, if they were many."""
        if self._most >= _MANY and len(self) < self._most / 2:
            self._most = 0
            inThread(self._reactor, collect).addErrback(
                lambda reason: log.failure("memory can't be given back", reason)
            )

    def _look(self) -> None:
        self._giveBack()
        now = self.now()
        late = [
            each
            for phase in self._phases.values()
            for each in phase
            if each.isLate(now)
        ]
        for each in late:
            each.timedOut()

    # Requests that were sent before the last one was answered

    def queue(self, connection: IConnection) -> None:
        """
        Let one go on when it is its turn.

        Twenty of all do in a second: whoever sends a thousand requests
        in one piece waits between them, and nobody else does.
        """
        self._queue[connection] = None
        if self._turn is None:
            self._turn = self._reactor.callLater(TURN, self._next)

    def _next(self) -> None:
        self._turn = None
        connection = next(iter(self._queue), None)
        if connection is None:  # it has been lost
            return
        del self._queue[connection]
        if self._queue:
            self._turn = self._reactor.callLater(TURN, self._next)
        connection.goOn()


def allow(connections: int) -> int:
    """
    See that so many connections can be open, as far as the system lets us.

    @return: how many can be.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
            soft = hard
        except (OSError, ValueError):  # a sandbox forbids it
            pass
    if soft == resource.RLIM_INFINITY:
        return connections
    # A body that is not small has a file.
    most = max((soft - _OTHERS) // 2, 16)
    if most < connections:
        log.warn(
            "there can be {most} connections, not {connections}: the limit of open"
            " files is {files}",
            most=most,
            connections=connections,
            files=soft,
        )
    return min(most, connections)
