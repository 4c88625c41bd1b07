"""
An installed package qgswps, to be tested: its service, started as its unit
says, and what clients see of it.

Uses the standard library alone, since it runs where nothing else is installed.
"""

from __future__ import annotations

import contextlib
import ctypes
import grp
import os
import pwd
import re
import shlex
import shutil
import signal
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from types import TracebackType
from typing import Any

UNIT = "qgswps.service"
URL = "http://127.0.0.1:8080/ows/?SERVICE=WPS&VERSION=1.0.0"
DEMO = Path("/usr/share/doc/qgswps/examples/demo")
PROJECTS = Path("/etc/qgswps/projects")

#: A buffer around each city of the demo's project.
EXECUTE = (
    f"{URL}&REQUEST=Execute&IDENTIFIER=native:buffer&MAP=world"
    "&DATAINPUTS=INPUT=cities;DISTANCE=2;OUTPUT=zones"
)
AS_DATA = "&RESPONSEDOCUMENT=OUTPUT@mimeType=application/vnd.geo%2Bjson"
STORED = f"{AS_DATA}&storeExecuteResponse=true"

#: A script that tries what the service's user may do, and a job may not.
SCRIPT = Path("/etc/qgswps/algorithms/scripts/reach.py")
REACH = """\
import resource
import socket
from pathlib import Path

from qgis.core import QgsProcessingAlgorithm, QgsProcessingOutputString


class Reach(QgsProcessingAlgorithm):
    def name(self):
        return "reach"

    def displayName(self):
        return "Reach"

    def createInstance(self):
        return Reach()

    def initAlgorithm(self, configuration=None):
        self.addOutput(QgsProcessingOutputString("TOLD", "What came of it"))

    def processAlgorithm(self, parameters, context, feedback):
        state = Path("/var/lib/qgswps")
        told = []
        for what, attempt in [
            ("own", lambda: Path("own").write_text("")),
            ("read", lambda: (state / "instance").read_text()),
            ("write", lambda: (state / "reached").write_text("")),
            ("connect", lambda: socket.create_connection(("127.0.0.1", 6379))),
        ]:
            try:
                attempt()
                told.append(f"{what}: done")
            except OSError as error:
                told.append(f"{what}: {type(error).__name__}")
        limit, _ = resource.getrlimit(resource.RLIMIT_DATA)
        told.append(f"memory: {limit >> 20}")
        return {"TOLD": ", ".join(told)}
"""
#: What it tells, by the first version of Landlock that has it told.
TOLD = {
    0: "own: done, read: done, write: done, connect: done",
    1: "own: done, read: PermissionError, write: PermissionError, connect: done",
    4: "own: done, read: PermissionError, write: PermissionError,"
    " connect: PermissionError",
}

#: Seconds that anything may take before it counts as stuck.
PATIENCE = 120

_opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))


def fetch(url: str) -> str:
    """The body of what a URL answers, whatever the status."""
    try:
        with _opener.open(url, timeout=PATIENCE) as response:
            return str(response.read().decode())
    except urllib.error.HTTPError as error:
        return error.read().decode()


def until(condition: Callable[[], Any], what: str, patience: float = PATIENCE) -> Any:
    """
    Wait for a condition.

    @return: what it returned, something true.
    @raise AssertionError: it does not come.
    """
    deadline = time.monotonic() + patience
    while True:
        result = condition()
        if result:
            return result
        if time.monotonic() > deadline:
            raise AssertionError(f"{what} after {patience} s")
        time.sleep(0.05)


def run(*command: str, **options: Any) -> str:
    """
    The output of a command.

    @raise AssertionError: it does not end well.
    """
    done = subprocess.run(
        command,
        check=False,
        text=True,
        stdout=subprocess.PIPE,
        **options,
    )
    if done.returncode:
        shown = done.stdout[-5000:]
        raise AssertionError(f"{shlex.join(command)}: {done.returncode}\n{shown}")
    return str(done.stdout)


def status(*command: str) -> int:
    """The exit status of a command."""
    return subprocess.run(command, check=False).returncode


def landlock() -> int:
    """The version of Landlock that this kernel has; 0 if it has none."""
    # landlock_create_ruleset(2), asked for its version.
    return max(0, int(ctypes.CDLL(None).syscall(444, None, 0, 1)))


class Unit:
    """A unit file: its settings, each a list of all values given."""

    def __init__(self, name: str) -> None:
        for folder in ("/usr/lib/systemd/system", "/lib/systemd/system"):
            path = os.path.join(folder, name)
            if os.path.exists(path):
                break
        self._values: dict[str, list[str]] = {}
        with open(path, encoding="utf-8") as file:
            for line in file:
                key, equals, value = line.strip().partition("=")
                if equals and not key.startswith("#"):
                    self._values.setdefault(key, []).append(value)

    def one(self, key: str) -> str:
        """The value of a setting that is there."""
        return self._values[key][-1]

    def all(self, key: str) -> list[str]:
        """All values of a setting."""
        return self._values.get(key, [])


class Service:
    """The service under systemd."""

    def start(self) -> None:
        """Start it; comes back when it has said READY."""
        run("systemctl", "start", UNIT)

    def reload(self) -> None:
        """Have it load its algorithms anew."""
        run("systemctl", "reload", UNIT)

    def stop(self) -> None:
        """Stop it; comes back when all its processes have ended."""
        run("systemctl", "stop", UNIT)

    def log(self) -> str:
        """What it has logged since this system started."""
        return run("journalctl", "--unit", UNIT, "--boot", "--output=cat")

    @property
    def isRunning(self) -> bool:
        """Whether it runs."""
        return status("systemctl", "is-active", "-q", UNIT) == 0

    def state(self) -> str:
        """What it says of itself, as STATUS=."""
        return run("systemctl", "show", "--property=StatusText", "--value", UNIT)


class ByHand(Service):
    """
    The service where no systemd runs: does what the unit says, as far as it
    matters to the service.
    """

    def __init__(self) -> None:
        self._process: subprocess.Popen[bytes] | None = None
        self._log = Path("/var/tmp/qgswps-test.log")
        self._messages: list[str] = []
        self._socket: socket.socket | None = None

    def start(self) -> None:
        unit = Unit(UNIT)
        user = pwd.getpwnam(unit.one("User"))
        group = grp.getgrnam(unit.one("Group"))
        state = Path("/var/lib") / unit.one("StateDirectory")
        if not state.exists():
            state.mkdir(mode=int(unit.one("StateDirectoryMode"), 8))
            os.chown(state, user.pw_uid, group.gr_gid)
        path = "/run/qgswps-test.notify"
        with contextlib.suppress(FileNotFoundError):
            os.unlink(path)
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(path)
        os.chmod(path, 0o666)
        self._socket.settimeout(0.1)
        self._messages = []
        environment = {
            "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin",
            "LANG": "C.UTF-8",
            "HOME": user.pw_dir,
            "USER": user.pw_name,
            "LOGNAME": user.pw_name,
            "STATE_DIRECTORY": str(state),
            "NOTIFY_SOCKET": path,
            "WATCHDOG_USEC": str(int(unit.one("WatchdogSec")) * 10**6),
            **dict(each.split("=", 1) for each in unit.all("Environment")),
        }
        with open(self._log, "ab") as log:
            self._process = subprocess.Popen(
                shlex.split(unit.one("ExecStart")),
                user=user.pw_uid,
                group=group.gr_gid,
                extra_groups=[],
                umask=int(unit.one("UMask"), 8),
                cwd=unit.one("WorkingDirectory"),
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        self._until("READY=1")

    def _until(self, message: str) -> None:
        """Wait for a message of sd_notify(3)."""
        assert self._process is not None

        def said() -> bool:
            assert self._process is not None
            if message not in self._messages and self._process.poll() is not None:
                raise AssertionError(f"it ended:\n{self.log()[-5000:]}")
            self._receive()
            return message in self._messages

        until(said, f"no {message}")

    def _receive(self) -> None:
        assert self._socket is not None
        with contextlib.suppress(TimeoutError):
            while True:
                self._messages += self._socket.recv(65536).decode().splitlines()

    def reload(self) -> None:
        assert self._process is not None
        self._process.send_signal(signal.SIGHUP)

    def stop(self) -> None:
        if self._process is None:
            return
        self._process.terminate()
        try:
            status = self._process.wait(int(Unit(UNIT).one("TimeoutStopSec")))
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
            self._process = None
        self._receive()
        assert self._socket is not None
        self._socket.close()
        assert "STOPPING=1" in self._messages, "it did not say STOPPING"
        # twistd ends by the signal that it was told to end by.
        assert status in (0, -signal.SIGTERM), f"it ended with status {status}"

    def log(self) -> str:
        return self._log.read_text(encoding="utf-8", errors="replace")

    @property
    def isRunning(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def state(self) -> str:
        self._receive()
        said = [each for each in self._messages if each.startswith("STATUS=")]
        return said[-1].removeprefix("STATUS=") if said else ""


class Installed:
    """
    What is tested, one check a method.  The first that fails ends it all.

    @ivar passed: how many checks passed.
    """

    def __init__(self) -> None:
        self.passed = 0
        self.failed = 0
        self.underSystemd = os.path.isdir("/run/systemd/system")
        self.service = Service() if self.underSystemd else ByHand()
        self._redis: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Installed:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> bool:
        if isinstance(error, AssertionError):
            # What is between checks counts as well.
            self.failed = self.failed or 1
            print(f"   {error}", flush=True)
            with contextlib.suppress(Exception):
                print(self.service.log()[-5000:], flush=True)
        with contextlib.suppress(Exception):
            self.service.stop()
        if self._redis is not None:
            self._redis.terminate()
            self._redis.wait()
        return isinstance(error, AssertionError)

    @contextlib.contextmanager
    def check(self, what: str) -> Iterator[None]:
        """One check: what fails within it is an C{AssertionError}."""
        try:
            yield
        except Exception as error:
            self.failed += 1
            print(f"FAILED {what}", flush=True)
            if isinstance(error, AssertionError):
                raise
            raise AssertionError(f"{type(error).__name__}: {error}") from error
        self.passed += 1
        print(f"passed {what}", flush=True)

    def report(self) -> int:
        """
        Print the counts.

        @return: the exit status.
        """
        print(f"{self.passed} passed, {self.failed} failed", flush=True)
        return 1 if self.failed or not self.passed else 0

    def putProject(self) -> None:
        """Put the demo's project where projects are."""
        for file in DEMO.iterdir():
            if file.is_file():
                shutil.copy(file, PROJECTS)

    def takeAway(self) -> None:
        """Undo L{putProject}, and what L{reload} put beside it."""
        SCRIPT.unlink(missing_ok=True)
        for file in DEMO.iterdir():
            (PROJECTS / file.name).unlink(missing_ok=True)

    def _startRedis(self) -> None:
        if not self.underSystemd and self._redis is None:
            self._redis = subprocess.Popen(
                ["redis-server", "--port", "6379", "--save", "", "--dir", "/tmp"],
                stdout=subprocess.DEVNULL,
            )

    def start(self) -> None:
        self._startRedis()
        with self.check("the service starts and says that it is ready"):
            if not self.service.isRunning:
                self.service.start()
        with self.check("it says how it is"):
            until(self.service.state, "no STATUS", 10)
        with self.check("it answers, and its documents are whole"):
            text = capabilities()
            assert "native:buffer" in text, text[:2000]
            assert text.rstrip().endswith("Capabilities>"), text[-200:]
        with self.check("it runs as its user"):
            owners = {
                os.stat(f"/proc/{pid}").st_uid
                for pid in filter(str.isdigit, os.listdir("/proc"))
                # What tests it may have its name in the command line, too.
                if re.search(
                    r"twistd3 .* qgswps |qgswps\.worker", commandLine(int(pid))
                )
            }
            assert owners == {pwd.getpwnam("qgswps").pw_uid}, owners
        with self.check("its log has no time stamps, and the journal has its own"):
            lines = self.service.log().splitlines()
            stamped = [line for line in lines if re.match(r"\d{4}-\d\d-\d\d", line)]
            assert lines, "the log is empty"
            assert not stamped, stamped[:3]
        with self.check("it finds the plugin in Twisted's list of them"):
            wrong = [line for line in lines if "plugin cache" in line]
            assert not wrong, wrong

    def runJob(self) -> str:
        """
        @return: the URL of the job's state.
        """
        with self.check("a job on a layer of the project gives the result"):
            text = fetch(EXECUTE + AS_DATA)
            assert "ProcessSucceeded" in text, text[:2000]
            assert "FeatureCollection" in text, text[:2000]
        with self.check("a job's files belong to its user and to nobody else"):
            folders = list(Path("/var/lib/qgswps/jobs").iterdir())
            assert folders, "there are none"
            for folder in folders:
                assert folder.owner() == "qgswps", folder.owner()
            mode = os.stat("/var/lib/qgswps").st_mode & 0o777
            assert mode == 0o750, oct(mode)
        with self.check("a job whose results are kept succeeds"):
            text = fetch(EXECUTE + STORED)
            found = re.search(r'statusLocation="([^"]+)"', text)
            assert found is not None, text[:2000]
            job = found[1].replace("&amp;", "&")
            until(lambda: "ProcessSucceeded" in fetch(job), "no success")
        return job

    def findJob(self, url: str, again: str = "after a restart") -> None:
        with self.check(f"the job and its results are there {again}"):
            text = fetch(url)
            assert "ProcessSucceeded" in text, text[:2000]
            assert "FeatureCollection" in text, text[:2000]

    def reload(self) -> None:
        with self.check("it reloads, and then has a new script"):
            SCRIPT.write_text(REACH)
            self.service.reload()
            until(lambda: "script:reach" in capabilities(), "no script:reach")
            assert "native:buffer" in capabilities()
        version = landlock()
        with self.check(f"a job is in its sandbox (Landlock {version})"):
            text = fetch(f"{URL}&REQUEST=Execute&IDENTIFIER=script:reach")
            expected = TOLD[max(each for each in TOLD if each <= version)]
            # The default of sandbox.memory.
            assert f">{expected}, memory: 8192<" in text, text[:3000]
            unable = "has no Landlock" in self.service.log()
            assert unable == (not version), self.service.log()[-3000:]

    def restart(self) -> None:
        with self.check("it stops and starts"):
            self.service.stop()
            assert not left(), left()
            self.service.start()

    def stop(self) -> None:
        with self.check("it stops, and leaves no process"):
            self.service.stop()
            until(lambda: not left(), f"processes are left: {left()}", 10)


def capabilities() -> str:
    """The service's capabilities."""
    return fetch(f"{URL}&REQUEST=GetCapabilities")


def commandLine(pid: int) -> str:
    """The command line of a process, empty if it is gone."""
    with contextlib.suppress(OSError), open(f"/proc/{pid}/cmdline") as file:
        return file.read().replace("\0", " ")
    return ""


def processes() -> list[int]:
    """The processes of the service's user."""
    user = pwd.getpwnam("qgswps").pw_uid
    found = []
    for pid in filter(str.isdigit, os.listdir("/proc")):
        with contextlib.suppress(OSError):
            if os.stat(f"/proc/{pid}").st_uid == user:
                found.append(int(pid))
    return found


def left() -> list[str]:
    """The command lines of the processes of the service's user."""
    return [commandLine(pid) for pid in processes()]
