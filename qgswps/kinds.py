"""
The kinds of values that a configuration has: how a text becomes a value and
a value a text.
"""

from __future__ import annotations

import ipaddress
import math
import os
import re
from collections.abc import Callable
from typing import Generic, TypeVar
from urllib.parse import parse_qsl, unquote, urlsplit

import attrs

T = TypeVar("T")


class Unfit(ValueError):
    """A text is not of a kind, for a reason worth telling."""


@attrs.frozen
class Kind(Generic[T]):
    """
    A kind of value.

    @ivar expected: what a text must be, to follow on "expected".
    @ivar parse: makes a value of a text and of the directory that relative
        paths start from; raises C{ValueError} for a text that is not as
        C{expected}, L{Unfit} if there is more to say.
    @ivar show: makes the text again.
    @ivar lines: the text may have several lines.
    @ivar secret: the value is not to be shown; C{show} gives something else.
    """

    expected: str
    parse: Callable[[str, str], T]
    show: Callable[[T], str] = str
    lines: bool = False
    secret: bool = False


def integer(minimum: int, maximum: int | None = None) -> Kind[int]:
    """Whole numbers within bounds."""

    def parse(text: str, _: str) -> int:
        # int() also takes "1_000" and the digits of other scripts.
        if not re.fullmatch(r"[+-]?[0-9]{1,15}", text):
            raise ValueError
        value = int(text)
        if value < minimum or (maximum is not None and value > maximum):
            raise ValueError
        return value

    return Kind(_bounded("a whole number", minimum, maximum), parse)


def number(minimum: float, maximum: float | None = None) -> Kind[float]:
    """Numbers within bounds."""

    def parse(text: str, _: str) -> float:
        value = float(text)
        if not math.isfinite(value) or value < minimum:
            raise ValueError
        if maximum is not None and value > maximum:
            raise ValueError
        return value

    return Kind(_bounded("a number", minimum, maximum), parse, lambda v: f"{v:g}")


def _bounded(what: str, minimum: float, maximum: float | None) -> str:
    if maximum is None:
        return f"{what}, {minimum} or more"
    return f"{what} from {minimum} to {maximum}"


_SIZE_UNITS = {"k": 2**10, "m": 2**20, "g": 2**30}


def mebibytes(minimum: int, maximum: int) -> Kind[int]:
    """Sizes in MiB within bounds; parts of one count as a whole one."""

    def parse(text: str, _: str) -> int:
        found = re.fullmatch(r"([0-9]{1,9})\s*([kmg]?)i?b?", text, re.IGNORECASE)
        if found is None:
            raise ValueError
        unit = _SIZE_UNITS[found[2].lower() or "m"]
        value = -(-int(found[1]) * unit // 2**20)
        if value < minimum or value > maximum:
            raise ValueError
        return value

    expected = _bounded("a number of MiB", minimum, maximum)
    return Kind(f"{expected}, or a size such as 500k, 100m or 2g", parse)


def choice(*values: str, **others: str) -> Kind[str]:
    """
    One of some words, in any case.

    @param others: further words and the ones that they stand for.
    """
    words = {**{value: value for value in values}, **others}

    def parse(text: str, _: str) -> str:
        try:
            return words[text.lower()]
        except KeyError:
            raise ValueError from None

    return Kind("one of " + ", ".join(values), parse)


_BOOLEANS = {
    **dict.fromkeys(("yes", "true", "on", "1"), True),
    **dict.fromkeys(("no", "false", "off", "0"), False),
}


def _parseBoolean(text: str, _: str) -> bool:
    try:
        return _BOOLEANS[text.lower()]
    except KeyError:
        raise ValueError from None


def _parsePath(text: str, base: str) -> str:
    return os.path.abspath(os.path.join(base, os.path.expanduser(text))) if text else ""


def _parsePaths(text: str, base: str) -> tuple[str, ...]:
    return tuple(_parsePath(part, base) for part in _split(r"[,:\n]", text))


def pathOr(*words: str) -> Kind[str]:
    """A path, or one of some words; one can name a file of that name C{./word}."""

    def parse(text: str, base: str) -> str:
        if not text:
            raise ValueError
        word = text.lower()
        return word if word in words else _parsePath(text, base)

    return Kind(", ".join(words) + " or a path", parse)


def _parseList(text: str, _: str) -> tuple[str, ...]:
    return _split(r"[,\n]", text)


def _split(separators: str, text: str) -> tuple[str, ...]:
    parts = (part.strip() for part in re.split(separators, text))
    return tuple(part for part in parts if part)


def _showList(values: tuple[str, ...]) -> str:
    return ", ".join(values)


def _parsePorts(text: str, _: str) -> tuple[int, ...] | None:
    if text.lower() == "any":
        return None
    port = integer(1, 65535)
    return tuple(port.parse(part, "") for part in _split(r"[,\n]", text))


def _showPorts(ports: tuple[int, ...] | None) -> str:
    return "any" if ports is None else ", ".join(map(str, ports))


def _parseAddresses(text: str, _: str) -> tuple[str, ...]:
    addresses = _split(r"[,\n]", text)
    if not addresses:
        raise ValueError
    return tuple(
        address if address == "localhost" else str(ipaddress.ip_address(address))
        for address in addresses
    )


def _parseNetworks(text: str, _: str) -> tuple[str, ...]:
    return tuple(
        str(ipaddress.ip_network(entry, strict=False))
        for entry in _split(r"[,\s]", text)
    )


def _parseOrigins(text: str, _: str) -> tuple[str, ...]:
    if text == "*" or _BOOLEANS.get(text.lower()):
        return ("*",)
    if text.lower() in _BOOLEANS:
        return ()
    origins = _split(r"[,\s]", text)
    if not origins:
        raise ValueError
    return tuple(each if each == "*" else _origin(each) for each in origins)


def _origin(text: str) -> str:
    """An origin as browsers write it (RFC 6454, section 6.1)."""
    parts = urlsplit(text)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise Unfit(f"{text!r} is no origin")
    if not re.fullmatch(r"[a-z0-9._-]+|[0-9a-f:.]*:[0-9a-f:.]*", parts.hostname):
        raise Unfit(f"{text!r} has no host as browsers write it")
    if parts.path not in ("", "/") or parts.query or parts.fragment or "@" in text:
        raise Unfit(f"{text!r} has more than scheme, host and port")
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    if parts.port in (None, {"http": 80, "https": 443}[parts.scheme]):
        return f"{parts.scheme}://{host}"
    return f"{parts.scheme}://{host}:{parts.port}"


def _showOrigins(origins: tuple[str, ...]) -> str:
    return {("*",): "yes", (): "no"}.get(origins) or ", ".join(origins)


def _parseHosts(text: str, _: str) -> tuple[str, ...]:
    entries = _split(r"[,\s]", text)
    for entry in entries:
        try:
            ipaddress.ip_network(entry, strict=False)
        except ValueError:
            name = r"(?=.*[A-Za-z])[\w-]+(\.[\w-]+)*\.?"
            if not re.fullmatch(name, entry, re.ASCII):
                raise Unfit(f"{entry!r} is neither") from None
    return entries


def _parseExtension(text: str, _: str) -> str:
    if not re.fullmatch(r"(\.?[A-Za-z0-9]+)?", text):
        raise ValueError
    return text.removeprefix(".").lower()


def _parseMapPrefix(text: str, _: str) -> str:
    if re.search(r"[{}?&\s]", text):
        raise Unfit("it is no beginning of the value of MAP alone")
    return text


def _parseWord(text: str, _: str) -> str:
    if not text or re.search(r"\s", text):
        raise ValueError
    return text


def _parseEndpoints(text: str, _: str) -> tuple[str, ...]:
    endpoints = tuple(text.split())
    for endpoint in endpoints:
        # The rest is for the plugins that Twisted may have for the name.
        if not re.match(r"[A-Za-z][\w.-]*:.", endpoint):
            raise Unfit(f"{endpoint!r} is none")
    return endpoints


def _parseURL(text: str, _: str) -> str:
    # The latter is how py-qgis-wps names this server itself.
    if text in ("", "{host_url}"):
        return ""
    parts = urlsplit(text)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError
    if parts.query or parts.fragment or " " in text:
        raise ValueError
    parts.port  # noqa: B018  a wrong one raises ValueError only when looked at
    return text


def _parseBaseURL(text: str, base: str) -> str:
    url = _parseURL(text, base)
    return url if not url or url.endswith("/") else url + "/"


def _parseCRS(text: str, _: str) -> str:
    if not re.fullmatch(r"[A-Za-z][A-Za-z0-9_]*:[A-Za-z0-9_.-]+", text):
        raise ValueError
    return text


@attrs.frozen
class SQLiteStore:
    """
    Jobs are kept in a file.

    @ivar path: absolute path.
    """

    path: str

    def __str__(self) -> str:
        return f"sqlite://{self.path}"


@attrs.frozen
class RedisStore:
    """Jobs are kept by a Redis server."""

    host: str
    port: int = 6379
    dbnum: int = 0

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"redis://{host}:{self.port}/{self.dbnum}"


StoreURL = SQLiteStore | RedisStore


def _parseStore(text: str, _: str) -> StoreURL | None:
    if not text:
        return None
    parts = urlsplit(text)
    if parts.query or parts.fragment:
        raise ValueError
    if parts.scheme == "sqlite":
        if parts.netloc or not parts.path.strip("/"):
            raise ValueError
        # Some write sqlite:////var/x for /var/x and some sqlite:///var/x:
        # take both.
        return SQLiteStore(os.path.normpath("/" + parts.path.lstrip("/")))
    if parts.scheme == "redis":
        dbnum = parts.path.removeprefix("/") or "0"
        if "@" in parts.netloc:
            raise Unfit("a user or a password has no place in it")
        if not parts.hostname or not re.fullmatch(r"[0-9]{1,4}", dbnum):
            raise ValueError
        return RedisStore(parts.hostname, parts.port or 6379, int(dbnum))
    raise ValueError


@attrs.frozen
class ProjectFolder:
    """
    Projects are the files of a folder.

    @ivar path: absolute path.
    """

    path: str

    def __str__(self) -> str:
        return self.path


@attrs.frozen
class ProjectDatabase:
    """
    Projects are kept by PostgreSQL.

    @ivar uri: as QGIS takes it, but for C{project=}; may hold a password.
    """

    uri: str = attrs.field(repr=False)

    def __str__(self) -> str:
        return re.sub(r"(?<=://)([^/?#:]*):.*@", r"\1:********@", self.uri)


ProjectPlace = ProjectFolder | ProjectDatabase

#: What QGIS reads of the URI of a project in PostgreSQL, and the project.
_PROJECT_PARAMETERS = ("service", "sslmode", "authcfg", "dbname", "schema")


def _parseProjects(text: str, _: str) -> ProjectPlace:
    # None of the messages repeats the text: it may hold a password.
    try:
        parts = urlsplit(text)
        parts.port  # noqa: B018  a wrong one raises ValueError only when looked at
    except ValueError:
        raise Unfit("it is no URL") from None
    if os.path.isabs(text):
        return ProjectFolder(os.path.normpath(text))
    if parts.scheme == "file":
        path = unquote(parts.path)
        if parts.netloc not in ("", "localhost") or not os.path.isabs(path):
            raise Unfit("a URL of a folder is file:///PATH")
        return ProjectFolder(os.path.normpath(path))
    if not text.startswith("postgresql://"):
        raise Unfit("it is neither")
    if parts.path not in ("", "/") or parts.fragment:
        raise Unfit("the database goes after the question mark, as dbname=")
    try:
        given = parse_qsl(
            parts.query, keep_blank_values=True, strict_parsing=bool(parts.query)
        )
    except ValueError:
        raise Unfit(
            "after the question mark it has something else than key=value"
        ) from None
    names = [name for name, _ in given]
    if "project" in names:
        raise Unfit("it has project=, which is for requests to say")
    if not set(names) <= set(_PROJECT_PARAMETERS) or len(set(names)) < len(names):
        known = ", ".join(_PROJECT_PARAMETERS)
        raise Unfit(f"after the question mark it has more than, once each, {known}")
    if not dict(given).get("schema"):
        raise Unfit("it has no schema=")
    return ProjectDatabase(text)


TEXT = Kind[str]("a text", lambda text, _: text)
LINES = Kind[str]("a text", lambda text, _: text, lines=True)
WORD = Kind[str]("a word without blanks", _parseWord)
SECRET = Kind[str](
    "a text",
    lambda text, _: text,
    lambda value: "********" if value else "",
    secret=True,
)
BOOLEAN = Kind[bool]("yes or no", _parseBoolean, lambda value: "yes" if value else "no")
PATH = Kind[str]("a path", _parsePath)
PATHS = Kind[tuple[str, ...]]("paths with commas between", _parsePaths, _showList, True)
LIST = Kind[tuple[str, ...]]("words with commas between", _parseList, _showList, True)
PORTS = Kind[tuple[int, ...] | None](
    "TCP ports with commas between, or any", _parsePorts, _showPorts, True
)
ADDRESSES = Kind[tuple[str, ...]](
    "IP addresses with commas between", _parseAddresses, _showList, True
)
HOSTS = Kind[tuple[str, ...]](
    "names of hosts, IP addresses or networks such as 10.1.0.0/16, with commas between",
    _parseHosts,
    _showList,
    True,
)
#: The networks of the machine itself.
LOOPBACK = ("127.0.0.0/8", "::1/128")
NETWORKS = Kind[tuple[str, ...]](
    "IP addresses or networks such as 10.1.0.0/16, with commas between",
    _parseNetworks,
    _showList,
    True,
)
ORIGINS = Kind[tuple[str, ...]](
    "yes, no, or * and origins such as https://maps.example.org, with commas between",
    _parseOrigins,
    _showOrigins,
    True,
)
ENDPOINTS = Kind[tuple[str, ...]](
    "endpoints as Twisted writes them, such as tcp:8080 or unix:/run/wps.sock,"
    " with blanks between",
    _parseEndpoints,
    " ".join,
    True,
)
HTTP_URL = Kind[str]("an http or https URL without query", _parseURL)
BASE_URL = Kind[str]("an http or https URL without query", _parseBaseURL)
EXTENSION = Kind[str]("an extension such as gpkg, or nothing", _parseExtension)
MAP_PREFIX = Kind[str]("what MAP begins with, such as wps-results:", _parseMapPrefix)
CRS = Kind[str]("a CRS such as EPSG:4326", _parseCRS)
STORE = Kind[StoreURL | None](
    "sqlite:///PATH or redis://HOST:PORT/DB",
    _parseStore,
    lambda store: "" if store is None else str(store),
)
PROJECTS = Kind[ProjectPlace](
    "an absolute path of a folder or postgresql://…?service=…&schema=…",
    _parseProjects,
    secret=True,
)
