"""TIMEOUT and EXPIRE, the queue's limits, and stores, as clients see them."""

from __future__ import annotations

import os
import re
import signal
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

from lxml import etree
from twisted.trial import unittest

from tests import live, redisserver, schemas

OWS = "{http://www.opengis.net/ows/1.1}"

_UUID = re.compile(r"uuid=([0-9a-f-]{36})")
_ASYNCHRONOUS = {"storeExecuteResponse": "true"}


def jobId(answer: live.Answer) -> str:
    """The id of the job that an ExecuteResponse is about."""
    found = _UUID.search(answer.text)
    assert found, answer.text
    return found[1]


def post(kind: str, attributes: str) -> str:
    """Execute of the script that goes wrong as it is told, as XML."""
    return (
        '<wps:Execute xmlns:wps="http://www.opengis.net/wps/1.0.0"'
        ' xmlns:ows="http://www.opengis.net/ows/1.1" service="WPS" version="1.0.0">'
        "<ows:Identifier>script:mishap</ows:Identifier><wps:DataInputs><wps:Input>"
        "<ows:Identifier>KIND</ows:Identifier><wps:Data><wps:LiteralData>"
        f"{kind}</wps:LiteralData></wps:Data></wps:Input></wps:DataInputs>"
        f"<wps:ResponseForm><wps:ResponseDocument {attributes}>"
        "<wps:Output><ows:Identifier>PID</ows:Identifier></wps:Output>"
        "</wps:ResponseDocument></wps:ResponseForm></wps:Execute>"
    )


class TimesTests(unittest.TestCase):
    """The two extensions."""

    def setUp(self) -> None:
        self.server = live.sharedServer()

    def ways(self, kind: str, **times: str) -> Iterator[live.Answer]:
        """One request sent in all the ways that a time can be given."""
        attributes = " ".join(f'{name}="{value}"' for name, value in times.items())
        query = "&".join(f"{name.upper()}={value}" for name, value in times.items())
        yield self.server.execute("script:mishap", {"KIND": kind}, **times)
        yield self.server.post(post(kind, attributes))
        yield self.server.post(post(kind, ""), f"?{query}")

    def urls(self, job: str) -> list[str]:
        """Every URL of a job."""
        return [
            f"status/{job}",
            f"status/{job}?key=request",
            f"jobs/{job}/files",
            f"jobs/{job}/files/x",
            f"jobs/{job}/log",
            f"ows/?service=WPS&request=GetResults&uuid={job}",
        ]

    def test_timeout(self) -> None:
        """A run that takes too long: 504, and the state stays failed."""
        with ThreadPoolExecutor(3) as threads:
            answers = list(threads.map(lambda a: a, self.ways("loop", timeout="1")))
        for answer in answers:
            self.assertEqual(answer.status, 504, answer.text)
            schemas.assertValid(self, answer.body, "ExceptionReport")
            self.assertIn("TimeOut", answer.text)
        listed = self.server.get("status/?status=failed&limit=3").json()["status"]
        for record in listed:
            self.assertEqual(record["timeout"], 1)
            self.assertIn("TimeOut", record["message"])

    def test_expire(self) -> None:
        """Record and directory go, and every URL of the job with them."""
        jobs = [jobId(answer) for answer in self.ways("nothing", expire="1")]
        for job in jobs:
            record = self.server.get(f"status/{job}").json()["status"]
            self.assertEqual(record["expiration"], 1)
        for job in jobs:
            for url in self.urls(job):
                self.server.waitUntil(
                    lambda u=url: self.server.get(u).status == 404, f"{url} is there"
                )
        # What has expired is not shown any more, a moment before it is gone.
        folder = os.path.join(self.server.workdir, "jobs")
        self.server.waitUntil(
            lambda: not set(jobs) & set(os.listdir(folder)), "directories are left"
        )

    def test_wrong(self) -> None:
        """What is no time is refused, and named."""
        for name in ("timeout", "expire"):
            for value in ("soon", "0", "-1", "1.5", "99999999999999999999"):
                for answer in self.ways("nothing", **{name: value}):
                    self.assertEqual(answer.status, 400, (name, value))
                    schemas.assertValid(self, answer.body, "ExceptionReport")
                    exception = etree.fromstring(answer.body).find(f"{OWS}Exception")
                    self.assertEqual(
                        (exception.get("exceptionCode"), exception.get("locator")),
                        ("InvalidParameterValue", name.upper()),
                    )


class LimitTests(unittest.TestCase):
    """A small server: one process, one place in the queue."""

    def test_limits(self) -> None:
        with live.liveServer(
            "--workers",
            "1",
            QGSWPS_SERVER_MAXQUEUESIZE="1",
            QGSWPS_SERVER_RESPONSE_TIMEOUT="2",
            QGSWPS_SERVER_RESPONSE_EXPIRATION="5",
        ) as server:
            running = server.execute(
                "script:mishap", {"KIND": "loop"}, timeout="100", **_ASYNCHRONOUS
            )
            server.waitUntil(lambda: len(server.children()) > 1, "it does not run")
            waiting = server.execute(
                "script:mishap", {"KIND": "nothing"}, expire="100", **_ASYNCHRONOUS
            )
            refused = server.execute("script:mishap", {"KIND": "nothing"})
            self.assertEqual(refused.status, 503)
            self.assertIn("retry-after", refused.headers)
            schemas.assertValid(self, refused.body, "ExceptionReport")
            self.assertIn("ServerBusy", refused.text)
            record = server.get(f"status/{jobId(waiting)}").json()["status"]
            self.assertEqual(record["queue_position"], 1)
            self.assertEqual(record["expiration"], 5, "more than the server allows")

            def ended() -> bool:
                status = server.get(f"status/{jobId(running)}").json()["status"]
                self.assertEqual(status["timeout"], 2, "more than the server allows")
                return bool(status["status"] == "ERROR_STATUS")

            server.waitUntil(ended, "it runs on")
            server.waitUntil(
                lambda: (
                    server.get(f"status/{jobId(waiting)}").json()["status"]["status"]
                    == "DONE_STATUS"
                ),
                "what waited does not run",
            )

    def test_expiryAfterRestart(self) -> None:
        """A job expires though the server was killed meanwhile."""
        with live.liveServer() as server:
            answer = server.execute("script:mishap", {"KIND": "nothing"}, expire="3")
            job = jobId(answer)
            server.kill()
            server.start()
            server.waitUntil(
                lambda: server.get(f"status/{job}").status == 404, "it does not expire"
            )
            folder = os.path.join(server.workdir, "jobs")
            server.waitUntil(lambda: not os.listdir(folder), "a directory is left")


class RedisTests(unittest.TestCase):
    """Servers that share a Redis."""

    def test_twoServers(self) -> None:
        """They see each other's jobs, and each recovers only its own."""
        redis = redisserver.RedisServer()
        self.addCleanup(redis.close)
        with (
            live.liveServer("--store", redis.url) as one,
            live.liveServer("--store", redis.url) as two,
        ):
            long = jobId(
                one.execute("script:mishap", {"KIND": "loop"}, **_ASYNCHRONOUS)
            )
            short = jobId(one.execute("script:mishap", {"KIND": "nothing"}))
            for server in (one, two):
                listed = server.get("status/").json()["status"]
                self.assertEqual({job["uuid"] for job in listed}, {long, short})

            def state() -> str:
                status: str = two.get(f"status/{long}").json()["status"]["status"]
                return status

            one.waitUntil(lambda: state() == "STARTED_STATUS", "it does not start")
            two.kill()
            two.start()
            self.assertEqual(state(), "STARTED_STATUS", "it is the other's")
            self.assertEqual(two.request("DELETE", f"status/{long}").status, 409)
            # Its files are where it ran, and that is said.
            for path in (
                f"jobs/{short}/files",
                f"jobs/{short}/log",
                f"ows/?service=WPS&request=GetResults&uuid={short}",
            ):
                answer = two.get(path)
                self.assertEqual(answer.status, 409)
                self.assertIn("another server", answer.text)
            self.assertIn(
                "ProcessStarted",
                two.get(f"ows/?service=WPS&request=GetResults&uuid={long}").text,
            )
            one.kill()
            one.start()
            one.waitUntil(lambda: state() == "ERROR_STATUS", "it was not recovered")

    def test_startWithoutRedis(self) -> None:
        """The service comes up, says what it waits for, and serves later."""
        redis = redisserver.RedisServer()
        self.addCleanup(redis.close)
        redis.kill()
        with live.liveServer(
            QGSWPS_REDIS_HOST="127.0.0.1", QGSWPS_REDIS_PORT=str(redis.port)
        ) as server:
            for answer in (
                server.execute("script:mishap", {"KIND": "nothing"}),
                server.get("status/"),
                server.get("jobs/x/log"),
            ):
                self.assertEqual(answer.status, 503)
                self.assertIn("retry-after", answer.headers)
            self.assertIn("no jobs are taken until it is there", server.log())
            redis.start()
            server.waitUntil(
                lambda: (
                    server.execute("script:mishap", {"KIND": "nothing"}).status == 200
                ),
                "it does not serve",
            )

    def test_hangingRedis(self) -> None:
        """A Redis that does not answer holds up nobody for long."""
        redis = redisserver.RedisServer()
        self.addCleanup(redis.close)
        with live.liveServer("--store", redis.url, QGSWPS_REDIS_TIMEOUT="1") as server:
            with ThreadPoolExecutor(1) as thread:
                pending = thread.submit(
                    server.execute, "script:mishap", {"KIND": "progress"}
                )
                server.waitUntil(lambda: len(server.children()) > 1, "it does not run")
                redis.pause()
                try:
                    self.assertEqual(server.get("status/").status, 503)
                    self.assertEqual(server.wps("GetCapabilities").status, 200)
                    # Its end is told, though it can't be stored yet.
                    self.assertIn("ProcessSucceeded", pending.result().text)
                finally:
                    redis.resume()
            job = jobId(pending.result())

            def kept() -> bool:
                answer = server.get(f"status/{job}")
                return answer.status == 200 and b"DONE_STATUS" in answer.body

            server.waitUntil(kept, "the end was not kept")
            self.assertIn(server.kill(signal.SIGTERM), (0, -signal.SIGTERM))
