"""The few pages that people look at: plain tables, no scripts."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Mapping, Sequence
from hashlib import sha256
from html import escape
from typing import Any

from qgswps.web.deferral import Response

#: Seconds after which a page with jobs that go on loads itself again.
_REFRESH = 3

_STYLE = """
body { font-family: sans-serif; margin: 2em; }
table { border-collapse: collapse; }
th, td { padding: .2em .8em; text-align: left; border-bottom: 1px solid #ccc; }
.ERROR_STATUS { color: #a00; }
"""

_PAGE = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
{refresh}<title>{title}</title>
<style>{style}</style>
</head>
<body>
<h1>{title}</h1>
{body}
</body>
</html>
"""


def _hash(style: str) -> str:
    """How a policy names a style (CSP Level 3, section 2.3.1)."""
    return f"sha256-{b64encode(sha256(style.encode()).digest()).decode()}"


#: What keeps a page from running what a job's texts might hold, and from being
#: shown inside another one.
_HEADERS = {
    "Content-Security-Policy": f"default-src 'none'; style-src '{_hash(_STYLE)}';"
    " base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "X-Frame-Options": "DENY",
}


def page(title: str, body: str, refresh: bool = False) -> Response:
    """
    A page.

    @param title: as plain text.
    @param body: as HTML.
    @param refresh: whether it loads itself again after a while.
    """
    again = f'<meta http-equiv="refresh" content="{_REFRESH}">\n' if refresh else ""
    text = _PAGE.format(title=escape(title), body=body, refresh=again, style=_STYLE)
    return Response(text.encode(), "text/html; charset=utf-8", headers=_HEADERS)


def link(url: str, text: str) -> str:
    """A link as HTML, of plain texts."""
    return f'<a href="{escape(url)}">{escape(text)}</a>'


def _row(cells: Sequence[str], tag: str = "td") -> str:
    return "<tr>" + "".join(f"<{tag}>{cell}</{tag}>" for cell in cells) + "</tr>"


def _bar(record: Mapping[str, Any]) -> str:
    percent = record["percent_done"]
    return f'<progress max="100" value="{percent}"></progress> {percent} %'


def jobs(
    records: Sequence[Mapping[str, Any]], turned: Mapping[str, str | None]
) -> Response:
    """
    A page of jobs.

    @param turned: the queries of the pages C{newer} and C{older}.
    """
    rows = [_row(("job", "process", "state", "progress", "since", "message"), "th")]
    for each in records:
        state = str(each["status"])
        rows.append(
            _row(
                (
                    link(each["record_url"], each["uuid"][:8]),
                    escape(each["identifier"]),
                    f'<span class="{state}">{state}</span>',
                    _bar(each),
                    escape(each["timestamp"]),
                    escape(each["message"][:200]),
                )
            )
        )
    body = "<table>\n" + "\n".join(rows) + "\n</table>\n<p>"
    for name, query in turned.items():
        if query is not None:
            body += link(query, name) + " "
    return page("Jobs", body + "</p>", refresh=not turned.get("newer"))


def job(record: Mapping[str, Any], ended: bool, files: Mapping[str, str]) -> Response:
    """
    One job.

    @param files: what it has made: names and URLs.
    """
    rows = []
    for name, value in record.items():
        if value is None or name == "percent_done":
            continue
        text = str(value)
        shown = link(text, text) if text.startswith("http") else escape(text)
        rows.append(_row((escape(name), shown)))
    links = [link(url, name) for name, url in files.items()]
    links.append(link(record["log_url"], "Log"))
    body = f"<p>{_bar(record)}</p>\n<ul>\n"
    body += "".join(f"<li>{each}</li>\n" for each in links)
    body += "</ul>\n<table>\n" + "\n".join(rows) + "\n</table>"
    return page(f"Job {record['uuid']}", body, refresh=not ended)
