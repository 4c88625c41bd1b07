"""
What all requests and responses have in common: who asks, under which id, and
the headers that keep a browser from doing with an answer what it is not for.
"""

from __future__ import annotations

import re
from http import HTTPStatus
from typing import Any
from urllib.parse import unquote_to_bytes

import attrs
from twisted.web.http import Request, combinedLogFormatter

from qgswps import audit
from qgswps.errors import Fault, OWSError
from qgswps.ows import kvp
from qgswps.web.authentication import Authenticator
from qgswps.web.http import BoundedRequest
from qgswps.web.origins import Origins
from qgswps.web.proxies import Proxies

#: Kinds of documents that a browser may find scripts in.
_MARKUP = re.compile(r"html|xml|svg", re.IGNORECASE)

#: For documents that have a policy of no other kind: they show what they hold
#: and do nothing.
_INERT = "default-src 'none'; style-src 'unsafe-inline'"

#: What only looks after the server; no page of another origin needs it.
_INTERNAL = frozenset({b"/healthz", b"/readyz", b"/metrics"})

#: Passwords in URLs, however often these are quoted.
_USERINFO = re.compile(
    r"((?::|%(?:25)*3A)(?:/|%(?:25)*2F){2})(?:(?!%(?:25)*2F)[^/?#@\s])+(@|%(?:25)*40)",
    re.IGNORECASE,
)


@attrs.frozen
class Rules:
    """
    What is in force for all requests of a site.

    @ivar hsts: seconds for which browsers come by https alone; 0 for none.
    @ivar authenticator: finds out who asks; None if everybody may.
    """

    proxies: Proxies = attrs.field(factory=Proxies)
    origins: Origins = attrs.field(factory=Origins)
    hsts: int = 0
    authenticator: Authenticator | None = None


def redacted(text: str) -> str:
    """A text without the names and passwords of URLs in it."""
    return _USERINFO.sub(r"\1***\2", text)


class GuardedRequest(BoundedRequest):
    """
    A request to our site.

    @ivar id: what it is called in the log.
    @ivar sender: the address that it came from, behind all trusted proxies.
    @ivar caller: who has sent it, if he was asked.
    """

    id = "-"
    sender = "-"
    caller = "-"
    _authorization: str | None = None

    @property
    def rules(self) -> Rules:
        """What is in force."""
        rules: Rules = self.channel.site.rules
        return rules

    def gotLength(self, length: int | None) -> None:
        """See L{Request}; called when all headers are there."""
        self.identify()
        super().gotLength(length)

    def identify(self) -> None:
        """Find out who asks."""
        proxies = self.rules.proxies
        self.sender = proxies.forwarded(self).client
        self.id = proxies.requestId(self)
        # From here on nobody has it to hand it on.
        self._authorization = self.getHeader("Authorization")
        self.requestHeaders.removeHeader("Authorization")
        self.requestHeaders.removeHeader("Proxy-Authorization")

    async def admit(self) -> None:
        """
        Find out who has sent it, if that is asked for.

        @raise OWSError: nobody who may.
        """
        authenticator = self.rules.authenticator
        if authenticator is None:
            return
        try:
            self.caller, scheme = await authenticator.identify(
                self._authorization, self.sender
            )
        except OWSError as error:
            if error.status == 401:
                self.responseHeaders.setRawHeaders(
                    "WWW-Authenticate", authenticator.challenges
                )
            raise
        # A browser sends what it has been told once, whoever has it do so.
        if scheme == "basic" and self._isForged():
            text = "only pages of origins in server.cross_origin may ask for that"
            fault = Fault("NoApplicableCode", text)
            raise OWSError(fault, 403, event="origin-refused")

    def _isForged(self) -> bool:
        """Whether a page of another origin has it do something."""
        query = kvp.parseQuery(self.uri.partition(b"?")[2])
        does = self.method not in (b"GET", b"HEAD")
        if not does and (query.get("request") or "").lower() != "execute":
            return False
        origin = self.getHeader("Origin")
        if self.rules.origins.names(origin):
            return False
        site = self.getHeader("Sec-Fetch-Site")
        if site is not None:
            return site in ("cross-site", "same-site")
        # By http, browsers say no more than that.
        host = self.rules.proxies.forwarded(self).host or self.getHeader("Host")
        # An origin is a scheme and a host, and nothing else.
        return origin is not None and origin.partition("://")[2] != host

    def write(self, data: bytes) -> None:
        """See L{Request}."""
        if not self.startedWriting and self.channel is not None:
            self._addHeaders()
        super().write(data)

    def _addHeaders(self) -> None:
        given = self.responseHeaders
        headers = commonHeaders(self)
        contentType = str(given.getRawHeaders("Content-Type", [""])[0])
        if _MARKUP.search(contentType):
            policy = given.getRawHeaders("Content-Security-Policy", [_INERT])[0]
            if "frame-ancestors" not in policy:
                policy += f"; frame-ancestors {self.rules.origins.ancestors}"
            headers["Content-Security-Policy"] = policy
        if self.path not in _INTERNAL:
            preflight = None
            if self.method == b"OPTIONS":
                preflight = given.getRawHeaders("Allow", [""])[0]
            headers.update(
                self.rules.origins.headers(self.getHeader("Origin"), preflight)
            )
        for name, value in headers.items():
            if name == "Vary":
                given.addRawHeader(name, value)
            else:
                given.setRawHeaders(name, [value])


def commonHeaders(request: GuardedRequest) -> dict[str, str]:
    """The headers that each response has."""
    headers = {
        "X-Content-Type-Options": "nosniff",
        # The URLs of jobs are as good as passwords.
        "Referrer-Policy": "no-referrer",
        "X-Request-ID": request.id,
    }
    rules = request.rules
    if rules.hsts and rules.proxies.isSecure(request):
        headers["Strict-Transport-Security"] = f"max-age={rules.hsts}"
    return headers


def refusing(request: GuardedRequest, status: HTTPStatus) -> dict[str, str]:
    """
    Log that a request is refused before all of it is there.

    @return: the headers that the answer is to have.
    """
    if request.id == "-":
        request.identify()
    malformed = status in (
        HTTPStatus.BAD_REQUEST,
        HTTPStatus.NOT_IMPLEMENTED,
        HTTPStatus.HTTP_VERSION_NOT_SUPPORTED,
    )
    audit.note(
        "request-malformed" if malformed else "limit-exceeded",
        client=request.sender,
        request=request.id,
        status=status.value,
    )
    origins = request.rules.origins
    return {**commonHeaders(request), **origins.headers(request.getHeader("Origin"))}


async def admit(request: Request) -> None:
    """
    Find out who asks, if the site wants to know.

    @raise OWSError: nobody who may.
    """
    if isinstance(request, GuardedRequest):
        await request.admit()


def speak(request: Request) -> None:
    """Say who asks, for the lines of L{audit}."""
    if isinstance(request, GuardedRequest):
        audit.speakFor(request.sender, request.id)


def noteRefusal(request: Request, error: OWSError) -> None:
    """Log what somebody was refused, if it is of interest to who watches."""
    path = redacted((request.path or b"").decode("utf-8", "replace"))
    if error.event:
        audit.note(error.event, path=path, reason=redacted(str(error)))
    elif error.status in (413, 414, 431):
        audit.note("limit-exceeded", path=path, status=error.status)
    elif error.status in (400, 404) and climbs(request.path or b""):
        audit.note("path-refused", path=path)


def climbs(path: bytes) -> bool:
    """Whether a path leads up, or has a NUL, however often it is quoted."""
    for _ in range(3):
        if b"\0" in path or b".." in re.split(rb"[/\\]", path):
            return True
        path = unquote_to_bytes(path)
    return False


def accessLine(timestamp: str, request: Any) -> str:
    """A line of the log on a request, which has its time from the log."""
    line: str = combinedLogFormatter("-", request)
    if isinstance(request, GuardedRequest):
        _, _, rest = line.partition(" - - ")
        line = f'"{request.sender}" - {audit.shown(request.caller)} {rest} {request.id}'
    return redacted(line)
