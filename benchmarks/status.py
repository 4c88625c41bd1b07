"""
Pages of the status API with many stored jobs, for each store.

    python3 -m benchmarks.status [--jobs 10000] [--output docs/performance.md]

Needs C{redis-server}. Times are of whole HTTP requests, from one client.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import uuid
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.task import react

from benchmarks.roundtrip import Client, Row, measure
from qgswps.interfaces import IJobStore
from qgswps.jobs.redisstore import Login, RedisStore, makeEndpoint
from qgswps.jobs.sqlitestore import SQLiteStore
from qgswps.model import Job, State
from tests import live, redisserver

QUERIES = {
    "the newest 100": "",
    "the newest 10": "?limit=10",
    "offset 9000": "?offset=9000",
    "failed ones": "?status=failed",
    "failed ones of one process": "?status=failed&process=native:p3",
}


def makeJob(n: int) -> Job:
    """One of many jobs, of all processes and terminal states."""
    states = (State.SUCCEEDED, State.SUCCEEDED, State.FAILED, State.DISMISSED)
    return Job(
        id=str(uuid.uuid4()),
        processId=f"native:p{n % 20}",
        server="elsewhere",
        created=1.7e9 + n,
        started=1.7e9 + n,
        finished=1.7e9 + n + 1,
        expires=4e9,
        state=states[n % len(states)],
        percent=100.0,
        message="what became of it, in a sentence of some length",
    )


async def fill(store: IJobStore, count: int) -> None:
    """Put jobs into a store."""
    await store.open()
    for n in range(count):
        await store.add(makeJob(n))
    await store.close()


def pages(name: str, server: live.LiveServer) -> list[Row]:
    """Ask for each page again and again."""
    rows = []
    for what, query in QUERIES.items():

        def get(client: Client, query: str = query) -> bytes:
            return client.get(f"/status/{query}")

        measure("warm-up", server.port, get, 5)
        rows.append(measure(f"{name}: {what}", server.port, get, 100, 1, "p50 ≤ 50"))
    return rows


def run(count: int) -> list[Row]:
    """Fill the stores and measure."""
    rows: list[Row] = []
    redis = redisserver.RedisServer()
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "jobs.sqlite")

        def stores(reactor: Any) -> Deferred[None]:
            async def both() -> None:
                await fill(SQLiteStore(reactor, path), count)
                endpoint = makeEndpoint(reactor, "127.0.0.1", redis.port, 5)
                await fill(RedisStore(reactor, endpoint, "qgswps", Login()), count)

            return Deferred.fromCoroutine(both())

        try:
            react(stores)
        except SystemExit as end:
            if end.code:
                raise
        try:
            for name, url in (("SQLite", f"sqlite:///{path}"), ("Redis", redis.url)):
                with live.liveServer("--store", url) as server:
                    rows += pages(name, server)
        finally:
            redis.close()
    return rows


def main() -> None:
    """Run it from the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--jobs", type=int, default=10_000, help="jobs in each store")
    parser.add_argument("--output", help="file whose table is replaced")
    options = parser.parse_args()
    lines = [
        f"| status/ with {options.jobs} jobs | p50, ms | p95, ms | a second | target |",
        "| --- | ---: | ---: | ---: | --- |",
        *map(str, run(options.jobs)),
    ]
    text = "\n".join(lines) + "\n"
    sys.stdout.write(text)
    if options.output:
        live.replaceFigures(options.output, text, "status figures")


if __name__ == "__main__":
    main()
