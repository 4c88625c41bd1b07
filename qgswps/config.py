"""
The configuration: one schema, and the reader that goes by it.

A section of the ini file is an attrs class, a key of it is a field made by
L{key}.  The field carries all that is known of the key, so that the reader,
the command line (L{qgswps.tap}), the shipped file and the reference page
(L{qgswps.configdoc}) can't disagree.

A value comes from the default, the file, the environment or the command
line; the later of these wins.
"""

# A call of key() is no default, it is a field.
# ruff: noqa: RUF009

from __future__ import annotations

import configparser
import difflib
import enum
import os
import re
import unicodedata
from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeVar

import attrs

from qgswps.journal import Logger
from qgswps.kinds import (
    ADDRESSES,
    BASE_URL,
    BOOLEAN,
    CRS,
    ENDPOINTS,
    EXTENSION,
    HOSTS,
    HTTP_URL,
    LINES,
    LIST,
    LOOPBACK,
    MAP_PREFIX,
    NETWORKS,
    ORIGINS,
    PATH,
    PATHS,
    PORTS,
    PROJECTS,
    SECRET,
    STORE,
    TEXT,
    WORD,
    Kind,
    ProjectPlace,
    RedisStore,
    SQLiteStore,
    StoreURL,
    Unfit,
    choice,
    integer,
    mebibytes,
    number,
    pathOr,
)

_log = Logger()

T = TypeVar("T")


class ConfigurationError(Exception):
    """
    A configuration that can't be used.

    @ivar problems: all that is wrong, at least one, each beginning with the
        place: C{FILE: [section] key: …}, C{QGSWPS_X: …} or C{--option: …}.
    """

    def __init__(self, *problems: str) -> None:
        self.problems = problems
        super().__init__("\n".join(problems))


# The schema


@attrs.frozen
class Option:
    """
    The command line's form of a key.

    @ivar name: long name, without dashes.
    @ivar short: one letter, or None.
    @ivar means: the text that the option stands for; None if it takes one.
    @ivar repeatable: the option may be given several times.
    @ivar help: what it does, if the key's own text does not fit.
    """

    name: str
    short: str | None = None
    means: str | None = None
    repeatable: bool = False
    help: str = ""


@attrs.frozen
class Key:
    """
    A key of the configuration.

    @ivar attribute: the field's name in its section's class.
    @ivar help: sentences, for all who read about the key.
    @ivar since: the version that first honoured it.
    @ivar env: names of environment variables, without C{QGSWPS_}, beside the
        one that L{variables} makes of section and key.
    @ivar aliases: other names of the key in the file.
    @ivar deprecated: likewise, but they are warned about.
    """

    kind: Kind[Any]
    default: Any
    help: str
    since: str
    env: tuple[str, ...] = ()
    aliases: tuple[str, ...] = ()
    deprecated: tuple[str, ...] = ()
    option: Option | None = None
    section: str = ""
    name: str = ""
    attribute: str = ""

    @property
    def id(self) -> tuple[str, str]:
        """Section and name."""
        return (self.section, self.name)

    @property
    def names(self) -> tuple[str, ...]:
        """All names of the key in the file, the main one first."""
        return (self.name, *self.aliases, *self.deprecated)

    @property
    def variables(self) -> tuple[str, ...]:
        """The environment variables that set it, the main one first."""
        full = [_variable(self.section, name) for name in self.names]
        short = ["QGSWPS_" + name for name in self.env]
        return tuple(dict.fromkeys([*full, *short]))

    @property
    def defaultText(self) -> str:
        """The default as one writes it."""
        return self.kind.show(self.default)


@attrs.frozen
class Section:
    """
    A section of the configuration.

    @ivar attribute: the field's name in L{Settings}.
    @ivar cls: the class of its value; None for a section of free keys.
    @ivar kind: of the values of free keys.
    @ivar names: a pattern for free keys, and what it stands for; None for any.
    @ivar obsolete: keys of other servers that have no meaning here, with what
        does what they did.  They are warned about.
    @ivar formerly: another name of the section, which is warned about.
    """

    name: str
    attribute: str
    help: str
    cls: type | None
    kind: Kind[Any] = TEXT
    names: tuple[str, str] | None = None
    obsolete: Mapping[str, str] = attrs.field(factory=dict)
    formerly: str = ""
    keys: tuple[Key, ...] = ()


def _variable(section: str, name: str) -> str:
    return "QGSWPS_" + re.sub(r"[^A-Za-z0-9]", "_", f"{section}_{name}").upper()


def key(
    kind: Kind[T],
    default: T,
    help: str,
    *,
    since: str = "0.1",
    name: str | None = None,
    env: Iterable[str] = (),
    aliases: Iterable[str] = (),
    deprecated: Iterable[str] = (),
    option: Option | None = None,
) -> T:
    """
    A field for a key.

    @param name: the key's name in the file; by default that of the
        attribute, C{likeThis} as C{like_this}.
    """
    info = Key(
        kind,
        default,
        help,
        since,
        tuple(env),
        tuple(aliases),
        tuple(deprecated),
        option,
        name=name or "",
    )
    return attrs.field(default=default, repr=not kind.secret, metadata={Key: info})


def _section(
    name: str,
    cls: type[T],
    help: str,
    kind: Kind[Any] = TEXT,
    names: tuple[str, str] | None = None,
    obsolete: Mapping[str, str] | None = None,
    formerly: str = "",
) -> T:
    info = Section(
        name,
        "",
        help,
        cls if attrs.has(cls) else None,
        kind,
        names,
        obsolete or {},
        formerly,
    )
    return attrs.field(factory=cls, metadata={Section: info})


@attrs.frozen
class Server:
    """Where the server listens, what it keeps and how much it does at once."""

    port: int = key(
        integer(0, 65535),
        8080,
        "The TCP port to listen on; 0 for any that is free.",
        env=["SERVER_HTTP_PORT"],
        option=Option("port", "p"),
    )
    interfaces: tuple[str, ...] = key(
        ADDRESSES,
        ("127.0.0.1",),
        "The addresses to listen on; 0.0.0.0 for all of IPv4, :: for all.",
        option=Option("bind", "b"),
    )
    listen: tuple[str, ...] = key(
        ENDPOINTS,
        (),
        "Endpoints to listen on in place of port and interfaces, as Twisted writes"
        " them: tcp:8080, unix:/run/qgswps.sock, systemd:domain=INET:index=0."
        " Several have blanks or new lines between. A port or interfaces that"
        " comes from the environment or the command line overrides endpoints from"
        " before it.",
        option=Option("listen", repeatable=True),
    )
    ssl: bool = key(
        BOOLEAN,
        False,
        "Speak TLS at port and interfaces, with ssl_cert and ssl_key. An endpoint of"
        " listen says so itself, as ssl:8443:privateKey=…:certKey=….",
    )
    sslCert: str = key(
        PATH,
        "",
        "With ssl, a PEM file with the server's certificate and those that lead to"
        " the one that clients trust.",
        name="ssl_cert",
    )
    sslKey: str = key(
        PATH,
        "",
        "With ssl, a PEM file with the certificate's key. Empty if it is in ssl_cert,"
        " too.",
        name="ssl_key",
    )
    workdir: str = key(
        PATH,
        "qgswps-work",
        "The folder for the jobs' files; it is made if there is none.",
        option=Option("workdir"),
    )
    store: StoreURL | None = key(
        STORE,
        None,
        "Where the records of jobs are kept: sqlite:///PATH, with an absolute path,"
        " or redis://HOST:PORT/DB. Empty for the Redis server of the section"
        " logstorage:redis, and if that has no host for the file jobs.sqlite in"
        " workdir. Of a URL here and a host there the one that comes from the later"
        " place wins.",
        option=Option("store"),
    )
    parallelprocesses: int = key(
        integer(0, 4096),
        0,
        "How many jobs run side by side, each in a process of its own; 0 for one a"
        " CPU.",
        option=Option("workers"),
    )
    maxqueuesize: int = key(
        integer(1),
        100,
        "How many jobs may wait for a process; further ones are refused with 503.",
    )
    responseTimeout: int = key(
        integer(1),
        1800,
        "Seconds that a job may run, unless its request has a TIMEOUT.",
    )
    responseExpiration: int = key(
        integer(1),
        86400,
        "Seconds that results are kept, unless the request has an EXPIRE.",
    )
    maxbuffersize: int = key(
        mebibytes(1, 65536),
        100,
        "The largest body of a request, in MiB.",
    )
    maxinputsize: int = key(
        mebibytes(1, 65536),
        100,
        "The largest input that is fetched from where a request refers to, in MiB,"
        " unpacked.",
    )
    maxinputtotal: int = key(
        mebibytes(1, 1048576),
        500,
        "How large all that is fetched for one job may be together, in MiB.",
    )
    referenceTimeout: float = key(
        number(1, 86400),
        120.0,
        "Seconds that the data of a reference has to come.",
    )
    parallelreferences: int = key(
        integer(1, 1024),
        16,
        "How many references are fetched at the same time, of all jobs. Of one job"
        " four are, at most. One that takes longer than two seconds goes on, but no"
        " longer keeps others waiting.",
    )
    allowedReferences: tuple[str, ...] = key(
        HOSTS,
        (),
        "The hosts and networks that references may lead to although they are not of"
        " the public Internet: names, addresses, or networks such as 10.1.0.0/16. A"
        " name allows whatever address it has. Else loopback, private, link-local and"
        " other special addresses are refused.",
    )
    allowedFileRoots: tuple[str, ...] = key(
        PATHS,
        (),
        "The folders of which references may take files, by file: URLs. Empty for"
        " none.",
    )
    outputfileAsReference: bool = key(
        BOOLEAN,
        False,
        "Refer to files in documents, wherever the client does not ask for the file"
        " itself as the answer. If not, files are in the document unless the client"
        " asks for a reference.",
    )
    httpProxy: bool = key(
        BOOLEAN,
        False,
        "The server is behind a proxy of trusted_proxies: believe its headers"
        " Forwarded, X-Forwarded-Url, -Proto, -Host and -For, X-Request-ID, and"
        " X-Lizmap-User and -User-Groups, which an access policy may ask for.",
    )
    trustedProxies: tuple[str, ...] = key(
        NETWORKS,
        LOOPBACK,
        "With http_proxy, the addresses and networks of the proxies whose headers are"
        " believed, such as 127.0.0.1, 10.1.0.0/16. Whoever comes by a UNIX socket is"
        " believed, too.",
    )
    hostProxy: str = key(
        BASE_URL,
        "",
        "The server's public URL, which the URLs in all documents begin with."
        " Empty to take it from the request.",
        aliases=["proxy_url"],
    )
    owsServiceURL: str = key(
        HTTP_URL,
        "",
        "The URL of the map server that references to result layers lead to, without"
        " a query. Empty for this server.",
        name="ows_service_url",
        deprecated=["wms_service_url"],
    )
    resultsMapURI: str = key(
        MAP_PREFIX,
        "wps-results:",
        "What MAP begins with in references to result layers, before the job's id and"
        " the project's name.",
        name="results_map_uri",
        aliases=["wps_result_map_uri"],
        deprecated=["wms_response_uri"],
    )
    cancelGrace: float = key(
        number(0, 3600),
        5.0,
        "Seconds that a job which is cancelled or out of time has to end, before"
        " its processes are killed.",
    )
    startTimeout: float = key(
        number(1, 3600),
        60.0,
        "Seconds that QGIS has to start, before it is killed and started again.",
    )
    maxqueuetime: float = key(
        number(0),
        0.0,
        "Seconds that a job may wait for a process; then it fails with 503. 0 for"
        " any time.",
    )
    restartmon: str = key(
        PATH,
        "",
        "A file that needs not be there. When it is touched, QGIS and all algorithms"
        " are loaded anew, as by SIGHUP. Empty for none.",
    )
    stopGrace: float = key(
        number(0, 3600),
        10.0,
        "Seconds that running jobs may go on when the server is told to stop.",
    )
    enableJobRealm: bool = key(
        BOOLEAN,
        False,
        "Jobs belong to the realm in the header X-Job-Realm of the request that"
        " made them, a secret word; nobody else sees them.",
    )
    adminRealm: str = key(
        SECRET,
        "",
        "The realm that sees all jobs, with enable_job_realm. Empty for none.",
    )
    crossOrigin: tuple[str, ...] = key(
        ORIGINS,
        ("*",),
        "Let pages of other origins use the service (CORS): yes or * for all, or the"
        " origins, such as https://maps.example.org, with commas between. Only those"
        " that are named here may do so in the name of who is logged in.",
    )
    hsts: int = key(
        integer(0),
        0,
        "Seconds for which browsers are told to come by https alone"
        " (Strict-Transport-Security), such as 31536000; 0 for nothing. It is said to"
        " who has come by https.",
    )
    metrics: bool = key(
        BOOLEAN,
        True,
        "Keep figures on jobs and processes, and give them to Prometheus at"
        " /metrics. They name the processes that have run, and nothing of clients.",
    )
    metricsListen: tuple[str, ...] = key(
        ENDPOINTS,
        (),
        "Endpoints that have nothing but /metrics, /healthz and /readyz, such as"
        " tcp:9100:interface=127.0.0.1. /metrics is then there alone. Empty to have it"
        " beside all else.",
    )

    @property
    def workers(self) -> int:
        """How many jobs run side by side, a positive number."""
        return self.parallelprocesses or len(os.sched_getaffinity(0))

    @property
    def endpoints(self) -> tuple[str, ...]:
        """The endpoints to listen on, for C{serverFromString}."""
        return self.listen or tuple(map(self._endpoint, self.interfaces))

    def _endpoint(self, address: str) -> str:
        name = "tcp6" if ":" in address else "tcp"
        files = ""
        if self.ssl:
            name = "ssl"
            key = _quoted(self.sslKey or self.sslCert)
            files = f":privateKey={key}:certKey={_quoted(self.sslCert)}"
        # Of Twisted's 50, clients that come at once wait for seconds.
        where = f"{name}:port={self.port}:interface={_quoted(address)}"
        return f"{where}:backlog=1024{files}"


def _quoted(text: str) -> str:
    """A text as the descriptions of endpoints have it."""
    return text.replace("\\", "\\\\").replace(":", "\\:")


@attrs.frozen
class Authentication:
    """Who may use the server."""

    credentials: str = key(
        PATH,
        "",
        "A file with the names of those who may use the server, and the hashes of"
        " their passwords or tokens; see docs/security.md. It is read again when it"
        " changes. Empty to let everybody.",
    )
    realm: str = key(
        TEXT,
        "qgswps",
        "What clients tell their users that the password is for.",
    )
    maxfailures: int = key(
        integer(1),
        10,
        "How many wrong passwords and tokens may come from an address in a minute;"
        " then it is told to wait, with 429.",
    )


@attrs.frozen
class ClientLimits:
    """What clients may take of the server's room and time."""

    connections: int = key(
        integer(16),
        2000,
        "How many connections there may be. When there are as many, the one that has"
        " waited longest for its client is closed for the next one; a request that is"
        " being answered never is.",
    )
    connectionsPerAddress: int = key(
        integer(0),
        0,
        "How many of these one address may have, of IPv6 one network of 64 bits; 0"
        " for all. A proxy needs more than all its clients together.",
    )
    idleTimeout: float = key(
        number(1, 86400),
        60.0,
        "Seconds that a connection may be without a request.",
    )
    headerTimeout: float = key(
        number(1, 3600),
        20.0,
        "Seconds for the first line and the headers of a request to come.",
    )
    bodyTimeout: float = key(
        number(1, 3600),
        30.0,
        "Seconds that a body may stand still, and that it may take beyond what its"
        " length takes at body_rate.",
    )
    bodyRate: float = key(
        number(1),
        512.0,
        "Bytes a second that a body has to have, on average.",
    )
    sendTimeout: float = key(
        number(1, 3600),
        60.0,
        "Seconds that a client may take for 64 KiB of an answer.",
    )
    headerSize: int = key(
        integer(4, 1024),
        128,
        "How long the first line and the headers of a request may be together, in"
        " KiB. Each of them has at most 64.",
    )
    parameters: int = key(
        integer(10),
        1000,
        "How many parameters a request by KVP may have.",
    )
    inputs: int = key(
        integer(1),
        1000,
        "How many inputs an Execute may have, and how many outputs.",
    )
    xmlDepth: int = key(
        integer(16, 2000),
        256,
        "How deep the elements of a request in XML may be in each other.",
    )
    xmlMarkup: int = key(
        integer(1000),
        1_000_000,
        "How many tags and attributes a request in XML may have. Each takes up to"
        " 250 bytes of memory while it is read. Data in CDATA has none but those that"
        " it looks to have.",
    )


@attrs.frozen
class Redis:
    """The Redis server that keeps the records of jobs, if there is one."""

    host: str = key(
        TEXT,
        "",
        "The server's name or address, or the absolute path of its UNIX socket."
        " Empty to keep jobs elsewhere.",
        env=["REDIS_HOST"],
    )
    port: int = key(
        integer(1, 65535), 6379, "The server's TCP port.", env=["REDIS_PORT"]
    )
    dbnum: int = key(
        integer(0, 9999), 0, "The number of the database.", env=["REDIS_DBNUM"]
    )
    prefix: str = key(
        WORD,
        "qgswps",
        "What the names of all keys in the database begin with, before a colon."
        " Servers with the same prefix see each other's jobs.",
        env=["REDIS_PREFIX"],
    )
    username: str = key(
        TEXT,
        "",
        "Whom to log in as. Empty for Redis's own default.",
        env=["REDIS_USERNAME"],
    )
    password: str = key(
        SECRET,
        "",
        "The password. Empty for none. In the environment other users can't read it.",
        env=["REDIS_PASSWORD"],
    )
    tls: bool = key(BOOLEAN, False, "Speak TLS with the server.", env=["REDIS_TLS"])
    tlsCA: str = key(
        PATH,
        "",
        "With tls, a PEM file with the certificates that may have signed the server's."
        " Empty for those that the system trusts.",
        name="tls_ca",
        env=["REDIS_TLS_CA"],
    )
    tlsCertificate: str = key(
        PATH,
        "",
        "With tls, a PEM file with a certificate and its key to show to the server."
        " Empty for none.",
        env=["REDIS_TLS_CERTIFICATE"],
    )
    timeout: float = key(
        number(0.1, 600),
        5.0,
        "Seconds that the server has for each answer. Then it counts as away, until"
        " it can be reached again.",
        env=["REDIS_TIMEOUT"],
    )


@attrs.frozen
class Logging:
    """What is logged.  Where to is for C{twistd --logfile} and C{--logger}."""

    level: str = key(
        choice(
            "critical",
            "error",
            "warn",
            "info",
            "debug",
            warning="warn",
            fatal="critical",
        ),
        "info",
        "The least level to log: critical, error, warn, info or debug.",
        env=["LOGLEVEL"],
        option=Option("debug", "d", means="debug", help="Log at level debug."),
    )


@attrs.frozen
class Projects:
    """Which projects a request may name."""

    rootdir: str = key(
        PATH,
        "",
        "The folder that has the projects a request may name by MAP. Empty for no"
        " projects.",
        env=["CACHE_ROOTDIR"],
    )
    strictCheck: bool = key(
        BOOLEAN,
        True,
        "Refuse projects with layers that can't be opened. If not, these layers are"
        " just not offered.",
        env=["CACHE_STRICT_CHECK"],
    )


@attrs.frozen
class Maps:
    """How the maps of projects are served by QGIS Server."""

    enabled: bool = key(
        BOOLEAN,
        True,
        "Serve the results of jobs by WMS, WFS, WCS, WMTS and OGC API Features.",
    )
    sourceProjects: bool = key(
        BOOLEAN,
        False,
        "Serve the projects that requests may name by MAP, too.",
    )
    workers: int = key(
        integer(1, 256),
        2,
        "How many processes serve maps side by side, each for one project at a time.",
    )
    idleTime: float = key(
        number(1, 86400),
        60.0,
        "Seconds after which a process that has nothing to do ends.",
    )
    maxRequests: int = key(
        integer(1),
        1000,
        "How many requests a process answers before a new one takes its place.",
    )
    maxqueuesize: int = key(
        integer(1),
        100,
        "How many requests may wait for a process; further ones are refused with 503.",
    )
    timeout: float = key(
        number(1, 3600),
        60.0,
        "Seconds that a request may take, waiting included.",
    )


@attrs.frozen
class Processing:
    """Which algorithms are published, and how they run."""

    providersModulePath: tuple[str, ...] = key(
        PATHS,
        (),
        "Folders with algorithms to publish too: in scripts/ and models/, and in"
        " folders of QGIS plugins; or a plugin's folder itself. See"
        " docs/algorithms.md.",
    )
    exposedProviders: tuple[str, ...] = key(
        LIST,
        (),
        "The providers to publish, such as native, qgis, gdal, script. Empty for"
        " all that there are.",
    )
    watchInterval: float = key(
        number(0, 3600),
        2.0,
        "Seconds between looks at the scripts, models and plugins in"
        " providers_module_path. When some have changed, and look the same twice, all"
        " algorithms are loaded anew. 0 to look only when told to.",
    )
    accesspolicy: str = key(
        pathOr("default", "none"),
        "default",
        "A YAML file that says which processes and inputs are shown to whom; see"
        " docs/policy.md. It is read again when it changes. default is the shipped"
        " one, which hides what reaches the network, a database or the shell on a"
        " client's word; none hides nothing.",
    )
    sandbox: str = key(
        choice("yes", "require", "no"),
        "yes",
        "Each job can read the system's programs, the projects and the algorithms,"
        " and can write to its own directory and nowhere else, by Landlock (Linux"
        " 5.13). yes is where the kernel can; require has the server not start where"
        " it can't.",
    )
    defaultCRS: str = key(
        CRS,
        "EPSG:4326",
        "The CRS of jobs that name no project.",
        name="default_crs",
    )
    authConfigs: tuple[str, ...] = key(
        LIST,
        (),
        "Ids of QGIS's authentication configurations that clients may name as"
        " inputs. Empty for none.",
        name="auth_configs",
    )
    vectorFormats: tuple[str, ...] = key(
        LIST,
        (),
        "Further formats that vector results can be had in: names of GDAL's"
        " drivers that write files, such as GPX, DXF, XLSX, MapInfo File.",
    )
    rasterFormats: tuple[str, ...] = key(
        LIST,
        (),
        "Further formats that raster results can be had in, such as JPEG, AAIGrid,"
        " HFA.",
    )
    echo: bool = key(
        BOOLEAN,
        False,
        "Publish the process echo, which gives back a text, a number, data and a"
        " bounding box, after a pause if one is asked for. It is for trying out"
        " clients, and each pause holds a process.",
    )
    vectorFileext: str = key(
        EXTENSION,
        "",
        "The format that vector results have where the client asks for none, by its"
        " extension: gpkg, fgb, gml, shp … or one of vector_formats. Empty for"
        " GeoJSON.",
        name="vector.fileext",
    )
    rasterFileext: str = key(
        EXTENSION,
        "",
        "Likewise for raster results: tif, nc, png … or one of raster_formats. Empty"
        " for GeoTIFF.",
        name="raster.fileext",
    )
    adjustEllipsoid: bool = key(
        BOOLEAN,
        False,
        "Give result projects the ellipsoid of their CRS, not the one of the project"
        " that they come from.",
    )


@attrs.frozen
class SandboxKeys:
    """What a job can do and use; see docs/security.md."""

    readable: tuple[str, ...] = key(
        PATHS,
        (),
        "Further folders and files that jobs may read, such as those that layers of"
        " projects are in. The folders of projects and algorithms are read anyway.",
    )
    writable: tuple[str, ...] = key(
        PATHS,
        (),
        "Further folders that jobs may read and write, for algorithms of your own"
        " that keep something. All jobs share them.",
    )
    ports: tuple[int, ...] | None = key(
        PORTS,
        (80, 443, 5432),
        "The TCP ports, of any host, that jobs may connect to (Linux 6.7); any for"
        " all.",
    )
    environment: tuple[str, ...] = key(
        LIST,
        (),
        "Names of further environment variables that jobs get. They get those that"
        " QGIS, GDAL, PROJ, GRASS, PostgreSQL and Python need, and no others.",
    )
    memory: int = key(
        integer(0),
        8192,
        "The memory that a job may have, in MiB: one process gets no more, and a job"
        " whose processes have more together is ended. 0 for no limit.",
    )
    cpuTime: int = key(
        integer(0),
        0,
        "The CPU time that one process of a job may use, in seconds; 0 for no limit.",
    )
    fileSize: int = key(
        integer(0),
        10240,
        "The largest file that a job may write, in MiB; 0 for no limit.",
    )
    disk: int = key(
        integer(0),
        20480,
        "The room that all files of a job may take, in MiB. A job that takes more,"
        " which is looked at each second, is ended, and what it has written is"
        " removed. 0 for no limit.",
    )
    openFiles: int = key(
        integer(0),
        1024,
        "How many files one process of a job may have open; 0 for no limit.",
    )
    processes: int = key(
        integer(0),
        128,
        "How many processes a job may have at a time; one that has more is ended. 0"
        " for no limit.",
    )
    nice: int = key(
        integer(0, 19),
        5,
        "How much other processes go before jobs.",
    )


@attrs.frozen
class ServiceMetadata:
    """What the capabilities say of the service and its provider."""

    title: str = key(
        TEXT,
        "QGIS Processing",
        "The service's title.",
        aliases=["identification_title"],
    )
    abstract: str = key(
        LINES,
        "QGIS Processing algorithms as a Web Processing Service",
        "What the service offers.",
        aliases=["identification_abstract"],
    )
    keywords: tuple[str, ...] = key(
        LIST,
        ("WPS", "QGIS", "Processing"),
        "Words to find it by, with commas between.",
        aliases=["identification_keywords"],
    )
    fees: str = key(LINES, "NONE", "What it costs.", aliases=["identification_fees"])
    accessconstraints: str = key(
        LINES,
        "NONE",
        "Who may use it and what for.",
        aliases=["identification_accessconstraints"],
    )
    providerName: str = key(TEXT, "", "Who runs the service.")
    providerURL: str = key(TEXT, "", "The provider's web page.", name="provider_url")
    contactName: str = key(TEXT, "", "Whom to ask.")
    contactPosition: str = key(TEXT, "", "What that person does.")
    contactPhone: str = key(TEXT, "", "Telephone number.")
    contactEmail: str = key(TEXT, "", "Address for electronic mail.")
    contactAddress: str = key(LINES, "", "Street and house.")
    contactCity: str = key(TEXT, "", "Town.")
    contactStateorprovince: str = key(TEXT, "", "State or province.")
    contactPostalcode: str = key(TEXT, "", "Postal code.")
    contactCountry: str = key(TEXT, "", "Country.")


class Layer(enum.IntEnum):
    """Where a value may come from, the weakest first."""

    DEFAULT = 0
    FILE = 1
    ENVIRONMENT = 2
    COMMAND_LINE = 3


@attrs.frozen
class Origin:
    """
    Where a value comes from.

    @ivar name: the file, variable or option; empty for a default.
    """

    layer: Layer
    name: str = ""

    def place(self, section: str, key: str) -> str:
        """What an error message begins with."""
        if self.layer is Layer.FILE:
            return f"{self.name}: [{section}] {key}"
        return self.name or f"[{section}] {key}"

    def __str__(self) -> str:
        return self.name or "default"


DEFAULT = Origin(Layer.DEFAULT)


@attrs.frozen
class Settings:
    """
    The configuration in force.  Made by L{load}, or by hand in a test.

    @ivar origins: where the values come from, by section and key; what is
        missing is a default.
    """

    server: Server = _section(
        "server",
        Server,
        "The server itself.",
        obsolete={
            "encoding": "all is UTF-8",
            "language": "all texts are in English",
            "url": "use host_proxy for the public URL",
            "logstorage": "use store, or host in [logstorage:redis]",
            "store_url": "files are below the public URL, see host_proxy",
            "outputurl": "files are below the public URL, see host_proxy",
            "status_url": "documents are below the public URL, see host_proxy",
            "wms_response_url": "use ows_service_url and results_map_uri",
            "cleanup_interval": "results go at the moment when they expire",
            "download_ttl": "URLs of files are good until the results expire",
            "enable_filters": "use accesspolicy in [processing]",
            "sys_config_path": "use providers_module_path in [processing]",
            "processlifecycle": "each job has a process of its own",
        },
    )
    authentication: Authentication = _section(
        "authentication",
        Authentication,
        "Who may use the server, by HTTP's basic authentication or bearer tokens.",
    )
    limits: ClientLimits = _section(
        "limits",
        ClientLimits,
        "What clients may send, and how slowly. Whoever goes beyond is told so, if he"
        " listens.",
    )
    redis: Redis = _section(
        "logstorage:redis",
        Redis,
        "The Redis server that keeps the records of jobs. To set a host selects it.",
    )
    logging: Logging = _section(
        "logging",
        Logging,
        "What is logged. Where to is for twistd's own options: --logfile, --syslog,"
        " --logger.",
    )
    projects: Projects = _section(
        "projects.cache",
        Projects,
        "The projects that requests may name.",
        obsolete={
            "size": "no project stays open; its summary is kept until it changes"
        },
        formerly="cache",
    )
    schemes: Mapping[str, ProjectPlace] = _section(
        "projects.schemes",
        dict,
        "Further places with projects. Each key is a name that MAP may begin with,"
        " before a colon, as in MAP=gis:NAME. Its value is an absolute path of a"
        " folder, or postgresql://…?service=…&schema=… for projects that QGIS has"
        " saved in PostgreSQL; what a client says never is more than a name there."
        " A password is better kept in the file of the service, or in ~/.pgpass."
        " None has an environment variable.",
        PROJECTS,
        (r"[A-Za-z][A-Za-z0-9_-]*", "letters and digits"),
    )
    maps: Maps = _section(
        "maps", Maps, "Maps and features of projects, by QGIS Server."
    )
    processing: Processing = _section(
        "processing",
        Processing,
        "What is published, and how it runs.",
        obsolete={
            "providers": "use exposed_providers",
            "default_module_path": "use providers_module_path",
            "unsafe.raw_destination_input_sink": "results go to the job's directory",
            "destination_root_path": "results go to the job's directory",
        },
    )
    sandbox: SandboxKeys = _section(
        "sandbox",
        SandboxKeys,
        "What a job can do and use.",
    )
    qgisSettings: Mapping[str, str] = _section(
        "qgis.settings",
        dict,
        "QGIS's own settings, by the keys that QGIS has for them. Each key is"
        " allowed; none has an environment variable.",
    )
    metadata: ServiceMetadata = _section(
        "metadata:main",
        ServiceMetadata,
        "What the capabilities say of the service and of who runs it.",
        obsolete={
            "identification_keywords_type": "WPS has no types of keywords there",
            "contact_role": "use contact_position",
            "contact_url": "use provider_url",
        },
    )
    origins: Mapping[tuple[str, str], Origin] = attrs.field(factory=dict, eq=False)

    @property
    def storeURL(self) -> StoreURL:
        """Where the records of jobs are kept."""
        if isinstance(self.server.store, SQLiteStore):
            return self.server.store
        if self.redis.host:
            return RedisStore(self.redis.host, self.redis.port, self.redis.dbnum)
        return self.server.store or SQLiteStore(
            os.path.join(self.server.workdir, "jobs.sqlite")
        )

    def problem(self, section: str, key: str, text: str) -> ConfigurationError:
        """
        An error for a value that only its user can tell to be wrong.

        @param text: what is wrong and what was expected.
        """
        origin = self.origins.get((section, key), DEFAULT)
        return ConfigurationError(f"{origin.place(section, key)}: {text}")


def _inIni(attribute: str) -> str:
    return re.sub(r"(?<=[a-z])(?=[A-Z])", "_", attribute).lower()


def _keysOf(section: Section) -> tuple[Key, ...]:
    if section.cls is None:
        return ()
    fields = attrs.fields(section.cls)
    infos = ((field.name, field.metadata[Key]) for field in fields)
    return tuple(
        attrs.evolve(
            info,
            section=section.name,
            attribute=attribute,
            name=info.name or _inIni(attribute),
        )
        for attribute, info in infos
    )


def _sections() -> tuple[Section, ...]:
    found = []
    for field in attrs.fields(Settings):
        if Section in field.metadata:
            section = attrs.evolve(field.metadata[Section], attribute=field.name)
            found.append(attrs.evolve(section, keys=_keysOf(section)))
    return tuple(found)


#: The schema: the sections with their keys.
SECTIONS = _sections()


#: Sections of other servers that have no meaning here.
OBSOLETE_SECTIONS = {
    "logstorage:db": "use store in [server]",
    "qgis.settings.folders": "use providers_module_path in [processing], or"
    " [qgis.settings] if it is for something else",
    "qgis.projects": "use ows_service_url in [server]",
    "wps.request": "nothing is kept there",
}


# The reader


@attrs.frozen
class _Given:
    """
    A text that was given for a key.

    @ivar base: the directory that relative paths start from.
    """

    text: str
    origin: Origin
    base: str


_Values = dict[tuple[str, str], _Given]


def load(
    path: str | None,
    environ: Mapping[str, str],
    overrides: Mapping[tuple[str, str], str],
    warn: Callable[[str], None] | None = None,
) -> Settings:
    """
    Read the configuration.

    Relative paths start from the file's folder if they stand in the file,
    from the current directory otherwise.

    @param path: the ini file, or None for none.
    @param environ: the environment; an empty variable is as good as none.
    @param overrides: texts from the command line, by section and key.
    @param warn: is told of what looks wrong but is no error; by default it is
        logged.
    @raise ConfigurationError: with all that is wrong.
    """
    if warn is None:

        def warn(text: str) -> None:
            _log.warn("{warning}", warning=text)

    problems: list[str] = []
    given: _Values = {}
    if path is not None:
        given.update(_fromFile(path, problems, warn))
    given.update(_fromEnvironment(environ, problems, warn))
    given.update(_fromCommandLine(overrides, problems))
    _yieldListen(given)
    _alignStore(given, problems)
    values: dict[str, Any] = {
        section.attribute: _value(section, given, problems) for section in SECTIONS
    }
    if problems:
        raise ConfigurationError(*problems)
    settings = Settings(
        **values, origins={id: each.origin for id, each in given.items()}
    )
    _checkTogether(settings, warn)
    return settings


def _checkTogether(settings: Settings, warn: Callable[[str], None]) -> None:
    """Check keys that have a meaning only with others."""
    server = settings.server
    if server.ssl and server.listen:
        text = "no meaning with listen, whose endpoints say it themselves"
        warn(str(settings.problem("server", "ssl", text)))
    elif server.ssl and not server.sslCert:
        raise settings.problem("server", "ssl", "it needs ssl_cert")
    if server.trustedProxies != LOOPBACK and not server.httpProxy:
        text = "no meaning without http_proxy"
        warn(str(settings.problem("server", "trusted_proxies", text)))


def _value(section: Section, given: _Values, problems: list[str]) -> Any:
    """The value of a section; a default where there is a problem."""
    values = {}
    if section.cls is None:
        for id, free in given.items():
            if id[0] != section.name:
                continue
            if section.names and not re.fullmatch(section.names[0], id[1]):
                place = free.origin.place(*id)
                problems.append(f"{place}: expected a name of {section.names[1]}")
            values[id[1]] = _parsed(free, id, section.kind, problems)
        return values
    for key in section.keys:
        each = given.get(key.id)
        if each is None:
            # Also for its paths to become absolute.
            values[key.attribute] = key.kind.parse(key.defaultText, os.getcwd())
            continue
        before = len(problems)
        value = _parsed(each, key.id, key.kind, problems)
        if len(problems) == before:
            values[key.attribute] = value
    return section.cls(**values)


def _parsed(
    each: _Given, id: tuple[str, str], kind: Kind[Any], problems: list[str]
) -> Any:
    """The value that was given; None where there is a problem."""
    text = _text(each, id, problems, kind.lines)
    if text is None:
        return None
    try:
        return kind.parse(text, each.base)
    except ValueError as error:
        # Others' texts are no help to who wrote the value, and what is Unfit
        # may hold a password.
        but = f": {error}" if isinstance(error, Unfit) else f", not {text!r}"
        problems.append(f"{each.origin.place(*id)}: expected {kind.expected}{but}")
        return None


def _text(
    each: _Given, id: tuple[str, str], problems: list[str], lines: bool = False
) -> str | None:
    """The text that was given, or None if there are odd characters in it."""
    allowed = "\t\n" if lines else "\t"
    text = each.text.strip(" \t\r\n")
    for character in text:
        # What XML can't say either: controls, lone surrogates, non-characters.
        odd = unicodedata.category(character) in ("Cc", "Cs")
        if (odd or character in "\ufffe\uffff") and character not in allowed:
            what = "a line break" if character == "\n" else f"U+{ord(character):04X}"
            problems.append(
                f"{each.origin.place(*id)}: expected text without control characters,"
                f" not with {what}"
            )
            return None
    return text


def _nearest(word: str, words: Iterable[str], prefix: str = "") -> str:
    """
    What to add to a message on a word that is unknown.

    @param prefix: what all begin with, lest it makes all alike.
    """
    byFolded = {each.removeprefix(prefix).lower(): each for each in words}
    near = difflib.get_close_matches(word.removeprefix(prefix).lower(), byFolded, 1)
    return f"; did you mean {byFolded[near[0]]}?" if near else ""


def _fromFile(path: str, problems: list[str], warn: Callable[[str], None]) -> _Values:
    given: _Values = {}
    base = os.path.dirname(os.path.abspath(path))
    origin = Origin(Layer.FILE, path)
    known = {section.name: section for section in SECTIONS}
    former = {section.formerly: section for section in SECTIONS if section.formerly}
    for sectionName, items in _readIni(path).items():
        place = f"{path}: [{sectionName}]"
        if sectionName in OBSOLETE_SECTIONS:
            warn(f"{place}: no meaning here: {OBSOLETE_SECTIONS[sectionName]}")
            continue
        section = known.get(sectionName) or former.get(sectionName)
        if section is None:
            near = _nearest(sectionName, known)
            problems.append(f"{place}: there is no such section{near}")
            continue
        if section.name != sectionName:
            warn(f"{place}: this section is now [{section.name}]")
        if section.cls is None:
            for name, text in items.items():
                given[sectionName, name] = _Given(text, origin, base)
            continue
        names = {name: key for key in section.keys for name in key.names}
        for name, text in items.items():
            at = f"{place} {_printable(name)}"
            key = names.get(name)
            if name in section.obsolete:
                warn(f"{at}: no meaning here: {section.obsolete[name]}")
            elif key is None:
                near = _nearest(name, names)
                problems.append(f"{at}: there is no such key{near}")
            elif _isTemplate(key, name, text):
                warn(f"{at}: a whole URL has no meaning here: {_TEMPLATE}")
            elif key.id in given:
                problems.append(
                    f"{at}: this is another name of {key.name}, which is there too"
                )
            else:
                if name in key.deprecated:
                    warn(f"{at}: this key is now {key.name}")
                if _INTERPOLATION.search(text):
                    warn(f"{at}: there is no interpolation: the value is {text!r}")
                # Some write them so to say that there is nothing.
                nothing = text.strip() in ("''", '""')
                given[key.id] = _Given("" if nothing else text, origin, base)
    return given


#: How Python's configparser can refer to other keys.
_INTERPOLATION = re.compile(r"\$\{[^}]*\}|%\([^)]*\)s")

_TEMPLATE = "use ows_service_url and results_map_uri"


def _isTemplate(key: Key, name: str, text: str) -> bool:
    """
    Whether it is py-qgis-wps's template of a reference to a map service, of
    which we have only the parts that it is usually made of.
    """
    return name in key.deprecated and key.kind is MAP_PREFIX and "{uuid}" in text


def _printable(text: str) -> str:
    return text if text.isprintable() else ascii(text)


def _readIni(path: str) -> dict[str, dict[str, str]]:
    """The texts of an ini file by section and key."""
    parser = configparser.ConfigParser(
        interpolation=None,
        # No section hands its keys to all others: no header can have this name.
        default_section="",
        empty_lines_in_values=False,
    )
    # QGIS tells the case of its keys.
    parser.optionxform = str  # type: ignore[assignment, method-assign]
    try:
        with open(path, "rb") as file:
            data = file.read()
        text = data.decode("utf-8-sig")
        parser.read_string(text, path)
    except OSError as error:
        raise ConfigurationError(f"{path}: {error.strerror}") from None
    except ValueError as error:
        # A path with a NUL is a ValueError too.
        if not isinstance(error, UnicodeDecodeError):
            raise ConfigurationError(f"{path!r}: {error}") from None
        line = data.count(b"\n", 0, error.start) + 1
        raise ConfigurationError(f"{path}: line {line}: expected UTF-8") from None
    except configparser.DuplicateSectionError as error:
        raise ConfigurationError(
            f"{path}: line {error.lineno}: the section [{error.section}] is there twice"
        ) from None
    except configparser.DuplicateOptionError as error:
        raise ConfigurationError(
            f"{path}: [{error.section}] {error.option}: line {error.lineno}:"
            " the key is there twice"
        ) from None
    except configparser.MissingSectionHeaderError as error:
        raise ConfigurationError(
            f"{path}: line {error.lineno}: expected a section such as [server] before"
            f" {error.line.strip()!r}"
        ) from None
    except configparser.ParsingError as error:
        # It has the lines, too, but from Python 3.13 on in another form.
        lines = text.split("\n")
        raise ConfigurationError(
            *(
                f"{path}: line {line}: expected key = value,"
                f" not {lines[line - 1].strip()!r}"
                for line, _ in error.errors
            )
        ) from None
    return {name: dict(parser.items(name)) for name in parser.sections()}


#: Those of py-qgis-wps whose names are not made of section and key.
_OBSOLETE_VARIABLES = {
    "QGSWPS_ADVERTISED_WMSURL": "use QGSWPS_SERVER_OWS_SERVICE_URL",
    "QGSWPS_CACHE_SIZE": "no project stays open",
    "QGSWPS_DOWNLOAD_TTL": "URLs of files are good until the results expire",
    "QGSWPS_PROCESSING_RAW_DESTINATION_INPUT_SINK": "results go to the job's directory",
    "QGSWPS_SYS_CONFIG_PATH": "use QGSWPS_PROCESSING_PROVIDERS_MODULE_PATH",
}


def _fromEnvironment(
    environ: Mapping[str, str], problems: list[str], warn: Callable[[str], None]
) -> _Values:
    given: _Values = {}
    known = {
        variable: key
        for section in SECTIONS
        for key in section.keys
        for variable in key.variables
    }
    deprecated = {
        _variable(section.name, name): key
        for section in SECTIONS
        for key in section.keys
        for name in key.deprecated
    }
    obsolete = {
        _variable(section.name, name): text
        for section in SECTIONS
        for name, text in section.obsolete.items()
    } | _OBSOLETE_VARIABLES
    base = os.getcwd()
    for variable, text in sorted(environ.items()):
        if not variable.startswith("QGSWPS_") or not text:
            continue
        if variable in obsolete:
            warn(f"{variable}: no meaning here: {obsolete[variable]}")
            continue
        key = known.get(variable)
        if variable in deprecated:
            warn(
                f"{variable}: this variable is now {deprecated[variable].variables[0]}"
            )
        if key is None:
            near = _nearest(variable, known, "QGSWPS_")
            warn(f"{_printable(variable)}: there is no such variable{near}")
            continue
        other = given.get(key.id)
        if other is not None and other.text != text:
            problems.append(
                f"{variable}: this means the same as {other.origin.name}, which has"
                " another value"
            )
            continue
        given[key.id] = _Given(text, Origin(Layer.ENVIRONMENT, variable), base)
    return given


def _fromCommandLine(
    overrides: Mapping[tuple[str, str], str], problems: list[str]
) -> _Values:
    given: _Values = {}
    keys = {key.id: key for section in SECTIONS for key in section.keys}
    base = os.getcwd()
    for id, text in overrides.items():
        key = keys.get(id)
        if key is None:
            problems.append("[{}] {}: there is no such key".format(*id))
            continue
        name = f"--{key.option.name}" if key.option is not None else ""
        given[id] = _Given(text, Origin(Layer.COMMAND_LINE, name), base)
    return given


def _yieldListen(given: _Values) -> None:
    """
    Endpoints override port and interfaces, but not those of a stronger layer:
    who says C{--port} wants to see it honoured.
    """
    listen = given.get(("server", "listen"))
    others = (given.get(("server", name)) for name in ("port", "interfaces"))
    if listen is not None and any(
        other is not None and other.origin.layer > listen.origin.layer
        for other in others
    ):
        del given["server", "listen"]


def _alignStore(given: _Values, problems: list[str]) -> None:
    """
    There are two ways to say where the store is: by a URL, and by the keys of
    the Redis server.  The one of the stronger layer wins; of the same layer
    they have to agree.  A URL then sets those keys.
    """
    store = given.get(("server", "store"))
    if store is None or not store.text.strip():
        return
    host = given.get(("logstorage:redis", "host"))
    hasHost = host is not None and bool(host.text.strip())
    if host is not None and hasHost and host.origin.layer > store.origin.layer:
        del given["server", "store"]
        return
    try:
        url = STORE.parse(store.text.strip(), store.base)
    except ValueError:
        return  # a problem that is told where the value is made
    texts = {"host": ""}
    if isinstance(url, RedisStore):
        texts = {"host": url.host, "port": str(url.port), "dbnum": str(url.dbnum)}
    for name, text in texts.items():
        id = ("logstorage:redis", name)
        other = given.get(id) if name != "host" or hasHost else None
        if other is None or other.origin.layer < store.origin.layer:
            given[id] = attrs.evolve(store, text=text)
        elif other.origin.layer == store.origin.layer and other.text.strip() != text:
            place = store.origin.place("server", "store")
            problems.append(
                f"{other.origin.place(*id)}: this is not what {place} says; give one"
                " of the two"
            )
