"""Jobs that try to break out of their directory."""

from __future__ import annotations

import atexit
import os
import re
import shutil
import socket
import sys
import tempfile
import unittest
from typing import ClassVar

from qgswps import landlock
from tests import live
from tests.system.test_workers import failure

_DENIED = "PermissionError"

SETTINGS = {
    "QGSWPS_SANDBOX_MEMORY": "1500",
    "QGSWPS_SANDBOX_FILE_SIZE": "64",
    "QGSWPS_SANDBOX_PORTS": "443",
    "QGSWPS_SERVER_ADMIN_REALM": "a-password",
    "SOME_PASSWORD": "another-password",
}


def absent() -> str:
    """Why there is nothing to test; empty if there is."""
    return "" if landlock.version() else "this kernel has no Landlock"


@unittest.skipIf(absent(), absent())
class EscapeTests(unittest.TestCase):
    """What a script can't do."""

    def setUp(self) -> None:
        self.elsewhere = tempfile.mkdtemp(prefix="qgswps-elsewhere-")
        self.addCleanup(os.rmdir, self.elsewhere)
        self.server = live.sharedServer(**SETTINGS)

    def attempt(self, code: str) -> str:
        """What came of some Python."""
        answer = self.server.execute(
            "script:attempt",
            inputs={"CODE": code},
            rawdataoutput="TOLD",
        )
        return answer.text

    def assertDenied(self, code: str) -> None:
        """Some Python is not allowed to do what it does."""
        said = self.attempt(code)
        self.assertRegex(said, f"^{_DENIED}|^OSError", code)

    def test_ownDirectory(self) -> None:
        """A job writes to its own directory, and finds it by all names."""
        said = self.attempt(
            "import os, tempfile\n"
            "with tempfile.NamedTemporaryFile() as file: file.write(b'x')\n"
            "home = os.path.expanduser('~')\n"
            "open(os.path.join(home, 'x'), 'w').write('x')\n"
            "open('../outputs/mine', 'w').write('x')\n"
            "told = home == tempfile.gettempdir() == os.getcwd()\n"
        )
        self.assertEqual(said, "True")

    def test_write(self) -> None:
        """It writes nowhere else."""
        package = os.path.join(live.ROOT, "qgswps")
        work = self.server.workdir
        for path in (
            "/tmp/qgswps-attempt",
            "/var/tmp/qgswps-attempt",
            "/dev/shm/qgswps-attempt",
            "/etc/qgswps-attempt",
            os.path.join(self.elsewhere, "attempt"),
            os.path.join(live.PROJECTS, "attempt.qgs"),
            os.path.join(live.ALGORITHMS, "scripts", "attempt2.py"),
            os.path.join(package, "attempt.py"),
            os.path.join(work, "attempt"),
            os.path.join(work, "jobs", "attempt"),
            os.path.join(work, "pool", "profile", "attempt"),
        ):
            with self.subTest(path=path):
                self.assertDenied(f"open({path!r}, 'w').write('x')")
                self.assertFalse(os.path.exists(path))

    def test_change(self) -> None:
        """It neither removes, renames, links nor shortens what is elsewhere."""
        project = os.path.join(live.PROJECTS, "world.qgs")
        for code in (
            f"os.unlink({project!r})",
            f"os.rename({project!r}, 'mine')",
            f"os.link({project!r}, 'mine')",
            f"os.truncate({project!r}, 0)",
            f"os.mkdir({self.elsewhere!r} + '/folder')",
            f"os.symlink('/etc', {self.elsewhere!r} + '/link')",
            f"os.rmdir({self.elsewhere!r})",
            "os.mknod('device', 0o20666, os.makedev(1, 1))",
        ):
            with self.subTest(code=code):
                self.assertDenied(f"import os\n{code}")
        self.assertGreater(os.path.getsize(project), 0)

    def test_read(self) -> None:
        """It reads nothing that is not its business."""
        work = self.server.workdir
        first = self.server.execute(
            "script:attempt",
            inputs={"CODE": "told = 1"},
        )
        found = re.search(r"uuid=([0-9a-f-]{36})", first.text)
        assert found is not None
        for path in (
            "/etc/shadow",
            "/root/.bashrc",
            os.path.join(work, "jobs", found[1], "task.json"),
            os.path.join(work, "jobs.sqlite"),
            os.path.join(work, "instance"),
            self.server.logPath,
            f"/proc/{self.server.process.pid}/environ",
            f"/proc/{self.server.process.pid}/mem",
            f"/proc/{self.server.process.pid}/root/etc/hosts",
            f"/proc/{self.server.process.pid}/cwd/server.log",
        ):
            with self.subTest(path=path):
                self.assertTrue(os.path.lexists(path) or path.startswith("/root"))
                self.assertDenied(f"open({path!r}, 'rb').read()")
        self.assertDenied(f"import os\nos.listdir({work!r} + '/jobs')")
        self.assertDenied("import os\nos.listdir('/tmp')")

    def test_links(self) -> None:
        """A link leads to no more than what it leads to."""
        self.assertDenied(
            "import os\nos.symlink('/etc/shadow', 'link')\nopen('link').read()"
        )
        answer = self.server.execute(
            "script:attempt",
            inputs={"CODE": "import os\nos.symlink('/etc/passwd', '../outputs/users')"},
        )
        found = re.search(r"uuid=([0-9a-f-]{36})", answer.text)
        assert found is not None
        files = self.server.get(f"jobs/{found[1]}/files/users")
        self.assertEqual(files.status, 404)

    def test_programs(self) -> None:
        """What it starts is in there with it."""
        path = os.path.join(self.elsewhere, "attempt")
        said = self.attempt(
            "import subprocess\n"
            f"told = subprocess.run('echo x > {path}; cat /etc/shadow; id -u',"
            " shell=True, capture_output=True, text=True)\n"
            "told = told.stderr.count('denied'), told.stdout.strip().isdigit()\n"
        )
        self.assertEqual(said, "(2, True)")
        self.assertFalse(os.path.exists(path))

    def test_signals(self) -> None:
        """It can't end the server, nor look into it."""
        pid = self.server.process.pid
        self.assertDenied(f"import os\nos.kill({pid}, 0)")
        self.assertDenied("import os\nos.kill(os.getppid(), 15)")
        said = self.attempt(
            f"import ctypes\ntold = ctypes.CDLL(None).ptrace(16, {pid}, 0, 0)"
        )
        self.assertEqual(said, "-1")

    def test_environment(self) -> None:
        """No password is in its environment."""
        said = self.attempt(
            "import os\ntold = dict(os.environ), open('/proc/self/environ').read(),"
            " open(f'/proc/{os.getpid()}/environ').read()"
        )
        self.assertIn("PATH", said)
        self.assertNotIn("password", said)
        self.assertNotIn("QGSWPS_", said)

    def test_network(self) -> None:
        """It connects to allowed ports only, and nobody can connect to it."""
        with socket.create_server(("127.0.0.1", 0)) as listening:
            port = listening.getsockname()[1]
            self.assertDenied(
                f"import socket\nsocket.create_connection(('127.0.0.1', {port}))"
            )
        self.assertDenied("import socket\nsocket.create_server(('127.0.0.1', 0))")
        # Nobody listens there, but it may ask.
        self.assertRegex(
            self.attempt("import socket\nsocket.create_connection(('127.0.0.1', 443))"),
            "ConnectionRefused",
        )

    def test_memory(self) -> None:
        """10 GB of memory are not to be had."""
        said = self.attempt("told = len(bytearray(10 * 2**30))")
        self.assertRegex(said, "^MemoryError")

    def test_output(self) -> None:
        """10 GB of output are not to be had."""
        said = self.attempt(
            "with open('../outputs/large', 'wb') as file:\n"
            "    for _ in range(10 * 2**10): file.write(bytes(2**20))\n"
        )
        self.assertRegex(said, r"^OSError: \[Errno 27\]")

    def test_privileges(self) -> None:
        """No program has more rights than it."""
        said = self.attempt(
            "told = [line for line in open('/proc/self/status')"
            " if line.startswith('NoNewPrivs')][0].split()[1]"
        )
        self.assertEqual(said, "1")

    def test_othersNotice(self) -> None:
        """After all that, the server does what it always does."""
        answer = self.server.execute(
            "native:buffer",
            MAP="world",
            inputs={"INPUT": "cities", "DISTANCE": "1"},
            rawdataoutput="OUTPUT@mimeType=application/geo+json",
        )
        self.assertEqual(answer.status, 200, answer.text)


#: Low, so that little is enough to go beyond.
LIMITS = {
    "QGSWPS_SANDBOX_MEMORY": "1000",
    "QGSWPS_SANDBOX_FILE_SIZE": "64",
    "QGSWPS_SANDBOX_DISK": "200",
    "QGSWPS_SANDBOX_PROCESSES": "40",
    "QGSWPS_SANDBOX_CPU_TIME": "4",
    "QGSWPS_SANDBOX_OPEN_FILES": "500",
}


class _Excesses(unittest.TestCase):
    """Runs the script that takes too much."""

    server: live.LiveServer

    def assertFails(self, kind: str, *said: str) -> str:
        """A job fails, others go on; its directory."""
        answer = self.server.execute("script:mishap", {"KIND": kind}, timeout="30")
        found = re.search(r"uuid=([0-9a-f-]{36})", answer.text)
        assert found is not None, answer.text
        message = failure(answer.body)
        for text in said:
            self.assertIn(text, message)
        self.assertNotIn("/", message.partition("The last lines of its log")[0])
        self.assertEqual(self.server.wps("GetCapabilities").status, 200)
        again = self.server.execute("script:mishap", {"KIND": "nothing"})
        self.assertIn("ProcessSucceeded", again.text)
        return os.path.join(self.server.workdir, "jobs", found[1])

    def assertAlone(self) -> None:
        """No process is left but the server's own two."""
        self.server.waitUntil(
            lambda: len(self.server.children()) == 1, "a process is left"
        )


class ExcessTests(_Excesses):
    """What takes too much fails, and the text says of what, by which setting."""

    def setUp(self) -> None:
        self.server = live.sharedServer(**LIMITS)

    def test_memory(self) -> None:
        """In one piece."""
        self.assertFails("memory", "MemoryError", "sandbox.memory allows 1000 MiB")

    def test_sharedMemory(self) -> None:
        """Such as the kernel does not count for any process."""
        self.assertFails("shared", "more than the 1000 MiB that sandbox.memory allows")

    def test_file(self) -> None:
        """One that is too large."""
        directory = self.assertFails(
            "file", "File too large", "sandbox.file_size allows 64 MiB for a file"
        )
        size = os.path.getsize(os.path.join(directory, "outputs", "large"))
        self.assertLessEqual(size, 64 << 20)

    def test_files(self) -> None:
        """Many small ones, which go with the job's end."""
        directory = self.assertFails(
            "files", "200 MiB of the disk that sandbox.disk allows", "about to files"
        )
        self.server.waitUntil(
            lambda: not os.path.exists(os.path.join(directory, "outputs")),
            "its files stay",
        )
        self.assertLessEqual(set(os.listdir(directory)), {"task.json", "log"})

    def test_unlinkedFiles(self) -> None:
        """Those that no folder has."""
        self.assertFails("unlinked", "200 MiB of the disk that sandbox.disk allows")

    def test_deepFolders(self) -> None:
        """Those that nobody can look into."""
        directory = self.assertFails("deep", "that sandbox.disk allows")
        self.server.waitUntil(
            lambda: not os.path.exists(os.path.join(directory, "outputs")),
            "its folders stay",
        )

    def test_openFiles(self) -> None:
        """Many at once: the result can be written all the same."""
        self.assertFails(
            "descriptors", "Too many open files", "sandbox.open_files allows 500"
        )

    def test_time(self) -> None:
        """Of the processor."""
        self.assertFails("time", "SIGXCPU", "sandbox.cpu_time")


class ProcessTests(_Excesses):
    """More processes than there may be, or for longer."""

    def setUp(self) -> None:
        self.server = live.sharedServer(**LIMITS)

    def test_processes(self) -> None:
        """More than a job may have, whoever the server runs as."""
        self.assertFails("fork", "the 40 processes that sandbox.processes allows")
        self.assertAlone()

    def test_daemon(self) -> None:
        """One without parent, session or group ends with its job."""
        answer = self.server.execute("script:mishap", {"KIND": "hidden"})
        self.assertIn("ProcessSucceeded", answer.text)
        self.assertAlone()

    def test_rabbit(self) -> None:
        """So does one that is another one all the time."""
        answer = self.server.execute("script:mishap", {"KIND": "rabbit"})
        self.assertIn("ProcessSucceeded", answer.text)
        self.server.waitUntil(
            lambda: len(self.server.children()) == 1, "it runs on", patience=15
        )


class UnprivilegedTests(ProcessTests):
    """The same where the server's user has no rights."""

    shared: ClassVar[list[live.LiveServer]] = []

    def setUp(self) -> None:
        reason = live.notNobody()
        if reason:
            raise unittest.SkipTest(reason)
        if not self.shared:
            home = tempfile.mkdtemp(prefix="qgswps-test-")
            os.chmod(home, 0o755)
            workdir = os.path.join(home, "work")
            self.shared.append(live.AsNobody(workdir=workdir, **LIMITS))
            atexit.register(shutil.rmtree, home)
        [self.server] = self.shared

    def test_bomb(self) -> None:
        """One that doubles all the time."""
        self.assertFails("bomb", "the 40 processes that sandbox.processes allows")
        self.assertAlone()

    def test_stop(self) -> None:
        """A server that stops leaves nothing, whatever its jobs do."""
        home = tempfile.mkdtemp(prefix="qgswps-test-")
        self.addCleanup(shutil.rmtree, home)
        os.chmod(home, 0o755)
        server = live.AsNobody(workdir=os.path.join(home, "work"), **LIMITS)
        self.addCleanup(server.stop)
        server.execute("script:mishap", {"KIND": "bomb"}, storeExecuteResponse="true")
        server.waitUntil(lambda: len(server.children()) > 8, "it does not start")
        server.stop()
        marks = os.path.join(home, "work")
        left = [
            pid
            for pid in map(int, filter(str.isdigit, os.listdir("/proc")))
            if marks in live.commandLine(pid)
        ]
        self.assertEqual(left, [])


class _SmallDisk(live.LiveServer):
    """A server whose work directory has a disk of its own, which nobody else sees."""

    def before(self) -> list[str]:
        mount = f"mkdir {self.workdir} && mount -t tmpfs -o size=24m x {self.workdir}"
        return ["unshare", "--mount", "sh", "-c", f'{mount} && exec "$@"', "sh"]


class FullDiskTests(_Excesses):
    """A disk that is smaller than what a job may take of it."""

    def test_full(self) -> None:
        """The job that fills it fails, and others have room again."""
        if os.geteuid() != 0:
            raise unittest.SkipTest("only root can mount a disk")
        self.server = _SmallDisk()
        self.addCleanup(self.server.stop)
        for _ in range(2):
            self.assertFails(
                "fill", "no room left on the server's disk", "No space left on device"
            )


class _WithoutLandlock(live.LiveServer):
    """A server on a kernel that has no Landlock."""

    def before(self) -> list[str]:
        return [sys.executable, "-m", "tests.nolandlock"]


class RequireTests(unittest.TestCase):
    """C{processing.sandbox}"""

    def attempt(self, server: live.LiveServer) -> str:
        """What a job sees that a sandbox would hide."""
        code = "import os\ntold = os.listdir('/') != []"
        answer = server.execute(
            "script:attempt", inputs={"CODE": code}, rawdataoutput="TOLD"
        )
        return answer.text

    def test_no(self) -> None:
        """Without a sandbox a job is free, as it was asked for: without a warning."""
        server = live.LiveServer(QGSWPS_PROCESSING_SANDBOX="no")
        self.addCleanup(server.stop)
        self.assertEqual(self.attempt(server), "True")
        self.assertNotIn("Landlock", server.log())

    def test_yes(self) -> None:
        """Where the kernel can't, the server runs, and its log says what that means."""
        server = _WithoutLandlock(QGSWPS_PROCESSING_SANDBOX="yes")
        self.addCleanup(server.stop)
        self.assertEqual(self.attempt(server), "True")
        self.assertIn(
            "jobs can read and write what the server can: this kernel has no Landlock",
            server.log(),
        )

    def test_require(self) -> None:
        """There a server that needs it does not start, and says why."""
        with self.assertRaises(AssertionError) as caught:
            _WithoutLandlock(QGSWPS_PROCESSING_SANDBOX="require")
        said = str(caught.exception)
        self.assertIn("the server ended", said)
        self.assertIn("QGSWPS_PROCESSING_SANDBOX: this kernel has no Landlock", said)
        self.assertNotIn("Traceback", said)

    @unittest.skipIf(absent(), absent())
    def test_required(self) -> None:
        """Where the kernel can, it starts, and jobs are in it."""
        server = live.LiveServer(QGSWPS_PROCESSING_SANDBOX="require")
        self.addCleanup(server.stop)
        self.assertIn(_DENIED, self.attempt(server))
