"""
The resource tree.

    /                              landing page, or the OWS endpoint
    /ows/                          the OWS endpoint
    /status/                       the newest jobs
    /status/{uuid}                 a job
    /jobs/{uuid}/files             what a job has made
    /jobs/{uuid}/files/{name}      one of these
"""

from __future__ import annotations

from html import escape
from typing import Any

from twisted.web.resource import IResource, Resource
from twisted.web.server import Request, Site

from qgswps import __version__
from qgswps.errors import Fault, OWSError
from qgswps.ows import kvp
from qgswps.web.deferral import Deferral, Response, jsonError
from qgswps.web.files import FilesEndpoint
from qgswps.web.ows import OWSEndpoint
from qgswps.web.status import StatusEndpoint

_LANDING = """<!DOCTYPE html>
<html lang="en">
<head><meta charset="utf-8"><title>{title}</title></head>
<body>
<h1>{title}</h1>
<p>{abstract}</p>
<ul>
<li><a href="ows/?service=WPS&amp;request=GetCapabilities">Capabilities</a>
(WPS 1.0.0)</li>
<li><a href="status/">Jobs</a></li>
</ul>
<p>qgswps {version}</p>
</body>
</html>
"""


def notFound() -> Deferral:
    """The answer to a path that there is not."""

    async def answer(request: Request) -> Response:
        path = (request.path or b"").decode("utf-8", "replace")
        raise OWSError(
            Fault("InvalidParameterValue", f"there is no {path!r} here"), 404
        )

    return Deferral({b"GET": answer, b"POST": answer, b"DELETE": answer}, jsonError)


class _Jobs(Resource):
    """C{/jobs/{uuid}/files}"""

    def __init__(self, files: FilesEndpoint, crossOrigin: bool) -> None:
        super().__init__()
        self._files = files
        self._crossOrigin = crossOrigin

    def getChild(self, name: bytes, request: Request) -> IResource:
        jobId = name.decode("utf-8", "replace")
        rest = [part.decode("utf-8", "replace") for part in request.postpath or ()]
        if rest[:1] != ["files"]:
            return notFound()
        path = "/".join(rest[1:])

        async def answer(request: Request) -> Response:
            if path:
                return await self._files.sendFile(request, jobId, path)
            return await self._files.listFiles(request, jobId)

        return Deferral({b"GET": answer}, jsonError, self._crossOrigin)

    def render(self, request: Request) -> int:
        return notFound().render(request)


class _Status(Resource):
    """C{/status/} and C{/status/{uuid}}"""

    def __init__(self, status: StatusEndpoint, crossOrigin: bool) -> None:
        super().__init__()
        self._status = status
        self._crossOrigin = crossOrigin

    def getChild(self, name: bytes, request: Request) -> IResource:
        jobId = name.decode("utf-8", "replace")

        async def answer(request: Request) -> Response:
            if jobId:
                return await self._status.showJob(request, jobId)
            return await self._status.listJobs(request)

        if [part for part in request.postpath or () if part]:
            return notFound()
        return Deferral({b"GET": answer}, jsonError, self._crossOrigin)

    def render(self, request: Request) -> Any:
        return self.getChild(b"", request).render(request)


class Root(Resource):
    """C{/}"""

    def __init__(
        self,
        ows: OWSEndpoint,
        status: StatusEndpoint,
        files: FilesEndpoint,
        title: str,
        abstract: str,
        crossOrigin: bool,
    ) -> None:
        super().__init__()
        self._ows = ows.resource(crossOrigin)
        page = _LANDING.format(
            title=escape(title), abstract=escape(abstract), version=__version__
        )
        self._page = page.encode()
        self.putChild(b"ows", self._ows)
        self.putChild(b"status", _Status(status, crossOrigin))
        self.putChild(b"jobs", _Jobs(files, crossOrigin))

    def getChild(self, name: bytes, request: Request) -> IResource:
        if name:
            return notFound()
        _, _, query = request.uri.partition(b"?")
        if (kvp.parseQuery(query).get("service") or "").upper() == "WPS":
            return self._ows

        async def answer(request: Request) -> Response:
            return Response(self._page, "text/html; charset=utf-8")

        return Deferral({b"GET": answer, b"POST": answer}, jsonError)


class QuietSite(Site):
    """A site that says nothing of its own when it starts and stops."""

    noisy = False


def makeSite(reactor: Any, root: Root) -> Site:
    """The HTTP server's factory."""
    return QuietSite(root, reactor=reactor)
