"""
The coverage table: each algorithm of QGIS, and whether it is described, without
and with a project, by documents that are valid.

    make coverage                 docs/coverage.md
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import attrs
from lxml import etree

from tests import live, schemas

_WPS = "{http://www.opengis.net/wps/1.0.0}"
_OWS = "{http://www.opengis.net/ows/1.1}"

#: All of the toolbox, and nothing of the tests' own.
ENVIRONMENT = {
    "QGSWPS_PROCESSING_ACCESSPOLICY": "none",
    "QGSWPS_PROCESSING_PROVIDERS_MODULE_PATH": "",
    "QGSWPS_PROCESSING_ECHO": "no",
}


@attrs.frozen
class Row:
    """
    An algorithm.

    @ivar problems: what is wrong with its descriptions.
    """

    identifier: str
    title: str
    problems: tuple[str, ...] = ()

    @property
    def provider(self) -> str:
        """The id of its provider."""
        return self.identifier.partition(":")[0]


def rows(server: live.LiveServer) -> list[Row]:
    """A row for each process of a server."""
    capabilities = etree.fromstring(server.wps("GetCapabilities").body)
    named = [
        (process.findtext(f"{_OWS}Identifier"), process.findtext(f"{_OWS}Title"))
        for process in capabilities.iter(f"{_WPS}Process")
    ]

    def look(pair: tuple[str, str]) -> Row:
        identifier, title = pair
        return Row(identifier, title, tuple(_problems(server, identifier)))

    with ThreadPoolExecutor(2) as pool:
        return list(pool.map(look, named))


def _problems(server: live.LiveServer, identifier: str) -> Iterator[str]:
    for parameters in ({}, {"MAP": "world"}):
        answer = server.wps("DescribeProcess", identifier=identifier, **parameters)
        if answer.status != 200:
            yield f"DescribeProcess is answered with {answer.status}"
            continue
        yield from schemas.errors(answer.body, "ProcessDescriptions")


def omitted() -> list[str]:
    """What a server leaves out of the toolbox, with the reasons."""
    done = subprocess.run(
        [
            *(sys.executable, "-c", "from twisted.scripts.twistd import run; run()"),
            *("qgswps", "--list-processes"),
        ],
        env=live.environmentOf(**ENVIRONMENT),
        cwd=live.ROOT,
        stdout=subprocess.PIPE,
        check=True,
        text=True,
    )
    begin = "not published: "
    lines = done.stdout.splitlines()
    return [line[len(begin) :] for line in lines if line.startswith(begin)]


def table(found: list[Row], left: list[str]) -> str:
    """The page as Markdown."""
    providers = sorted({row.provider for row in found})
    lines = [
        "# Coverage",
        "",
        "Which algorithms of the QGIS here are described, without and with a project,"
        " by documents that are valid against the schemas of WPS 1.0.0. With the access"
        " policy switched off; `make coverage` writes this page.",
        "",
        f"Written {time.strftime('%Y-%m-%d', time.gmtime())}.",
        "",
        "| provider | described | valid |",
        "| --- | ---: | ---: |",
    ]
    for provider in providers:
        mine = [row for row in found if row.provider == provider]
        valid = sum(not row.problems for row in mine)
        lines.append(f"| {provider} | {len(mine)} | {valid} |")
    lines += ["", f"Left out: {len(left)}.", ""]
    lines += [f"- {line}" for line in left]
    lines += ["", "| algorithm | title | valid |", "| --- | --- | --- |"]
    for row in found:
        title = row.title.replace("|", "\\|")
        lines.append(
            f"| {row.identifier} | {title} | {'; '.join(row.problems) or 'yes'} |"
        )
    return "\n".join(lines).replace("\n\n\n", "\n\n") + "\n"


def main() -> None:
    """Run it from the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--output", help="file to write the page to")
    options = parser.parse_args()
    absent = schemas.missing()
    if absent is not None:
        sys.exit(absent)
    with live.liveServer(**ENVIRONMENT) as server:
        found = rows(server)
    text = table(found, omitted())
    if options.output:
        with open(options.output, "w", encoding="utf-8") as file:
            file.write(text)
    else:
        sys.stdout.write(text)
    sys.exit(any(row.problems for row in found))


if __name__ == "__main__":
    main()
