"""
Requests to map services: which service is meant, and what QGIS Server must
not be asked.

QGIS Server trusts its clients: it fetches styles and layers from URLs that
they name, and evaluates expressions that they send, which see the environment
and the disk.  What reaches out, or writes, is refused here.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from urllib.parse import parse_qsl, quote, unquote, urlencode

from lxml import etree
from twisted.web.http import Request

from qgswps.errors import OWSError, invalid, unsupported
from qgswps.model import LARGEST_PICTURE, SERVICES
from qgswps.ows import xmlio

#: The map services.
NAMES = frozenset(SERVICES.values())

#: Requests that clients send without saying of which service.
_BY_REQUEST = {
    "GETMAP": "WMS",
    "GETLEGENDGRAPHIC": "WMS",
    "GETFEATURE": "WFS",
    "DESCRIBEFEATURETYPE": "WFS",
    "GETCOVERAGE": "WCS",
    "DESCRIBECOVERAGE": "WCS",
    "GETTILE": "WMTS",
}

#: Parameters that are refused, and why; also with a map's name before them.
_REFUSED = {
    # A style names pictures, by URLs or paths, in many places and ways.
    "SLD": "styles of clients are not accepted; use STYLES",
    "SLD_BODY": "styles of clients are not accepted; use STYLES",
    "HIGHLIGHT_SYMBOL": "styles of clients are not accepted",
    # Functions in an expression can ask for variables of the environment, and
    # for files.
    "EXP_FILTER": "expressions of QGIS are not accepted; use FILTER",
    # As good as a POST, but for being looked at.
    "REQUEST_BODY": "the body of a request goes by POST",
}

_OPERATIONS = {
    "TRANSACTION": "this server does not change data",
    "LOCKFEATURE": "this server does not change data",
    "GETFEATUREWITHLOCK": "this server does not change data",
    # Texts of clients go to labels, and addresses to pages in the layout.
    "GETPRINT": "this server does not print",
}

_EXTERNAL = re.compile(r"EXTERNAL_WMS", re.IGNORECASE)
_QUOTE = re.compile(r"['\\]")
_FUNCTION = re.compile(r"<\s*(?:[^\s<>/:]+:)?Function\b|<!", re.IGNORECASE)

#: How a request begins whose root element says of which service it is.  There
#: is one way to match each text, so that none takes long.
_ROOT = re.compile(
    rb"""(?:\xef\xbb\xbf)?(?:\s|<\?(?:[^?]|\?(?!>))*\?>|<!--(?:[^-]|-(?!->))*-->)*"""
    rb"""<[^?!>/\s]+"""
    rb"""(?:\s+(?!service[\s=])[^\s=<>/"']+\s*=\s*(?:"[^"]*"|'[^']*'))*"""
    rb"""\s+service\s*=\s*["'](\w+)["']""",
)

#: Functions of expressions that ask for what is beside the data.  QGIS Server
#: lets any function pass in a filter of WMS that has quotes around it.
_CALL = re.compile(
    r"\b(?:env|eval\w*|exif\w*|file_\w+|is_(?:file|directory)|base_file_name"
    r"|mime_type|decode_uri|layer_property|load_layer|raster_\w+|query_to_\w+|pg_\w+)"
    r"\s*(?:\(|/\*|--)",
    re.IGNORECASE,
)

#: What belongs to the other services, not to OGC API Features.
_NOT_OF_FEATURES = frozenset({"SERVICE", "REQUEST", "MAP", "TYPENAME", "TYPENAMES"})

#: The longest query that is passed on, in bytes: AMP takes no longer texts.
LONGEST = 60_000

#: How much of a body is looked at to see what it is, in bytes.
HEAD = 4096

#: The media type of parameters in a body.
FORM = "application/x-www-form-urlencoded"

Parameters = dict[str, str]


def parse(query: bytes) -> Parameters:
    """
    The parameters of a query, by their names in upper case; of one given
    twice the first counts.
    """
    return {name.upper(): value for name, value in parseAsGiven(query).items()}


def parseAsGiven(query: bytes) -> Parameters:
    """
    The same by their names as they are, since OGC API Features has some that
    are names of fields.
    """
    found: Parameters = {}
    seen = set()
    text = query.decode("latin-1")
    for given, value in parse_qsl(text, keep_blank_values=True):
        name = given.strip()
        if name and name.isprintable() and name.upper() not in seen:
            seen.add(name.upper())
            found[name] = value
    return found


def compose(parameters: Mapping[str, str]) -> str:
    """These parameters as a query."""
    return urlencode(parameters, safe=":/,", quote_via=quote)


def service(request: Request) -> str | None:
    """
    The map service that a request is for; None if it is for none.

    A request that names no service is for one if it names a project too.
    """
    _, _, query = request.uri.partition(b"?")
    parameters = parse(query)
    name = parameters.get("SERVICE", "").strip().upper()
    if name:
        return name if name in NAMES else None
    if "MAP" not in parameters:
        return None
    name = _BY_REQUEST.get(parameters.get("REQUEST", "").upper(), "")
    if not name and request.method == b"POST" and request.content is not None:
        head = request.content.read(HEAD)
        request.content.seek(0)
        found = _ROOT.match(head)
        if found is not None:
            name = found.group(1).decode().upper()
        elif not head.lstrip().startswith(b"<"):
            form = parse(head)
            name = form.get("SERVICE", "").upper()
            name = name or _BY_REQUEST.get(form.get("REQUEST", "").upper(), "")
    return name if name in NAMES else None


def check(parameters: Mapping[str, str]) -> None:
    """
    Make sure that parameters ask for nothing that is refused.

    @param parameters: by their names in upper case.
    @raise OWSError: they do.
    """
    for name, value in parameters.items():
        why = _REFUSED.get(name.rpartition(":")[2])
        if why is not None:
            raise _refusal(name, why)
        for text in (name, *_decoded(value)):
            if _EXTERNAL.search(text):
                raise _refusal(name, "layers of other servers are not accepted")
        if name == "FILTER" and any(
            _FUNCTION.search(text) or _CALL.search(text) for text in _decoded(value)
        ):
            raise _refusal(name, "functions are not accepted")
    _checkOperation(parameters.get("REQUEST", ""))
    _checkSize(parameters)


def checkFeatures(parameters: Mapping[str, str]) -> None:
    """
    Make sure that parameters are some for OGC API Features, and ask for
    nothing that is refused: with others QGIS Server would take the request for
    one of another service.

    @param parameters: by their names as they are.
    @raise OWSError: they are not.
    """
    named = {name.upper(): value for name, value in parameters.items()}
    for name, value in named.items():
        if name in _NOT_OF_FEATURES:
            raise invalid(name, f"{name} is no parameter of OGC API Features")
        # QGIS Server puts the values of fields into an expression as they are.
        if any(map(_QUOTE.search, _decoded(value))):
            text = f"{name}: apostrophes and backslashes are not accepted"
            raise invalid(name, text)
    check(named)


def checkBody(body: bytes, parameters: Mapping[str, str]) -> bytes:
    """
    Make sure that a request in XML asks for nothing that is refused.

    @param parameters: those of the query, by their names in upper case.
    @return: the document, as it was understood here.
    @raise OWSError: it does, or it is no XML.
    """
    root = xmlio.parse(body)
    # QGIS Server takes the root's attributes for parameters, which go before
    # those of the query, and its name for the request.
    attributes = {
        str(etree.QName(name).localname).upper(): str(value)
        for name, value in root.attrib.items()
    }
    check(attributes)
    check({**parameters, **attributes, "REQUEST": xmlio.localName(root)})
    for element in root.iter("{*}*"):
        if xmlio.localName(element).lower() == "function":
            raise _refusal("Filter", "functions are not accepted")
    return bytes(etree.tostring(root, encoding="UTF-8", xml_declaration=True))


def _decoded(value: str) -> list[str]:
    """A value as it is, and as it is for who decodes it once or twice more."""
    once = unquote(value)
    return [value, once, unquote(once)]


def _checkSize(parameters: Mapping[str, str]) -> None:
    """QGIS Server limits pictures by itself, but no coverages."""
    request = parameters.get("REQUEST", "").rpartition(":")[2]
    if request.strip().upper() != "GETCOVERAGE":
        return
    for name in ("WIDTH", "HEIGHT"):
        try:
            pixels = int(parameters.get(name, "1"))
        except ValueError:
            raise invalid(name, f"{name} is a number of pixels") from None
        if not 0 < pixels <= LARGEST_PICTURE:
            raise invalid(name, f"{name} is at most {LARGEST_PICTURE}, not {pixels}")
    box = parameters.get("BBOX", "").split(",")
    for name, side in (("RESX", 0), ("RESY", 1)):
        if name not in parameters:
            continue
        try:
            size = abs(float(box[side + 2]) - float(box[side]))
            count = size / abs(float(parameters[name]))
        except (ValueError, IndexError, ZeroDivisionError):
            raise invalid(name, f"{name} is a number, and BBOX has four") from None
        if not count <= LARGEST_PICTURE:
            text = f"{name} makes more than {LARGEST_PICTURE} pixels of BBOX"
            raise invalid(name, text)


def _checkOperation(name: str) -> None:
    why = _OPERATIONS.get(name.rpartition(":")[2].strip().upper())
    if why is not None:
        raise unsupported("REQUEST", f"{name}: {why}")


def _refusal(name: str, why: str) -> OWSError:
    return invalid(name, f"{name}: {why}", 403)
