"""What jobs have made, for download."""

from __future__ import annotations

import os
from typing import Any

from twisted.web.http import Request

from qgswps.errors import Fault, OWSError
from qgswps.jobs.spool import LOG, OUTPUTS, Spool
from qgswps.model import Job
from qgswps.threads import inThread
from qgswps.web.addresses import Addresses
from qgswps.web.deferral import Response, jsonResponse

#: Media types of the files that jobs make, by ending.
MEDIA_TYPES = {
    ".geojson": "application/geo+json",
    ".json": "application/json",
    ".gml": "application/gml+xml",
    ".gpkg": "application/geopackage+sqlite3",
    ".tif": "image/tiff",
    ".tiff": "image/tiff",
    ".png": "image/png",
    ".html": "text/html",
    ".csv": "text/csv",
    ".txt": "text/plain",
    ".zip": "application/zip",
    ".pdf": "application/pdf",
    ".xml": "text/xml",
}


def noSuchFile(path: str) -> OWSError:
    """A file that is not, or is not one of the job's outputs."""
    return OWSError(
        Fault("InvalidParameterValue", f"there is no file {path!r}", "file"), 404
    )


def contained(root: str, path: str) -> str:
    """
    The absolute path of an output.  Looks at the disk.

    @param root: the folder of a job's outputs.
    @param path: below it, as a client names it.
    @raise OWSError: it is no file in there, wherever a symbolic link leads.
    """
    if "\0" in path:
        raise noSuchFile(path)
    base = os.path.realpath(root)
    found = os.path.realpath(os.path.join(base, path.lstrip("/")))
    if os.path.commonpath([base, found]) != base or not os.path.isfile(found):
        raise noSuchFile(path)
    return found


class FilesEndpoint:
    """
    Answers C{/jobs/{uuid}/files}, C{/jobs/{uuid}/files/{name}} and
    C{/jobs/{uuid}/log}.
    """

    def __init__(self, reactor: Any, spool: Spool, addresses: Addresses) -> None:
        self._reactor = reactor
        self._spool = spool
        self._addresses = addresses

    async def answer(self, request: Request, job: Job, path: str) -> Response:
        """One file of a job, or a list of them."""
        if path:
            return await self._send(job, path)
        return await self._list(job, self._addresses.base(request))

    async def _list(self, job: Job, base: str) -> Response:
        found = await inThread(self._reactor, self._spool.outputFiles, job.id)
        return jsonResponse(
            {
                "files": [
                    {
                        "name": name,
                        "content_length": size,
                        "store_url": self._addresses.file(base, job.id, name),
                    }
                    for name, size in found
                ]
            }
        )

    async def _send(self, job: Job, path: str) -> Response:
        root = os.path.join(self._spool.directory(job.id), OUTPUTS)
        found = await inThread(self._reactor, contained, root, path)
        ending = os.path.splitext(found)[1].lower()
        name = os.path.basename(found).replace('"', "'")
        return Response(
            contentType=MEDIA_TYPES.get(ending, "application/octet-stream"),
            path=found,
            headers={
                "Content-Disposition": f'inline; filename="{name}"',
                "X-Content-Type-Options": "nosniff",
            },
        )

    async def log(self, request: Request, job: Job, path: str) -> Response:
        """What the run has printed so far; nothing before it runs."""
        if path:
            raise noSuchFile(path)
        found = os.path.join(self._spool.directory(job.id), LOG)
        return Response(
            contentType="text/plain; charset=utf-8",
            path=found
            if await inThread(self._reactor, os.path.isfile, found)
            else None,
            headers={"X-Content-Type-Options": "nosniff", "Cache-Control": "no-store"},
        )
