#!/usr/bin/python3
"""
Test the packages in new Debians, as an administrator would use them::

    python3 tools/testdeb.py [SUITE …]    bookworm and trixie, if none is named

In a minimal root of each release (see tools/bareroot, which needs root): the
packages are built and looked at by lintian, the units by systemd-analyze; then
all that it took to build is removed.  The service is started by hand, as its
unit says, and then in a systemd that is booted in the root: installed in an
earlier version, used, upgraded, removed, purged.  The last line counts the
checks.
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
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "debian" / "tests"))

import installed  # noqa: E402
from installed import Installed, run, status, until  # noqa: E402

SUITES = ["bookworm", "trixie"]
CONF = Path("/etc/qgswps/qgswps.conf")
PLUGINS = Path("/usr/lib/python3/dist-packages/twisted/plugins")
#: What systemd-analyze may say at most.
EXPOSURE = 2.0

_SUMMARY = re.compile(r"^(\d+) passed, (\d+) failed$", re.MULTILINE)


# Outside: a root for each release


def outside(suites: list[str]) -> int:
    passed = failed = 0
    for suite in suites:
        begin = time.monotonic()
        with tempfile.TemporaryFile("w+") as output:
            process = subprocess.Popen(
                [
                    ROOT / "tools" / "bareroot",
                    *("--worktree", "sh", "-c"),
                    "apt-get -qq install --yes --no-install-recommends python3"
                    " && exec python3 tools/testdeb.py --inside",
                ],
                env={**os.environ, "SUITE": suite},
                stdout=subprocess.PIPE,
                text=True,
            )
            assert process.stdout is not None
            for line in process.stdout:
                sys.stdout.write(line)
                sys.stdout.flush()
                output.write(line)
            status = process.wait()
            output.seek(0)
            counts = _SUMMARY.findall(output.read())
        for count in counts:
            passed += int(count[0])
            failed += int(count[1])
        if status and not any(int(count[1]) for count in counts):
            failed += 1
            print(f"FAILED {suite}: it ended early, with status {status}")
        print(f"== {suite}: {time.monotonic() - begin:.0f} s")
    print(f"{passed} passed, {failed} failed")
    return 1 if failed or not passed else 0


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
        assert "Kept title" in fetchCapabilities()
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


def fetchCapabilities() -> str:
    return installed.fetch(f"{installed.URL}&REQUEST=GetCapabilities")


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
        until(lambda: "Kept title" in fetchCapabilities(), "no answer", 60)
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
    service = ROOT / "debian" / "tests" / "service"
    print("== by hand, as the unit says", flush=True)
    me = [sys.executable, __file__]
    alone = '"$0" "$1" --loopback && exec "$2"'
    failed |= status("unshare", "--net", "sh", "-c", alone, *me, str(service))
    print("== in a systemd", flush=True)
    Path("/usr/sbin/policy-rc.d").unlink(missing_ok=True)
    # There are no user namespaces in a chroot.
    dropIn = Path("/etc/systemd/system/redis-server.service.d/test.conf")
    dropIn.parent.mkdir(exist_ok=True)
    dropIn.write_text("[Service]\nPrivateUsers=no\n")
    with booted() as enter:
        failed |= status(*enter, str(service))
        failed |= status(*enter, *me, "--lifecycle", str(previous), str(current))
    return failed


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
