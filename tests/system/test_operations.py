"""A server as a sysadmin runs it: what docs/operations.md tells, done."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import tempfile
from pathlib import Path
from typing import Any, ClassVar

from twisted.trial.unittest import SkipTest, TestCase

from tests.live import PATIENCE, LiveServer, descendants, freePort
from tests.test_metrics import samples
from tests.test_notify import ServiceManager

NOBODY = 65534

#: A line for journald: a priority, and a text that may have any form.
PLAIN = re.compile(r"<[2-7]>.")


def sleep(server: LiveServer, seconds: float = 0) -> None:
    """Run a job that takes so long, to its good end."""
    inputs = {"FILE": "/dev/null", "TOKEN": "x", "SECONDS": seconds}
    answer = server.execute("script:ledger", inputs)
    assert "ProcessSucceeded" in answer.text, answer.text


def environmentOf(pid: int) -> set[str]:
    """The names of a process's variables."""
    data = Path(f"/proc/{pid}/environ").read_bytes()
    return {entry.split(b"=")[0].decode() for entry in data.split(b"\0") if entry}


class PlainServer(LiveServer):
    """A server that logs for journald."""

    twistd: ClassVar = ("--logger", "qgswps.journal.plain")


class JSONServer(LiveServer):
    """A server that logs for machines."""

    twistd: ClassVar = ("--logger", "qgswps.journal.jsonLines")


class ManagedTests(TestCase):
    """A server below a service manager."""

    def setUp(self) -> None:
        self.home = tempfile.mkdtemp(prefix="qgswps-test-")
        self.addCleanup(shutil.rmtree, self.home)
        address = os.path.join(self.home, "notify")
        self.manager = ServiceManager(self, address)
        self.told: list[dict[str, str]] = []
        self.server = PlainServer(
            NOTIFY_SOCKET=address,
            WATCHDOG_USEC="1000000",
        )
        self.addCleanup(self.server.stop)

    def hasTold(self, **fields: str) -> bool:
        """The manager was told that, since it was last asked for it."""
        self.told += self.manager.told()
        for number, each in enumerate(self.told):
            if fields.items() <= each.items():
                del self.told[: number + 1]
                return True
        return False

    def waitFor(self, **fields: str) -> None:
        """Wait until the manager was told that."""
        self.server.waitUntil(lambda: self.hasTold(**fields), f"{fields} not told")

    def noEnvironment(self) -> None:
        """What the manager means for the server, workers do not get."""
        self.assertIn("NOTIFY_SOCKET", environmentOf(self.server.process.pid))
        inherited = environmentOf(self.server.forkServer())
        self.assertEqual(inherited & {"NOTIFY_SOCKET", "WATCHDOG_USEC"}, set())

    def plainLines(self) -> None:
        """Each line of the log has a priority and no time."""
        lines = self.server.log().splitlines()
        self.assertEqual([line for line in lines if not PLAIN.match(line)], [])
        self.assertTrue(any(line.startswith("<6>ready: QGIS 3.") for line in lines))
        self.assertFalse(any(re.search(r"\d\d:\d\d:\d\d", line) for line in lines))

    def test_life(self) -> None:
        """From ready to stopping, with a reload and a watchdog between."""
        server = self.server
        self.waitFor(READY="1")
        self.noEnvironment()
        self.assertEqual(server.get("readyz").status, 200)
        self.waitFor(WATCHDOG="1")
        sleep(server, 2)
        statuses = [each["STATUS"] for each in self.manager.told() if "STATUS" in each]
        self.assertTrue(statuses[0].startswith("1 of 2 slots taken; 0 of 100"))
        self.assertIn("generation 1", statuses[0])
        server.process.send_signal(signal.SIGHUP)
        self.waitFor(RELOADING="1")
        self.waitFor(READY="1")
        self.assertEqual(
            samples(server.get("metrics").body)["qgswps_generation", ()], 2
        )
        server.process.send_signal(signal.SIGTERM)
        self.waitFor(STOPPING="1")
        # So ends who was ended by a signal, and systemd takes it as well done.
        self.assertEqual(server.process.wait(PATIENCE), -signal.SIGTERM)
        self.plainLines()


class MonitoredTests(TestCase):
    """The figures of a server that works."""

    def test_figures(self) -> None:
        """What jobs do is in the figures; these may have a port of their own."""
        port = freePort()
        server = JSONServer(
            "--debug",
            QGSWPS_SERVER_METRICS_LISTEN=f"tcp:{port}:interface=127.0.0.1",
            QGSWPS_SERVER_ENABLE_JOB_REALM="yes",
        )
        self.addCleanup(server.stop)
        self.assertEqual(server.get("metrics").status, 404)
        self.assertEqual(server.get("healthz").text, "ok\n")
        sleep(server, 0.3)
        server.execute("script:mishap", {"KIND": "abort"})
        base, server.port = server.port, port

        def found() -> Any:
            figures = samples(server.get("metrics").body)
            peaks = figures["qgswps_worker_peak_memory_bytes_count", ()]
            return figures if peaks == 2 else None

        figures = server.waitUntil(found, "the peaks are not there")
        self.assertEqual(json.loads(server.get("readyz").body)["ready"], True)
        self.assertEqual(server.get("ows/").status, 404)
        server.port = base
        ledger = "script:ledger"
        self.assertEqual(figures["qgswps_jobs_accepted_total", (ledger,)], 1)
        ended = ("qgswps_jobs_finished_total", (ledger, "succeeded"))
        self.assertEqual(figures[ended], 1)
        ended = ("qgswps_jobs_finished_total", ("script:mishap", "failed"))
        self.assertEqual(figures[ended], 1)
        self.assertGreater(figures["qgswps_job_running_seconds_sum", (ledger,)], 0.25)
        peak = figures["qgswps_worker_peak_memory_max_bytes", (ledger,)]
        self.assertGreater(peak, 50 * 2**20)
        # Those of the warm-up are the fork server's own.
        self.assertEqual(figures["qgswps_fork_seconds_count", ()], 2)
        self.assertLess(figures["qgswps_fork_seconds_sum", ()], 2)
        self.jsonLines(server)

    def jsonLines(self, server: LiveServer) -> None:
        """Each line of the log is an object, with the job's fields."""
        events = [json.loads(line) for line in server.log().splitlines()]
        event, *_ = [each for each in events if " started in " in each["text"]]
        self.assertEqual(event["level"], "debug")
        self.assertEqual(event["namespace"], "qgswps.jobs.queue")
        self.assertIsInstance(event["pid"], int)
        self.assertIn(event["job"], event["text"])
        ended, *_ = [each for each in events if each.get("state") == "succeeded"]
        self.assertEqual(ended["process"], "script:ledger")


class AsNobody(LiveServer):
    """A server that root starts for nobody."""

    twistd: ClassVar = ("--uid", str(NOBODY))


class PrivilegesTests(TestCase):
    """Root starts a server that is not root's."""

    def test_dropped(self) -> None:
        """It works as another user, whose work directory it makes, and again."""
        if os.geteuid() != 0:
            raise SkipTest("only root can become another user")
        home = tempfile.mkdtemp(prefix="qgswps-test-")
        self.addCleanup(shutil.rmtree, home)
        os.chmod(home, 0o755)
        workdir = os.path.join(home, "work")
        for _ in range(2):
            server = AsNobody(workdir=workdir)
            self.addCleanup(server.stop)
            for pid in (server.process.pid, *descendants(server.process.pid)):
                uids = Path(f"/proc/{pid}/status").read_text()
                self.assertIn(f"\nUid:\t{NOBODY}\t{NOBODY}\t", uids)
            sleep(server)
            self.assertEqual(server.stop(), -signal.SIGTERM)
        owners = {path.stat().st_uid for path in Path(workdir).rglob("*")}
        self.assertEqual(owners, {NOBODY})
