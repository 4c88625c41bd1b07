"""
Round trips through HTTP, and the same work in plain QGIS, in one run.

    python3 -m benchmarks.roundtrip [--output docs/performance.md]

The figures are percentiles in milliseconds, requests a second and memory in
MB. Machines differ and are noisy: compare within one run.
"""

from __future__ import annotations

import argparse
import contextlib
import http.client
import json
import os
import platform
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from urllib.parse import quote, urlencode

import attrs

from tests import live

HERE = os.path.dirname(os.path.abspath(__file__))

#: 100 points, spread over the globe.
POINTS = json.dumps(
    {
        "type": "FeatureCollection",
        "features": [
            {
                "type": "Feature",
                "properties": {"n": n},
                "geometry": {
                    "type": "Point",
                    "coordinates": [n * 3.1 - 160, (n * 17) % 140 - 70],
                },
            }
            for n in range(100)
        ],
    }
)

#: What plain QGIS does in its own long-lived process, for the ratio.
PLAIN = """
import os, sys, time
os.environ["QT_QPA_PLATFORM"] = "offscreen"
sys.path.append("/usr/share/qgis/python/plugins")
from qgis.core import QgsApplication, QgsProcessingContext
application = QgsApplication([], False)
application.initQgis()
from processing.core.Processing import Processing
Processing.initialize()
import processing
source, folder, count = sys.argv[1], sys.argv[2], int(sys.argv[3])
times = []
for n in range(count):
    begun = time.perf_counter()
    processing.run("native:buffer", {"INPUT": source, "DISTANCE": 1,
        "OUTPUT": f"{folder}/{n}.geojson"})
    times.append(time.perf_counter() - begun)
print(times)
"""


@attrs.frozen
class Row:
    """One measurement."""

    name: str
    p50: float
    p95: float
    rate: float
    target: str = ""

    def __str__(self) -> str:
        return (
            f"| {self.name} | {self.p50:.1f} | {self.p95:.1f} | {self.rate:.1f}"
            f" | {self.target} |"
        )


class Client:
    """One keep-alive connection."""

    def __init__(self, port: int) -> None:
        self._connection = http.client.HTTPConnection("127.0.0.1", port, 120)

    def get(self, path: str, **headers: str) -> bytes:
        """GET; fails loudly when the answer is no success."""
        return self._send("GET", path, None, headers)

    def post(self, path: str, body: bytes) -> bytes:
        """POST of XML."""
        return self._send("POST", path, body, {})

    def _send(
        self, method: str, path: str, body: bytes | None, headers: dict[str, str]
    ) -> bytes:
        self._connection.request(method, path, body, headers)
        response = self._connection.getresponse()
        data = response.read()
        if response.status != 200 or b"ExceptionReport" in data:
            raise AssertionError(data[:2000].decode("utf-8", "replace"))
        return data

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()


def measure(
    name: str,
    port: int,
    action: Callable[[Client], object],
    count: int,
    clients: int = 1,
    target: str = "",
) -> Row:
    """
    Do something again and again.

    @param count: how often in all.
    @param clients: how many do it side by side.
    """
    times: list[float] = []
    failures: list[BaseException] = []
    left = iter(range(count))
    lock = threading.Lock()

    def work() -> None:
        client = Client(port)
        try:
            while True:
                with lock:
                    if next(left, None) is None:
                        return
                begun = time.perf_counter()
                action(client)
                times.append(time.perf_counter() - begun)
        except BaseException as error:
            failures.append(error)
        finally:
            client.close()

    begun = time.perf_counter()
    threads = [threading.Thread(target=work) for _ in range(clients)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    elapsed = time.perf_counter() - begun
    if failures:
        raise failures[0]
    return Row(name, *percentiles(times), len(times) / elapsed, target)


def percentiles(times: list[float]) -> tuple[float, float]:
    """p50 and p95 of seconds, in milliseconds."""
    # Of a single time both are that one.
    cuts = statistics.quantiles(times * 2 if len(times) == 1 else times, n=20)
    return statistics.median(times) * 1000, cuts[-1] * 1000


def wps(**parameters: str) -> str:
    """A path with a query."""
    return "/ows/?" + urlencode({"service": "WPS", "version": "1.0.0", **parameters})


def execute(process: str, **inputs: str) -> str:
    """Execute by KVP."""
    data = ";".join(f"{name}={quote(value, safe='')}" for name, value in inputs.items())
    return wps(request="Execute", identifier=process, datainputs=data)


def bufferRequest() -> bytes:
    """Execute of C{native:buffer} with the points inline."""
    return (
        '<wps:Execute xmlns:wps="http://www.opengis.net/wps/1.0.0"'
        ' xmlns:ows="http://www.opengis.net/ows/1.1" service="WPS" version="1.0.0">'
        "<ows:Identifier>native:buffer</ows:Identifier><wps:DataInputs>"
        "<wps:Input><ows:Identifier>INPUT</ows:Identifier><wps:Data>"
        '<wps:ComplexData mimeType="application/geo+json">'
        f"<![CDATA[{POINTS}]]></wps:ComplexData></wps:Data></wps:Input>"
        "<wps:Input><ows:Identifier>DISTANCE</ows:Identifier><wps:Data>"
        "<wps:LiteralData>1</wps:LiteralData></wps:Data></wps:Input>"
        "</wps:DataInputs></wps:Execute>"
    ).encode()


def resident(pid: int, kind: str = "VmRSS") -> float:
    """Memory of a process in MB."""
    with open(f"/proc/{pid}/status") as file:
        for line in file:
            if line.startswith(kind):
                return int(line.split()[1]) / 1024
    raise LookupError(kind)


def plain(folder: str, count: int) -> Row:
    """C{processing.run} of the same buffer, without a server."""
    source = os.path.join(folder, "points.geojson")
    with open(source, "w") as file:
        file.write(POINTS)
    output = subprocess.run(
        [sys.executable, "-c", PLAIN, source, folder, str(count)],
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    times: list[float] = json.loads(output.splitlines()[-1])
    return Row("plain QGIS: processing.run", *percentiles(times), count / sum(times))


@contextlib.contextmanager
def server(*options: str) -> Iterator[live.LiveServer]:
    """A server with the benchmark's scripts."""
    folder = os.path.join(HERE, "algorithms")
    with live.liveServer(
        *options,
        QGSWPS_PROCESSING_ACCESSPOLICY="none",
        QGSWPS_PROCESSING_PROVIDERS_MODULE_PATH=folder,
    ) as running:
        yield running


def run(count: int) -> tuple[list[Row], dict[str, float]]:
    """All measurements."""
    with server("--workers", "2") as running:
        port = running.port
        request = bufferRequest()

        def trivial(client: Client) -> bytes:
            return client.get(execute("script:trivial", NUMBER="1"))

        def buffer(client: Client) -> bytes:
            return client.post("/ows/", request)

        def capabilities(client: Client) -> bytes:
            return client.get(wps(request="GetCapabilities"))

        everything = wps(request="DescribeProcess", identifier="all")

        def describeAll(client: Client) -> bytes:
            return client.get(everything)

        def packed(client: Client) -> bytes:
            return client.get(everything, **{"Accept-Encoding": "gzip"})

        for action in (trivial, buffer, capabilities):
            measure("warm-up", port, action, 10)
        idle = resident(running.process.pid)
        rows = [
            measure("trivial script", port, trivial, count, 1, "p50 ≤ 30"),
            measure("trivial script, 8 clients", port, trivial, 2 * count, 8, "≥ 80/s"),
            measure("buffer of 100 points", port, buffer, count, 1, "p50 ≤ 45"),
            measure("buffer, 8 clients", port, buffer, 2 * count, 8, "≥ 40/s"),
            measure("GetCapabilities", port, capabilities, 5 * count, 1, "p50 ≤ 3"),
            measure("DescribeProcess of all, first", port, describeAll, 1),
            measure("DescribeProcess of all", port, describeAll, count, 1, "p50 ≤ 20"),
            measure("the same with gzip", port, packed, count, 1, "p50 ≤ 20"),
            plain(running.workdir, count),
        ]
        memory = {
            "server, after its start (target: at most 80)": idle,
            "server, after the load": resident(running.process.pid),
            "fork server": resident(running.forkServer()),
        }
        return rows, memory


def report(rows: list[Row], memory: dict[str, float]) -> str:
    """The figures as Markdown."""
    lines = [
        "| what | p50, ms | p95, ms | a second | target |",
        "| --- | ---: | ---: | ---: | --- |",
        *map(str, rows),
        "",
        "| memory (RSS) | MB |",
        "| --- | ---: |",
        *(f"| {name} | {value:.0f} |" for name, value in memory.items()),
    ]
    return "\n".join(lines) + "\n"


def main() -> None:
    """Run it from the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=200, help="requests a row")
    parser.add_argument("--output", help="file whose table is replaced")
    options = parser.parse_args()
    table = report(*run(options.count))
    sys.stdout.write(table)
    if options.output:
        machine = (
            f"Measured with Python {platform.python_version()} on"
            f" {os.cpu_count()} cores, {time.strftime('%Y-%m-%d', time.gmtime())}."
        )
        live.replaceFigures(options.output, f"{machine}\n\n{table}")


if __name__ == "__main__":
    main()
