"""The server's public URLs."""

from __future__ import annotations

from urllib.parse import quote, urlencode

from twisted.web.http import Request

from qgswps.model import SERVICES, resultProject
from qgswps.web.proxies import HOST, Proxies, urlIn

#: The headers that L{Addresses.base} depends on.
_PROXY_HEADERS = ", ".join(
    (
        *("X-Forwarded-Url", "X-Forwarded-For", "X-Forwarded-Proto"),
        *("X-Forwarded-Host", "Forwarded"),
    )
)


class Addresses:
    """
    Makes the URLs that documents hold.

    @ivar configured: the public base URL, ending in C{/}; empty to take it
        from the request.
    @ivar proxies: those whose headers are believed.
    @ivar mapService: the URL of the service for references to layers; empty
        for this server's own.
    @ivar mapPrefix: what MAP begins with in them.
    """

    def __init__(
        self,
        configured: str = "",
        proxies: Proxies | None = None,
        mapService: str = "",
        mapPrefix: str = "wps-results:",
    ) -> None:
        self.configured = configured
        self.proxies = proxies or Proxies()
        self.mapService = mapService
        self.mapPrefix = mapPrefix

    def base(self, request: Request) -> str:
        """The base of all URLs, ending in C{/}."""
        if self.configured:
            return self.configured
        if self.proxies.believes(request):
            url = urlIn(request, "X-Forwarded-Url")
            if url is not None:
                return url.rstrip("/") + "/"
        forwarded = self.proxies.forwarded(request)
        scheme = forwarded.scheme or ("https" if request.isSecure() else "http")
        host = forwarded.host or request.getHeader("Host") or ""
        if not HOST.fullmatch(host):
            address = request.getHost()
            name = getattr(address, "host", "localhost")
            port = getattr(address, "port", 80)
            host = f"[{name}]:{port}" if ":" in name else f"{name}:{port}"
        return f"{scheme}://{host}/"

    @property
    def vary(self) -> str:
        """The headers that L{base} depends on, beside C{Host}."""
        return _PROXY_HEADERS if self.proxies.isThere and not self.configured else ""

    def maps(self, request: Request) -> str:
        """The map service that references to layers lead to."""
        given = None
        if self.proxies.believes(request):
            given = urlIn(request, "X-Qgis-Service-Url")
        return given or self.mapService or self.service(self.base(request))

    def layer(
        self, maps: str, jobId: str, processId: str, layer: str, mimeType: str
    ) -> str:
        """
        Where a map service says what it knows of a result layer.

        @param maps: the URL of the service.
        @param mimeType: one of L{SERVICES}.
        """
        # To be read by people, too: only what has to be is quoted.
        project = f"{self.mapPrefix}{jobId}/{resultProject(processId)}"
        return (
            f"{maps}?MAP={quote(project, safe=':/')}&service={SERVICES[mimeType]}"
            f"&request=GetCapabilities&layers={quote(layer, safe='')}"
        )

    @staticmethod
    def service(base: str) -> str:
        """The OWS endpoint."""
        return f"{base}ows/"

    @staticmethod
    def capabilities(base: str) -> str:
        """The service's Capabilities."""
        return f"{base}ows/?service=WPS&request=GetCapabilities"

    @staticmethod
    def status(base: str, jobId: str) -> str:
        """
        Where the ExecuteResponse of a job is. Clients cut the job's id out of
        it by one of its two names (C{executionId}: MapStore).
        """
        query = urlencode(
            {
                "service": "WPS",
                "version": "1.0.0",
                "request": "GetResults",
                "executionId": jobId,
                "uuid": jobId,
            }
        )
        return f"{base}ows/?{query}"

    @staticmethod
    def record(base: str, jobId: str) -> str:
        """Where the status record of a job is."""
        return f"{base}status/{jobId}"

    @staticmethod
    def request(base: str, jobId: str) -> str:
        """Where the request that made a job is."""
        return f"{base}status/{jobId}?key=request"

    @staticmethod
    def files(base: str, jobId: str) -> str:
        """Where the list of a job's files is."""
        return f"{base}jobs/{jobId}/files"

    @staticmethod
    def archive(base: str, jobId: str) -> str:
        """Where all files of a job are, as a ZIP archive."""
        return f"{base}jobs/{jobId}/files.zip"

    @staticmethod
    def log(base: str, jobId: str) -> str:
        """Where the log of a job's run is."""
        return f"{base}jobs/{jobId}/log"

    @staticmethod
    def file(base: str, jobId: str, path: str) -> str:
        """
        Where a file of a job is.

        @param path: relative to the job's outputs.
        """
        return f"{base}jobs/{jobId}/files/{quote(path, errors='surrogateescape')}"
