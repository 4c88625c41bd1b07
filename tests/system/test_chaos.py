"""
Things are killed while jobs run, again and again; nothing may be lost.

C{QGSWPS_CHAOS_ROUNDS} says how often; C{make chaos} does it more often, and
writes down what it has counted.
"""

from __future__ import annotations

import http.client
import json
import os
import random
import shutil
import signal
import subprocess
import tempfile
import time
from collections import Counter
from collections.abc import Callable

from twisted.trial import unittest

from tests import live, redisserver
from tests.system import chaos

ROUNDS = int(os.environ.get("QGSWPS_CHAOS_ROUNDS", "20"))

#: A file that each test adds its counts to, as lines of JSON.
REPORT = os.environ.get("QGSWPS_CHAOS_REPORT", "")

#: Seconds under load before and after what happens.
BEFORE = 0.5
AFTER = 0.3


class ChaosTests(unittest.TestCase):
    """What happens, each under a load of synchronous and stored jobs."""

    timeout = 1800

    def setUp(self) -> None:
        # Not below the work directory, which may be full.
        self.ledgers = tempfile.mkdtemp(prefix="qgswps-ledger-")
        self.addCleanup(shutil.rmtree, self.ledgers)
        self.sandbox = {"QGSWPS_SANDBOX_WRITABLE": self.ledgers}

    def repeat(
        self,
        server: live.LiveServer,
        name: str,
        event: Callable[[], None],
        gone: int = 0,
    ) -> None:
        """
        Have something happen under load, round by round, and look each time.

        @param name: what it is, for the report.
        @param gone: how many requests are sent that nobody waits for.
        """
        counts: Counter[str] = Counter()
        known = descriptors = 0
        for n in range(ROUNDS):
            ledger = os.path.join(self.ledgers, str(n))
            with chaos.Load(server, ledger) as load:
                time.sleep(BEFORE)
                event()
                time.sleep(AFTER)
            faults = chaos.faults(server, load)
            self.assertEqual(faults, [], f"round {n}\n{server.log()[-3000:]}")
            if n == 0:
                descriptors = server.descriptors()
            counts["rounds"] += 1
            known += len(load.sent.accepted)
            counts["refused"] += load.sent.refused
            counts["broken"] += load.sent.broken
        ended = chaos.outcome(server)
        counts += ended
        self.assertGreater(counts["DONE_STATUS"], ROUNDS)
        # Each job that has ended was accepted, and the client told, if it was
        # still there to be told.
        unknown = sum(ended.values()) - known
        self.assertGreaterEqual(unknown, 0)
        self.assertLessEqual(unknown, counts["broken"] + gone)
        server.waitUntil(
            lambda: server.descriptors() <= descriptors + 2, "descriptors are left"
        )
        if REPORT:
            with open(REPORT, "a") as report:
                report.write(json.dumps({"what": name, **counts}) + "\n")

    def test_worker(self) -> None:
        """SIGKILL of a worker costs its job, with the reason."""
        with live.liveServer(**self.sandbox) as server:

            def killWorker() -> None:
                workers = server.waitUntil(
                    lambda: live.childrenOf(server.forkServer()), "no job runs"
                )
                os.kill(random.choice(workers), signal.SIGKILL)

            self.repeat(server, "SIGKILL of a worker", killWorker)
            failed = [
                job["message"]
                for job in chaos.jobs(server)
                if job["status"] == "ERROR_STATUS"
            ]
            self.assertTrue(failed)
            for message in failed:
                self.assertIn("SIGKILL", message)

    def test_forkServer(self) -> None:
        """SIGKILL of the fork server costs the jobs that run."""
        with live.liveServer(**self.sandbox) as server:

            def killForkServer() -> None:
                pid = server.forkServer()
                os.kill(pid, signal.SIGKILL)
                server.waitUntil(lambda: not live.alive(pid), "it lives on")

            self.repeat(server, "SIGKILL of the fork server", killForkServer)

    def test_server(self) -> None:
        """SIGKILL of the server: what waited runs later, what ran has failed."""
        with live.liveServer(**self.sandbox) as server:

            def killServer() -> None:
                left = server.children()
                server.kill()
                server.start()
                for pid in left:
                    server.waitUntil(lambda p=pid: not live.alive(p), "left behind")

            self.repeat(server, "SIGKILL of the server", killServer)

    def test_stop(self) -> None:
        """SIGTERM of the server: it ends by itself, in order."""
        with live.liveServer(QGSWPS_SERVER_STOP_GRACE="0.1", **self.sandbox) as server:

            def stopServer() -> None:
                left = server.children()
                self.assertIn(server.kill(signal.SIGTERM), (0, -signal.SIGTERM))
                self.assertEqual([pid for pid in left if live.alive(pid)], [])
                server.start()

            self.repeat(server, "SIGTERM of the server", stopServer)

    def test_disconnect(self) -> None:
        """Clients go away: their jobs are dismissed, others' are not."""
        with live.liveServer(**self.sandbox) as server:
            gone = os.path.join(self.ledgers, "gone")

            def disconnect() -> None:
                connections = []
                for n in range(3):
                    connection = http.client.HTTPConnection("127.0.0.1", server.port)
                    connection.request(
                        "GET",
                        "/ows/?service=WPS&version=1.0.0&request=Execute"
                        "&identifier=script:ledger"
                        f"&datainputs=FILE={gone};TOKEN=gone{n};SECONDS=30",
                    )
                    connections.append(connection)
                time.sleep(random.uniform(0, 0.3))
                for connection in connections:
                    connection.close()

            self.repeat(server, "a client that disconnects", disconnect, 3 * ROUNDS)
            ended = chaos.outcome(server)
            self.assertEqual(ended["ERROR_STATUS"], 0)
            # One that goes away before its request was read sends no job.
            self.assertGreater(ended["DISMISS_STATUS"], ROUNDS)
            self.assertLessEqual(ended["DISMISS_STATUS"], 3 * ROUNDS)

    def test_diskFull(self) -> None:
        """A full disk refuses new jobs, and loses none."""
        disk = tempfile.mkdtemp(prefix="qgswps-disk-")
        self.addCleanup(os.rmdir, disk)
        options = "size=24m,mode=755"
        asRoot = [] if os.geteuid() == 0 else ["sudo", "-n"]
        owner = f"uid={os.geteuid()}"
        subprocess.run(
            [
                *asRoot,
                "mount",
                "-t",
                "tmpfs",
                "-o",
                f"{options},{owner}",
                "tmpfs",
                disk,
            ],
            check=True,
        )
        self.addCleanup(subprocess.run, [*asRoot, "umount", disk], check=True)
        server = live.LiveServer(workdir=os.path.join(disk, "work"), **self.sandbox)
        self.addCleanup(server.stop)

        def fill() -> None:
            ballast = os.path.join(disk, "ballast")
            try:
                with open(ballast, "wb", buffering=0) as file:
                    while file.write(b"x" * 4096):
                        pass
            except OSError:
                pass
            time.sleep(0.3)
            os.unlink(ballast)

        self.repeat(server, "a disk that is full for a while", fill)

    def test_redis(self) -> None:
        """Redis is killed and started again: jobs go on, their ends are kept."""
        redis = redisserver.RedisServer(appendOnly=True)
        self.addCleanup(redis.close)
        with live.liveServer(
            "--store", redis.url, QGSWPS_REDIS_TIMEOUT="1", **self.sandbox
        ) as server:

            def killRedis() -> None:
                redis.kill()
                # Also longer than a command may take.
                time.sleep(random.choice((0.1, 0.3, 1.5)))
                redis.start()

            self.repeat(server, "SIGKILL of Redis, 0.1 to 1.5 s away", killRedis)
