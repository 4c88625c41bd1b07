"""
The sandbox: what a worker can't do any more, once it works on something that
a client has a say in.

It reads the system's programs and data, the projects and the algorithms; it
writes to one folder, which is its own.  What it starts is in there with it.
"""

from __future__ import annotations

import contextlib
import errno
import os
import re
import resource
import stat
import sys
from collections.abc import Iterable, Iterator

import attrs

import qgswps
from qgswps import landlock
from qgswps.model import WorkerSettings
from qgswps.worker import isolation, supervision

#: Where programs and their data are.
_PROGRAMS = ("/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/opt", "/nix")

#: What programs read elsewhere. Not all of C{/etc}: it has passwords.
_DATA = (
    *("/etc/alternatives", "/etc/ca-certificates", "/etc/ca-certificates.conf"),
    *("/etc/default/locale", "/etc/fonts", "/etc/gai.conf", "/etc/gdal", "/etc/group"),
    *(
        "/etc/grass.d",
        "/etc/host.conf",
        "/etc/hostname",
        "/etc/hosts",
        "/etc/ld.so.cache",
    ),
    *("/etc/ld.so.conf", "/etc/ld.so.conf.d", "/etc/locale.alias", "/etc/localtime"),
    *("/etc/machine-id", "/etc/magic", "/etc/mime.types", "/etc/nsswitch.conf"),
    *("/etc/odbc.ini", "/etc/odbcinst.ini", "/etc/OpenCL", "/etc/os-release"),
    *("/etc/passwd", "/etc/pki/tls/certs", "/etc/protocols", "/etc/python3"),
    *("/etc/python3.11", "/etc/python3.13", "/etc/R", "/etc/resolv.conf"),
    *("/etc/services", "/etc/ssl/certs", "/etc/ssl/openssl.cnf", "/etc/timezone"),
    *("/etc/vdpau_wrapper.cfg", "/etc/xdg"),
    *("/var/cache/fontconfig", "/var/lib/ghostscript", "/run/systemd/resolve"),
    *("/sys/devices/system", "/sys/fs/cgroup", "/proc"),
)

#: Devices that are read and written, and have no memory.
_DEVICES = ("/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom")

#: What else a process finds its places by; below its home if it is not said.
_PLACES = (
    "XDG_CONFIG_HOME",
    "XDG_DATA_HOME",
    "XDG_CACHE_HOME",
    "XDG_STATE_HOME",
    "XDG_RUNTIME_DIR",
)

#: Where libpq finds services and passwords, which layers of projects may need;
#: the variable, and the name in the home of the server's user.
_POSTGRESQL = {"PGSERVICEFILE": ".pg_service.conf", "PGPASSFILE": ".pgpass"}

_MEBIBYTE = 2**20

#: How many files more a worker may open when its job is over.
_SPARE_FILES = 32

#: How many processes and threads all jobs together may add to those of the
#: server's user, as a multiple of the processes that they may have.
_TASKS = 4


@attrs.frozen
class _Place:
    """
    A folder or file that all workers may use.

    @ivar descriptor: of it, by C{O_PATH}.
    """

    descriptor: int
    rights: int
    isFolder: bool


class Sandbox:
    """
    Made once in the fork server; entered by each of its children.

    @ivar refusal: why there is no Landlock; empty if there is.
    """

    def __init__(self, settings: WorkerSettings) -> None:
        self._settings = settings.sandbox
        self._version = landlock.version() if settings.sandbox.enabled else 0
        self.refusal = ""
        if settings.sandbox.enabled and not self._version:
            self.refusal = "this kernel has no Landlock, or it is switched off"
        # Before there is another home.
        _keepPostgreSQL()
        self._places: tuple[_Place, ...] = ()
        # Those that are too many for a job are counted now and then only; until
        # then the kernel keeps a job from starting as many as it can. For root
        # it does not.
        self._tasks = 0
        if self._settings.processes:
            most = self._settings.processes * self._settings.jobs
            self._tasks = supervision.tasks() + _TASKS * most
        if self._version:
            self._places = tuple(_places(settings))

    def enter(
        self, home: str, writable: Iterable[str] = (), readable: Iterable[str] = ()
    ) -> None:
        """
        Have the restrictions hold for this process, for ever.

        @param home: absolute path of a folder of its own.
        @param writable: further folders, which may have the home in them.
        @param readable: further folders and files, as far as they are there.
        @raise OSError: the kernel refuses.
        """
        os.environ["HOME"] = home
        for name in _PLACES:
            os.environ.pop(name, None)
        if self._version:
            self._restrict((home, *writable), readable)
            isolation.keepFileCapabilities()
        self._limit()

    def _limit(self) -> None:
        settings = self._settings
        for kind, amount, spare in (
            (resource.RLIMIT_DATA, settings.memory * _MEBIBYTE, 0),
            # At the first a signal tells what has come to pass.
            (resource.RLIMIT_CPU, settings.cpuTime, 5),
            (resource.RLIMIT_FSIZE, settings.fileSize * _MEBIBYTE, 0),
            (resource.RLIMIT_NOFILE, settings.openFiles, _SPARE_FILES),
            (resource.RLIMIT_NPROC, self._tasks, 0),
        ):
            if amount:
                _lower(kind, amount, spare)
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        if settings.nice:
            with contextlib.suppress(OSError):
                os.nice(settings.nice)

    def loosen(self) -> None:
        """The job is over: let its result be written, whatever is still open."""
        _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))

    def _restrict(self, writable: Iterable[str], readable: Iterable[str]) -> None:
        ports = self._settings.ports
        rules = landlock.Ruleset(self._version, tcp=ports is not None)
        for place in self._places:
            rules.allow(place.descriptor, place.rights, place.isFolder)
        for path in readable:
            _allow(rules, path, landlock.READ)
        for path in writable:
            _allow(rules, path, landlock.ALL)
        for port in ports or () if rules.tcp else ():
            rules.allowPort(port)
        rules.enforce()


def _keepPostgreSQL() -> None:
    for variable, name in _POSTGRESQL.items():
        path = os.path.expanduser(os.path.join("~", name))
        if os.path.isfile(path):
            os.environ.setdefault(variable, path)


def _allow(rules: landlock.Ruleset, path: str, rights: int) -> None:
    place = _open(path, rights)
    if place is not None:
        rules.allow(place.descriptor, place.rights, place.isFolder)
        os.close(place.descriptor)


def _open(path: str, rights: int) -> _Place | None:
    try:
        descriptor = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except OSError:
        return None  # not on this system
    return _Place(descriptor, rights, stat.S_ISDIR(os.fstat(descriptor).st_mode))


def _places(settings: WorkerSettings) -> Iterator[_Place]:
    wanted = [(path, landlock.RUN) for path in _PROGRAMS]
    wanted += [(path, landlock.READ) for path in _DATA]
    wanted += [(path, landlock.READ | landlock.WRITE_FILE) for path in _DEVICES]
    wanted += [(path, landlock.RUN) for path in _python(settings)]
    wanted += [
        (path, landlock.READ)
        for path in (
            settings.profile,
            *settings.providersPath,
            *settings.sandbox.readable,
            *filter(None, map(os.environ.get, _POSTGRESQL)),
        )
    ]
    wanted += [(path, landlock.ALL) for path in settings.sandbox.writable]
    for path, rights in wanted:
        place = _open(path, rights)
        if place is not None:
            yield place


def _python(settings: WorkerSettings) -> Iterator[str]:
    """
    Where this Python and its packages are.

    Not a folder that the profile is in, and with it all the server keeps: the
    package itself is enough of that.
    """
    yield os.path.dirname(os.path.abspath(qgswps.__file__))
    profile = os.path.realpath(settings.profile) + os.sep
    for path in dict.fromkeys((sys.prefix, sys.base_prefix, *sys.path)):
        real = os.path.realpath(path) if path else ""
        if real and real != "/" and not profile.startswith(real + os.sep):
            yield real


def _lower(kind: int, amount: int, spare: int) -> None:
    """Lower a limit, or leave it where it is lower already."""
    most = amount + spare
    _, hard = resource.getrlimit(kind)
    if hard != resource.RLIM_INFINITY:
        most = min(most, hard)
    resource.setrlimit(kind, (min(amount, most), most))


#: How texts of errors begin to tell of a limit.
_ERROR = re.compile(r"\b(MemoryError|bad_alloc)\b|\[Errno (\d+)\]")

#: What runs into which limit, by the number of its error.
_EXCESSES = {
    errno.ENOMEM: (resource.RLIMIT_DATA, "memory", _MEBIBYTE, "MiB of memory"),
    errno.EFBIG: (resource.RLIMIT_FSIZE, "file_size", _MEBIBYTE, "MiB for a file"),
    errno.EMFILE: (resource.RLIMIT_NOFILE, "open_files", 1, "open files"),
}


def explained(text: str) -> str:
    """
    What went wrong, with the limit that has kept a job from going on, if it was
    one.

    @param text: of an error of Python's, or with one in it.
    """
    found = _ERROR.search(text)
    if found is None:
        return text
    number = errno.ENOMEM if found[1] else int(found[2])
    if number not in _EXCESSES:
        return text
    kind, name, unit, what = _EXCESSES[number]
    most, _ = resource.getrlimit(kind)
    if most == resource.RLIM_INFINITY:
        return text
    return f"{text} (sandbox.{name} allows {most // unit} {what})"
