"""
The composition root: settings become services.  The only module that knows
all concrete classes.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from fnmatch import fnmatchcase
from typing import Any

from twisted.application import strports
from twisted.application.service import MultiService, Service
from twisted.internet.defer import Deferred
from twisted.internet.error import CannotListenError
from twisted.internet.task import deferLater
from twisted.web.resource import Resource

import qgswps
from qgswps import credentials, landlock, notify, policy
from qgswps.config import Settings
from qgswps.errors import OWSError, StoreError
from qgswps.interfaces import IJobStore
from qgswps.jobs.durable import DurableStore
from qgswps.jobs.queue import JobQueue, Limits
from qgswps.jobs.spool import Spool
from qgswps.jobs.sqlitestore import SQLiteStore
from qgswps.journal import Logger
from qgswps.kinds import ProjectFolder
from qgswps.kinds import SQLiteStore as SQLiteURL
from qgswps.metrics import Metrics
from qgswps.model import SandboxSettings, WorkerSettings
from qgswps.ows.limits import RequestLimits
from qgswps.ows.service import Contact, ServiceIdentification
from qgswps.pool.maps import Limits as MapLimits
from qgswps.pool.maps import MapWorkers
from qgswps.pool.pool import ProcessPool
from qgswps.projects import Projects
from qgswps.references.fetcher import Limits as ReferenceLimits
from qgswps.references.fetcher import References
from qgswps.reload import Reloader
from qgswps.web.access import JobAccess
from qgswps.web.addresses import Addresses
from qgswps.web.authentication import Authenticator, CredentialsKeeper
from qgswps.web.connections import ConnectionLimits, Connections, allow
from qgswps.web.exposure import Exposure, PolicyKeeper
from qgswps.web.files import FilesEndpoint
from qgswps.web.guard import Rules
from qgswps.web.maps import MapsEndpoint
from qgswps.web.monitoring import Monitoring
from qgswps.web.origins import Origins
from qgswps.web.ows import OWSEndpoint
from qgswps.web.proxies import Proxies
from qgswps.web.site import Root, makeSite
from qgswps.web.status import StatusEndpoint
from qgswps.workdir import WorkDirectory

log = Logger()

#: Seconds between tries to open a store that can't be reached.
STORE_RETRY = 5.0


class Engine(Service):
    """
    Store, queue and pool, started and stopped in the order that they need.
    """

    def __init__(
        self,
        reactor: Any,
        store: IJobStore,
        queue: JobQueue,
        pool: ProcessPool,
        maps: MapWorkers | None = None,
        references: References | None = None,
    ) -> None:
        self._reactor = reactor
        self._store = store
        self._queue = queue
        self._pool = pool
        self._maps = maps
        self._references = references
        self._opening: Deferred[None] | None = None
        self._sleeping: Deferred[None] | None = None
        self._stopping = False

    def startService(self) -> None:
        """Start QGIS, open the store, take up what was left behind."""
        super().startService()
        self._pool.startService()
        if self._maps is not None:
            self._maps.start()
        if self._references is not None:
            self._references.start()
        self._opening = Deferred.fromCoroutine(self._open())
        self._opening.addErrback(
            lambda reason: log.failure("the job store can't be used", reason)
        )

    async def _open(self) -> None:
        """Wait for the store; until then the queue takes no jobs."""
        isWaiting = False
        while not self._stopping:
            try:
                await self._store.open()
                await self._queue.recover()
            except StoreError as error:
                log.error("no jobs are taken: {error}", error=error)
                self._queue.refuse("the job store can't be used; the log has why")
                return
            except OWSError as error:
                if error.status != 503:
                    raise
                if not isWaiting:
                    isWaiting = True
                    self._queue.refuse("the job store is away")
                    log.warn(
                        "{error}; no jobs are taken until it is there", error=error
                    )
            else:
                if isWaiting:
                    log.info("the job store is there")
                return
            if not self._stopping:
                self._sleeping = deferLater(self._reactor, STORE_RETRY)
                # It is cancelled when the server stops.
                await self._sleeping.addErrback(lambda _: None)

    def stopService(self) -> Deferred[None]:
        """End the jobs, then the processes, then the store."""
        super().stopService()
        self._stopping = True
        if self._sleeping is not None:
            self._sleeping.cancel()
        return Deferred.fromCoroutine(self._stop())

    async def _stop(self) -> None:
        if self._opening is not None:
            await self._opening
        await self._queue.stop()
        namesStopped = self._references.stop() if self._references is not None else None
        # A process that is still being made ends with the pool.
        mapsStopped = self._maps.stop() if self._maps is not None else None
        await self._pool.stopService()
        if mapsStopped is not None:
            await mapsStopped
        if namesStopped is not None:
            await namesStopped
        await self._store.close()


class Application(MultiService):
    """The whole server: stops listening before it stops working."""

    def __init__(self, engine: Engine) -> None:
        super().__init__()
        self._engine = engine

    def privilegedStartService(self) -> None:
        """
        Listen.

        @raise SystemExit: the port is taken, or not ours to take.
        """
        try:
            super().privilegedStartService()
        except CannotListenError as error:
            raise SystemExit(f"qgswps: {error}") from None

    def startService(self) -> None:
        """Start the engine."""
        self._engine.startService()
        super().startService()

    def stopService(self) -> Deferred[None]:
        """Close the ports, then stop the engine."""
        return Deferred.fromCoroutine(self._stop())

    async def _stop(self) -> None:
        await super().stopService()
        await self._engine.stopService()


def makeStore(settings: Settings, reactor: Any) -> IJobStore:
    """
    The store that the settings name.

    @raise ConfigurationError: a file that it needs can't be used.
    """
    url = settings.storeURL
    if isinstance(url, SQLiteURL):
        return SQLiteStore(reactor, url.path)

    # Not at the top: it brings txredisapi, which only this store needs.
    try:
        from qgswps.jobs.redisstore import Login, RedisStore, makeEndpoint, makeTLS
    except ImportError as error:
        text = f"Redis needs the Python package txredisapi: {error}"
        raise settings.problem("logstorage:redis", "host", text) from None

    redis = settings.redis
    tls = None
    if redis.tls:
        try:
            tls = makeTLS(url.host, redis.tlsCA, redis.tlsCertificate)
        except (OSError, ValueError) as error:
            isCA = bool(redis.tlsCA) and redis.tlsCA in str(error)
            key = "tls_ca" if isCA else "tls_certificate"
            raise settings.problem("logstorage:redis", key, str(error)) from None
    return RedisStore(
        reactor,
        makeEndpoint(reactor, url.host, url.port, redis.timeout, tls),
        redis.prefix,
        Login(redis.username, redis.password, url.dbnum),
        redis.timeout,
    )


#: What of the server's environment QGIS and what it uses need; with C{*} for
#: any end.  Whatever else is there, a password say, is nobody's business.
_ENVIRONMENT = (
    *("PATH", "HOME", "USER", "LOGNAME", "LANG", "LANGUAGE", "LC_*", "TZ"),
    *("LD_LIBRARY_PATH", "LD_PRELOAD", "GLIBC_TUNABLES", "MALLOC_*", "OMP_*"),
    *("OPENBLAS_*", "MKL_*", "PYTHON*", "VIRTUAL_ENV", "QT_*", "XDG_*", "DISPLAY"),
    *("QGIS_*", "GDAL_*", "OGR_*", "OSR_*", "CPL_*", "VSI_*", "PROJ_*", "GEOTIFF_*"),
    *("GISBASE", "GRASS_*", "OTB_*", "SAGA_*", "PGSERVICE*", "PGPASSFILE", "PGSSL*"),
    *("PGSYSCONFDIR", "PGHOST", "PGPORT", "PGUSER", "PGDATABASE", "ODBC*"),
    *("SSL_CERT_*", "CURL_CA_BUNDLE", "REQUESTS_CA_BUNDLE"),
    *("http_proxy", "https_proxy", "ftp_proxy", "no_proxy", "all_proxy"),
    *("HTTP_PROXY", "HTTPS_PROXY", "FTP_PROXY", "NO_PROXY", "ALL_PROXY"),
)


def workerEnvironment(further: Sequence[str] = ()) -> dict[str, str]:
    """
    The environment of the fork servers: what of ours they need.

    @param further: names of variables to be passed on too.
    """
    patterns = (*_ENVIRONMENT, *further)
    environment = {
        name: value
        for name, value in os.environ.items()
        if any(fnmatchcase(name, pattern) for pattern in patterns)
    }
    package = os.path.dirname(os.path.dirname(os.path.abspath(qgswps.__file__)))
    paths = [package, *environment.get("PYTHONPATH", "").split(os.pathsep)]
    environment["PYTHONPATH"] = os.pathsep.join(
        os.path.abspath(path) for path in paths if path
    )
    environment["PYTHONUNBUFFERED"] = "1"
    # Large pages for the heap, where the kernel has them: fewer entries of
    # page tables to copy in each fork.
    environment.setdefault("GLIBC_TUNABLES", "glibc.malloc.hugetlb=1")
    return environment


def workerSettings(settings: Settings, profile: str) -> WorkerSettings:
    """
    How to start QGIS.

    @param profile: absolute path of a folder for QGIS's user profile.
    """
    return WorkerSettings(
        catalogue="",
        profile=profile,
        providersPath=settings.processing.providersModulePath,
        exposedProviders=settings.processing.exposedProviders,
        defaultCRS=settings.processing.defaultCRS,
        qgisSettings=settings.qgisSettings,
        maps=mapsAre(settings),
        authConfigs=settings.processing.authConfigs,
        vectorFormats=settings.processing.vectorFormats,
        rasterFormats=settings.processing.rasterFormats,
        echo=settings.processing.echo,
        vectorExtension=settings.processing.vectorFileext,
        rasterExtension=settings.processing.rasterFileext,
        adjustEllipsoid=settings.processing.adjustEllipsoid,
        sandbox=sandboxSettings(settings),
    )


def sandboxSettings(settings: Settings) -> SandboxSettings:
    """
    What workers are kept from.

    @raise ConfigurationError: a sandbox is required, and can't be had.
    """
    wanted = settings.processing.sandbox
    if wanted == "require" and not landlock.version():
        text = "this kernel has no Landlock, or it is switched off"
        raise settings.problem("processing", "sandbox", text)
    limits = settings.sandbox
    folders = (
        place.path
        for place in settings.schemes.values()
        if isinstance(place, ProjectFolder)
    )
    return SandboxSettings(
        enabled=wanted != "no",
        readable=(
            *filter(None, (settings.projects.rootdir, *folders)),
            *limits.readable,
        ),
        writable=limits.writable,
        ports=limits.ports,
        memory=limits.memory,
        cpuTime=limits.cpuTime,
        fileSize=limits.fileSize,
        disk=limits.disk,
        openFiles=limits.openFiles,
        processes=limits.processes,
        jobs=settings.server.workers,
        nice=limits.nice,
    )


def identification(settings: Settings) -> ServiceIdentification:
    """What the capabilities say of the service."""
    metadata = settings.metadata
    return ServiceIdentification(
        title=metadata.title,
        abstract=metadata.abstract,
        keywords=metadata.keywords,
        fees=metadata.fees,
        accessConstraints=(metadata.accessconstraints,),
        providerName=metadata.providerName or "qgswps",
        providerSite=metadata.providerURL,
        contact=Contact(
            individualName=metadata.contactName,
            positionName=metadata.contactPosition,
            phone=metadata.contactPhone,
            email=metadata.contactEmail,
            deliveryPoint=metadata.contactAddress,
            city=metadata.contactCity,
            administrativeArea=metadata.contactStateorprovince,
            postalCode=metadata.contactPostalcode,
            country=metadata.contactCountry,
        ),
    )


def connectionLimits(settings: Settings) -> ConnectionLimits:
    """What clients may take of the server's time and room."""
    limits = settings.limits
    return ConnectionLimits(
        connections=allow(limits.connections),
        eachAddress=limits.connectionsPerAddress,
        headerSize=limits.headerSize * 2**10,
        parameters=limits.parameters,
        idleTimeout=limits.idleTimeout,
        headerTimeout=limits.headerTimeout,
        bodyTimeout=limits.bodyTimeout,
        bodyRate=limits.bodyRate,
        sendTimeout=limits.sendTimeout,
    )


def mapsAre(settings: Settings) -> str:
    """Where references to results lead; see L{WorkerSettings.maps}."""
    if settings.server.owsServiceURL:
        return "another"
    return "here" if settings.maps.enabled else "nowhere"


def build(
    settings: Settings, reactor: Any, owner: tuple[int, int] | None = None
) -> MultiService:
    """
    The server that the settings describe, not yet started.

    @param owner: user and group that the process is to run as, if these are
        others than now.
    @raise SystemExit: the work directory can't be used.
    @raise ConfigurationError: a file that the settings name can't be used.
    """
    policies = PolicyKeeper(
        reactor, settings.processing.accesspolicy, policy.forSettings(settings)
    )
    try:
        workdir = WorkDirectory(settings.server.workdir, owner)
    except OSError as error:
        text = str(error)
        if owner is not None and isinstance(error, PermissionError):
            text += "; it has to belong to the user of --uid"
        raise SystemExit(
            f"qgswps: {settings.problem('server', 'workdir', text)}"
        ) from None

    metrics = Metrics(qgswps.__version__) if settings.server.metrics else None
    store = DurableStore(reactor, makeStore(settings, reactor))
    spool = Spool(workdir.jobs)
    pool = ProcessPool(
        reactor,
        workdir.pool,
        workerSettings(settings, os.path.join(workdir.pool, "profile")),
        settings.server.workers,
        workerEnvironment(settings.sandbox.environment),
        settings.server.startTimeout,
        settings.server.cancelGrace,
        metrics.forked if metrics is not None else None,
    )
    limits = Limits(
        waiting=settings.server.maxqueuesize,
        timeout=settings.server.responseTimeout,
        expire=settings.server.responseExpiration,
        wait=settings.server.maxqueuetime,
        stopGrace=settings.server.stopGrace,
    )
    mapsFolder = os.path.join(workdir.pool, "maps")
    # They also make projects for archives, which needs no QGIS Server.
    maps = MapWorkers(
        reactor,
        pool,
        mapsFolder,
        MapLimits(
            workers=settings.maps.workers,
            idleTime=settings.maps.idleTime,
            maxRequests=settings.maps.maxRequests,
            waiting=settings.maps.maxqueuesize,
            timeout=settings.maps.timeout,
        ),
    )
    references = References(
        reactor,
        ReferenceLimits(
            megabytes=settings.server.maxinputsize,
            total=settings.server.maxinputtotal,
            timeout=settings.server.referenceTimeout,
            parallel=settings.server.parallelreferences,
            allowed=settings.server.allowedReferences,
            roots=settings.server.allowedFileRoots,
        ),
    )
    queue = JobQueue(
        reactor,
        store,
        pool,
        spool,
        references,
        workdir.instance,
        limits,
        maps.release,
        metrics,
    )
    projects = Projects(
        reactor,
        settings.projects.rootdir,
        pool,
        settings.schemes,
        settings.projects.strictCheck,
    )
    proxies = Proxies(settings.server.httpProxy, settings.server.trustedProxies)
    addresses = Addresses(
        settings.server.hostProxy,
        proxies,
        settings.server.owsServiceURL,
        settings.server.resultsMapURI,
    )
    access = JobAccess(
        store,
        settings.server.enableJobRealm,
        settings.server.adminRealm,
        instance=workdir.instance,
        clock=reactor,
    )
    ows = OWSEndpoint(
        reactor,
        Exposure(pool, policies, proxies),
        queue,
        access,
        spool,
        projects,
        addresses,
        identification(settings),
        settings.server.maxbuffersize * 2**20,
        settings.server.outputfileAsReference,
        RequestLimits(
            settings.limits.inputs,
            settings.limits.parameters,
            settings.limits.xmlDepth,
            settings.limits.xmlMarkup,
        ),
    )
    root = Root(
        access,
        ows,
        StatusEndpoint(reactor, queue, access, spool, addresses),
        FilesEndpoint(reactor, spool, addresses, maps),
        MapsEndpoint(
            reactor,
            maps if settings.maps.enabled else None,
            access,
            spool,
            addresses,
            settings.server.resultsMapURI,
            projects if settings.maps.sourceProjects else None,
            mapsFolder,
        ),
        settings.metadata.title,
        settings.metadata.abstract,
    )
    monitoring = Monitoring(
        reactor, queue, pool, store, settings.server.maxqueuesize, metrics
    )
    monitoring.attach(root, metrics=not settings.server.metricsListen)
    application = Application(Engine(reactor, store, queue, pool, maps, references))
    manager = notify.manager(os.environ, os.getpid())
    if manager is not None:
        notifier = notify.Notifier(reactor, manager, monitoring.status)
        pool.whenReloading(notifier.reloading)
        notifier.setServiceParent(application)
    policies.setServiceParent(application)
    Reloader(
        reactor,
        pool.reload,
        settings.server.restartmon,
        settings.processing.providersModulePath,
        settings.processing.watchInterval,
    ).setServiceParent(application)
    aside = Resource()
    monitoring.attach(aside)
    known = credentials.forSettings(settings)
    authenticator = None
    if known is not None:
        keeper = CredentialsKeeper(reactor, settings.authentication.credentials, known)
        keeper.setServiceParent(application)
        authenticator = Authenticator(
            reactor,
            keeper,
            settings.authentication.realm,
            settings.authentication.maxfailures,
        )
    rules = Rules(
        proxies,
        Origins(settings.server.crossOrigin),
        settings.server.hsts,
        authenticator,
    )
    connections = Connections(reactor, connectionLimits(settings))
    for page, endpoints, inForce in (
        (root, settings.server.endpoints, rules),
        (aside, settings.server.metricsListen, Rules(proxies)),
    ):
        site = makeSite(
            reactor,
            page,
            settings.server.maxbuffersize * 2**20,
            inForce,
            connections,
        )
        for endpoint in endpoints:
            listening = strports.service(endpoint, site, reactor=reactor)
            listening.setServiceParent(application)
    return application
