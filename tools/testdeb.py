#!/usr/bin/python3
"""
Test the packages in new Debians, as an administrator would use them::

    python3 tools/testdeb.py [SUITE …]    bookworm and trixie, if none is named

In a minimal root of each release (see tools/bareroot, which needs root): the
packages are built and looked at by lintian, the units by systemd-analyze; then
all that it took to build is removed.  In a systemd that is booted in the root
the service is used, hangs, runs out of memory; then it is installed in an
earlier version, used, upgraded, removed, purged.  At last autopkgtest runs
debian/tests, which without systemd does itself what the unit says.  The last
line counts the checks.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import shutil
import signal
import socket
import struct
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "debian" / "tests"))

import installed  # noqa: E402
from installed import UNIT, Installed, run, status, until  # noqa: E402

SUITES = ["bookworm", "trixie"]
CONF = Path("/etc/qgswps/qgswps.conf")
PLUGINS = Path("/usr/lib/python3/dist-packages/twisted/plugins")
#: What systemd-analyze may say at most.
EXPOSURE = 2.0

_SUMMARY = re.compile(r"(\d+) passed, (\d+) failed\n")


# Outside: a root for each release


def outside(suites: list[str]) -> int:
    passed = failed = 0
    for suite in suites:
        begin = time.monotonic()
        counts = inRoot(suite, "tools/testdeb.py")
        passed += counts[0]
        failed += counts[1]
        print(f"== {suite}: {time.monotonic() - begin:.0f} s")
    print(f"{passed} passed, {failed} failed")
    return 1 if failed or not passed else 0


def inRoot(suite: str, script: str) -> tuple[int, int]:
    """
    Run a script of the checkout with C{--inside} in a new root.

    @return: how many checks passed, and how many failed; its lines "N passed, N
        failed" say so.
    """
    passed = failed = 0
    process = subprocess.Popen(
        [
            ROOT / "tools" / "bareroot",
            *("--worktree", "sh", "-c"),
            "apt-get -qq install --yes --no-install-recommends python3"
            ' && exec python3 "$0" --inside',
            script,
        ],
        env={**os.environ, "SUITE": suite},
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    for line in process.stdout:
        found = _SUMMARY.match(line)
        if found is None:
            sys.stdout.write(line)
            sys.stdout.flush()
        else:
            passed += int(found[1])
            failed += int(found[2])
    status = process.wait()
    if status and not failed:
        failed += 1
        print(f"FAILED {suite}: it ended early, with status {status}")
    return passed, failed


# Inside: the packages


def aptGet(*arguments: str) -> None:
    """Run apt-get with what it takes to ask nothing, and to keep our files."""
    run(
        *("apt-get", "--quiet", "-o", "Dpkg::Use-Pty=0", "--yes"),
        *("-o", "Dpkg::Options::=--force-confold"),
        *arguments,
        env={**os.environ, "DEBIAN_FRONTEND": "noninteractive"},
    )


def version() -> str:
    return run("dpkg-parsechangelog", "--show-field=Version").strip()


def build(checks: Installed) -> tuple[Path, Path]:
    """
    @return: folders with the packages of an earlier version and of this one.
    """
    # So that what is installed to build can be told from the rest.
    Path("/etc/apt/apt.conf.d/91-test").write_text(
        'APT::Get::Build-Dep-Automatic "true";\n'
        'APT::AutoRemove::RecommendsImportant "false";\n'
        'APT::AutoRemove::SuggestsImportant "false";\n'
    )
    packages = Path("/var/tmp/packages")
    with checks.check("the packages build, with their tests"):
        run("make", "--silent", "deb", stderr=subprocess.STDOUT)
        shutil.copytree("dist", packages / "current")
    with checks.check("lintian has nothing to say"):
        aptGet("install", "--no-install-recommends", "lintian")
        changes = sorted(map(str, (packages / "current").glob("*.changes")))
        assert len(changes) == 2, changes
        said = subprocess.run(
            [
                *("lintian", "--pedantic", "--display-info", "--allow-root"),
                # Those are Debian 12's, so that one source serves both.
                "--suppress-tags=out-of-date-standards-version",
                *changes,
            ],
            check=False,
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        ).stdout
        said = re.sub(r"^N:.*\n", "", said, flags=re.MULTILINE).strip()
        assert not said, said
    with checks.check("an earlier version builds"):
        # There is none before the first.
        run(
            *("tools/deb", f"{version()}~previous"),
            env={**os.environ, "DEB_BUILD_OPTIONS": "nocheck"},
            stderr=subprocess.STDOUT,
        )
        shutil.copytree("dist", packages / "previous")
        for file in (packages / "previous").glob("qgswps_*"):
            if "previous" not in file.name:
                file.unlink()
    with checks.check("what it took to build can be removed"):
        run("apt-mark", "auto", "git", "make", "lintian", "dpkg-dev", "python3-pip")
        aptGet("autoremove", "--purge")
        assert not shutil.which("dpkg-buildpackage")
    return packages / "previous", packages / "current"


def install(folder: Path) -> None:
    """Install the packages of a folder."""
    aptGet(
        *("install", "--no-install-recommends", "redis-server"),
        *map(str, sorted(folder.glob("*.deb"))),
    )


def units(checks: Installed) -> None:
    """What systemd-analyze says of the units."""
    with checks.check("the units are right"):
        said = subprocess.run(
            [
                "systemd-analyze",
                "verify",
                "--man=no",
                "qgswps.service",
                "qgswps.socket",
            ],
            check=False,
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        about = [line for line in said.stdout.splitlines() if "qgswps" in line]
        assert said.returncode == 0 and not about, said.stdout
    with checks.check(f"the exposure of the service is at most {EXPOSURE}"):
        path = "/usr/lib/systemd/system/qgswps.service"
        text = run("systemd-analyze", "security", "--offline=true", path)
        found = re.search(r"exposure level for qgswps.service: ([0-9.]+)", text)
        assert found is not None, text[-500:]
        print(f"   exposure {found[1]}", flush=True)
        assert float(found[1]) <= EXPOSURE, text


def isInstalled(checks: Installed) -> None:
    with checks.check("the user, the folders and the plugin are there"):
        run("getent", "passwd", "qgswps")
        for name in ("projects/README", "algorithms/README", "algorithms/scripts"):
            assert (CONF.parent / name).exists(), name
        assert b"qgswps" in (PLUGINS / "dropin.cache").read_bytes()
        assert "qgswps" in run("twistd3", "--help")
    with checks.check("the man pages are there"):
        for page in ("man8/qgswps.8.gz", "man5/qgswps.conf.5.gz"):
            run("gzip", "--test", f"/usr/share/man/{page}")


def troubles(checks: Installed) -> None:
    """What is to become of a service that hangs, or takes too much memory."""
    checks.putProject()
    checks.start()
    job = checks.runJob()
    hangs(checks)
    checks.findJob(job, "after the server has hung")
    outOfMemory(checks)
    checks.takeAway()
    (installed.SCRIPT.parent / "eat.py").unlink()


def show(name: str) -> str:
    """A property of the service's unit."""
    return run("systemctl", "show", f"--property={name}", "--value", UNIT).strip()


def hangs(checks: Installed) -> None:
    """A server that does not answer systemd's watchdog."""
    dropIn = Path(f"/run/systemd/system/{UNIT}.d/test.conf")
    dropIn.parent.mkdir(parents=True)
    dropIn.write_text("[Service]\nWatchdogSec=3\n")
    run("systemctl", "daemon-reload")
    with checks.check("the watchdog leaves a server alone that is well"):
        run("systemctl", "restart", UNIT)
        pid = show("MainPID")
        time.sleep(8)
        assert (show("MainPID"), show("NRestarts")) == (pid, "0")
    with checks.check("the watchdog ends a server that hangs, and starts it again"):
        before = installed.left()
        os.kill(int(pid), signal.SIGSTOP)
        until(lambda: show("Result") == "watchdog", "it is not ended", 30)
        until(lambda: show("NRestarts") == "1", "it is not started", 60)
        until(lambda: checks.service.isRunning, "it does not run", 60)
        assert show("MainPID") not in ("0", pid)
        assert len(installed.left()) == len(before), (before, installed.left())
    dropIn.unlink()
    run("systemctl", "daemon-reload")
    run("systemctl", "restart", UNIT)


#: A script that takes memory for as long as it gets some, up to 2 GB.
_EAT = """
    def name(self):
        return "eat"

    def createInstance(self):
        return Eat()

    def processAlgorithm(self, parameters, context, feedback):
        eaten = [bytes([1]) * 2**24 for _ in range(128)]
        return {"TOLD": str(len(eaten))}
"""


def outOfMemory(checks: Installed) -> None:
    """
    A job that the kernel ends for its memory.

    systemd is told of that by cgroups of version 2 alone.  Where the kernel's
    controller of memory is in version 1, a group there limits QGIS and its jobs,
    and systemd is not told; but then the unit must not have said otherwise.
    """
    script = installed.SCRIPT.parent / "eat.py"
    head = installed.REACH.partition("    def name(self)")[0]
    script.write_text(head.replace("Reach", "Eat") + _EAT.lstrip("\n") + _REST)
    checks.service.reload()
    until(lambda: "script:eat" in installed.capabilities(), "no script:eat")
    with (
        memoryLimit() as how,
        checks.check(f"a job that runs out of memory costs itself alone ({how})"),
    ):
        assert show("OOMPolicy") == "continue"
        before = (show("MainPID"), show("NRestarts"))
        url = f"{installed.URL}&REQUEST=Execute&IDENTIFIER=script:eat"
        text = installed.fetch(url)
        assert "ProcessFailed" in text or "Exception" in text, text[:2000]
        assert "SIGKILL" in text, text[:2000]
        assert checks.service.isRunning
        assert before == (show("MainPID"), show("NRestarts"))
        text = installed.fetch(installed.EXECUTE + installed.AS_DATA)
        assert "ProcessSucceeded" in text, text[:2000]


#: What both scripts have.
_REST = """
    def displayName(self):
        return self.name()

    def initAlgorithm(self, configuration=None):
        self.addOutput(QgsProcessingOutputString("TOLD", "What came of it"))
"""


@contextlib.contextmanager
def memoryLimit() -> Iterator[str]:
    """
    Let jobs of the service have 300 MiB.

    @return: how.
    """
    if "memory" in Path("/sys/fs/cgroup/cgroup.controllers").read_text().split():
        run("systemctl", "set-property", "--runtime", UNIT, "MemoryMax=900M")
        run("systemctl", "set-property", "--runtime", UNIT, "MemorySwapMax=0")
        yield "MemoryMax"
        return
    hierarchy = Path("/run/memory")
    hierarchy.mkdir()
    run("mount", "-t", "cgroup", "-o", "memory", "cgroup", str(hierarchy))
    group = hierarchy / f"qgswps-test-{time.time_ns()}"
    group.mkdir()
    try:
        (group / "memory.limit_in_bytes").write_text(str(300 * 2**20))
        # What a process has already stays with the group that it comes from.
        for pid in installed.processes():
            # Those of before the reload are about to end.
            with contextlib.suppress(ProcessLookupError):
                (group / "cgroup.procs").write_text(str(pid))
        yield "cgroup v1"
    finally:
        for pid in (group / "cgroup.procs").read_text().split():
            with contextlib.suppress(OSError):
                (hierarchy / "cgroup.procs").write_text(pid)
        until(lambda: removed(group), "the group of memory is in use", 30)
        run("umount", str(hierarchy))
        hierarchy.rmdir()


def removed(folder: Path) -> bool:
    """Whether a folder could be removed."""
    with contextlib.suppress(OSError):
        folder.rmdir()
    return not folder.exists()


def lifecycle(checks: Installed, previous: Path, current: Path) -> None:
    """An earlier version, its upgrade, its removal."""
    service = checks.service
    aptGet("purge", "qgswps")
    install(previous)
    if checks.underSystemd:
        with checks.check("the service runs after the installation"):
            until(lambda: service.isRunning, "it does not run", 60)
    checks.start()
    checks.putProject()
    job = checks.runJob()
    text = CONF.read_text().replace("#title = QGIS Processing", "title = Kept title")
    CONF.write_text(text)
    if not checks.underSystemd:
        service.stop()
    with checks.check("it can be upgraded"):
        install(current)
        found = run("dpkg-query", "-W", "-f", "${Version}", "qgswps")
        assert found == os.environ["QGSWPS_VERSION"], found
    with checks.check("the configuration is kept, and in force"):
        assert CONF.read_text() == text
        if not checks.underSystemd:
            service.start()
        assert "Kept title" in installed.capabilities()
    checks.findJob(job, "after the upgrade")
    if checks.underSystemd:
        sockets(checks)
    else:
        service.stop()
    with checks.check("removed, it does not run, and its files stay"):
        aptGet("remove", "qgswps")
        until(lambda: not installed.left(), f"left: {installed.left()}", 30)
        assert CONF.exists()
        assert Path("/var/lib/qgswps/jobs").exists()
        if checks.underSystemd:
            state = status("systemctl", "is-active", "qgswps.socket")
            assert state, "the socket is still there"
    with checks.check("purged, nothing is left but the user"):
        aptGet("purge", "qgswps")
        left = run(
            *("find", "/etc", "/usr", "/var", "/lib/systemd", "-xdev"),
            *("(", "-path", "/var/tmp", "-o", "-path", "/var/cache/apt", ")"),
            *("-prune", "-o", "-name", "*qgswps*", "-print"),
        ).split()
        assert not [path for path in left if not path.startswith("/var/log/")], left
        assert b"qgswps" not in (PLUGINS / "dropin.cache").read_bytes()
        run("getent", "passwd", "qgswps")


def sockets(checks: Installed) -> None:
    """The socket unit, used as its head says."""
    text = CONF.read_text()
    with checks.check("systemd can hold the port"):
        CONF.write_text(
            text.replace("#listen =", "listen = systemd:domain=INET:index=0")
        )
        run("systemctl", "stop", "qgswps.service")
        run("systemctl", "start", "qgswps.socket")
        # Who connects starts it, and is told to come again.
        until(lambda: "Kept title" in installed.capabilities(), "no answer", 60)
        until(lambda: checks.service.isRunning, "it does not run", 60)


# Inside: a systemd


def loopback() -> None:
    """Bring up the loopback interface of a new network."""
    with socket.socket() as any_:
        flags = struct.pack("16sh22x", b"lo", 0x1 | 0x40)
        fcntl.ioctl(any_, 0x8914, flags)


#: Run in new namespaces: what systemd wants to find, and systemd.
_BOOT = """
set -e
/usr/bin/python3 "$0" --loopback
mount -t proc proc /proc
mount --bind /proc/sys /proc/sys
mount -o remount,bind,ro /proc/sys
mount -t sysfs -o ro sysfs /sys
mount -t cgroup2 cgroup2 /sys/fs/cgroup
mount -t tmpfs -o mode=755 tmpfs /run
mount -t tmpfs -o mode=755 tmpfs /mnt
for node in null zero full random urandom tty; do
    touch /mnt/$node
    mount --bind /dev/$node /mnt/$node
done
mkdir /mnt/pts /mnt/shm
mount -t devpts -o newinstance,ptmxmode=0666 devpts /mnt/pts
mount -t tmpfs tmpfs /mnt/shm
ln -s pts/ptmx /mnt/ptmx
ln -s /proc/self/fd /mnt/fd
ln -s /proc/self/fd/0 /mnt/stdin
ln -s /proc/self/fd/1 /mnt/stdout
ln -s /proc/self/fd/2 /mnt/stderr
mount --rbind /mnt /dev
exec env -i container=bareroot PATH=/usr/sbin:/usr/bin:/sbin:/bin \
    /lib/systemd/systemd --log-target=null --show-status=no \
    --unit=multi-user.target
"""


@contextlib.contextmanager
def booted() -> Iterator[list[str]]:
    """
    Boot systemd in this root, in namespaces of its own.

    @return: a command that runs another one there.
    """
    hierarchy = Path("/var/tmp/cgroups")
    hierarchy.mkdir(exist_ok=True)
    run("mount", "-t", "cgroup2", "cgroup2", str(hierarchy))
    # Not in ours, whose other processes are none of its.
    group = hierarchy / f"qgswps-test-{os.getpid()}-{time.time_ns()}"
    group.mkdir()
    process = subprocess.Popen(
        [
            *("sh", "-c", 'echo $$ >"$0" && exec "$@"', str(group / "cgroup.procs")),
            *("unshare", "--mount", "--pid", "--cgroup", "--uts", "--ipc", "--net"),
            *("--fork", "--kill-child", "--propagation=unchanged", "sh", "-c", _BOOT),
            __file__,
        ],
        stdin=subprocess.DEVNULL,
    )
    try:
        path = f"/proc/{process.pid}/task/{process.pid}/children"
        until(lambda: Path(path).read_text().split(), "no systemd", 10)
        (first,) = Path(path).read_text().split()
        enter = ["nsenter", f"--target={first}", "--mount", "--pid", "--cgroup"]
        enter += ["--uts", "--ipc", "--net", "--root", "--wd=/"]
        until(lambda: isUp(enter, process), "systemd is not up", 60)
        yield enter
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
        for _ in range(50):
            for folder, _, _ in os.walk(group, topdown=False):
                with contextlib.suppress(OSError):
                    os.rmdir(folder)
            if not group.exists():
                break
            time.sleep(0.1)
        run("umount", str(hierarchy))


def isUp(enter: list[str], process: subprocess.Popen[bytes]) -> bool:
    """Whether systemd has started all that it starts."""
    assert process.poll() is None, "systemd ended"
    state = subprocess.run(
        [*enter, "systemctl", "is-system-running"],
        check=False,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    ).stdout.strip()
    return state in ("running", "degraded")


def inside() -> int:
    os.environ["QGSWPS_VERSION"] = ""
    with Installed() as checks:
        previous, current = build(checks)
        os.environ["QGSWPS_VERSION"] = next(
            file.name.split("_")[1] for file in current.glob("qgswps_*.deb")
        )
        with checks.check("the packages can be installed"):
            install(current)
        isInstalled(checks)
        units(checks)
    failed = checks.report()
    if failed:
        return failed
    me = [sys.executable, __file__]
    print("== in a systemd", flush=True)
    policy = Path("/usr/sbin/policy-rc.d")
    refusing = policy.read_text()
    policy.unlink()
    # There are no user namespaces in a chroot.
    dropIn = Path("/etc/systemd/system/redis-server.service.d/test.conf")
    dropIn.parent.mkdir(exist_ok=True)
    dropIn.write_text("[Service]\nPrivateUsers=no\n")
    with booted() as enter:
        failed |= status(*enter, str(ROOT / "debian" / "tests" / "service"))
        failed |= status(*enter, *me, "--troubles")
        failed |= status(*enter, *me, "--lifecycle", str(previous), str(current))
    policy.write_text(refusing)
    policy.chmod(0o755)
    return failed | byAutopkgtest(current)


def byAutopkgtest(folder: Path) -> int:
    """
    debian/tests, as Debian has them run, with the packages of a folder.

    @return: the exit status; a test that is skipped is a failure, too.
    """
    print("== by autopkgtest", flush=True)
    aptGet("install", "--no-install-recommends", "autopkgtest", "dpkg-dev")
    command = [sys.executable, __file__, "--loopback"]
    # What null does not promise: this root is a container.
    command += ["autopkgtest", "--ignore-restrictions=isolation-container"]
    command += ["--no-built-binaries", *map(str, sorted(folder.glob("*.deb")))]
    command += [str(ROOT), "--", "null"]
    # No network, and so ports that nobody else has.  All it takes is there.
    Path("/etc/apt/sources.list").write_text("")
    alone = '"$0" "$1" "$2" && shift 2 && exec "$@"'
    return status("unshare", "--net", "sh", "-c", alone, *command)


def main(arguments: list[str]) -> int:
    """
    @return: the exit status.
    """
    match arguments:
        case ["--inside"]:
            return inside()
        case ["--loopback"]:
            loopback()
            return 0
        case ["--autopkgtest", folder]:
            return byAutopkgtest(Path(folder))
        case ["--troubles"]:
            with Installed() as checks:
                troubles(checks)
            return checks.report()
        case ["--lifecycle", previous, current]:
            with Installed() as checks:
                lifecycle(checks, Path(previous), Path(current))
            return checks.report()
        case [*suites] if not any(name.startswith("-") for name in suites):
            return outside(suites or SUITES)
    print(__doc__)
    return 2


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
