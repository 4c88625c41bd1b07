"""
The plugin's command line: C{twistd3 qgswps}.
"""

from __future__ import annotations

import os
import pwd
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, ClassVar, NoReturn

import twisted
from twisted.application.service import MultiService
from twisted.internet.endpoints import serverFromString
from twisted.python import usage

import qgswps
from qgswps import credentials, policy
from qgswps.config import SECTIONS, ConfigurationError, Key, Settings, load
from qgswps.journal import setLevel

#: Seconds that one thread keeps the interpreter when another one wants it.
SWITCH = 0.0005


def _keys() -> Iterator[Key]:
    """The keys that have an option."""
    for section in SECTIONS:
        yield from (key for key in section.keys if key.option is not None)


def _help(key: Key) -> str:
    assert key.option is not None
    default = "" if key.option.means else f" [default: {key.defaultText or 'none'}]"
    return (key.option.help or key.help) + default


def _parameters() -> list[list[str | None]]:
    return [
        [key.option.name, key.option.short, None, _help(key)]
        for key in _keys()
        if key.option and key.option.means is None and not key.option.repeatable
    ]


def _flags() -> list[list[str | None]]:
    return [
        [key.option.name, key.option.short, _help(key)]
        for key in _keys()
        if key.option and key.option.means is not None
    ]


class Options(usage.Options):
    """
    The options of C{twistd3 qgswps}.

    A wrong one ends the process with status 1: twistd itself would print
    C{UsageError} and end with 0.
    """

    synopsis = "[options]"
    longdesc = (
        "A Web Processing Service for QGIS. Options override the environment"
        " (QGSWPS_<SECTION>_<KEY>), which overrides the configuration file."
    )
    optParameters: ClassVar = [
        ["config", "c", None, "The configuration file."],
        ["describe", None, None, "Print the description of this process, and exit."],
        *_parameters(),
    ]
    optFlags: ClassVar = [
        *_flags(),
        ["check", None, "Say what is in force, or what is wrong with it, and exit."],
        [
            "list-processes",
            None,
            "Print what would be published, and what not and why, and exit.",
        ],
    ]

    def __init__(self) -> None:
        super().__init__()
        self["listen"] = []

    def opt_listen(self, endpoint: str) -> None:
        self["listen"].append(endpoint)

    opt_listen.__doc__ = next(
        _help(key) + " May be repeated."
        for key in _keys()
        if key.option and key.option.name == "listen"
    )

    def opt_version(self) -> None:
        """Say the versions of qgswps and Twisted, and exit."""
        sys.stdout.write(
            f"qgswps {qgswps.__version__}\nTwisted {twisted.__version__}\n"
        )
        raise SystemExit(0)

    def parseOptions(self, options: Sequence[str] | None = None) -> None:
        """
        Parse the options that follow the plugin's name.

        @raise SystemExit: they are wrong, or one is among them that only
            prints something.
        """
        try:
            super().parseOptions(options)
        except usage.UsageError as error:
            raise SystemExit(
                f"qgswps: {error}\nqgswps: twistd3 qgswps --help lists the options"
            ) from None
        # Here, because twistd looks for a running server of the same pid
        # file before it makes the service.
        if self["check"]:
            settings = self.settings(_complain)
            _print(report(settings))
        if self["list-processes"] or self["describe"] is not None:
            # Not at the top: it takes long, and nothing else needs it here.
            from qgswps import listing

            settings = self.settings(_complain)
            if self["list-processes"]:
                _print(listing.processes(settings))
            _print(listing.description(settings, self["describe"]))

    def settings(self, warn: Callable[[str], None] | None = None) -> Settings:
        """
        The configuration in force.

        @param warn: as in L{load}.
        @raise SystemExit: there is something wrong with it.
        """
        overrides: dict[tuple[str, str], str] = {}
        for key in _keys():
            assert key.option is not None
            value = self[key.option.name]
            if key.option.repeatable and value:
                overrides[key.id] = "\n".join(value)
            elif key.option.means is not None and value:
                overrides[key.id] = key.option.means
            elif isinstance(value, str):
                overrides[key.id] = value
        with _exiting():
            settings = load(self["config"], os.environ, overrides, warn)
            _tryEndpoints(settings)
            policy.forSettings(settings)
            credentials.forSettings(settings)
            return settings


def _print(lines: Iterable[str]) -> NoReturn:
    """Say something, and end well."""
    try:
        sys.stdout.write("".join(f"{line}\n" for line in lines))
        sys.stdout.flush()
    except BrokenPipeError:
        # Who reads has seen enough; there is nothing left to be flushed.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    raise SystemExit(0)


def _complain(text: str) -> None:
    sys.stderr.write(f"qgswps: {text}\n")


@contextmanager
def _exiting() -> Iterator[None]:
    """Turn a fault of the configuration into what twistd exits 1 for."""
    try:
        yield
    except ConfigurationError as error:
        problems = (f"qgswps: {problem}" for problem in error.problems)
        raise SystemExit("\n".join(problems)) from None


def _tryEndpoints(settings: Settings, starting: bool = False) -> None:
    """
    Have Twisted parse the endpoints, whose forms only it and its plugins know.

    @param starting: the sockets that systemd passes have to be there; only
        then are they.
    @raise ConfigurationError: one is of no such form, needs a file that can't
        be read, or a socket that is not there.
    """
    server = settings.server
    given = [("listen", endpoint) for endpoint in server.listen]
    given += [("metrics_listen", endpoint) for endpoint in server.metricsListen]
    if server.ssl and not server.listen:
        given.append(("ssl_cert", server.endpoints[0]))
    for key, endpoint in given:
        try:
            # Nobody is to listen, so no reactor has to be there.
            serverFromString(None, endpoint)
        except Exception as error:
            # That is how Twisted says that it has no such socket.
            if isinstance(error, LookupError) and endpoint.startswith("systemd:"):
                if not starting:
                    continue
                raise settings.problem(
                    "server",
                    key,
                    f"systemd has passed no such socket as {endpoint!r}: start"
                    " the server by its socket unit (qgswps.socket), or name an"
                    " endpoint that needs none, such as tcp:8080",
                ) from None
            raise settings.problem(
                "server",
                key,
                f"it can't be used: {error}"
                if key == "ssl_cert"
                else f"expected an endpoint, not {endpoint!r}: {error}",
            ) from None


def report(settings: Settings) -> Iterator[str]:
    """
    The configuration in force, as lines of an ini file: a value that was
    given stands below a comment that says where, a default in a comment, and
    so does what stands for a secret.
    """
    for section in SECTIONS:
        yield f"[{section.name}]"
        values = getattr(settings, section.attribute)
        if section.cls is None:
            texts = dict(values)
        else:
            texts = {
                key.name: key.kind.show(getattr(values, key.attribute))
                for key in section.keys
            }
        secrets = {key.name for key in section.keys if key.kind.secret}
        for name, text in texts.items():
            origin = settings.origins.get((section.name, name))
            line = f"{name} = {text}".rstrip()
            if origin is None:
                yield "#" + line.replace("\n", "\n#    ")
            else:
                yield f"# {origin}:"
                if name in secrets:
                    line = "#" + line
                yield line.replace("\n", "\n    ")
        yield ""


def makeService(options: Options) -> MultiService:
    """
    The server, as a service.

    @raise SystemExit: there is something wrong with the configuration.
    """
    settings = options.settings()
    with _exiting():
        _tryEndpoints(settings, starting=True)
    setLevel(settings.logging.level)
    # The reactor's thread asks for the interpreter many times for each answer,
    # and would wait 5 ms each time that another thread parses something.
    sys.setswitchinterval(SWITCH)

    # Not at the top: the first import of the reactor chooses it, which is for
    # twistd --reactor to do; and --help, --version and --check need neither.
    from twisted.internet import reactor

    from qgswps.application import build

    with _exiting():
        return build(settings, reactor, owner(options.parent))


def owner(parent: Mapping[str, Any] | None) -> tuple[int, int] | None:
    """
    User and group that twistd is about to become, by its C{--uid} and
    C{--gid}; None if it stays who it is.

    @param parent: twistd's own options, if there are any.
    """
    uid = parent.get("uid") if parent else None
    gid = parent.get("gid") if parent else None
    if uid is None and gid is None:
        return None
    if uid is None:
        uid = os.getuid()
    if gid is None:
        try:
            gid = pwd.getpwuid(uid).pw_gid
        except KeyError:
            raise SystemExit(f"qgswps: --uid: there is no user {uid}") from None
    return uid, gid
