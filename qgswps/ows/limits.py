"""How large a request may be, beside the bytes that it has."""

from __future__ import annotations

import attrs

from qgswps.errors import OWSError, failure


@attrs.frozen
class RequestLimits:
    """
    Limits of requests.

    @ivar inputs: how many inputs an Execute may have, and how many outputs.
    @ivar parameters: how many parameters, by KVP.
    @ivar depth: how deep elements of XML may be in each other.
    @ivar markup: how many tags and attributes XML may have: each takes much
        more memory than it has bytes.
    """

    inputs: int = 1000
    parameters: int = 1000
    depth: int = 256
    markup: int = 1_000_000


#: Those that are in force where nobody says others.
DEFAULT = RequestLimits()


def tooMany(what: str, most: int) -> OWSError:
    """There is more of something than is taken."""
    return failure(f"the request has more than {most} {what}", 413)
