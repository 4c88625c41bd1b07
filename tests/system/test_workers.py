"""Each job has a process of its own, and what goes wrong in it stays there."""

from __future__ import annotations

import glob
import http.client
import json
import os
import re
import signal
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from lxml import etree
from twisted.trial import unittest

from tests import live

WPS = "{http://www.opengis.net/wps/1.0.0}"
OWS = "{http://www.opengis.net/ows/1.1}"


def literals(body: bytes) -> dict[str, str]:
    """The literal outputs of an ExecuteResponse by identifier."""
    found = {}
    for output in etree.fromstring(body).iter(f"{WPS}Output"):
        identifier = output.findtext(f"{OWS}Identifier")
        found[identifier] = output.findtext(f"{WPS}Data/{WPS}LiteralData")
    return found


def failure(body: bytes) -> str:
    """The text of the ProcessFailed of an ExecuteResponse."""
    root = etree.fromstring(body)
    failed = root.find(f"{WPS}Status/{WPS}ProcessFailed")
    assert failed is not None, body.decode()
    text: str = failed.findtext(f".//{OWS}ExceptionText")
    return text


class _Mishaps(unittest.TestCase):
    """Runs the script that goes wrong as it is told."""

    server: live.LiveServer

    def mishap(self, kind: str, **parameters: str) -> live.Answer:
        return self.server.execute("script:mishap", {"KIND": kind}, **parameters)

    def assertGoesOn(self) -> None:
        """The next job runs."""
        answer = self.mishap("nothing")
        self.assertEqual(answer.status, 200, answer.body)
        self.assertIn("PID", literals(answer.body))

    def commandsRunning(self, text: str) -> list[int]:
        """Processes whose command line holds a text."""
        pids = (int(name) for name in os.listdir("/proc") if name.isdigit())
        return [pid for pid in pids if text in live.commandLine(pid)]


class StateTests(unittest.TestCase):
    def setUp(self) -> None:
        self.server = live.sharedServer()

    def test_nothingIsShared(self) -> None:
        """No job finds what another has left in Python or QGIS."""
        with ThreadPoolExecutor(4) as threads:
            answers = list(
                threads.map(lambda _: self.server.execute("script:state"), range(12))
            )
        found = [literals(answer.body) for answer in answers]
        self.assertEqual({each["TRACES"] for each in found}, {"0"})
        self.assertEqual(len({each["PID"] for each in found}), 12)
        self.assertEqual(len({each["RANDOM"] for each in found}), 12)


class MishapTests(_Mishaps):
    def setUp(self) -> None:
        self.server = live.sharedServer()

    def test_failures(self) -> None:
        """Each way to fail costs its own job, and the message tells which."""
        expected = {
            "abort": ("SIGABRT", "about to abort"),
            "segfault": ("SIGSEGV", "about to segfault"),
            "exit": ("SystemExit: 3",),
            "leave": ("exit status 4", "about to leave"),
            "fail": ("the moon is in the way",),
            "crash": ("RuntimeError", "the sun is in the way"),
            "shout": ("SIGABRT", "the last line"),
        }
        for kind, texts in expected.items():
            answer = self.mishap(kind)
            self.assertEqual(answer.status, 200, answer.body)
            message = failure(answer.body)
            for text in texts:
                self.assertIn(text, message, kind)
            self.assertNotIn("Traceback", message)
            self.assertNotIn("Fatal Python error", message)
            self.assertLess(len(message), 5000)
            self.assertGoesOn()

    def test_rawFailure(self) -> None:
        """Where there is no document to say it, it is an ExceptionReport."""
        answer = self.mishap("fail", rawdataoutput="PID")
        self.assertEqual(answer.status, 500)
        self.assertIn("the moon is in the way", answer.text)
        self.assertEqual(etree.fromstring(answer.body).tag, f"{OWS}ExceptionReport")

    def test_forEver(self) -> None:
        """TIMEOUT ends a run that would not end, and its processes."""
        before = set(self.commandsRunning("sleep 987654"))
        for kind in ("loop", "spawn"):
            answer = self.mishap(kind, timeout="1")
            self.assertEqual(answer.status, 504, answer.body)
            self.assertIn("TimeOut", answer.text)
        self.server.waitUntil(
            lambda: set(self.commandsRunning("sleep 987654")) <= before,
            "a grandchild lives on",
        )
        self.assertGoesOn()

    def test_daemonEnds(self) -> None:
        """A program that left the process group ends with its job."""
        self.assertEqual(self.mishap("daemon").status, 200)
        self.server.waitUntil(
            lambda: not self.commandsRunning("sleep 987655"), "a daemon lives on"
        )

    def test_killedWorker(self) -> None:
        """SIGKILL from outside fails the job and takes the grandchildren along."""
        with ThreadPoolExecutor(1) as thread:
            pending = thread.submit(self.mishap, "spawn")
            sleeper = self.server.waitUntil(
                lambda: self.commandsRunning("sleep 987654"),
                "the script does not start",
            )[0]
            os.kill(parent(sleeper), signal.SIGKILL)
            message = failure(pending.result().body)
        self.assertIn("SIGKILL", message)
        self.assertIn("about to spawn", message)
        self.server.waitUntil(lambda: not live.alive(sleeper), "a grandchild lives on")
        self.assertGoesOn()

    def test_progress(self) -> None:
        """An asynchronous job tells how far it is, and never goes back."""
        accepted = self.mishap("progress", storeExecuteResponse="true", status="true")
        root = etree.fromstring(accepted.body)
        self.assertIsNotNone(root.find(f"{WPS}Status/{WPS}ProcessAccepted"))
        location = root.get("statusLocation")
        seen: list[int] = []

        def ended() -> bool:
            status = etree.fromstring(self.server.get(location).body).find(
                f"{WPS}Status"
            )
            started = status.find(f"{WPS}ProcessStarted")
            if started is not None:
                seen.append(int(started.get("percentCompleted")))
            return status.find(f"{WPS}ProcessSucceeded") is not None

        self.server.waitUntil(ended, "the job does not end")
        self.assertEqual(seen, sorted(seen))
        self.assertGreater(len(set(seen)), 1)
        self.assertIn("PID", literals(self.server.get(location).body))
        record = self.server.get(f"status/{location.partition('uuid=')[2]}").json()
        self.assertEqual(record["status"]["status"], "DONE_STATUS")
        self.assertEqual(record["status"]["percent_done"], 100)

    def test_disconnect(self) -> None:
        """A client that goes away cancels its job: feedback first."""
        connection = http.client.HTTPConnection("127.0.0.1", self.server.port)
        connection.request(
            "GET",
            "/ows/?service=WPS&version=1.0.0&request=Execute&identifier=script:mishap"
            "&datainputs=KIND%3Dpatient",
        )

        def jobs(state: str) -> list[dict[str, object]]:
            return [
                job
                for job in self.server.get("status/").json()["status"]
                if job["status"] == state and job["identifier"] == "script:mishap"
            ]

        running = self.server.waitUntil(
            lambda: jobs("STARTED_STATUS"), "the job does not start"
        )[0]
        connection.close()
        self.server.waitUntil(
            lambda: running["uuid"] in [job["uuid"] for job in jobs("DISMISS_STATUS")],
            "the job goes on",
        )
        log = os.path.join(self.server.workdir, "jobs", str(running["uuid"]), "log")
        self.server.waitUntil(
            lambda: "cancelled in time" in Path(log).read_text(),
            "the script was not told",
        )
        self.assertGoesOn()


def parent(pid: int) -> int:
    """The process id of a process's parent."""
    with open(f"/proc/{pid}/stat") as file:
        return int(file.read().rpartition(")")[2].split()[1])


class ForkServerTests(_Mishaps):
    """The fork server is killed, the server goes on."""

    def test_forkServerKilled(self) -> None:
        with live.liveServer("--workers", "4") as self.server:
            with ThreadPoolExecutor(4) as threads:
                pending = [threads.submit(self.mishap, "spawn") for _ in range(4)]
                sleepers = self.server.waitUntil(
                    lambda: (
                        len(found := self.commandsRunning("sleep 987654")) >= 4
                        and found
                    ),
                    "the scripts do not start",
                )
                workers = [parent(pid) for pid in sleepers]
                os.kill(self.server.forkServer(), signal.SIGKILL)
                messages = [failure(each.result().body) for each in pending]
            for message in messages:
                self.assertIn("fork server", message)
                self.assertIn("SIGKILL", message)
            begun = time.monotonic()
            self.assertEqual(self.server.wps("GetCapabilities").status, 200)
            self.assertLess(time.monotonic() - begun, 1, "it was not up meanwhile")
            self.assertGoesOn()
            for pid in (*workers, *sleepers):
                self.server.waitUntil(
                    lambda p=pid: not live.alive(p), "a process is left"
                )

    def test_serverKilled(self) -> None:
        """With the server all its processes end."""
        with live.liveServer() as self.server:
            self.mishap("loop", storeExecuteResponse="true")
            self.mishap("spawn", storeExecuteResponse="true")
            self.server.waitUntil(
                lambda: len(self.server.children()) >= 4, "the scripts do not start"
            )
            processes = self.server.children()
            self.server.stop(signal.SIGKILL)
            for pid in processes:
                self.server.waitUntil(
                    lambda p=pid: not live.alive(p), "a process is left"
                )

    def test_stopsInOrder(self) -> None:
        """SIGTERM ends it and leaves no process and no temporary file."""
        temporary = tempfile.mkdtemp(prefix="qgswps-temporary-")
        self.addCleanup(os.rmdir, temporary)
        with live.liveServer(TMPDIR=temporary) as self.server:
            self.assertGoesOn()
            processes = self.server.children()
            pool = os.path.join(self.server.workdir, "pool")
            # twistd ends by the signal that it was sent, once all is done.
            self.assertIn(self.server.kill(signal.SIGTERM), (0, -signal.SIGTERM))
            self.assertEqual([pid for pid in processes if live.alive(pid)], [])
            left = os.listdir(temporary) + glob.glob(f"{pool}/generation-*")
            self.assertEqual(left, [])


class _Download(BaseHTTPRequestHandler):
    """Answers with a few bytes."""

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Length", "1000")
        self.send_header("Cache-Control", "no-store")
        self.end_headers()
        self.wfile.write(b"x" * 1000)

    def log_message(self, format: str, *args: object) -> None:
        pass


class EventLoopTests(unittest.TestCase):
    def test_siblingsDoNotDelayEachOther(self) -> None:
        """
        Six workers at once use network and event loops; with eventfds in
        common some of them would wait for wake-ups that others swallow.
        """
        web = ThreadingHTTPServer(("127.0.0.1", 0), _Download)
        serving = threading.Thread(target=web.serve_forever)
        serving.start()
        try:
            with live.liveServer(
                "--workers", "6", QGSWPS_SANDBOX_PORTS="any"
            ) as server:
                inputs = {"URL": f"http://127.0.0.1:{web.server_port}/", "COUNT": 40}
                with ThreadPoolExecutor(6) as threads:
                    answers = list(
                        threads.map(
                            lambda _: server.execute("script:network", inputs), range(6)
                        )
                    )
        finally:
            web.shutdown()
            serving.join()
            web.server_close()
        for answer in answers:
            found = literals(answer.body)
            self.assertEqual(found.get("BYTES"), "40000", answer.body)
            self.assertEqual(found["LOOPS"], "40")
            # A swallowed wake-up waits for the next timer: seconds, or for
            # ever. Two busy cores delay nobody that long.
            self.assertLess(float(found["SLOWEST"]), 2)


class EnduranceTests(unittest.TestCase):
    def settled(self, server: live.LiveServer) -> tuple[int, int]:
        """
        How many descriptors server and fork server have open, when they had
        as many for a second and no worker lives: clients that have closed
        their connections are noticed one by one.
        """
        seen: list[tuple[int, int]] = []

        def unchanged() -> bool:
            if len(server.children()) != 1:
                seen.clear()
                return False
            seen.append((server.descriptors(), server.descriptors(server.forkServer())))
            return len(seen) > 50 and len(set(seen[-50:])) == 1

        server.waitUntil(unchanged, "processes are left")
        return seen[-1]

    def test_nothingIsLeftOver(self) -> None:
        """After 200 jobs in a row and 64 at once all is as it was before."""
        with live.liveServer() as server:

            def run(_: int) -> str:
                return literals(server.execute("script:state").body)["PID"]

            with ThreadPoolExecutor(64) as threads:
                # Both grow to their full number of threads, and stay there.
                list(threads.map(run, range(64)))

                before = self.settled(server)
                pids = [run(n) for n in range(200)]
                pids += threads.map(run, range(64))
            self.assertEqual(len(set(pids)), 264)
            after = self.settled(server)
            for now, then in zip(after, before, strict=True):
                self.assertLessEqual(now, then, "descriptors are left")
            zombies = [pid for pid in server.children() if not live.alive(pid)]
            self.assertEqual(zombies, [])
            listed = json.loads(server.get("status/").body)["status"]
            self.assertEqual({job["status"] for job in listed}, {"DONE_STATUS"})
            self.assertFalse(re.search("Traceback|critical", server.log()))
