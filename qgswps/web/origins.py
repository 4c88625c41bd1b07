"""The pages of other origins that may use the service (CORS, Fetch standard)."""

from __future__ import annotations

from collections.abc import Iterable

#: What scripts may read, beside the simple headers.
_EXPOSED = ", ".join(
    (
        "X-Job-Realm",
        "X-Request-ID",
        "Retry-After",
        "Accept-Ranges",
        "Content-Disposition",
        "Content-Range",
        "ETag",
    )
)

#: What scripts may send, beside the simple headers. That is for lists: with
#: credentials C{*} means nothing, and never C{Authorization}.
_SENT = ", ".join(
    (
        *("Accept", "Authorization", "Content-Encoding", "Content-Type"),
        *("If-Modified-Since", "If-None-Match", "If-Range", "Range"),
        *("X-Job-Realm", "X-Requested-With"),
    )
)

#: Seconds that a browser may keep what it was told before a request.
_KEPT = "86400"


class Origins:
    """
    The origins that are allowed.

    @ivar ancestors: those whose pages may show results in frames, as a
        Content-Security-Policy has it.
    """

    def __init__(self, allowed: Iterable[str] = ()) -> None:
        """
        @param allowed: origins as browsers write them; C{*} is for all.
        """
        self._named = frozenset(allowed) - {"*"}
        self._all = "*" in allowed
        self.ancestors = " ".join(("'self'", *sorted(allowed)))

    def names(self, origin: str | None) -> bool:
        """Whether an origin is one that was named."""
        return origin in self._named

    def headers(
        self, origin: str | None, preflight: str | None = None
    ) -> dict[str, str]:
        """
        The headers of a response.

        @param origin: where the request comes from, as it says.
        @param preflight: the methods that there are, if a browser asks for
            them before it sends a request.
        """
        headers = {}
        if self.names(origin):
            assert origin is not None
            headers["Access-Control-Allow-Origin"] = origin
            headers["Access-Control-Allow-Credentials"] = "true"
        elif self._all:
            headers["Access-Control-Allow-Origin"] = "*"
        if headers and preflight is None:
            headers["Access-Control-Expose-Headers"] = _EXPOSED
        elif headers:
            headers["Access-Control-Allow-Methods"] = str(preflight)
            headers["Access-Control-Allow-Headers"] = _SENT
            headers["Access-Control-Max-Age"] = _KEPT
        if self._named:
            headers["Vary"] = "Origin"
        return headers
