"""What a client can ask for, in no protocol's words."""

from __future__ import annotations

import attrs

from qgswps.errors import Fault
from qgswps.model import ExecuteRequest


@attrs.frozen
class GetCapabilities:
    """The service and its processes in short (WPS 1.0.0, section 8)."""


@attrs.frozen
class DescribeProcess:
    """
    Processes in full (WPS 1.0.0, section 9).

    @ivar identifiers: in the order asked for; C{("all",)} means every one.
    @ivar map: the project whose layers are to be named, or None.
    """

    identifiers: tuple[str, ...]
    map: str | None = None

    @property
    def all(self) -> bool:
        """Every process is meant."""
        return any(name.lower() == "all" for name in self.identifiers)


@attrs.frozen
class Execute:
    """
    Run a process (WPS 1.0.0, section 10).

    @ivar request: what could be read of it.
    @ivar faults: what is wrong with the rest, for one report with what is
        wrong with the values (see L{qgswps.ows.binding.bind}).
    """

    request: ExecuteRequest
    faults: tuple[Fault, ...] = ()


@attrs.frozen
class GetResults:
    """
    The state, and later the outputs, of a job: what a C{statusLocation}
    (WPS 1.0.0, section 10.3.1) asks for.
    """

    uuid: str


Operation = GetCapabilities | DescribeProcess | Execute | GetResults
