"""
A load of jobs, and what must hold after something was killed under it.

Each job writes a token of its own into a ledger file when it runs.
"""

from __future__ import annotations

import contextlib
import http.client
import os
import random
import re
import threading
import time
import uuid
from collections import Counter
from typing import Any

import attrs
from lxml import etree

from tests import live

_ACCEPTED = "ProcessAccepted"
_UUID = re.compile(r"uuid=([0-9a-f-]{36})")
TERMINAL = {"DONE_STATUS", "ERROR_STATUS", "DISMISS_STATUS"}


@attrs.define
class Sent:
    """
    What the clients know.

    @ivar accepted: ids of the jobs that the server said it has accepted, by
        token.
    @ivar done: tokens of synchronous runs that were answered with success.
    @ivar refused: how many requests were answered with 503.
    @ivar broken: how many connections broke.
    """

    accepted: dict[str, str] = attrs.Factory(dict)
    done: set[str] = attrs.Factory(set)
    refused: int = 0
    broken: int = 0


class Load:
    """Clients that send jobs again and again, until told to stop."""

    def __init__(
        self,
        server: live.LiveServer,
        ledger: str,
        synchronous: int = 3,
        stored: int = 2,
    ) -> None:
        """
        @param synchronous: how many clients wait for their jobs.
        @param stored: how many look after them later.
        """
        self.server = server
        self.ledger = ledger
        self.sent = Sent()
        self.failures: list[BaseException] = []
        self._stop = threading.Event()
        self._threads = [
            threading.Thread(target=self._work, args=(waits,))
            for waits in [True] * synchronous + [False] * stored
        ]

    def __enter__(self) -> Load:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()
        if self.failures:
            raise self.failures[0]

    def _work(self, waits: bool) -> None:
        try:
            while not self._stop.is_set():
                self._send(waits)
                # A client that does not wait would else fill the queue.
                time.sleep(0.01 if waits else 0.15)
        except BaseException as error:
            self.failures.append(error)

    def _send(self, waits: bool) -> None:
        token = uuid.uuid4().hex
        inputs = {
            "FILE": self.ledger,
            "TOKEN": token,
            "SECONDS": round(random.uniform(0, 0.2), 3),
        }
        form = {} if waits else {"storeExecuteResponse": "true", "status": "true"}
        try:
            answer = self.server.execute("script:ledger", inputs, **form)
        except (OSError, http.client.HTTPException):
            self.sent.broken += 1
            time.sleep(0.05)
            return
        if answer.status in (503, 507):
            if "retry-after" not in answer.headers:
                raise AssertionError("a busy server must say when to come back")
            self.sent.refused += 1
            time.sleep(0.05)
            return
        if answer.status not in (200, 500):
            raise AssertionError(f"{answer.status}: {answer.text}")
        found = _UUID.search(answer.text)
        if found:
            self.sent.accepted[token] = found[1]
        if waits and "ProcessSucceeded" in answer.text:
            self.sent.done.add(token)


def jobs(server: live.LiveServer) -> list[dict[str, Any]]:
    """All records, page by page."""
    found: list[dict[str, Any]] = []
    while True:
        page = server.get(f"status/?limit=500&offset={len(found)}").json()["status"]
        found += page
        if len(page) < 500:
            return found


def settled(server: live.LiveServer) -> list[dict[str, Any]] | None:
    """All records, once every job has ended; None before."""
    with contextlib.suppress(OSError, http.client.HTTPException, KeyError, ValueError):
        found = jobs(server)
        if all(job["status"] in TERMINAL for job in found):
            return found
    return None


def written(ledger: str) -> Counter[str]:
    """How often each token was written."""
    with contextlib.suppress(FileNotFoundError), open(ledger) as file:
        return Counter(file.read().split())
    return Counter()


def faults(server: live.LiveServer, load: Load) -> list[str]:
    """
    Wait until all jobs have ended, and say what is not as it must be.

    @return: a text for each fault; empty if all is well.
    """
    found = []
    records = server.waitUntil(lambda: settled(server), "jobs do not end")
    byId = {job["uuid"]: job for job in records}
    if len(byId) != len(records):
        found.append("a job is listed twice")
    counts = written(load.ledger)
    found += [f"{token} ran {n} times" for token, n in counts.items() if n > 1]
    for token, jobId in load.sent.accepted.items():
        job = byId.get(jobId)
        if job is None:
            found.append(f"the accepted job {jobId} is lost")
        elif job["status"] == "DONE_STATUS" and counts[token] != 1:
            found.append(f"{jobId} is done, but ran {counts[token]} times")
        elif job["status"] == "DONE_STATUS" and not _result(server, jobId):
            found.append(f"{jobId} is done, but has no result")
    for token in load.sent.done:
        if byId.get(load.sent.accepted[token], {}).get("status") != "DONE_STATUS":
            found.append(f"{token} was answered with success, and is not done")
    found += [
        f"{job['uuid']} is {job['status']} without a reason"
        for job in records
        if job["status"] != "DONE_STATUS" and not job["message"]
    ]
    server.waitUntil(lambda: len(server.children()) <= 1, "processes are left")
    directories = set(os.listdir(os.path.join(server.workdir, "jobs")))
    found += [f"the directory {each} is left over" for each in directories - set(byId)]
    for each in directories & set(byId):
        temporary = os.path.join(server.workdir, "jobs", each, "tmp")
        if os.path.exists(temporary) and os.listdir(temporary):
            found.append(f"temporary files of {each} are left over")
    return found


def _result(server: live.LiveServer, jobId: str) -> bool:
    answer = server.get(
        f"ows/?service=WPS&version=1.0.0&request=GetResults&uuid={jobId}"
    )
    if b"ProcessSucceeded" not in answer.body:
        return False
    tags = [
        etree.QName(each).localname for each in etree.fromstring(answer.body).iter()
    ]
    return "LiteralData" in tags


def outcome(server: live.LiveServer) -> Counter[str]:
    """How many jobs ended how."""
    return Counter(job["status"] for job in jobs(server))
