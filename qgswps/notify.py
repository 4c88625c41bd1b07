"""
What a service manager is told: sd_notify(3), the watchdog, and the variables
that belong to them.

The protocol is one datagram of lines C{NAME=value} to a UNIX socket, which is
no reason for a library.
"""

from __future__ import annotations

import socket
import time
from collections.abc import Callable, Mapping
from typing import Any

import attrs
from twisted.application.service import Service
from twisted.internet.task import LoopingCall

from qgswps.journal import Logger

log = Logger()

#: Seconds between looks at what the status line says.
INTERVAL = 1.0

#: The variables that a service manager means for this process alone: of
#: notification, of the watchdog (sd_watchdog_enabled(3)) and of socket
#: activation (sd_listen_fds(3)).
VARIABLES = (
    "NOTIFY_SOCKET",
    "WATCHDOG_PID",
    "WATCHDOG_USEC",
    "LISTEN_PID",
    "LISTEN_FDS",
    "LISTEN_FDNAMES",
)


@attrs.frozen
class Manager:
    """
    A service manager.

    @ivar address: of its socket, as C{socket.sendto} takes it: an abstract
        one begins with a NUL.
    @ivar watchdog: seconds after which it takes a service that says nothing
        for dead; None if it does not.
    """

    address: str
    watchdog: float | None = None

    def send(self, **fields: object) -> None:
        """
        Tell it something.

        @raise OSError: it could not be told.
        """
        text = "\n".join(f"{name}={value}" for name, value in fields.items())
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
            # To wait for a manager that does not read would stop the server.
            sender.setblocking(False)
            sender.sendto(text.encode(), self.address)


def manager(environment: Mapping[str, str], pid: int) -> Manager | None:
    """
    The service manager that an environment names.

    @param pid: of this process: the watchdog may be meant for another one.
    """
    path = environment.get("NOTIFY_SOCKET", "")
    # Other kinds of sockets, such as vsock, are for machines and containers.
    if path[:1] not in ("/", "@"):
        return None
    address = f"\0{path[1:]}" if path[0] == "@" else path
    interval = environment.get("WATCHDOG_USEC", "")
    isOurs = environment.get("WATCHDOG_PID", str(pid)) == str(pid)
    if isOurs and interval.isascii() and interval.isdigit() and int(interval):
        return Manager(address, int(interval) / 1e6)
    return Manager(address)


class Notifier(Service):
    """
    Keeps a service manager informed.

    The watchdog is fed by a timer, so it is the reactor that has to be alive: a
    fork server that is not there is started again without a manager's help,
    and a store that is away is no better for a new server.
    """

    def __init__(
        self, reactor: Any, manager: Manager, status: Callable[[], str]
    ) -> None:
        """
        @param status: a line for who asks how the service is.
        """
        self._reactor = reactor
        self._manager = manager
        self._status = status
        self._told = ""
        self._isDeaf = False
        self._calls: list[LoopingCall] = []

    def startService(self) -> None:
        """Begin to tell the status, and that the reactor is alive."""
        super().startService()
        self._every(INTERVAL, self._tellStatus)
        if self._manager.watchdog is not None:
            self._every(self._manager.watchdog / 2, self._feed)

    def _every(self, interval: float, tell: Callable[[], None]) -> None:
        call = LoopingCall(tell)
        call.clock = self._reactor
        call.start(interval).addErrback(
            lambda reason: log.failure("the service manager is told no more", reason)
        )
        self._calls.append(call)

    def stopService(self) -> None:
        """Say that the service is about to end, which no watchdog minds."""
        super().stopService()
        calls, self._calls = self._calls, []
        for call in calls:
            call.stop()
        self._send(STOPPING=1, STATUS="stopping")

    def reloading(self, begins: bool) -> None:
        """
        The algorithms are being loaded anew, or no longer are: they have been
        loaded for the first time, or again, or the ones from before stay.
        """
        if not self.running:
            return
        if begins:
            # Which clock it is, sd_notify(3) says.
            now = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
            self._send(RELOADING=1, MONOTONIC_USEC=now)
        else:
            self._told = self._status()
            self._send(READY=1, STATUS=self._told)

    def _tellStatus(self) -> None:
        status = self._status()
        if status != self._told:
            self._told = status
            self._send(STATUS=status)

    def _feed(self) -> None:
        self._send(WATCHDOG=1)

    def _send(self, **fields: object) -> None:
        try:
            self._manager.send(**fields)
        except OSError as error:
            if not self._isDeaf:
                log.warn("the service manager can't be told: {error}", error=error)
            self._isDeaf = True
        else:
            self._isDeaf = False
