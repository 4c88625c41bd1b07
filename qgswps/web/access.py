"""Who may see which job: the one way from a request to a job's record."""

from __future__ import annotations

from typing import Any

from twisted.web.http import Request

from qgswps.errors import noSuchJob
from qgswps.interfaces import IJobStore
from qgswps.model import Job


class JobAccess:
    """Gives requests the records of jobs; every route to a job goes here."""

    def __init__(self, store: IJobStore) -> None:
        self._store = store

    async def job(self, request: Request, jobId: str) -> Job:
        """
        A job that the sender of the request may see.

        @raise qgswps.errors.OWSError: there is none.
        """
        job: Job | None = await self._store.get(jobId)
        if job is None:
            raise noSuchJob(jobId)
        return job

    async def jobs(self, request: Request, **conditions: Any) -> list[Job]:
        """
        The jobs that the sender of the request may see, newest first.

        @param conditions: as of L{IJobStore.find}.
        """
        found: list[Job] = await self._store.find(**conditions)
        return found
