"""
What it costs to keep figures for Prometheus, beside a server that keeps none.

    python3 -m benchmarks.figures [--output docs/performance.md]

Both servers get jobs in turn, so that what else the machine does meets both.
"""

from __future__ import annotations

import argparse
import os
import statistics
import time

from qgswps.metrics import Figures, Metrics
from qgswps.model import Job, State
from tests.live import LiveServer, replaceFigures

#: Jobs for one server before it is the other's turn.
TURN = 10

PROCESS = "script:mishap"


def residentSize(pid: int) -> int:
    """The resident size of a process in KiB."""
    with open(f"/proc/{pid}/status") as file:
        return next(int(line.split()[1]) for line in file if line[:6] == "VmRSS:")


def roundTrip(server: LiveServer) -> float:
    """Seconds of one Execute that does nothing."""
    begun = time.perf_counter()
    answer = server.execute(PROCESS, {"KIND": "nothing"})
    assert "ProcessSucceeded" in answer.text, answer.text
    return time.perf_counter() - begun


def ofEvents(count: int = 20_000) -> float:
    """Seconds that all events of one job take."""
    metrics = Metrics("")
    accepted = Job("j", PROCESS, "here", 1.0)
    started = Job("j", PROCESS, "here", 1.0, State.STARTED, started=2.0)
    ended = Job("j", PROCESS, "here", 1.0, State.SUCCEEDED, started=2.0, finished=3.0)
    begun = time.perf_counter()
    for _ in range(count):
        metrics.changed(accepted, None)
        metrics.changed(started, State.ACCEPTED)
        metrics.changed(ended, State.STARTED)
        metrics.exited(ended, 100_000)
        metrics.forked(0.004)
    return (time.perf_counter() - begun) / count


def ofDocument(processes: int) -> tuple[float, int]:
    """Seconds and bytes of a document on so many processes."""
    metrics = Metrics("")
    for number in range(processes):
        job = Job(
            "j",
            f"native:{number}",
            "h",
            1.0,
            State.SUCCEEDED,
            started=2.0,
            finished=3.0,
        )
        metrics.changed(job, None)
        metrics.changed(job, State.STARTED)
        metrics.exited(job, 100_000)
    begun = time.perf_counter()
    document = metrics.render(Figures())
    return time.perf_counter() - begun, len(document)


def report(count: int) -> str:
    """A table of both servers, and what the parts take."""
    servers = {
        answer: LiveServer(QGSWPS_SERVER_METRICS=answer) for answer in ("no", "yes")
    }
    times: dict[str, list[float]] = {answer: [] for answer in servers}
    try:
        for server in servers.values():
            for _ in range(TURN):
                roundTrip(server)
        sizes = {a: residentSize(s.process.pid) for a, s in servers.items()}
        for _ in range(count // TURN):
            for answer, server in servers.items():
                times[answer] += [roundTrip(server) for _ in range(TURN)]
        grown = {a: residentSize(s.process.pid) - sizes[a] for a, s in servers.items()}
    finally:
        for server in servers.values():
            server.stop()
    lines = [
        "| figures | jobs | p50 ms | p95 ms | server, MB | grown by, MB |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for answer, found in times.items():
        p95 = statistics.quantiles(found, n=20)[-1]
        lines.append(
            f"| {answer} | {len(found)} | {statistics.median(found) * 1e3:.1f}"
            f" | {p95 * 1e3:.1f} | {sizes[answer] / 1024:.1f}"
            f" | {grown[answer] / 1024:.1f} |"
        )
    seconds, size = ofDocument(350)
    lines += [
        "",
        f"All events of one job take {ofEvents() * 1e6:.0f} µs. A document on 350"
        f" processes has {size / 1e3:.0f} kB and takes {seconds * 1e3:.0f} ms, in a"
        " thread.",
        "",
    ]
    return "\n".join(lines)


def main() -> None:
    """Measure, and print or write the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=300, help="jobs a server")
    parser.add_argument("--output", help="file whose table is replaced")
    options = parser.parse_args()
    table = report(options.count)
    print(table)  # noqa: T201
    if options.output:
        replaceFigures(os.path.abspath(options.output), table, "metrics")


if __name__ == "__main__":
    main()
