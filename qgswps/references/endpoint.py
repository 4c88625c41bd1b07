"""
Connections to checked addresses.

The address that was checked is the one that is connected to: a name is looked
up once for each connection, here.
"""

from __future__ import annotations

import socket
from collections.abc import Callable, Sequence
from ipaddress import ip_address
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.endpoints import TCP4ClientEndpoint, TCP6ClientEndpoint
from twisted.internet.error import ConnectError
from twisted.internet.interfaces import IStreamClientEndpoint
from twisted.internet.threads import deferToThreadPool
from twisted.protocols.policies import ProtocolWrapper, WrappingFactory
from twisted.python.threadpool import ThreadPool
from zope.interface import implementer

from qgswps import audit
from qgswps.references.guard import Guard, IPAddress, Refused, literal

#: A function from the name of a host to a Deferred of its addresses, the best
#: one first.
Resolve = Callable[[str], Deferred[Sequence[IPAddress]]]

#: How many addresses of a host are tried.
_TRIES = 3

#: What an answer may have before its body, in bytes; the body's beginning
#: may come with it.
_LARGEST_HEAD = 1 << 18


class Unknown(Exception):
    """A host that has no address."""


class Resolver:
    """
    Looks names up, in threads of its own: those of a slow name server must
    not keep the others waiting for a disk.
    """

    def __init__(self, reactor: Any, threads: int = 4) -> None:
        self._reactor = reactor
        self._pool = ThreadPool(0, threads, "resolver")

    def start(self) -> None:
        """Have threads."""
        self._pool.start()

    def stop(self) -> Deferred[None]:
        """End them; a Deferred of when they have ended."""
        d: Deferred[None] = deferToThreadPool(
            self._reactor, self._reactor.getThreadPool(), self._pool.stop
        )
        return d

    def __call__(self, host: str) -> Deferred[Sequence[IPAddress]]:
        """
        The addresses of a host; fails with C{OSError}.
        """
        d: Deferred[Sequence[IPAddress]] = deferToThreadPool(
            self._reactor, self._pool, _lookUp, host
        )
        return d


def _lookUp(host: str) -> list[IPAddress]:
    found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    # A zone stands behind link-local addresses.
    texts = [str(address[0]).partition("%")[0] for *_, address in found]
    return [ip_address(text) for text in dict.fromkeys(texts)]


class _Connection(ProtocolWrapper):
    """A connection that ends if an answer does not get to its body."""

    factory: _Connections
    transport: Any

    def dataReceived(self, data: bytes) -> None:
        """See C{IProtocol}."""
        head = self.factory.head
        if head is not None:
            self.factory.head = head = head + len(data)
            if head > _LARGEST_HEAD:
                self.transport.abortConnection()
                return
        super().dataReceived(data)


class _Connections(WrappingFactory):
    protocol = _Connection
    head: int | None = 0


@implementer(IStreamClientEndpoint)
class CheckedEndpoint:
    """A host, of which only such addresses are connected to as are allowed."""

    def __init__(
        self,
        reactor: Any,
        guard: Guard,
        resolve: Resolve,
        host: str,
        port: int,
        timeout: float,
    ) -> None:
        """
        @param timeout: seconds that each address has to take the connection.
        """
        self._reactor = reactor
        self._guard = guard
        self._resolve = resolve
        self._host = host
        self._port = port
        self._timeout = timeout
        self._factory: _Connections | None = None

    def connect(self, protocolFactory: Any) -> Deferred[Any]:
        """See C{IStreamClientEndpoint}; fails with L{Refused}, too."""
        return Deferred.fromCoroutine(self._connect(protocolFactory))

    async def _connect(self, protocolFactory: Any) -> Any:
        found = await self._addresses()
        allowed = [each for each in found if self._guard.allows(self._host, each)]
        if not allowed:
            audit.note(
                "reference-refused",
                host=self._host,
                addresses=",".join(map(str, found)) or "none",
            )
            raise Refused(f"{self._host} has no address that is allowed")
        self._factory = _Connections(protocolFactory)
        failure: ConnectError | None = None
        for each in allowed[:_TRIES]:
            kind = TCP4ClientEndpoint if each.version == 4 else TCP6ClientEndpoint
            endpoint = kind(self._reactor, str(each), self._port, self._timeout)
            try:
                connection = await endpoint.connect(self._factory)
            except ConnectError as error:
                failure = error
            else:
                return connection.wrappedProtocol
        assert failure is not None
        raise failure

    async def _addresses(self) -> Sequence[IPAddress]:
        address = literal(self._host)
        if address is not None:
            return [address]
        try:
            return await self._resolve(self._host)
        except (OSError, UnicodeError):
            raise Unknown(f"the host {self._host} is not known") from None

    def headReceived(self) -> None:
        """The body of the answer begins."""
        if self._factory is not None:
            self._factory.head = None

    def abort(self) -> None:
        """End the connection at once, if there is one."""
        if self._factory is not None:
            for connection in list(self._factory.protocols):
                connection.transport.abortConnection()
