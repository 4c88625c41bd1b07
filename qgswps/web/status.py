"""The status API: the records of jobs as JSON."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from twisted.web.http import Request

from qgswps.model import Job, State
from qgswps.web.access import JobAccess
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

#: How many jobs a listing holds.
_LISTED = 100


def time(seconds: float | None) -> str | None:
    """Seconds since the epoch as ISO 8601 in UTC."""
    if seconds is None:
        return None
    moment = datetime.fromtimestamp(seconds, UTC)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def record(job: Job, base: str) -> dict[str, Any]:
    """
    A job as the clients of the field read it.

    @param base: the base of the server's public URLs.
    """
    return {
        "uuid": job.id,
        "identifier": job.processId,
        "version": job.processVersion,
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
        "pid": job.pid,
        "exit_signal": job.signal,
        "peak_memory": job.peakMemory,
        "status_url": Addresses.record(base, job.id),
        "results_url": Addresses.status(base, job.id),
    }


class StatusEndpoint:
    """Answers C{/status/} and C{/status/{uuid}}."""

    def __init__(self, access: JobAccess, addresses: Addresses) -> None:
        self._access = access
        self._addresses = addresses

    async def listJobs(self, request: Request) -> Response:
        """The newest jobs."""
        base = self._addresses.base(request)
        jobs = await self._access.jobs(request, limit=_LISTED)
        return jsonResponse({"status": [record(job, base) for job in jobs]})

    async def showJob(self, request: Request, jobId: str) -> Response:
        """One job."""
        job = await self._access.job(request, jobId)
        return jsonResponse({"status": record(job, self._addresses.base(request))})
