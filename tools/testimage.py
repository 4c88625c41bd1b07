#!/usr/bin/python3
"""
Run what the Dockerfile says, without Docker::

    python3 tools/testimage.py

In a minimal root of the release that the image begins with (see tools/bareroot,
which needs root; it has git and make besides): each stage in a copy of its own,
the lines RUN and COPY as they stand, and then CMD as USER with ENV.  The last
line counts the checks.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT / "debian" / "tests"), str(ROOT / "tools")]

import installed  # noqa: E402
import testdeb  # noqa: E402
from installed import Installed, run, status, until  # noqa: E402

STAGES = Path("/var/tmp/stages")
#: The releases of Debian's images.
SUITES = {"debian:12-slim": "bookworm"}
#: What the slim ones leave out of packages.
SLIM = """\
path-exclude /usr/share/doc/*
path-include /usr/share/doc/*/copyright
path-exclude /usr/share/groff/*
path-exclude /usr/share/info/*
path-exclude /usr/share/lintian/overrides/*
path-exclude /usr/share/locale/*
path-exclude /usr/share/man/*
"""


class Stage:
    """
    A stage of a Dockerfile.

    @ivar base: the image that it begins with.
    @ivar name: its name, or its number.
    @ivar lines: the instructions that follow, each with its argument.
    """

    def __init__(self, base: str, name: str) -> None:
        self.base = base
        self.name = name
        self.lines: list[tuple[str, str]] = []

    @property
    def root(self) -> Path:
        """Where its files are."""
        return STAGES / self.name

    def last(self, instruction: str) -> str:
        """The argument of the last line of that kind."""
        return [text for word, text in self.lines if word == instruction][-1]


def stages() -> list[Stage]:
    """What the Dockerfile says."""
    text = re.sub(r"(?m)^#.*\n", "", (ROOT / "Dockerfile").read_text())
    found: list[Stage] = []
    for line in filter(None, text.replace("\\\n", "").splitlines()):
        word, argument = line.split(maxsplit=1)
        if word == "FROM":
            base, _, name = argument.partition(" AS ")
            found.append(Stage(base, name or str(len(found))))
        else:
            found[-1].lines.append((word, argument.strip()))
    return found


def outside() -> int:
    (suite,) = {SUITES[stage.base] for stage in stages()}
    passed, failed = testdeb.inRoot(suite, "tools/testimage.py")
    print(f"{passed} passed, {failed} failed")
    return 1 if failed or not passed else 0


def begin(stage: Stage) -> None:
    """Make the root of a stage: a copy of this one, without the checkout."""
    stage.root.mkdir(parents=True)
    run(
        "sh",
        "-c",
        "tar -C / --one-file-system --exclude=./var/tmp/* --exclude=./root/*"
        ' --exclude=./source -c . | tar -C "$0" -x',
        str(stage.root),
    )
    (stage.root / "etc/dpkg/dpkg.cfg.d/docker").write_text(SLIM)
    for name in ("proc", "dev", "sys", "tmp", "var/tmp"):
        (stage.root / name).mkdir(exist_ok=True)
    run("mount", "-t", "proc", "proc", str(stage.root / "proc"))
    run("mount", "--rbind", "/dev", str(stage.root / "dev"))


def copy(stage: Stage, argument: str) -> None:
    """COPY: from the checkout, or from another stage."""
    *options, source, target = shlex.split(argument)
    context = ROOT
    for option in options:
        context = STAGES / option.removeprefix("--from=")
    place = Path(f"{stage.root}{target}")
    place.mkdir(parents=True)
    if source == ".":
        shutil.copytree(context, place, dirs_exist_ok=True, symlinks=True)
        return
    files = sorted(context.glob(source.lstrip("/")))
    assert files, f"there is no {source}"
    for file in files:
        shutil.copy(file, place)


def build(checks: Installed, stage: Stage) -> None:
    """RUN and COPY."""
    begin(stage)
    for word, argument in stage.lines:
        if word == "COPY":
            with checks.check(f"{stage.name}: COPY {argument}"):
                copy(stage, argument)
        elif word == "RUN":
            with checks.check(f"{stage.name}: RUN {argument[:60]} …"):
                run("chroot", str(stage.root), "/bin/sh", "-c", argument)


def serve(checks: Installed, stage: Stage) -> None:
    """CMD, and what the image says of its health."""
    environment = {
        "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
        **dict(pair.split("=", 1) for pair in shlex.split(stage.last("ENV"))),
    }
    user = stage.last("USER")
    enter = ["env", "--chdir=/", "--ignore-environment"]
    enter += [f"{name}={value}" for name, value in environment.items()]
    enter += ["chroot", f"--userspec={user}:{user}", str(stage.root)]
    enter += ["env", f"--chdir={stage.last('WORKDIR')}"]
    # What its head has Docker mount.
    projects = stage.root / "etc/qgswps/projects"
    shutil.copytree(ROOT / "conf" / "demo", projects, dirs_exist_ok=True)
    health = json.loads(re.sub(r".*?CMD ", "", stage.last("HEALTHCHECK")))
    with checks.check("HEALTHCHECK says that nothing is there yet"):
        assert status(*enter, *health)
    server = subprocess.Popen([*enter, *json.loads(stage.last("CMD"))])
    try:
        with checks.check("CMD answers GetCapabilities"):
            until(lambda: answers(server), "no answer", 120)
        with checks.check("a job on a layer of a project gives the result"):
            text = installed.fetch(installed.EXECUTE + installed.AS_DATA)
            assert "ProcessSucceeded" in text, text[:2000]
        with checks.check("HEALTHCHECK says that it is well"):
            assert status(*enter, *health) == 0
        with checks.check("it runs as its user, and ends when it is told to"):
            number = run("chroot", str(stage.root), "id", "-u", user).strip()
            assert os.stat(f"/proc/{server.pid}").st_uid == int(number)
            server.terminate()
            server.wait(60)
    finally:
        server.kill()
        server.wait()


def answers(server: subprocess.Popen[bytes]) -> bool:
    """Whether the server's capabilities have come."""
    assert server.poll() is None, "it ended"
    try:
        return "native:buffer" in installed.capabilities()
    except OSError:
        time.sleep(0.5)
        return False


def inside() -> int:
    with Installed() as checks:
        for stage in stages():
            build(checks, stage)
    failed = checks.report()
    # No network, and so a port that nobody else has.
    return failed or status("unshare", "--net", sys.executable, __file__, "--serve")


def serveAlone() -> int:
    testdeb.loopback()
    with Installed() as checks:
        serve(checks, stages()[-1])
    return checks.report()


def main(arguments: list[str]) -> int:
    """
    @return: the exit status.
    """
    match arguments:
        case []:
            return outside()
        case ["--inside"]:
            return inside()
        case ["--serve"]:
            return serveAlone()
    print(__doc__)
    return 2


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
