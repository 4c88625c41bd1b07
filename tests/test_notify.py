"""Tests of L{qgswps.notify}."""

from __future__ import annotations

import os
import socket

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from qgswps import notify
from qgswps.application import workerEnvironment
from qgswps.notify import INTERVAL, Manager, Notifier, manager


class ServiceManager:
    """The socket of a service manager."""

    def __init__(self, case: SynchronousTestCase, address: str) -> None:
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        case.addCleanup(self._socket.close)
        self._socket.bind(address)
        self._socket.setblocking(False)

    def told(self) -> list[dict[str, str]]:
        """What has come since this was last asked."""
        found: list[dict[str, str]] = []
        while True:
            try:
                data = self._socket.recv(4096)
            except BlockingIOError:
                return found
            lines = data.decode().splitlines()
            found.append(dict(line.split("=", 1) for line in lines))


class ManagerTests(SynchronousTestCase):
    """L{manager}"""

    def test_none(self) -> None:
        """Without a socket that we know how to speak to, there is none."""
        for environment in (
            {},
            {"NOTIFY_SOCKET": ""},
            {"NOTIFY_SOCKET": "vsock:2:1234"},
            {"NOTIFY_SOCKET": "relative"},
            {"WATCHDOG_USEC": "1000000"},
        ):
            self.assertIsNone(manager(environment, 1))

    def test_path(self) -> None:
        """A socket with a path is spoken to."""
        # Sockets' names are short, unlike those of trial's folders.
        path = os.path.relpath(self.mktemp())
        there = ServiceManager(self, path)
        given = manager({"NOTIFY_SOCKET": os.path.abspath(path)}, 1)
        assert given is not None
        self.assertIsNone(given.watchdog)
        Manager(path).send(READY=1, STATUS="ä=b")
        self.assertEqual(there.told(), [{"READY": "1", "STATUS": "ä=b"}])

    def test_abstract(self) -> None:
        """So is an abstract one."""
        name = f"qgswps-test-{os.getpid()}"
        there = ServiceManager(self, f"\0{name}")
        given = manager({"NOTIFY_SOCKET": f"@{name}"}, 1)
        assert given is not None
        given.send(WATCHDOG=1)
        self.assertEqual(there.told(), [{"WATCHDOG": "1"}])

    def test_watchdog(self) -> None:
        """The watchdog counts if it is for this process."""
        base = {"NOTIFY_SOCKET": "/x", "WATCHDOG_USEC": "3000000"}
        for more, expected in [
            ({}, 3.0),
            ({"WATCHDOG_PID": "7"}, 3.0),
            ({"WATCHDOG_PID": "8"}, None),
            ({"WATCHDOG_USEC": "0"}, None),
            ({"WATCHDOG_USEC": "x"}, None),
        ]:
            found = manager({**base, **more}, 7)
            assert found is not None
            self.assertEqual(found.watchdog, expected, more)


class NotifierTests(SynchronousTestCase):
    """L{Notifier}"""

    def setUp(self) -> None:
        self.clock = Clock()
        self.status = "starting"
        self.path = os.path.relpath(self.mktemp())
        self.there = ServiceManager(self, self.path)
        self.notifier = Notifier(
            self.clock, Manager(self.path, watchdog=10), lambda: self.status
        )

    def start(self) -> None:
        """Start it, and forget what that says."""
        self.notifier.startService()
        self.there.told()

    def test_ready(self) -> None:
        """Not its start makes a service ready, but its algorithms."""
        self.notifier.startService()
        self.assertEqual(self.there.told(), [{"STATUS": "starting"}, {"WATCHDOG": "1"}])
        self.status = "all is well"
        self.notifier.reloading(False)
        self.assertEqual(self.there.told(), [{"READY": "1", "STATUS": "all is well"}])
        self.notifier.stopService()

    def test_reload(self) -> None:
        """A reload has a begin and an end."""
        self.start()
        self.notifier.reloading(True)
        (begun,) = self.there.told()
        self.assertEqual(begun.pop("RELOADING"), "1")
        self.assertTrue(begun.pop("MONOTONIC_USEC").isdigit())
        self.assertEqual(begun, {})
        self.notifier.reloading(False)
        self.assertEqual(self.there.told(), [{"READY": "1", "STATUS": "starting"}])
        self.notifier.stopService()

    def test_status(self) -> None:
        """The status is told when it has changed, and not all the time."""
        self.start()
        for number in range(5):
            self.status = f"{number} jobs"
            self.clock.advance(INTERVAL / 5)
        self.assertEqual(self.there.told(), [{"STATUS": "4 jobs"}])
        self.clock.pump([INTERVAL] * 3)
        self.assertEqual(self.there.told(), [])
        self.notifier.stopService()

    def test_watchdog(self) -> None:
        """The watchdog is fed twice as often as it barks."""
        self.start()
        self.clock.pump([1.0] * 20)
        self.assertEqual(self.there.told(), [{"WATCHDOG": "1"}] * 4)
        self.notifier.stopService()

    def test_noWatchdog(self) -> None:
        """Without one there is nothing to feed."""
        self.notifier = Notifier(self.clock, Manager(self.path), lambda: "")
        self.start()
        self.clock.pump([1.0] * 20)
        self.assertEqual(self.there.told(), [])
        self.notifier.stopService()

    def test_stop(self) -> None:
        """It says so, and leaves no timer."""
        self.start()
        self.notifier.stopService()
        self.assertEqual(self.there.told(), [{"STOPPING": "1", "STATUS": "stopping"}])
        self.assertEqual(self.clock.getDelayedCalls(), [])
        # The pool goes on for a while.
        self.notifier.reloading(True)
        self.notifier.reloading(False)
        self.assertEqual(self.there.told(), [])

    def test_deaf(self) -> None:
        """A manager that is gone is no reason to stop, nor to repeat it."""
        warnings = []
        self.patch(notify.log, "warn", lambda *_, **fields: warnings.append(fields))
        os.unlink(self.path)
        self.start()
        self.clock.pump([1.0] * 20)
        self.assertEqual(len(warnings), 1)
        self.notifier.stopService()


class EnvironmentTests(SynchronousTestCase):
    """What workers get of the environment."""

    def test_workers(self) -> None:
        """Nothing that is meant for the server alone."""
        for name in notify.VARIABLES:
            self.patch(os, "environ", {**os.environ, name: "1"})
        environment = workerEnvironment()
        self.assertEqual(set(environment) & set(notify.VARIABLES), set())
        self.assertIn("PATH", environment)
