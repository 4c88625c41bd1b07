"""
Lines of the log on what somebody was refused, for those who watch over the
server::

    security: event=authentication-failed client=192.0.2.7 request=5f0c user="a b"

Each has the event, the client's address and the request's id, C{-} where there
is none, and then what there is to say: C{name=value}, with values that are more
than a word in quotes and escaped as JSON has it.  So nobody who is logged can
end a line, or begin one.

Who asks is known from the context: whatever is begun while a request is
answered, the fetching of its references, say, belongs to it.

Of the same event from the same network few lines are written at a time, and of
all of them not many: nobody can fill the disk so.  The next line says how many
were left out.
"""

from __future__ import annotations

import ipaddress
import json
import re
import time
from collections import OrderedDict
from collections.abc import Callable
from contextvars import ContextVar

import attrs

from qgswps.journal import Logger

log = Logger()

#: Seconds that lines are counted for.
PERIOD = 60.0

#: How many lines an event of one network has in that time.
EACH = 10

#: How many lines there are in that time.
ALL = 300

#: How many networks and events are counted, the latest ones.
_KNOWN = 2000

#: The longest value, in characters.
_LONGEST = 200

#: Values that need no quotes.
_WORD = re.compile(r"[A-Za-z0-9._:/+,@%-]+")


#: The client and the id of the request that is answered.
_origin: ContextVar[tuple[str, str]] = ContextVar("origin", default=("-", "-"))


def speakFor(client: str, request: str) -> None:
    """
    Say who asks, for all that this coroutine does and begins.

    @param client: the client's address.
    @param request: the request's id.
    """
    _origin.set((client, request))


def shown(value: object) -> str:
    """A value as it stands in a line."""
    text = str(value)
    if len(text) > _LONGEST:
        text = text[:_LONGEST] + "…"
    return text if _WORD.fullmatch(text) else json.dumps(text)


def network(client: str) -> str:
    """
    What a client is counted as: of IPv6, all that is given to one site is one.
    """
    try:
        address = ipaddress.ip_address(client)
    except ValueError:
        return client
    if isinstance(address, ipaddress.IPv6Address):
        return str(ipaddress.ip_network((address, 64), strict=False))
    return client


@attrs.define
class _Count:
    """
    What was written in a period.

    @ivar since: when it began.
    @ivar omitted: how many lines were not written.
    """

    since: float
    written: int = 0
    omitted: int = 0

    def take(self, now: float, most: int) -> bool:
        """Whether there is room for one more line."""
        if not self.since <= now < self.since + PERIOD:
            self.since, self.written = now, 0
        if self.written >= most:
            return False
        self.written += 1
        return True


class Audit:
    """Writes such lines, and not too many of them."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._all = _Count(clock())
        self._each: OrderedDict[tuple[str, str], _Count] = OrderedDict()

    def note(
        self,
        event: str,
        *,
        client: str | None = None,
        request: str | None = None,
        **details: object,
    ) -> None:
        """
        Write a line.  Not from threads.

        @param event: what has happened, one word with dashes.
        @param client: the address that it came from; None for the one that is
            known.
        @param request: the id of the request; None for the one that is known.
        @param details: what else there is to say; None for nothing.
        """
        known = _origin.get()
        client = client or known[0]
        request = request or known[1]
        now = self._clock()
        key = (event, network(client))
        count = self._each.pop(key, None) or _Count(now)
        self._each[key] = count
        while len(self._each) > _KNOWN:
            _, oldest = self._each.popitem(last=False)
            self._all.omitted += oldest.omitted
        if not count.take(now, EACH):
            count.omitted += 1
            return
        if not self._all.take(now, ALL):
            self._all.omitted += 1
            return
        omitted = count.omitted + self._all.omitted
        count.omitted = self._all.omitted = 0
        given = {**details, "omitted": omitted or None}
        fields = {name: each for name, each in given.items() if each is not None}
        log.warn(
            "security: event={event} client={client} request={request}{rest}",
            event=event,
            client=shown(client),
            request=shown(request),
            rest="".join(f" {name}={shown(each)}" for name, each in fields.items()),
            details={name: str(each)[:_LONGEST] for name, each in fields.items()},
        )


#: The one of this process.
AUDIT = Audit()


def note(
    event: str,
    *,
    client: str | None = None,
    request: str | None = None,
    **details: object,
) -> None:
    """See L{Audit.note}."""
    AUDIT.note(event, client=client, request=request, **details)
