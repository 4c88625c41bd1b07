"""
The resource tree.

    /                              landing page, or the OWS endpoint
    /ows/                          the OWS endpoint: WPS, and the map services
    /status/                       a page of jobs
    /status/{uuid}                 a job
    /jobs/{uuid}/files             what a job has made
    /jobs/{uuid}/files/{name}      one of these
    /jobs/{uuid}/files.zip         all of them, with the log
    /jobs/{uuid}/log               what the run has printed
    /jobs/{uuid}/wfs3/…            its layers, by OGC API Features

L{qgswps.web.monitoring} has more, for those who watch the server.
"""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from html import escape
from typing import Any

from twisted.web.resource import IResource, Resource
from twisted.web.server import Request, Site

from qgswps import __version__
from qgswps.errors import Fault, OWSError
from qgswps.model import Job
from qgswps.ows import kvp
from qgswps.web import mapquery, pages
from qgswps.web.access import JobAccess
from qgswps.web.connections import Connections
from qgswps.web.deferral import (
    Deferral,
    ErrorDocument,
    Handler,
    Response,
    jsonError,
)
from qgswps.web.files import FilesEndpoint
from qgswps.web.guard import GuardedRequest, Rules, accessLine, refusing
from qgswps.web.http import Channel
from qgswps.web.maps import ByService, MapsEndpoint
from qgswps.web.ows import OWSEndpoint, exceptionReport
from qgswps.web.status import StatusEndpoint

#: The record of the job that a request names.
LookUp = Callable[[Request, str], Awaitable[Job]]

#: Answers a request that is about a job; given what of the path is left.
JobHandler = Callable[[Request, Job, str], Awaitable[Response]]


def notFound(errorDocument: ErrorDocument = jsonError) -> Deferral:
    """The answer to a path that there is not."""

    async def answer(request: Request) -> Response:
        path = (request.path or b"").decode("utf-8", "replace")
        raise OWSError(
            Fault("InvalidParameterValue", f"there is no {path!r} here"), 404
        )

    handlers = {b"GET": answer, b"POST": answer, b"DELETE": answer}
    return Deferral(handlers, errorDocument)


class JobRoutes(Resource):
    """
    The routes to single jobs below one folder.

    Whoever asks for a job is first asked whether it is his: a handler gets
    the record, and can't be reached otherwise.

    @ivar routes: by what follows the job's id, and by HTTP method; an empty
        name stands for the id alone.
    """

    def __init__(
        self,
        lookUp: LookUp,
        routes: Mapping[str, Mapping[bytes, JobHandler]],
        index: Handler | None = None,
    ) -> None:
        """
        @param lookUp: a method of L{JobAccess}.
        @param index: answers the folder itself.
        """
        super().__init__()
        self.routes = routes
        self._lookUp = lookUp
        self._index = index

    def getChild(self, name: bytes, request: Request) -> IResource:
        jobId = name.decode("utf-8", "replace")
        if not jobId:
            return notFound() if request.postpath else self._indexResource()
        # Names of files may be of any bytes.
        rest = [os.fsdecode(part) for part in request.postpath or ()]
        if rest and not rest[-1]:
            rest.pop()
        handlers = self.routes.get(rest[0] if rest else "")
        path = "/".join(rest[1:])
        if handlers is None:
            return notFound()
        bound = {
            method: self._guarded(handler, jobId, path)
            for method, handler in handlers.items()
        }
        return Deferral(bound)

    def _guarded(self, handler: JobHandler, jobId: str, path: str) -> Handler:
        async def answer(request: Request) -> Response:
            job = await self._lookUp(request, jobId)
            return await handler(request, job, path)

        return answer

    def _indexResource(self) -> Deferral:
        if self._index is None:
            return notFound()
        return Deferral({b"GET": self._index})

    def render(self, request: Request) -> int:
        return self._indexResource().render(request)


class Root(Resource):
    """C{/}"""

    def __init__(
        self,
        access: JobAccess,
        ows: OWSEndpoint,
        status: StatusEndpoint,
        files: FilesEndpoint,
        maps: MapsEndpoint,
        title: str,
        abstract: str,
    ) -> None:
        super().__init__()
        self._ows = ByService(
            ows.resource(),
            maps.resource(),
            notFound(exceptionReport),
        )
        capabilities = "ows/?service=WPS&request=GetCapabilities"
        self._page = pages.page(
            title,
            f"<p>{escape(abstract)}</p>\n<ul>\n"
            f"<li>{pages.link(capabilities, 'Capabilities')} (WPS 1.0.0)</li>\n"
            f"<li>{pages.link('status/', 'Jobs')}</li>\n</ul>\n"
            f"<p>qgswps {__version__}</p>",
        )

        async def show(request: Request, job: Job, path: str) -> Response:
            if path:
                raise OWSError(Fault("InvalidParameterValue", "there is no such"), 404)
            return await status.showJob(request, job)

        async def dismiss(request: Request, job: Job, path: str) -> Response:
            return await status.dismissJob(request, job)

        jobRoutes: dict[str, Mapping[bytes, JobHandler]] = {
            "files": {b"GET": files.answer},
            "files.zip": {b"GET": files.archive},
            "log": {b"GET": files.log},
            "wfs3": {b"GET": maps.features},
            # So QGIS Server names the forms of its first page.
            "wfs3.json": {b"GET": partial(maps.features, ending=".json")},
            "wfs3.html": {b"GET": partial(maps.features, ending=".html")},
        }
        statusRoutes: dict[str, Mapping[bytes, JobHandler]] = {
            "": {b"GET": show, b"DELETE": dismiss}
        }
        self.putChild(b"ows", self._ows)
        self.putChild(
            b"status",
            JobRoutes(access.job, statusRoutes, status.listJobs),
        )
        self.putChild(b"jobs", JobRoutes(access.localJob, jobRoutes))

    def getChild(self, name: bytes, request: Request) -> IResource:
        if name or request.postpath:
            return notFound()
        _, _, query = request.uri.partition(b"?")
        service = (kvp.parseQuery(query).get("service") or "").upper()
        if service == "WPS" or service in mapquery.NAMES:
            return self._ows

        async def answer(request: Request) -> Response:
            return self._page

        return Deferral({b"GET": answer, b"POST": answer})


class QuietSite(Site):
    """
    A site that says nothing of its own when it starts and stops.

    @ivar maximumBody: the longest body of a request, in bytes.
    @ivar rules: what is in force for all requests.
    @ivar connections: those of all sites of the server.
    """

    noisy = False
    protocol = Channel

    def __init__(
        self,
        reactor: Any,
        root: Resource,
        maximumBody: int,
        rules: Rules,
        connections: Connections,
    ) -> None:
        super().__init__(
            root,
            requestFactory=GuardedRequest,
            reactor=reactor,
            timeout=None,
            logFormatter=accessLine,
        )
        self.maximumBody = maximumBody
        self.rules = rules
        #: Asked by connections that refuse a request.
        self.refusing = refusing
        self.connections = connections


def makeSite(
    reactor: Any,
    root: Resource,
    maximumBody: int,
    rules: Rules | None = None,
    connections: Connections | None = None,
) -> Site:
    """The HTTP server's factory; see L{QuietSite}."""
    if connections is None:
        connections = Connections(reactor)
    return QuietSite(reactor, root, maximumBody, rules or Rules(), connections)
