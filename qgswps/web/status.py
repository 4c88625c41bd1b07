"""
The status API: the records of jobs, as JSON or as HTML.

    GET    /status/           the newest jobs; limit, offset, status, process
    GET    /status/{uuid}     a job; key=request for what was asked of it
    DELETE /status/{uuid}     dismiss a job, or remove one that has ended
"""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlencode

import attrs
from twisted.web.http import Request

from qgswps import codec
from qgswps.errors import invalid
from qgswps.interfaces import IJobQueue
from qgswps.jobs.spool import Spool
from qgswps.model import ExecuteRequest, Job, State
from qgswps.ows import kvp
from qgswps.threads import inThread
from qgswps.web import pages
from qgswps.web.access import JobAccess, Page, elsewhere, fromSpool
from qgswps.web.addresses import Addresses
from qgswps.web.deferral import Response, jsonResponse

#: The field's names of the states.
STATUS = {
    State.ACCEPTED: "ACCEPTED_STATUS",
    State.STARTED: "STARTED_STATUS",
    State.SUCCEEDED: "DONE_STATUS",
    State.FAILED: "ERROR_STATUS",
    State.DISMISSED: "DISMISS_STATUS",
}

#: What a client may call the states, in lower case.
_NAMES = {
    **{name.lower(): state for state, name in STATUS.items()},
    **{state.value: state for state in State},
}

#: How many jobs a page holds, if the client does not say, and at most.
PAGE = 100
LONGEST_PAGE = 1000


def time(seconds: float | None) -> str | None:
    """Seconds since the epoch as ISO 8601 in UTC."""
    if seconds is None:
        return None
    moment = datetime.fromtimestamp(seconds, UTC)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def record(job: Job, base: str, position: int | None = None) -> dict[str, Any]:
    """
    A job as the clients of the field read it.

    @param base: the base of the server's public URLs.
    @param position: its place in the queue, 1 for the next; None if it does
        not wait, or in another server's.
    """
    return {
        "uuid": job.id,
        "identifier": job.processId,
        "version": job.processVersion,
        "conformance": job.protocol,
        "map": job.map,
        "status": STATUS[job.state],
        "percent_done": int(job.percent),
        "message": job.message,
        "timestamp": time(job.finished or job.started or job.created),
        "time_start": time(job.created),
        "job_start": time(job.started),
        "time_end": time(job.finished),
        "expire_at": time(job.expires),
        "expiration": job.expire,
        "timeout": job.timeout,
        "execute_async": job.asynchronous,
        "pinned": False,
        "realm": job.realm,
        "pid": job.pid,
        "queue_position": position,
        "exit_signal": job.signal,
        "peak_memory": job.peakMemory,
        # With a query: Lizmap's proxy passes that on.
        "status_url": Addresses.status(base, job.id),
        "record_url": Addresses.record(base, job.id),
        "store_url": Addresses.files(base, job.id),
        "log_url": Addresses.log(base, job.id),
        "request": Addresses.request(base, job.id),
    }


def wantsHTML(request: Request) -> bool:
    """The sender is a browser: it names HTML, and before any JSON."""
    accepted = (request.getHeader("Accept") or "").lower()
    html, jsonAt = accepted.find("text/html"), accepted.find("application/json")
    return html >= 0 and (jsonAt < 0 or html < jsonAt)


def readPage(query: kvp.Parameters) -> Page:
    """
    What page a query asks for.

    @raise qgswps.errors.OWSError: a number or the name of a state is wrong.
    """
    return Page(
        offset=_number(query, "offset", 0, 0, 10**9),
        limit=_number(query, "limit", PAGE, 1, LONGEST_PAGE),
        states=_states(query),
        processId=query.get("process") or query.get("identifier"),
    )


def _number(
    query: kvp.Parameters, name: str, default: int, least: int, most: int
) -> int:
    text = query.get(name)
    if text is None:
        return default
    if not (text.isascii() and text.isdigit() and least <= int(text) <= most):
        text = f"{name} is {text[:20]!r}: expected a number from {least} to {most}"
        raise invalid(name, text)
    return int(text)


def _states(query: kvp.Parameters) -> list[State] | None:
    names = query.parts("status") or query.parts("state")
    if not names:
        return None
    unknown = [name for name in names if name.lower() not in _NAMES]
    if unknown:
        expected = ", ".join(state.value for state in State)
        raise invalid("status", f"{unknown[0]!r} is no state: expected {expected}")
    return [_NAMES[name.lower()] for name in names]


class StatusEndpoint:
    """Answers C{/status/} and C{/status/{uuid}}."""

    def __init__(
        self,
        reactor: Any,
        queue: IJobQueue,
        access: JobAccess,
        spool: Spool,
        addresses: Addresses,
    ) -> None:
        self._reactor = reactor
        self._queue = queue
        self._access = access
        self._spool = spool
        self._addresses = addresses

    async def listJobs(self, request: Request) -> Response:
        """A page of jobs, the newest first."""
        base = self._addresses.base(request)
        query = kvp.parseQuery(request.uri.partition(b"?")[2])
        page = readPage(query)
        jobs, more = await self._access.jobs(request, page)
        records = [self._record(job, base) for job in jobs]
        if wantsHTML(request):
            return _varied(pages.jobs(records, _turned(page, more)))
        return _varied(jsonResponse({"status": records}))

    async def showJob(self, request: Request, job: Job) -> Response:
        """One job, or the request that made it."""
        base = self._addresses.base(request)
        query = kvp.parseQuery(request.uri.partition(b"?")[2])
        if query.get("key") == "request":
            self._access.requireLocal(job)
            task = await fromSpool(self._reactor, job, self._spool.task)
            return _request(task.request)
        found = self._record(job, base)
        files = None
        if job.state is State.SUCCEEDED and self._access.isLocal(job):
            files = await inThread(self._reactor, self._spool.outputFiles, job.id)
        if wantsHTML(request):
            links = {
                name: self._addresses.file(base, job.id, name)
                for name, size in files or ()
            }
            return _varied(pages.job(found, job.state.terminal, links))
        if files is not None:
            found["output_files"] = files
        return _varied(jsonResponse({"status": found}))

    async def dismissJob(self, request: Request, job: Job) -> Response:
        """End a job that waits or runs; remove one that has ended."""
        self._access.requireLocal(job)
        if job.state.terminal:
            await self._queue.remove(job.id)
        else:
            dismissed = await self._queue.dismiss(job.id, "dismissed by the client")
            if dismissed is None or not dismissed.state.terminal:
                raise elsewhere(job)
            job = dismissed
        return jsonResponse(
            {"status": self._record(job, self._addresses.base(request))}
        )

    def _record(self, job: Job, base: str) -> dict[str, Any]:
        if not self._access.realms:  # it may be left from when they were on
            job = attrs.evolve(job, realm=None)
        return record(job, base, self._queue.position(job.id))


def _varied(response: Response) -> Response:
    """One that would be another for another Accept."""
    return attrs.evolve(response, headers={**response.headers, "Vary": "Accept"})


def _request(request: ExecuteRequest) -> Response:
    return jsonResponse({"request": json.loads(codec.dumps(request))})


def _turned(page: Page, more: bool) -> dict[str, str | None]:
    """The queries of the pages before and after."""

    def query(offset: int) -> str:
        values: dict[str, Any] = {"limit": page.limit, "offset": offset}
        if page.states is not None:
            values["status"] = ",".join(state.value for state in page.states)
        if page.processId is not None:
            values["process"] = page.processId
        return f"?{urlencode(values)}"

    return {
        "newer": query(max(0, page.offset - page.limit)) if page.offset else None,
        "older": query(page.offset + page.limit) if more else None,
    }
