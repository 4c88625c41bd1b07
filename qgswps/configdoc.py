"""
The shipped configuration file, the reference page and the manual pages, made
from the schema.

C{python3 -m qgswps.configdoc conf}, C{docs}, C{man8} and C{conf5} write them to
the standard output.
"""

from __future__ import annotations

import sys
import textwrap

from qgswps.config import SECTIONS, Key, Section

_CONF_HEAD = """\
The configuration of qgswps.

Each key stands here with its default. To set one, take the # away. The
environment and the command line override this file: the variable of a key is
QGSWPS_<SECTION>_<KEY>. See docs/configuration.md for all of it, and check a
change with: twistd3 qgswps --config FILE --check
"""

_DOCS_HEAD = """\
# Configuration

<!-- Made by `python3 -m qgswps.configdoc docs` from qgswps/config.py. -->

A value comes from one of four places; the later wins:

1. the default,
2. the ini file named by `--config`,
3. the environment,
4. the command line.

Every key has a variable `QGSWPS_<SECTION>_<KEY>`, in capitals and with `_` for what
is no letter or digit; some have a short one too. A variable that is empty counts as
not set. A variable that begins with `QGSWPS_` and is not known is warned about.

The file is in UTF-8. `#` or `;` begins a line of comment; a line that is indented
goes on with the value before it. There is no interpolation. A relative path in the
file starts from the file's folder, elsewhere from the current directory.

`twistd3 qgswps --config FILE --check` says what is in force and where each value
comes from, and ends with status 0; or it names what is wrong, by file, section and
key, and ends with status 1. An unknown section or key is an error.

[`conf/qgswps.conf`](../conf/qgswps.conf) has every key with its default.

What twistd itself does has options before the name of the plugin, such as
`twistd3 --logfile=FILE --pidfile=FILE --uid=USER qgswps …`; see `twistd3 --help`.
"""


def conf() -> str:
    """The ini file: all keys, commented out, with their defaults."""
    parts = [_comment(_CONF_HEAD)]
    for section in SECTIONS:
        parts.append(f"[{section.name}]\n" + _comment(section.help))
        parts.extend(_confKey(key) for key in section.keys)
    return "\n".join(parts)


def _confKey(key: Key) -> str:
    lines = _comment(key.help) + _comment(f"Value: {key.kind.expected}.")
    return lines + f"#{key.name} = {key.defaultText}".rstrip() + "\n"


def _comment(text: str) -> str:
    """Paragraphs, as lines of comment."""
    paragraphs = text.strip().split("\n\n")
    return "#\n".join(
        textwrap.fill(paragraph, 78, initial_indent="# ", subsequent_indent="# ") + "\n"
        for paragraph in paragraphs
    )


def docs() -> str:
    """The reference page, in Markdown."""
    return "\n".join([_DOCS_HEAD, *(_docsSection(section) for section in SECTIONS)])


def _docsSection(section: Section) -> str:
    parts = [f"## [{section.name}]", _fill(section.help)]
    parts.extend(_docsKey(key) for key in section.keys)
    return "\n\n".join(parts) + "\n"


def _docsKey(key: Key) -> str:
    default = f"`{key.defaultText}`" if key.defaultText else "empty"
    facts = [
        f"Value: {key.kind.expected}. Default: {default}.",
        "Environment: " + ", ".join(f"`{name}`" for name in key.variables) + ".",
    ]
    if key.option is not None:
        forms = [f"`--{key.option.name}`"]
        if key.option.short is not None:
            forms.append(f"`-{key.option.short}`")
        means = f" for `{key.option.means}`" if key.option.means else ""
        often = ", repeatable" if key.option.repeatable else ""
        facts.append(f"Command line: {', '.join(forms)}{means}{often}.")
    if key.aliases:
        facts.append(f"Also named: {', '.join(f'`{name}`' for name in key.aliases)}.")
    if key.deprecated:
        names = ", ".join(f"`{name}`" for name in key.deprecated)
        facts.append(f"Formerly named: {names}, which is warned about.")
    facts.append(f"Since {key.since}.")
    listed = "\n".join(_fill(fact, "- ", "  ") for fact in facts)
    return f"### {key.name}\n\n{_fill(key.help)}\n\n{listed}"


def _fill(text: str, first: str = "", rest: str = "") -> str:
    return textwrap.fill(
        text,
        86,
        initial_indent=first,
        subsequent_indent=rest,
        break_on_hyphens=False,
        break_long_words=False,
    )


if __name__ == "__main__":
    from qgswps import manpage

    made = {"conf": conf, "docs": docs, "man8": manpage.man8, "conf5": manpage.conf5}
    if len(sys.argv) != 2 or sys.argv[1] not in made:
        sys.exit(f"usage: python3 -m qgswps.configdoc {'|'.join(made)}")
    sys.stdout.write(made[sys.argv[1]]())
