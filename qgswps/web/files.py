"""What jobs have made, for download."""

from __future__ import annotations

import os
from typing import Any

from twisted.web.http import Request

from qgswps.errors import Fault, OWSError
from qgswps.jobs.spool import OUTPUTS, Spool
from qgswps.threads import inThread
from qgswps.web.access import JobAccess
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


def listed(root: str) -> list[tuple[str, int]]:
    """The names and sizes, in bytes, of a job's outputs.  Looks at the disk."""
    found = []
    for folder, _, names in os.walk(root):
        for name in names:
            path = os.path.join(folder, name)
            if os.path.isfile(path) and not os.path.islink(path):
                found.append((os.path.relpath(path, root), os.path.getsize(path)))
    return sorted(found)


class FilesEndpoint:
    """Answers C{/jobs/{uuid}/files} and C{/jobs/{uuid}/files/{name}}."""

    def __init__(
        self,
        reactor: Any,
        access: JobAccess,
        spool: Spool,
        addresses: Addresses,
    ) -> None:
        self._reactor = reactor
        self._access = access
        self._spool = spool
        self._addresses = addresses

    def _outputs(self, jobId: str) -> str:
        return os.path.join(self._spool.directory(jobId), OUTPUTS)

    async def listFiles(self, request: Request, jobId: str) -> Response:
        """The files of a job."""
        await self._access.job(request, jobId)
        base = self._addresses.base(request)
        found = await inThread(self._reactor, listed, self._outputs(jobId))
        return jsonResponse(
            {
                "files": [
                    {
                        "name": name,
                        "content_length": size,
                        "store_url": self._addresses.file(base, jobId, name),
                    }
                    for name, size in found
                ]
            }
        )

    async def sendFile(self, request: Request, jobId: str, path: str) -> Response:
        """One file of a job."""
        await self._access.job(request, jobId)
        found = await inThread(self._reactor, contained, self._outputs(jobId), path)
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
