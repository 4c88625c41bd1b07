"""One HTTP resource into a file: the request, its redirects, the answer's body."""

from __future__ import annotations

import base64
import contextlib
from collections.abc import Callable, Sequence
from typing import IO, Any, cast
from urllib.parse import urljoin

import attrs
from OpenSSL import SSL  # type: ignore[import-untyped]
from service_identity import VerificationError  # type: ignore[import-untyped]
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.endpoints import wrapClientTLS
from twisted.internet.error import (
    ConnectError,
    ConnectionDone,
    ConnectionLost,
    TimeoutError,
    UserError,
)
from twisted.internet.protocol import Protocol, connectionDone
from twisted.internet.task import Cooperator, TaskFinished
from twisted.python.failure import Failure
from twisted.web.client import (
    Agent,
    BrowserLikePolicyForHTTPS,
    FileBodyProducer,
    ResponseDone,
)
from twisted.web.http import PotentialDataLoss
from twisted.web.http_headers import Headers
from twisted.web.iweb import IAgentEndpointFactory, IPolicyForHTTPS
from zope.interface import implementer

import qgswps
from qgswps import audit
from qgswps.references import urls
from qgswps.references.endpoint import CheckedEndpoint, Resolve, Unknown
from qgswps.references.guard import Guard, Refused
from qgswps.references.sink import BLOCK, ENCODINGS, Damaged, Sink, TooLarge
from qgswps.references.urls import Location
from qgswps.threads import inThread

#: How many redirects are followed.
REDIRECTS = 5

#: Seconds that a host has to take a connection.
CONNECT_TIMEOUT = 10.0

_REDIRECTED = (301, 302, 303, 307, 308)
#: Those after which the same request is sent again.
_REPEATED = (307, 308)


class Unfetched(Exception):
    """What is referred to can't be had; the text says why."""


@attrs.frozen
class Fetch:
    """
    What to ask for.

    @ivar headers: names and values.
    @ivar open: opens the body of the request, for each time that it is sent;
        None for a GET.
    """

    location: Location
    headers: Sequence[tuple[str, str]] = ()
    open: Callable[[], IO[bytes]] | None = None


@implementer(IAgentEndpointFactory)
@attrs.frozen
class _Endpoint:
    """The one endpoint of an exchange."""

    endpoint: Any

    def endpointForURI(self, uri: Any) -> Any:
        return self.endpoint


class Client:
    """Fetches by HTTP and HTTPS."""

    def __init__(
        self,
        reactor: Any,
        guard: Guard,
        resolve: Resolve,
        policy: IPolicyForHTTPS | None = None,
    ) -> None:
        """
        @param policy: whom to trust; by default the authorities that the
            system trusts.
        """
        self._reactor = reactor
        self._guard = guard
        self._resolve = resolve
        self._policy = policy or BrowserLikePolicyForHTTPS()
        self._cooperator = Cooperator(
            scheduler=lambda call: reactor.callLater(0.0, call)
        )

    async def fetch(self, fetch: Fetch, sink: Sink) -> str:
        """
        Fetch into a sink; to be ended by cancelling the Deferred made of it.

        @return: the media type that the answer has, or an empty text.
        @raise Unfetched: it can't be had.
        @raise TooLarge: it does not go into the sink.
        @raise OSError: the sink can't be written.
        """
        for _ in range(REDIRECTS + 1):
            answer = await self._ask(fetch, sink)
            if isinstance(answer, str):
                return answer
            fetch = answer
        raise Unfetched(f"it leads on more than {REDIRECTS} times")

    async def _ask(self, fetch: Fetch, sink: Sink) -> str | Fetch:
        """Send one request: the media type of its data, or where to go on."""
        where = fetch.location
        try:
            self._guard.checkHost(where.host)
        except Refused as why:
            audit.note("reference-refused", reason=why)
            raise Unfetched(str(why)) from None
        checked = CheckedEndpoint(
            self._reactor,
            self._guard,
            self._resolve,
            where.host,
            where.port,
            CONNECT_TIMEOUT,
        )
        endpoint: Any = checked
        if where.scheme == "https":
            creator = self._policy.creatorForNetloc(where.host.encode(), where.port)
            endpoint = wrapClientTLS(creator, checked)
        agent = Agent.usingEndpointFactory(self._reactor, _Endpoint(endpoint))
        body = None
        try:
            if fetch.open is not None:
                file = await inThread(self._reactor, fetch.open)
                body = FileBodyProducer(file, self._cooperator)
            response = await agent.request(
                b"GET" if body is None else b"POST",
                str(where).encode("ascii"),
                _headers(fetch),
                body,
            )
            checked.headReceived()
            following = _redirect(response, fetch)
            if following is not None:
                return following
            return await self._receive(response, sink)
        except (Unfetched, TooLarge, CancelledError, OSError):
            raise
        except Exception as error:
            if any(each.check(CancelledError) for each in _reasons(error)):
                raise CancelledError() from None
            raise Unfetched(_reason(error)) from None
        finally:
            checked.abort()
            if body is not None:
                # It may not have begun, or have ended.
                with contextlib.suppress(AttributeError, TaskFinished):
                    body.stopProducing()

    async def _receive(self, response: Any, sink: Sink) -> str:
        """Take the body of an answer."""
        if not 200 <= response.code < 300:
            phrase = response.phrase.decode("latin-1")[:80]
            said = f"{response.code} {phrase}" if phrase.isprintable() else ""
            raise Unfetched(f"the answer is {said or response.code}, expected 200")
        encodings = _all(response, "Content-Encoding")
        try:
            await inThread(self._reactor, sink.begin, encodings)
            receiver = _Receiver(self._reactor, sink)
            response.deliverBody(receiver)
            await receiver.received
            await inThread(self._reactor, sink.end)
        except Damaged as why:
            raise Unfetched(f"the answer is damaged: {why}") from None
        found = _all(response, "Content-Type")
        return found if found.isprintable() and len(found) < 256 else ""


def _all(response: Any, name: str) -> str:
    values = response.headers.getRawHeaders(name.encode(), [])
    return ", ".join(value.decode("latin-1") for value in values)


def _headers(fetch: Fetch) -> Headers:
    headers = Headers()
    headers.addRawHeader(b"User-Agent", f"qgswps/{qgswps.__version__}".encode())
    if fetch.location.credentials is not None:
        secret = base64.b64encode(fetch.location.credentials.encode())
        headers.addRawHeader(b"Authorization", b"Basic " + secret)
    own = {name.lower() for name, _ in fetch.headers}
    for name in own:
        headers.removeHeader(name.encode())
    for name, value in fetch.headers:
        headers.addRawHeader(name.encode("ascii"), value.encode("latin-1"))
    headers.setRawHeaders(b"Accept-Encoding", [", ".join(ENCODINGS).encode()])
    return headers


def _redirect(response: Any, fetch: Fetch) -> Fetch | None:
    """Where an answer leads on, if it does."""
    if response.code not in _REDIRECTED:
        return None
    target = _all(response, "Location")
    try:
        location = urls.parse(urljoin(str(fetch.location), target.strip()))
    except ValueError as why:
        raise Unfetched(f"it leads on, but {why}") from None
    following = attrs.evolve(fetch, location=location)
    if fetch.location.origin == location.origin:
        if location.credentials is None:
            same = attrs.evolve(location, credentials=fetch.location.credentials)
            following = attrs.evolve(following, location=same)
    else:
        # What the client has told one server is not for another one, and a
        # server's own word is no reason to log in elsewhere.
        following = attrs.evolve(
            following,
            headers=[item for item in fetch.headers if item[0].lower() in _FOR_ALL],
            location=attrs.evolve(location, credentials=None),
        )
    if response.code not in _REPEATED and fetch.open is not None:
        following = attrs.evolve(
            following,
            open=None,
            headers=[h for h in following.headers if h[0].lower() != "content-type"],
        )
    return following


#: Headers that go along to another server.
_FOR_ALL = ("accept", "accept-language", "content-type", "user-agent")


class _Receiver(Protocol):
    """
    Takes a body into a sink, in threads, and lets the server wait for them.

    @ivar received: a Deferred of the end.
    """

    def __init__(self, reactor: Any, sink: Sink) -> None:
        self.received: Deferred[None] = Deferred()
        self._reactor = reactor
        self._sink = sink
        self._waiting: list[bytes] = []
        self._size = 0
        self._isWriting = False
        self._end: Failure | None = None

    def dataReceived(self, data: bytes) -> None:
        """See C{IProtocol}."""
        self._waiting.append(data)
        self._size += len(data)
        if self._size >= BLOCK:
            self._write()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """See C{IProtocol}."""
        self._end = reason
        self._write()

    def _write(self) -> None:
        if self._isWriting or self.received.called:
            return
        if not self._waiting:
            self._finish()
            return
        data, self._waiting, self._size = b"".join(self._waiting), [], 0
        self._isWriting = True
        if self._end is None:
            cast(Any, self.transport).pauseProducing()
        d = inThread(self._reactor, self._sink.write, data)
        d.addCallbacks(self._written, self._failed)

    def _written(self, _: None) -> None:
        self._isWriting = False
        if self._end is not None:
            self._write()
        else:
            cast(Any, self.transport).resumeProducing()

    def _failed(self, reason: Failure) -> None:
        if not self.received.called:
            self.received.errback(reason)

    def _finish(self) -> None:
        assert self._end is not None
        # A server that does not say how long its answer is ends it so.
        if self._end.check(ResponseDone, PotentialDataLoss):
            self.received.callback(None)
        else:
            self.received.errback(self._end)


def _reasons(error: BaseException) -> list[Failure]:
    """What Twisted's client has met, if it says so."""
    return list(getattr(error, "reasons", ()))


def _reason(error: BaseException) -> str:
    """What went wrong on the way, for the client."""
    inner = [each.value for each in _reasons(error)]
    for each in (error, *inner):
        if isinstance(each, (Refused, Unknown)):
            return str(each)
        if isinstance(each, VerificationError):
            return "its certificate is for another host"
        if isinstance(each, SSL.Error):
            return f"TLS failed: {_tls(each)}"
        if isinstance(each, (TimeoutError, UserError)):
            return f"it took no connection within {CONNECT_TIMEOUT:g} s"
        if isinstance(each, ConnectError):
            return f"it can't be connected to: {each}"
    if any(isinstance(each, (ConnectionDone, ConnectionLost)) for each in inner):
        return "the connection was closed before the answer was complete"
    return f"the answer can't be read: {type(error).__name__}"


def _tls(error: SSL.Error) -> str:
    reasons = error.args[0] if error.args else ()
    try:
        return ", ".join(reason[-1] for reason in reasons) or "the connection was lost"
    except (TypeError, IndexError):
        return "the connection was lost"
