"""
Who may use the server: HTTP's basic authentication (RFC 7617) and bearer
tokens (RFC 6750), by a file of hashes.

A password takes a thread a tenth of a second. What was right is therefore
remembered for a while, and who is wrong too often has to wait.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import secrets
from collections import OrderedDict
from functools import partial
from typing import Any

from twisted.application.service import MultiService
from twisted.internet.defer import Deferred, DeferredSemaphore

from qgswps import audit
from qgswps.credentials import (
    NOBODY,
    Credentials,
    CredentialsError,
    load,
    matches,
)
from qgswps.errors import Fault, OWSError, busy
from qgswps.journal import Logger
from qgswps.reload import Files, Watch, look
from qgswps.threads import inThread

log = Logger()

#: Seconds between looks at the file.
INTERVAL = 1.0

#: Seconds that a password which was right is remembered for.
REMEMBERED = 300.0

#: How many are remembered, and how many networks are counted.
_KEPT = 1000

#: Seconds that wrong passwords are counted for.
PERIOD = 60.0

#: How many passwords are looked at side by side, and how many may wait for it.
_PARALLEL = 2
_WAITING = 50

#: No header of credentials is longer, in characters.
_LONGEST = 1000


def refused(text: str) -> OWSError:
    """Somebody has to say who he is."""
    return OWSError(Fault("NoApplicableCode", text), 401)


class CredentialsKeeper(MultiService):
    """
    Keeps the credentials as their file is.

    @ivar credentials: those in force.
    """

    def __init__(self, reactor: Any, path: str, credentials: Credentials) -> None:
        super().__init__()
        self.credentials = credentials
        self._reactor = reactor
        self._path = path
        watch = Watch(reactor, partial(look, (path,)), INTERVAL, self._changed)
        watch.setServiceParent(self)

    def _changed(self, _: Files, __: Files) -> None:
        reading = inThread(self._reactor, load, self._path)
        reading.addCallbacks(self._take, self._failed)

    def _take(self, credentials: Credentials) -> None:
        self.credentials = credentials
        log.info("the credentials have changed")

    def _failed(self, reason: Any) -> None:
        if reason.check(CredentialsError):
            log.error("{error}; the credentials stay as they were", error=reason.value)
        else:
            log.failure("the credentials stay as they were", reason)


class _Failures:
    """Counts, for each network, what was wrong in the last while."""

    def __init__(self, clock: Any, most: int) -> None:
        self._clock = clock
        self._most = most
        self._counts: OrderedDict[str, list[float]] = OrderedDict()

    def wait(self, sender: str) -> float:
        """Seconds until somebody may try again; 0 for now."""
        now = self._clock.seconds()
        moments = self._counts.get(audit.network(sender), [])
        moments[:] = [each for each in moments if now < each + PERIOD]
        if len(moments) < self._most:
            return 0.0
        return float(moments[-self._most] + PERIOD - now)

    def count(self, sender: str) -> None:
        """Somebody was wrong, as far as is known yet."""
        key = audit.network(sender)
        moments = self._counts.pop(key, [])
        self._counts[key] = moments
        moments.append(self._clock.seconds())
        while len(self._counts) > _KEPT:
            self._counts.popitem(last=False)

    def forgive(self, sender: str) -> None:
        """He was right after all."""
        moments = self._counts.get(audit.network(sender))
        if moments:
            moments.pop()


class Authenticator:
    """Finds out who asks."""

    def __init__(
        self, reactor: Any, keeper: CredentialsKeeper, realm: str, maxFailures: int
    ) -> None:
        """
        @param realm: what clients are told that the credentials are for.
        @param maxFailures: how often one may be wrong in a minute.
        """
        self._reactor = reactor
        self._keeper = keeper
        self._realm = realm.replace("\\", "\\\\").replace('"', '\\"')
        self._failures = _Failures(reactor, maxFailures)
        # No password is kept as it is, not even in memory.
        self._secret = secrets.token_bytes(32)
        self._remembered: OrderedDict[bytes, float] = OrderedDict()
        self._running: dict[bytes, list[Deferred[bool]]] = {}
        self._all = DeferredSemaphore(_PARALLEL)

    @property
    def challenges(self) -> list[str]:
        """What clients may answer with (RFC 9110, section 11.6.1)."""
        found = []
        if self._keeper.credentials.passwords:
            found.append(f'Basic realm="{self._realm}", charset="UTF-8"')
        if self._keeper.credentials.tokens:
            found.append(f'Bearer realm="{self._realm}"')
        return found

    async def identify(self, authorization: str | None, sender: str) -> tuple[str, str]:
        """
        Who sends a header, and how he shows it.

        @param authorization: the header; None if there is none.
        @param sender: the address that it comes from.
        @return: the name, and C{basic} or C{bearer}.
        @raise OWSError: 401 if nobody does, 429 if it was wrong too often, 503
            if too many are asked about.
        """
        if not authorization:
            raise refused("this server asks for a name and a password, or a token")
        scheme, _, value = authorization[:_LONGEST].partition(" ")
        scheme = scheme.lower()
        if scheme == "bearer":
            return await self._bearer(value.strip(), sender), scheme
        if scheme == "basic":
            return await self._basic(value.strip(), sender), scheme
        raise refused(f"expected basic or bearer credentials, not {scheme[:20]!r}")

    async def _bearer(self, token: str, sender: str) -> str:
        name = self._keeper.credentials.bearer(token)
        if name is None:
            self._mayTry(sender, "")
            self._failures.count(sender)
            raise self._wrong("", "bearer")
        return name

    async def _basic(self, value: str, sender: str) -> str:
        try:
            text = base64.b64decode(value, validate=True).decode()
        except (binascii.Error, ValueError):
            text = ""
        name, colon, password = text.partition(":")
        if not colon:
            self._mayTry(sender, name)
            self._failures.count(sender)
            raise self._wrong(name, "basic")
        hashed = self._keeper.credentials.passwords.get(name, NOBODY)
        key = self._key(name, password, hashed)
        until = self._remembered.get(key)
        if until is not None and self._reactor.seconds() < until:
            return name
        if not await self._matches(key, name, password, hashed, sender):
            raise self._wrong(name, "basic")
        return name

    def _key(self, *parts: str | bytes) -> bytes:
        digest = hmac.new(self._secret, digestmod=hashlib.sha256)
        for each in parts:
            data = each.encode() if isinstance(each, str) else each
            digest.update(b"%d:%s" % (len(data), data))
        return digest.digest()

    async def _matches(
        self, key: bytes, name: str, password: str, hashed: bytes, sender: str
    ) -> bool:
        """Whether a password is right; asked once for all who wait for it."""
        # Who goes away does not end what others wait for, or what goes on.
        answer: Deferred[bool] = Deferred()
        waiting = self._running.get(key)
        if waiting is not None:
            waiting.append(answer)
            return await answer
        self._mayTry(sender, name)
        if len(self._all.waiting) >= _WAITING:
            raise busy("too many passwords wait to be looked at")
        self._failures.count(sender)
        self._running[key] = [answer]
        looking = self._all.run(
            inThread, self._reactor, matches, password.encode(), hashed
        )
        looking.addBoth(self._looked, key, hashed, sender)
        return await answer

    def _looked(self, result: Any, key: bytes, hashed: bytes, sender: str) -> None:
        isRight = result is True and hashed != NOBODY
        if isRight:
            self._failures.forgive(sender)
            self._remembered[key] = self._reactor.seconds() + REMEMBERED
            while len(self._remembered) > _KEPT:
                self._remembered.popitem(last=False)
        elif not isinstance(result, bool):
            log.failure("a password could not be looked at", result)
        for each in self._running.pop(key):
            if not each.called:
                each.callback(isRight)

    def _mayTry(self, sender: str, name: str) -> None:
        wait = self._failures.wait(sender)
        if wait:
            audit.note("authentication-throttled", user=name or None)
            fault = Fault("NoApplicableCode", "too many wrong passwords or tokens")
            raise OWSError(fault, 429, retryAfter=int(wait) + 1)

    def _wrong(self, name: str, scheme: str) -> OWSError:
        audit.note("authentication-failed", user=name or None, scheme=scheme)
        return refused("the name and the password, or the token, are wrong")
