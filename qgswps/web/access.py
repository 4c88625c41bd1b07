"""
Who may see which job: the one way from a request to a job's record.

With realms on, a job belongs to the bearer of the realm in C{X-Job-Realm}, a
secret word.  A job that is not the caller's is answered like one that is not.
"""

from __future__ import annotations

import hmac
import uuid
from collections.abc import Sequence

import attrs
from twisted.web.http import Request

from qgswps.errors import invalid, noSuchJob
from qgswps.interfaces import IJobStore
from qgswps.model import Job, State

#: The header that carries a realm, in requests and responses.
HEADER = "X-Job-Realm"

#: No realm that a client chooses is longer, in characters.
_LONGEST = 200


@attrs.frozen
class Page:
    """
    Which jobs to list.

    @ivar states: those in one of these; None for any.
    @ivar processId: those of this process; None for any.
    """

    offset: int = 0
    limit: int = 100
    states: Sequence[State] | None = None
    processId: str | None = None


class JobAccess:
    """Gives requests the records of jobs; every route to a job goes here."""

    def __init__(
        self, store: IJobStore, realms: bool = False, adminRealm: str = ""
    ) -> None:
        """
        @param realms: whether jobs belong to the realm that made them.
        @param adminRealm: the realm that sees all jobs; empty for none.
        """
        self._store = store
        self._realms = realms
        self._adminRealm = adminRealm

    def newRealm(self, request: Request) -> str | None:
        """
        The realm of a job that this request makes: the caller's, or a new
        one; None with realms off.

        @raise qgswps.errors.OWSError: it is too long, or not of plain text.
        """
        if not self._realms:
            return None
        realm = request.getHeader(HEADER)
        if not realm:
            return str(uuid.uuid4())
        if len(realm) > _LONGEST or not (realm.isascii() and realm.isprintable()):
            text = f"a realm has at most {_LONGEST} printable characters of ASCII"
            raise invalid(HEADER, text)
        return realm

    async def job(self, request: Request, jobId: str) -> Job:
        """
        A job that the sender of the request may see.

        @raise qgswps.errors.OWSError: there is none.
        """
        job: Job | None = await self._store.get(jobId)
        if job is None or not self._maySee(request, job):
            raise noSuchJob(jobId)
        return job

    async def jobs(self, request: Request, page: Page) -> list[Job]:
        """The jobs that the sender of the request may see, newest first."""
        realm = None
        if self._realms and not self._isAdmin(request):
            # Who has no realm has no jobs.
            realm = request.getHeader(HEADER) or ""
        found: list[Job] = await self._store.find(
            states=page.states,
            processId=page.processId,
            realm=realm,
            offset=page.offset,
            limit=page.limit,
        )
        return found

    def _maySee(self, request: Request, job: Job) -> bool:
        if not self._realms or self._isAdmin(request):
            return True
        return bool(job.realm) and _same(request.getHeader(HEADER), job.realm)

    def _isAdmin(self, request: Request) -> bool:
        return bool(self._adminRealm) and _same(
            request.getHeader(HEADER), self._adminRealm
        )


def _same(given: str | None, secret: str | None) -> bool:
    # Takes the same time wherever they differ.
    return hmac.compare_digest((given or "").encode(), (secret or "").encode())
