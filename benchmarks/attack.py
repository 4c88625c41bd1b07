"""
What others notice while somebody attacks the server.

    python3 -m benchmarks.attack [--output docs/performance.md]

One client asks for the capabilities, each time by a new connection, first in
quiet and then during each attack, in turn.  The condition is that the 95th
percentile is at most three times the quiet one, and that the server's memory
is what it was: it may grow by C{FLAT} MiB for what it has met for the first
time, and not by more in a second round.

All of it stays on the loopback addresses, and ends by itself.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import ctypes
import gzip
import http.client
import multiprocessing
import os
import platform
import random
import resource
import signal
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from typing import cast

import attrs

from benchmarks.roundtrip import percentiles, resident
from tests import live

#: How much more memory a server may have than before, in MiB.
FLAT = 16

#: How much slower others may be served.
TIMES = 3

CAPABILITIES = "/ows/?service=WPS&request=GetCapabilities"
HOST = "Host: 127.0.0.1\r\n"
POST = f"POST /ows/ HTTP/1.1\r\n{HOST}Content-Type: text/xml\r\n"

_SPAWN = multiprocessing.get_context("spawn")


# Who asks


def probe(port: int, seconds: float) -> tuple[list[float], int]:
    """
    Ask for the capabilities for a while, some dozen times a second.

    @return: the seconds that each answer took, and how many were none.
    """
    times = []
    failed = 0
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        begun = time.perf_counter()
        client = http.client.HTTPConnection("127.0.0.1", port, 30)
        try:
            client.request("GET", CAPABILITIES)
            answer = client.getresponse()
            good = b"</wps:Capabilities>" in answer.read() and answer.status == 200
        except (OSError, http.client.HTTPException):
            good = False
        finally:
            client.close()
        failed += not good
        times.append(time.perf_counter() - begun)
        time.sleep(0.01)
    return times, failed


# Who attacks: a coroutine of one client's port and a number


Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]


@contextlib.asynccontextmanager
async def connection(port: int, number: int = 0) -> AsyncIterator[Streams]:
    """A connection from one of some addresses."""
    source = (f"127.0.{1 + number // 250 % 250}.{1 + number % 250}", 0)
    reader, writer = await asyncio.open_connection(
        "127.0.0.1", port, local_addr=source, limit=2**22
    )
    try:
        yield reader, writer
    finally:
        writer.transport.abort()


async def trickle(port: int, number: int, begin: str, piece: str) -> None:
    """Begin a request, and send a piece of it each second."""
    async with connection(port, number) as (reader, writer):
        writer.write(begin.encode())
        while not reader.at_eof():
            writer.write(piece.encode())
            # The answer is an end, too.
            with contextlib.suppress(asyncio.TimeoutError):
                if await asyncio.wait_for(reader.read(4096), 1):
                    return


async def headers(port: int, number: int) -> None:
    """Headers that trickle."""
    await trickle(port, number, f"GET {CAPABILITIES} HTTP/1.1\r\n", "X: y\r\n")


async def bodies(port: int, number: int) -> None:
    """Bodies that trickle."""
    await trickle(port, number, f"{POST}Content-Length: 90000\r\n\r\n", "x" * 100)


async def idle(port: int, number: int) -> None:
    """Connections on which nothing comes."""
    async with connection(port, number) as (reader, _):
        await reader.read(1)


async def unread(port: int, number: int) -> None:
    """Answers that nobody takes."""
    async with connection(port, number) as (_, writer):
        transport = cast(asyncio.Transport, writer.transport)
        transport.pause_reading()
        path = "/ows/?service=WPS&version=1.0.0&request=DescribeProcess&identifier=all"
        writer.write(f"GET {path} HTTP/1.1\r\n{HOST}\r\n".encode() * 20)
        # Until the server ends it: nothing else is noticed without reading.
        await asyncio.sleep(3600)


async def pipelined(port: int, number: int) -> None:
    """Requests in one piece."""
    one = f"GET {CAPABILITIES} HTTP/1.1\r\n{HOST}\r\n".encode()
    async with connection(port, number) as (reader, writer):
        writer.write(one * 500)
        while await reader.read(2**20):
            pass


MALFORMED = [
    b"\0\1\2\3\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: a\r\n" + b"\0" * 1000 + b"\r\n\r\n",
    b"GET /\r\n\r\n",
    b"GET / HTTP/7.3\r\n\r\n",
    b"\r\n" * 1000,
    b"GET " + b"/" * 60_000 + b" HTTP/1.1\r\n\r\n",
    b"GET /?" + b"a&" * 30_000 + b" HTTP/1.1\r\n\r\n",
    b"GET /?" + b"x" * 200_000,
    b"GET / HTTP/1.1\r\nHost: a\r\n folded: b\r\n\r\n",
    b"GET / HTTP/1.1\r\n" + b"a:\r\n" * 20_000 + b"\r\n",
    b"GET / HTTP/1.1\r\nCookie: " + b"a=b;" * 15_000 + b"\r\n\r\n",
    POST.encode() + b"Content-Length: 5\r\nContent-Length: 6\r\n\r\nabcdefGET /",
    POST.encode() + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    POST.encode() + b"Transfer-Encoding: chunked\r\n\r\nxyz\r\n\r\n",
    POST.encode() + b"Transfer-Encoding: chunked\r\n\r\n" + b"1\r\nx\r\n" * 10_000,
    POST.encode() + b"Transfer-Encoding: chunked\r\n\r\nffffffffffffffff\r\nabc",
    POST.encode() + b"Content-Length: " + b"9" * 5000 + b"\r\n\r\n",
    POST.encode() + b"Content-Length: 99999999999\r\n\r\nabc",
    random.Random(1).randbytes(5000),
]


async def exchange(port: int, number: int, data: bytes) -> None:
    """Send something, and take what is answered."""
    async with connection(port, number) as (reader, writer):
        writer.write(data)
        # What is more than malformed may be waited for.
        with contextlib.suppress(asyncio.TimeoutError):
            async with asyncio.timeout(1):
                while await reader.read(2**16):
                    pass


async def malformed(port: int, number: int) -> None:
    """What is no HTTP, one after the other."""
    for data in MALFORMED:
        with contextlib.suppress(OSError):
            await exchange(port, number, data)
        await asyncio.sleep(0.02)


async def large(port: int, number: int) -> None:
    """Headers as large as they may be, and larger."""
    line = b"X-%d: " + b"y" * 8000 + b"\r\n"
    for count in (10, 15, 40):
        data = b"".join([b"GET / HTTP/1.1\r\n", *(line % n for n in range(count))])
        with contextlib.suppress(OSError):
            await exchange(port, number, data + b"Connection: close\r\n\r\n")
        await asyncio.sleep(0.02)


def executing(inputs: str) -> bytes:
    """An Execute with these inputs."""
    return (
        '<wps:Execute service="WPS" version="1.0.0"'
        ' xmlns:wps="http://www.opengis.net/wps/1.0.0"'
        ' xmlns:ows="http://www.opengis.net/ows/1.1">'
        "<ows:Identifier>native:none</ows:Identifier>"
        f"<wps:DataInputs>{inputs}</wps:DataInputs></wps:Execute>"
    ).encode()


def _input(number: int, data: str) -> str:
    return (
        f"<wps:Input><ows:Identifier>A{number}</ows:Identifier><wps:Data>"
        f"{data}</wps:Data></wps:Input>"
    )


_LAUGHS = "".join(
    f'<!ENTITY l{n} "{f"&l{n - 1};" * 10 if n else "lol"}">' for n in range(10)
)
_COMPLEX = '<wps:ComplexData mimeType="text/plain">{}</wps:ComplexData>'

BOMBS = {
    "entities": f"<!DOCTYPE x [{_LAUGHS}]><x>&l9;</x>".encode(),
    "an external entity": b'<!DOCTYPE x SYSTEM "file:///etc/passwd"><x/>',
    "depth": b"<a>" * 100_000 + b"</a>" * 100_000,
    "less depth": b"<a>" * 200 + b"</a>" * 200,
    "tags": b"<a>" + b"<b/>" * 2_000_000 + b"</a>",
    "fewer tags": b"<a>" + b"<b/>" * 200_000 + b"</a>",
    "attributes": b"<a " + b" ".join(b'a%d=""' % n for n in range(20_000)) + b"/>",
    "inputs": executing("".join(_input(n, "") for n in range(5000))),
    "fewer inputs": executing("".join(_input(n, "") for n in range(900))),
    "a text": executing(_input(0, _COMPLEX.format("x" * 20_000_000))),
}
PACKED = {name: gzip.compress(body, 6) for name, body in BOMBS.items()}


async def bombs(port: int, number: int) -> None:
    """XML that is more than it seems to be."""
    for packed in PACKED.values():
        head = f"{POST}Content-Encoding: gzip\r\nContent-Length: {len(packed)}\r\n"
        with contextlib.suppress(OSError):
            await exchange(
                port, number, f"{head}Connection: close\r\n\r\n".encode() + packed
            )
        await asyncio.sleep(0.02)


@attrs.frozen
class Attack:
    """
    @ivar clients: how many do it side by side.
    @ivar pause: seconds after which each begins again when it has been told to
        go, and in which all of them begin.
    @ivar settings: of the server, as environment variables.
    """

    name: str
    clients: int
    run: Callable[[int, int], Awaitable[None]]
    pause: float = 1.0
    settings: dict[str, str] = attrs.field(factory=dict)


ATTACKS = [
    Attack("1000 requests whose headers trickle", 1000, headers),
    Attack("1000 requests whose bodies trickle", 1000, bodies),
    Attack("10 000 idle connections, at most 2000 kept", 10_000, idle, 10.0),
    Attack(
        "10 000 idle connections, all kept",
        10_000,
        idle,
        10.0,
        {"QGSWPS_LIMITS_CONNECTIONS": "11000"},
    ),
    Attack("200 clients that read none of 20 large answers each", 200, unread, 10.0),
    Attack("20 clients with 500 requests in one piece each", 20, pipelined),
    Attack("8 clients with malformed HTTP", 8, malformed),
    Attack("8 clients with headers of 80 to 320 kB", 8, large),
    Attack("4 clients with XML bombs", 4, bombs),
]


def _lift() -> None:
    """As many open files as there may be."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def attacking(index: int, port: int, seconds: float) -> None:
    """Attack for so long.  To be run in a process of its own."""
    # It ends with who has started it.
    ctypes.CDLL(None).prctl(1, signal.SIGKILL)
    _lift()
    attack = ATTACKS[index]

    async def again(number: int) -> None:
        # Not all in one moment.
        await asyncio.sleep(attack.pause * number / attack.clients)
        while True:
            with contextlib.suppress(OSError, asyncio.IncompleteReadError):
                await attack.run(port, number)
            await asyncio.sleep(attack.pause)

    async def everybody() -> None:
        with contextlib.suppress(asyncio.TimeoutError):
            async with asyncio.timeout(seconds):
                await asyncio.gather(*map(again, range(attack.clients)))

    asyncio.run(everybody())


@contextlib.contextmanager
def under(index: int, port: int, seconds: float) -> Iterator[None]:
    """Attack meanwhile."""
    process = _SPAWN.Process(target=attacking, args=(index, port, seconds))
    process.start()
    try:
        yield
    finally:
        process.kill()
        process.join()


# What it comes to


@attrs.define
class Row:
    """
    What others have noticed of an attack.

    @ivar quiet: p95 in quiet, in milliseconds.
    @ivar attacked: p95 meanwhile.
    @ivar failed: how many were not answered.
    @ivar memory: the server's in MiB: before, and after each round.
    """

    name: str
    quiet: float
    attacked: float
    asked: int
    failed: int
    memory: list[float]

    @property
    def holds(self) -> bool:
        """The condition."""
        before, first, *others = self.memory
        isFlat = all(later - first <= FLAT / 4 for later in others)
        isFlat = isFlat and first - before <= FLAT
        return self.attacked <= TIMES * self.quiet and not self.failed and isFlat

    def __str__(self) -> str:
        memory = ", ".join(f"{each:.0f}" for each in self.memory)
        return (
            f"| {self.name} | {self.quiet:.1f} | {self.attacked:.1f}"
            f" | {self.attacked / self.quiet:.1f} | {self.failed} of {self.asked}"
            f" | {memory} | {'yes' if self.holds else 'no'} |"
        )


def _rest(server: live.LiveServer) -> float:
    """The server's memory when nothing is to be done, in MiB."""
    time.sleep(2)
    return resident(server.process.pid)


def measure(
    pool: multiprocessing.pool.Pool, server: live.LiveServer, index: int, seconds: float
) -> Row:
    """Two rounds of an attack."""
    quiet: list[float] = []
    attacked: list[float] = []
    memory = [_rest(server)]
    failed = 0
    for _ in range(2):
        quiet += pool.apply(probe, (server.port, seconds / 4))[0]
        pause = ATTACKS[index].pause
        with under(index, server.port, seconds + pause + 3):
            # Until it has begun, and partly while it does.
            time.sleep(1 + pause / 2)
            times, lost = pool.apply(probe, (server.port, seconds))
        attacked += times
        failed += lost
        memory.append(_rest(server))
        quiet += pool.apply(probe, (server.port, seconds / 4))[0]
    p95, under95 = (percentiles(each)[1] for each in (quiet, attacked))
    return Row(ATTACKS[index].name, p95, under95, len(attacked), failed, memory)


def _warmUp(
    pool: multiprocessing.pool.Pool, server: live.LiveServer, index: int
) -> None:
    """What a server loads when it first meets something is not what it keeps."""
    pool.apply(probe, (server.port, 2))
    if ATTACKS[index].clients < 100:
        with under(index, server.port, 2):
            time.sleep(3)


def main() -> None:
    """Run it from the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=8, help="of an attack")
    parser.add_argument("--only", help="attacks with this in their names")
    parser.add_argument("--output", help="file whose table is replaced")
    options = parser.parse_args()
    lines = [
        "| attack | quiet p95, ms | p95, ms | times | not answered | server, MiB:"
        " before, after, again | holds |",
        "| --- | ---: | ---: | ---: | ---: | --- | --- |",
    ]
    chosen = [n for n, a in enumerate(ATTACKS) if (options.only or "") in a.name]
    isGood = True
    with _SPAWN.Pool(1) as pool:
        for index in chosen:
            with live.liveServer(**ATTACKS[index].settings) as server:
                _warmUp(pool, server, index)
                row = measure(pool, server, index, options.seconds)
            isGood = isGood and row.holds
            lines.append(str(row))
            sys.stderr.write(f"{row}\n")
    table = "\n".join(lines) + "\n"
    sys.stdout.write(table)
    if options.output:
        machine = (
            f"Measured with Python {platform.python_version()} on"
            f" {os.cpu_count()} cores, {time.strftime('%Y-%m-%d', time.gmtime())}."
        )
        live.replaceFigures(options.output, f"{machine}\n\n{table}", "attacks")
    sys.exit(not isGood)


if __name__ == "__main__":
    main()
