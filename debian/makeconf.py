"""
The configuration file of the package: that of the project, with the values set
that belong to a Debian system::

    python3 debian/makeconf.py >qgswps.conf
"""

from __future__ import annotations

import sys

from qgswps import configdoc

HEAD = """\
# This is how the package qgswps is set up: the values that are set below differ
# from the defaults.

"""

#: Section, key, value, and what is to be known here.
VALUES = [
    ("server", "workdir", "/var/lib/qgswps", "The unit lets the server write here."),
    (
        "logstorage:redis",
        "host",
        "localhost",
        "A # before the next line keeps jobs in a SQLite file in workdir instead.",
    ),
    ("projects.cache", "rootdir", "/etc/qgswps/projects", ""),
    ("processing", "providers_module_path", "/etc/qgswps/algorithms", ""),
]


def withValues(text: str) -> str:
    """
    Set the values of L{VALUES}.

    @param text: the project's configuration file, each key commented out.
    @raise SystemExit: it lacks one of the keys.
    """
    wanted = {(section, key): rest for section, key, *rest in VALUES}
    lines = []
    section = ""
    for line in text.splitlines():
        lines.append(line)
        if line.startswith("["):
            section = line.strip("[]")
        elif line.startswith("#") and " =" in line:
            rest = wanted.pop((section, line[1:].split(" =")[0]), None)
            if rest is not None:
                value, comment = rest
                if comment:
                    lines.append(f"# {comment}")
                lines.append(f"{line[1:].split(' =')[0]} = {value}")
    if wanted:
        sys.exit(f"makeconf: the configuration has no {sorted(wanted)}")
    return HEAD + "\n".join(lines) + "\n"


if __name__ == "__main__":
    sys.stdout.write(withValues(configdoc.conf()))
