"""
Faults and the exceptions that carry them.

A fault is what a client is told: a code, a locator and a text, in the
vocabulary of OWS Common (OGC 06-121r3, section 8) and of WPS 1.0.0 (OGC
05-007r7, tables 38 and 62).  Every layer raises L{OWSError}; the HTTP layer
turns it into a response in one place.
"""

from __future__ import annotations

from collections.abc import Iterable

import attrs

#: The HTTP status that belongs to an exception code.
HTTP_STATUS = {
    "MissingParameterValue": 400,
    "InvalidParameterValue": 400,
    "InvalidUpdateSequence": 400,
    "VersionNegotiationFailed": 400,
    "OperationNotSupported": 501,
    "OptionNotSupported": 501,
    "StorageNotSupported": 501,
    "FileSizeExceeded": 413,
    "NotEnoughStorage": 507,
    "ServerBusy": 503,
    "NoApplicableCode": 500,
}


@attrs.frozen
class Fault:
    """
    One thing that is wrong, as a client is told.

    @ivar code: an exception code of OWS Common or WPS 1.0.0.
    @ivar text: what is wrong and what was expected, in one sentence or two.
    @ivar locator: the name of the parameter or input that is meant.
    """

    code: str
    text: str
    locator: str | None = None


class OWSError(Exception):
    """
    A request that can't be answered as asked.

    @ivar faults: all that is wrong, at least one.
    @ivar status: the HTTP status of the answer.
    @ivar retryAfter: seconds after which another try may succeed.
    @ivar event: what those who watch over the server call it, see
        C{qgswps.audit}; empty if it is none of their business.
    """

    def __init__(
        self,
        faults: Fault | Iterable[Fault],
        status: int | None = None,
        retryAfter: int | None = None,
        event: str = "",
    ) -> None:
        self.faults = (faults,) if isinstance(faults, Fault) else tuple(faults)
        self.status = status or HTTP_STATUS.get(self.faults[0].code, 500)
        self.retryAfter = retryAfter
        self.event = event
        super().__init__("; ".join(fault.text for fault in self.faults))


class StoreError(Exception):
    """A job store that this release can't use, now or later."""


def missing(locator: str, text: str | None = None) -> OWSError:
    """A mandatory parameter or input was not given."""
    return OWSError(
        Fault("MissingParameterValue", text or f"{locator} is missing", locator)
    )


def invalid(locator: str, text: str, status: int | None = None) -> OWSError:
    """A parameter or input has a value that can't be used."""
    return OWSError(Fault("InvalidParameterValue", text, locator), status)


def unsupported(locator: str, text: str, status: int | None = None) -> OWSError:
    """An operation that this server does not have."""
    return OWSError(Fault("OperationNotSupported", text, locator), status)


def busy(text: str, retryAfter: int = 10) -> OWSError:
    """The server can't take more work now."""
    return OWSError(Fault("ServerBusy", text), retryAfter=retryAfter)


def storeFailed(text: str) -> OWSError:
    """The job store can't be reached, or could not do what was asked of it."""
    return busy(f"the job store failed: {text}")


def noSuchJob(jobId: str) -> OWSError:
    """A job that is not, is no longer, or is not the caller's."""
    return OWSError(
        Fault("InvalidParameterValue", f"there is no job {jobId!r}", "uuid"), 404
    )


def failure(text: str, status: int = 500) -> OWSError:
    """Something else went wrong."""
    return OWSError(Fault("NoApplicableCode", text), status)
