"""
A real server for tests: C{twistd qgswps} in a process of its own.

Since it is another process, tests may talk to it with blocking clients.
"""

from __future__ import annotations

import atexit
import contextlib
import http.client
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, ClassVar
from urllib.parse import quote, urlencode

import attrs

from tests import schemas

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(HERE)
ALGORITHMS = os.path.join(HERE, "data")
PROJECTS = os.path.join(ROOT, "conf", "demo")

#: User and group without rights.
NOBODY = 65534

#: Seconds that anything in the tests may take before it counts as stuck.
PATIENCE = 60


def freePort() -> int:
    """A TCP port on the loopback address that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@attrs.frozen
class Answer:
    """An HTTP response."""

    status: int
    headers: dict[str, str]
    body: bytes

    def json(self) -> Any:
        """The body as JSON."""
        return json.loads(self.body)

    @property
    def text(self) -> str:
        """The body as text."""
        return self.body.decode()


def environmentOf(**variables: str) -> dict[str, str]:
    """
    The environment of a server.

    @param variables: further ones, or others.
    """
    return {
        **os.environ,
        "PYTHONPATH": ROOT,
        "QGSWPS_CACHE_ROOTDIR": PROJECTS,
        "QGSWPS_PROCESSING_PROVIDERS_MODULE_PATH": ALGORITHMS,
        "QGSWPS_PROCESSING_ECHO": "yes",
        **variables,
    }


class LiveServer:
    """
    A running server.

    @cvar twistd: further options of C{twistd} itself.
    @ivar port: where it listens on 127.0.0.1.
    @ivar workdir: its work directory.
    """

    twistd: ClassVar[Sequence[str]] = ()

    def __init__(
        self, *options: str, workdir: str | None = None, **environment: str
    ) -> None:
        """
        Start it, and wait until it is ready.

        @param options: further options of C{twistd qgswps}.
        @param workdir: its work directory, which stays when it has ended.
        @param environment: further variables.
        """
        self.port = freePort()
        self._home = tempfile.mkdtemp(prefix="qgswps-test-")
        self.workdir = workdir or os.path.join(self._home, "work")
        self.logPath = os.path.join(self._home, "server.log")
        self._arguments = [
            *self.before(),
            *(sys.executable, "-c", "from twisted.scripts.twistd import run; run()"),
            *("--nodaemon", "--pidfile=", *self.twistd, "qgswps"),
            *("--port", str(self.port), "--workdir", self.workdir, "--workers", "2"),
            *options,
        ]
        self._environment = environmentOf(**environment)
        atexit.register(self.stop)
        self.start()

    def before(self) -> list[str]:
        """A command that runs the one that follows it, if one is needed."""
        return []

    def start(self) -> None:
        """Start it, once more after L{kill}, and wait until it is ready."""
        self.spawn()
        try:
            self.waitUntil(self.isReady, "the server is not ready")
        except BaseException:
            self.stop()
            raise

    def spawn(self) -> None:
        """Start it, and don't wait."""
        with open(self.logPath, "ab") as log:
            self.process = subprocess.Popen(
                self._arguments,
                cwd=self._home,
                env=self._environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
            )

    @property
    def url(self) -> str:
        """The base URL, ending in C{/}."""
        return f"http://127.0.0.1:{self.port}/"

    def isReady(self) -> bool:
        """Processes are published."""
        if self.process.poll() is not None:
            raise AssertionError(f"the server ended:\n{self.log()}")
        with contextlib.suppress(OSError):
            return self.wps("GetCapabilities").status == 200
        return False

    def log(self) -> str:
        """What the server has logged."""
        with open(self.logPath, encoding="utf-8", errors="replace") as file:
            return file.read()

    def waitUntil(self, condition: Any, text: str, patience: float = PATIENCE) -> Any:
        """
        Wait for a condition, asking again and again.

        @return: what it returned, something true.
        """
        deadline = time.monotonic() + patience
        while True:
            result = condition()
            if result:
                return result
            if time.monotonic() > deadline:
                raise AssertionError(
                    f"{text} after {patience} s:\n{self.log()[-5000:]}"
                )
            time.sleep(0.02)

    def kill(self, number: int = signal.SIGKILL) -> int:
        """
        End it by a signal, and leave its files.

        @return: its exit status.
        """
        if self.process.poll() is None:
            self.process.send_signal(number)
            try:
                self.process.wait(PATIENCE)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        return self.process.returncode

    def stop(self, number: int = signal.SIGTERM) -> int:
        """
        End it, and remove its files.

        @return: its exit status.
        """
        status = self.kill(number)
        atexit.unregister(self.stop)
        shutil.rmtree(self._home, ignore_errors=True)
        return status

    # HTTP

    def request(
        self,
        method: str,
        path: str,
        body: bytes | str | None = None,
        headers: dict[str, str] | None = None,
    ) -> Answer:
        """
        Send a request, and see that an XML answer of the service is valid.

        @param path: without the leading C{/}, with a query.
        """
        connection = http.client.HTTPConnection("127.0.0.1", self.port, PATIENCE)
        try:
            data = body.encode() if isinstance(body, str) else body
            connection.request(method, f"/{path}", data, headers or {})
            response = connection.getresponse()
            received = {name.lower(): value for name, value in response.getheaders()}
            answer = Answer(response.status, received, response.read())
        finally:
            connection.close()
        if path.partition("?")[0].strip("/") in ("", "ows"):
            schemas.check(answer.headers, answer.body)
        return answer

    def get(self, path: str) -> Answer:
        """GET a path, or a URL of this server."""
        return self.request("GET", path.removeprefix(self.url))

    def wps(self, operation: str, **parameters: str) -> Answer:
        """A request of WPS 1.0.0 by KVP."""
        query = {"service": "WPS", "version": "1.0.0", "request": operation}
        return self.get("ows/?" + urlencode({**query, **parameters}))

    def execute(
        self, process: str, inputs: dict[str, Any] | None = None, **parameters: str
    ) -> Answer:
        """Execute by KVP, the inputs' values escaped as the standard has it."""
        data = ";".join(
            f"{name}={quote(str(value), safe='')}"
            for name, value in (inputs or {}).items()
        )
        return self.wps(
            "Execute",
            identifier=process,
            **({"datainputs": data} if data else {}),
            **parameters,
        )

    def post(self, body: bytes | str, query: str = "") -> Answer:
        """An XML request."""
        return self.request("POST", f"ows/{query}", body, {"Content-Type": "text/xml"})

    # Processes

    def children(self) -> list[int]:
        """The process ids of all its descendants that live."""
        return descendants(self.process.pid)

    def forkServer(self) -> int:
        """The process id of the fork server."""
        found = [
            pid
            for pid in childrenOf(self.process.pid)
            if "qgswps.worker" in commandLine(pid)
        ]
        assert found, "there is no fork server"
        return found[-1]

    def descriptors(self, pid: int | None = None) -> int:
        """How many descriptors the server, or another process, has open."""
        return len(os.listdir(f"/proc/{pid or self.process.pid}/fd"))


class AsNobody(LiveServer):
    """
    A server that root starts for nobody; it needs a C{workdir} in a folder that
    all can look into.
    """

    twistd: ClassVar = ("--uid", str(NOBODY))


def notNobody() -> str:
    """Why there can't be such a server; empty if there can."""
    if os.geteuid() != 0:
        return "only root can become another user"
    closed = [each for each in Path(ROOT).parents if not each.stat().st_mode & 1]
    return f"nobody can't read this checkout, below {closed[0]}" if closed else ""


def commandLine(pid: int) -> str:
    """The command line of a process, empty if it is gone or a zombie."""
    with contextlib.suppress(OSError), open(f"/proc/{pid}/cmdline") as file:
        return file.read().replace("\0", " ")
    return ""


def childrenOf(pid: int) -> list[int]:
    """The process ids of a process's children, zombies too."""
    found = []
    with contextlib.suppress(OSError):
        for task in os.listdir(f"/proc/{pid}/task"):
            with open(f"/proc/{pid}/task/{task}/children") as file:
                found += [int(child) for child in file.read().split()]
    return found


def descendants(pid: int) -> list[int]:
    """The process ids of a process's children and their children."""
    found = []
    for child in childrenOf(pid):
        found += [child, *descendants(child)]
    return found


def alive(pid: int) -> bool:
    """A process is there and no zombie."""
    try:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


_shared: dict[frozenset[tuple[str, str]], LiveServer] = {}


def sharedServer(**environment: str) -> LiveServer:
    """
    A server for tests that change nothing; ends with this process.

    @param environment: further variables; the same ones get the same server.
    """
    key = frozenset(environment.items())
    if key not in _shared:
        _shared[key] = LiveServer(**environment)
    return _shared[key]


@contextlib.contextmanager
def liveServer(*options: str, **environment: str) -> Iterator[LiveServer]:
    """A server for one test."""
    server = LiveServer(*options, **environment)
    try:
        yield server
    finally:
        server.stop()


def replaceFigures(path: str, text: str, name: str = "figures") -> None:
    """
    Put measured figures into a page.

    @param path: of a page with lines that say where they begin and end.
    @param name: of these figures, in those lines.
    """
    begin, end = f"<!-- {name} -->\n", f"<!-- end of {name} -->"
    with open(path, encoding="utf-8") as file:
        before, _, rest = file.read().partition(begin)
    _, _, after = rest.partition(end)
    with open(path, "w", encoding="utf-8") as file:
        file.write(f"{before}{begin}{text}{end}{after}")
