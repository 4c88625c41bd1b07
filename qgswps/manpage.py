"""
The manual pages, made from the schema and the options: qgswps(8) and
qgswps.conf(5), in the man macros of groff_man(7).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

import qgswps
from qgswps.config import OBSOLETE_SECTIONS, SECTIONS, Key, Section
from qgswps.kinds import Kind
from qgswps.tap import Options

_CONF = "/etc/qgswps/qgswps.conf"


def man8() -> str:
    """qgswps(8): the command."""
    return _page(_command())


def conf5() -> str:
    """qgswps.conf(5): the configuration."""
    return _page(_configuration())


def _page(lines: Iterable[str]) -> str:
    return "\n".join(lines) + "\n"


def _text(text: str) -> str:
    """A text, with what roff would take for more than text."""
    text = text.replace("\\", "\\e").replace("-", "\\-").replace("'", "\\(aq")
    text = text.replace("`", "\\(ga").replace("^", "\\(ha").replace("~", "\\(ti")
    text = text.replace("…", "\\&...")
    # A dot at the beginning of a line would be a request.
    return re.sub(r"(?m)^\.", "\\\\&.", " ".join(text.split()))


def _bold(text: str) -> str:
    return f"\\fB{_text(text)}\\fR"


def _head(name: str, section: int, what: str, title: str) -> Iterator[str]:
    yield f'.TH {name.upper()} {section} "" "qgswps {qgswps.__version__}" "{title}"'
    # No word of a configuration is to be broken.
    yield ".nh"
    # Nor is a line to be padded; groff 1.23 sets that again with each paragraph.
    yield ".ad l"
    yield ".ds AD l"
    yield ".SH NAME"
    yield f"{name} \\- {what}"


def _paragraphs(*texts: str) -> Iterator[str]:
    for text in texts:
        yield ".PP"
        yield _text(text)


def _items(items: Iterable[tuple[str, str]]) -> Iterator[str]:
    """Terms, which are roff already, with texts, which are not."""
    for term, text in items:
        yield ".TP"
        yield term
        yield _text(text)


def _command() -> Iterator[str]:
    what = "Web Processing Service for QGIS"
    yield from _head("qgswps", 8, what, "System Administration")
    yield ".SH SYNOPSIS"
    yield (
        "\\fBtwistd3\\fR [\\fItwistd\\-option\\fR]..."
        " \\fBqgswps\\fR [\\fIoption\\fR]..."
    )
    yield ".SH DESCRIPTION"
    yield from _paragraphs(
        "qgswps publishes QGIS's processing algorithms, models, scripts and plugins"
        " to clients of OGC's Web Processing Service, and serves the results as"
        " maps. It is a plugin of twistd, which makes a daemon of it, drops"
        " privileges and writes logs by options that stand before the plugin's name;"
        " see twistd3 --help.",
        "Options override the environment, which overrides the configuration file;"
        " see qgswps.conf(5).",
    )
    yield ".SH OPTIONS"
    yield from _items(_options())
    yield ".SH OPTIONS OF TWISTD"
    yield from _items(
        (_bold(term), text)
        for term, text in (
            ("--nodaemon", "Stay in the foreground, and log to the standard output."),
            ("--pidfile=FILE", "Where to write the process id; empty for nowhere."),
            (
                "--uid=USER",
                "Become this user after the ports are open. The work directory is"
                " made for that user.",
            ),
            ("--gid=GROUP", "Become this group; the user's own by default."),
            ("--umask=MASK", "The file mode creation mask."),
            ("--logfile=FILE", "Log to a file; - for the standard output."),
            (
                "--logger=qgswps.journal.plain",
                "Log for systemd-journald: without times, with priorities.",
            ),
            (
                "--logger=qgswps.journal.jsonLines",
                "Log each event as a JSON object in a line of its own.",
            ),
        )
    )
    yield ".SH SIGNALS"
    yield from _items(
        [
            (
                _bold("SIGHUP"),
                "Load all algorithms anew. Jobs go on with those that they began"
                " with. The configuration file is not read again.",
            ),
            (
                _bold("SIGTERM") + ", " + _bold("SIGINT"),
                "Let the jobs that run end for as long as stop_grace says, then stop."
                " Jobs that wait are run by the next start.",
            ),
        ]
    )
    yield ".SH ENVIRONMENT"
    yield from _items(
        [
            (
                "\\fBQGSWPS_\\fISECTION\\fB_\\fIKEY\\fR",
                "Overrides a key of the configuration file.",
            ),
            (
                _bold("NOTIFY_SOCKET") + ", " + _bold("WATCHDOG_USEC"),
                "A service manager that is to be told how the server is, see"
                " sd_notify(3).",
            ),
            (
                _bold("LISTEN_FDS"),
                "Sockets that a service manager has opened, for endpoints such as"
                " systemd:domain=INET:index=0.",
            ),
        ]
    )
    yield ".SH FILES"
    yield from _items([(f"\\fI{_CONF}\\fR", "The configuration file of the package.")])
    yield ".SH EXIT STATUS"
    yield from _paragraphs(
        "0 after --check and the like, if all is well. 1 if the configuration or the"
        " command line is wrong, with the reason on the standard error. A server that"
        " was ended by a signal ends by that signal."
    )
    yield ".SH EXAMPLES"
    for command in (
        "twistd3 --nodaemon --pidfile= qgswps --config qgswps.conf",
        "twistd3 --uid=qgswps --pidfile=/run/qgswps.pid --logfile=/var/log/qgswps.log"
        " qgswps",
        f"twistd3 qgswps --config {_CONF} --check",
    ):
        yield ".PP"
        yield ".nf"
        yield f"\\&{_text(command)}"
        yield ".fi"
    yield ".SH SEE ALSO"
    yield "\\fBqgswps.conf\\fR(5), \\fBtwistd3\\fR(1), \\fBsystemd.service\\fR(5)"


def _options() -> Iterator[tuple[str, str]]:
    """The plugin's options as --help has them."""
    options = Options()
    shorts = {
        long: short for short, long in options.synonyms.items() if len(short) == 1
    }
    withValue = {name[:-1] for name in options.longOpt if name.endswith("=")}
    names = {name.rstrip("=") for name in options.longOpt}
    for name in sorted(names):
        help = options.docs.get(name)
        if help is None:
            method = getattr(options, f"opt_{name.replace('-', '_')}")
            help = method.__doc__ or ""
        value = "=\\fIVALUE\\fR" if name in withValue else ""
        term = f"{_bold(f'--{name}')}{value}"
        if name in shorts:
            short = " \\fIVALUE\\fR" if name in withValue else ""
            term = f"{_bold(f'-{shorts[name]}')}{short}, {term}"
        yield term, help


def _configuration() -> Iterator[str]:
    what = "configuration of the Web Processing Service qgswps"
    yield from _head("qgswps.conf", 5, what, "File Formats")
    yield ".SH SYNOPSIS"
    yield f"\\fI{_CONF}\\fR"
    yield ".SH DESCRIPTION"
    yield from _paragraphs(
        "An ini file in UTF-8. # or ; begins a line of comment; a line that is"
        " indented goes on with the value before it. There is no interpolation. A"
        " relative path starts from the file's folder.",
        "Each key has a variable of the environment, which overrides the file:"
        " QGSWPS_SECTION_KEY, in capitals and with _ for what is no letter or digit."
        " Options of the command line override both.",
        "An unknown section or key is an error, and so is a value that is not as it"
        f" has to be: twistd3 qgswps --config {_CONF} --check says what is wrong, or"
        " what is in force and where it comes from.",
    )
    for section in SECTIONS:
        yield from _section(section)
    yield ".SH SECTIONS WITHOUT MEANING"
    yield from _paragraphs("Configurations of other servers may have these.")
    yield from _items(
        (_bold(f"[{name}]"), f"Warned about: {text}.")
        for name, text in OBSOLETE_SECTIONS.items()
    )
    yield ".SH SEE ALSO"
    yield "\\fBqgswps\\fR(8)"


def _section(section: Section) -> Iterator[str]:
    yield f".SH [{_text(section.name.upper())}]"
    yield from _paragraphs(f"Section [{section.name}]. {section.help}")
    if section.cls is None:
        yield from _paragraphs(f"Values: {section.kind.expected}.")
    for key in section.keys:
        yield from _items([(_bold(key.name), key.help)])
        yield ".RS"
        for fact in _facts(key):
            yield ".PP"
            yield fact
        yield ".RE"
    if section.obsolete:
        yield from _paragraphs("Without meaning, and warned about:")
        yield from _items(
            (_bold(name), f"{text}.") for name, text in section.obsolete.items()
        )


def _facts(key: Key) -> Iterator[str]:
    kind: Kind[object] = key.kind
    default = _bold(key.defaultText) if key.defaultText else "empty"
    yield f"Value: {_text(kind.expected)}. Default: {default}."
    names = ", ".join(map(_bold, key.variables))
    option = f" Option: {_bold(f'--{key.option.name}')}." if key.option else ""
    yield f"Environment: {names}.{option}"
    others = [*key.aliases, *key.deprecated]
    also = f"Also named {', '.join(map(_bold, others))}. " if others else ""
    yield f"{also}Since {_text(key.since)}."
