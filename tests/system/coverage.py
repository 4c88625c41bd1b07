"""
The coverage table: each algorithm of QGIS, whether it is described, without and
with a project, by documents that are valid, and whether the server makes of it
what plain QGIS makes.

    make coverage                 docs/coverage.md
    make coverage ARGS='ID …'     some algorithms, on the screen
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import attrs
from lxml import etree

from tests import live, schemas
from tests.toolbox.oracle import TOOLBOX, Oracle, Verdict, environment
from tests.toolbox.plain import PlainQGIS

PAGE = os.path.join(live.ROOT, "docs", "coverage.md")

_WPS = "{http://www.opengis.net/wps/1.0.0}"
_OWS = "{http://www.opengis.net/ows/1.1}"

#: Those that are compared with plain QGIS.
PROVIDERS = ("3d", "gdal", "native", "qgis")


@attrs.frozen
class Row:
    """
    An algorithm.

    @ivar problems: what is wrong with its descriptions.
    @ivar verdict: what came of running it; None if it was not run.
    """

    identifier: str
    title: str = ""
    problems: tuple[str, ...] = ()
    verdict: Verdict | None = None

    @property
    def provider(self) -> str:
        """The id of its provider."""
        return self.identifier.partition(":")[0]


def published(server: live.LiveServer) -> list[tuple[str, str]]:
    """The identifiers and titles of a server's processes."""
    capabilities = etree.fromstring(server.wps("GetCapabilities").body)
    return [
        (
            process.findtext(f"{_OWS}Identifier") or "",
            process.findtext(f"{_OWS}Title") or "",
        )
        for process in capabilities.iter(f"{_WPS}Process")
    ]


def described(server: live.LiveServer) -> list[Row]:
    """A row for each process of a server, with what is wrong in its descriptions."""

    def look(pair: tuple[str, str]) -> Row:
        identifier, title = pair
        return Row(identifier, title, tuple(_problems(server, identifier)))

    with ThreadPoolExecutor(2) as pool:
        return list(pool.map(look, published(server)))


def _problems(server: live.LiveServer, identifier: str) -> Iterator[str]:
    for parameters in ({}, {"MAP": "world"}):
        answer = server.wps("DescribeProcess", identifier=identifier, **parameters)
        if answer.status != 200:
            yield f"DescribeProcess is answered with {answer.status}"
            continue
        yield from schemas.errors(answer.body, "ProcessDescriptions")


def judged(oracle: Oracle, rows: list[Row]) -> Iterator[Row]:
    """The rows with the verdicts on those that can be compared."""

    def judge(row: Row) -> Row:
        if row.provider not in PROVIDERS:
            return row
        return attrs.evolve(row, verdict=oracle.ask(row.identifier))

    with ThreadPoolExecutor(2) as pool:
        yield from pool.map(judge, rows)


def omitted() -> list[str]:
    """What a server leaves out of the toolbox, with the reasons."""
    done = subprocess.run(
        [
            *(sys.executable, "-c", "from twisted.scripts.twistd import run; run()"),
            *("qgswps", "--list-processes"),
        ],
        env=live.environmentOf(**TOOLBOX),
        cwd=live.ROOT,
        stdout=subprocess.PIPE,
        check=True,
        text=True,
    )
    begin = "not published: "
    lines = done.stdout.splitlines()
    return [line[len(begin) :] for line in lines if line.startswith(begin)]


# The page

_HEAD = """\
# Coverage

Which algorithms of the QGIS here are described, without and with a project, by
documents that are valid against the schemas of WPS 1.0.0; which of them the server
and plain QGIS (`processing.run` in a process of its own) both run with the same
values on the same small data; and whether the results are equal: features and
attributes, pixels, numbers, texts, the content of files. With the access policy
switched off, and with `sandbox.writable` and `sandbox.ports` as the few need them
that write beside their input, or into it, or download something. `make coverage`
writes this page, and a test fails when a row gets worse.

The algorithms of GRASS are described, and run in tests of their own; they are not
compared one by one.
"""


def table(found: list[Row], left: list[str], version: str) -> str:
    """The page as Markdown."""
    lines = [
        _HEAD,
        f"Written {time.strftime('%Y-%m-%d', time.gmtime())}, QGIS {version}.",
        "",
        "| provider | described | valid | executed | equal |",
        "| --- | ---: | ---: | ---: | ---: |",
    ]
    for provider in sorted({row.provider for row in found}):
        mine = [row for row in found if row.provider == provider]
        lines.append(f"| {provider} | {_counts(mine)} |")
    compared = [row for row in found if row.verdict is not None]
    lines.append(f"| {', '.join(PROVIDERS)} | {_counts(compared)} |")
    lines += ["", f"Left out: {len(left)}.", ""]
    lines += [f"- {line}" for line in left]
    lines += [
        "",
        "| algorithm | title | valid | executed | equal | |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    lines += [_line(row) for row in found]
    return "\n".join(lines).replace("\n\n\n", "\n\n") + "\n"


def _counts(rows: list[Row]) -> str:
    valid = sum(not row.problems for row in rows)
    verdicts = [row.verdict for row in rows if row.verdict is not None]
    executed = sum(verdict.executed for verdict in verdicts)
    equal = sum(verdict.equal for verdict in verdicts)
    run = f"{executed} | {equal}" if verdicts else " | "
    return f"{len(rows)} | {valid} | {run}"


def _line(row: Row) -> str:
    verdict = row.verdict
    cells = [
        row.identifier,
        row.title,
        "no" if row.problems else "yes",
        "" if verdict is None else "yes" if verdict.executed else "no",
        "" if verdict is None else "yes" if verdict.equal else "no",
        "; ".join([*row.problems, verdict.note if verdict is not None else ""]),
    ]
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


_ROW = re.compile(r"\| ([^ |]+:[^ |]+) \| .* \| \w+ \| (?:yes|no) \| yes \|")


def known() -> tuple[str, set[str]]:
    """
    What the page says.

    @return: the version of QGIS, and the algorithms whose results are equal.
    """
    with open(PAGE, encoding="utf-8") as file:
        text = file.read()
    version = re.search(r"^Written .*, QGIS ([\d.]+)", text, re.MULTILINE)
    return (
        version[1] if version else "",
        {found[1] for found in map(_ROW.match, text.splitlines()) if found},
    )


def main() -> None:
    """Run it from the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--output", help="file to write the page to")
    parser.add_argument("algorithms", nargs="*", help="only these, without a page")
    options = parser.parse_args()
    absent = schemas.missing()
    if absent is not None:
        sys.exit(absent)
    plain = PlainQGIS()
    try:
        with live.liveServer(**environment(plain)) as server:
            oracle = Oracle(server, plain)
            if options.algorithms:
                chosen = [Row(each) for each in options.algorithms]
            else:
                chosen = described(server)
            found = []
            for row in judged(oracle, chosen):
                found.append(row)
                verdict = row.verdict
                if verdict is not None and (options.algorithms or verdict.note):
                    state = "equal" if verdict.equal else "NOT EQUAL"
                    sys.stderr.write(f"{row.identifier}: {state} {verdict.note}\n")
    finally:
        plain.stop()
    if options.algorithms:
        return
    text = table(found, omitted(), plain.version)
    if options.output:
        with open(options.output, "w", encoding="utf-8") as file:
            file.write(text)
    else:
        sys.stdout.write(text)
    sys.exit(any(row.problems for row in found))


if __name__ == "__main__":
    main()
