"""Reloads of a real server: by whatever brings them about, and under load."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import tempfile
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from itertools import count
from pathlib import Path

from lxml import etree
from twisted.trial import unittest

from tests import live

WPS = "{http://www.opengis.net/wps/1.0.0}"
OWS = "{http://www.opengis.net/ows/1.1}"
EXAMPLES = Path(live.ROOT, "docs", "examples")

#: How many requests are sent at least, and by how many clients.
REQUESTS = 500
CLIENTS = 6

#: Seconds that a job takes which outlives a reload.
LONG = 5

SCRIPT = '''
import time
from qgis.processing import alg

@alg(name="{name}", label="{name}", group="tests", group_label="Tests")
@alg.input(type=alg.NUMBER, name="SECONDS", label="Seconds", default=0)
@alg.output(type=alg.NUMBER, name="VALUE", label="Value")
def {name}(instance, parameters, context, feedback, inputs):
    """Takes its time."""
    time.sleep(instance.parameterAsDouble(parameters, "SECONDS", context))
    return {{"VALUE": {value}}}
'''


class ReloadTests(unittest.TestCase):
    """A server whose algorithms change."""

    def setUp(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="qgswps-reload-"))
        self.addCleanup(shutil.rmtree, self.folder)
        self.write("steady", 1)
        self.write("changing", 1)
        self.touched = self.folder / "restart"

    def start(self, **environment: str) -> None:
        """Start the server."""
        self.server = live.LiveServer(
            *("--workers", str(CLIENTS)),
            QGSWPS_PROCESSING_PROVIDERS_MODULE_PATH=str(self.folder),
            QGSWPS_PROCESSING_WATCH_INTERVAL="0.5",
            QGSWPS_SERVER_RESTARTMON=str(self.touched),
            **environment,
        )
        self.addCleanup(self.server.stop)

    def write(self, name: str, value: int) -> None:
        """Write a script."""
        path = self.folder / "scripts" / f"{name}.py"
        path.parent.mkdir(exist_ok=True)
        path.write_text(SCRIPT.format(name=name, value=value))

    def generations(self) -> int:
        """How many have got ready."""
        return self.server.log().count("ready: QGIS ")

    def hangUp(self) -> None:
        """Send the signal to all processes, as systemctl does."""
        for pid in self.server.children():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGHUP)
        self.server.process.send_signal(signal.SIGHUP)

    def reloaded(self, trigger: Callable[[], object], reason: str) -> None:
        """Do something, and wait for the reload that it causes."""
        before = self.generations()
        trigger()
        self.server.waitUntil(
            lambda: self.generations() > before, f"no reload: {reason}"
        )
        self.assertIn(f"reload: {reason}", self.server.log())

    def offered(self) -> set[str]:
        """The identifiers in the capabilities."""
        answer = self.server.wps("GetCapabilities")
        self.assertEqual(answer.status, 200, answer.text)
        root = etree.fromstring(answer.body)
        return {
            each.findtext(f"{OWS}Identifier") for each in root.iter(f"{WPS}Process")
        }

    def value(self, answer: live.Answer) -> float:
        """The output of a script."""
        self.assertEqual(answer.status, 200, answer.text)
        data = etree.fromstring(answer.body).find(f".//{WPS}LiteralData")
        self.assertIsNotNone(data, answer.text)
        return float(data.text)

    def begin(self) -> str:
        """Begin a job that lasts; the URL of its status."""
        answer = self.server.execute(
            "script:steady",
            {"SECONDS": LONG},
            storeExecuteResponse="true",
            status="true",
        )
        self.assertEqual(answer.status, 200, answer.text)
        return str(etree.fromstring(answer.body).get("statusLocation"))

    def forkServers(self) -> int:
        """How many there are."""
        return sum(
            "qgswps.worker" in live.commandLine(pid)
            for pid in live.childrenOf(self.server.process.pid)
        )

    def ask(self, number: int) -> None:
        """One request of those that go on all the time."""
        kind = number % 4
        if kind == 0:
            self.assertEqual(self.value(self.server.execute("script:steady")), 1)
        elif kind == 1:
            self.assertIn(self.value(self.server.execute("script:changing")), (1, 2))
        elif kind == 2:
            self.assertTrue(self.offered() >= {"script:steady", "native:buffer"})
        else:
            answer = self.server.wps("DescribeProcess", identifier="script:changing")
            self.assertEqual(answer.status, 200, answer.text)

    def test_underLoad(self) -> None:
        """Five reloads, of which no client notices more than what is new."""
        self.start()
        numbers = count()
        enough = threading.Event()
        failures: list[str] = []

        def client() -> int:
            for done, number in enumerate(numbers):
                if enough.is_set() and number >= REQUESTS:
                    return done
                try:
                    self.ask(number)
                except Exception as error:
                    failures.append(f"{number}: {error!r}")
                time.sleep(0.02)
            raise AssertionError("numbers never end")

        model = "surroundings.model3"
        plugin = self.folder / "example_wps"
        models = self.folder / "models"
        models.mkdir()
        jobs = []
        with ThreadPoolExecutor(CLIENTS) as pool:
            clients = [pool.submit(client) for _ in range(CLIENTS)]
            try:
                for trigger, reason in (
                    (self.hangUp, "SIGHUP"),
                    (self.touched.touch, f"{self.touched} was touched"),
                    (lambda: self.write("added", 3), f"{self.folder}/scripts/added.py"),
                    (lambda: self.write("changing", 2), f"{self.folder}/scripts/chan"),
                    (
                        lambda: (
                            shutil.copytree(EXAMPLES / "example_wps", plugin),
                            shutil.copy(EXAMPLES / "models" / model, models),
                        ),
                        f"{plugin}/__init__.py and 3 more changed",
                    ),
                ):
                    jobs.append(self.begin())
                    self.reloaded(trigger, reason)
            finally:
                enough.set()
            asked = sum(each.result() for each in clients)
        self.assertEqual(failures, [])
        self.assertGreaterEqual(asked, REQUESTS)

        # What is new is there.
        self.assertTrue(
            self.offered()
            >= {"script:added", "model:surroundings", "examplewps:quadrupled"}
        )
        self.assertEqual(self.value(self.server.execute("script:added")), 3)
        self.assertEqual(self.value(self.server.execute("script:changing")), 2)

        # The jobs that ran were not disturbed.
        for url in jobs:
            self.server.waitUntil(
                lambda url=url: b"ProcessSucceeded" in self.server.get(url).body,
                f"{url} has not succeeded",
            )
            self.assertEqual(self.value(self.server.get(url)), 1)

        # One is left of six.
        self.assertGreaterEqual(self.generations(), 6)
        self.server.waitUntil(
            lambda: self.forkServers() == 1 and len(self.server.children()) == 1,
            "there is more than one fork server",
        )
        pool_ = os.path.join(self.server.workdir, "pool")
        kept = {n.split(".")[0] for n in os.listdir(pool_) if n.startswith("gen")}
        self.assertEqual(len(kept), 1, kept)

    def test_failure(self) -> None:
        """The old generation stays as long as the new one can't start."""
        patience = 10
        self.start(QGSWPS_SERVER_START_TIMEOUT=str(patience))
        hangs = self.folder / "scripts" / "hangs.py"
        hangs.write_text("import time\ntime.sleep(1000)\n")

        def failed() -> bool:
            self.assertEqual(self.value(self.server.execute("script:steady")), 1)
            return "the reload has failed" in self.server.log()

        self.server.waitUntil(failed, "the reload has not failed")
        (line,) = (x for x in self.server.log().splitlines() if "has failed" in x)
        self.assertIn(
            f"it was not ready after {patience} seconds; generation 1 stays", line
        )
        self.assertEqual(self.generations(), 1)
        self.assertIn("script:changing", self.offered())
        self.assertEqual(self.forkServers(), 1)

        hangs.unlink()
        self.server.waitUntil(lambda: self.generations() == 2, "not mended")
        self.assertEqual(self.value(self.server.execute("script:steady")), 1)

    def test_end(self) -> None:
        """A server that is told to end while it reloads leaves nothing."""
        self.start()
        self.begin()
        self.hangUp()
        self.server.waitUntil(lambda: self.forkServers() == 2, "there is no reload")
        processes = self.server.children()
        # As twistd says it: ended by the signal, and not by a harder one.
        self.assertIn(self.server.kill(signal.SIGTERM), (0, -signal.SIGTERM))
        self.server.waitUntil(
            lambda: not any(map(live.alive, processes)), "there are processes left"
        )
