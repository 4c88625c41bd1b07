"""
The OGC schemas, for tests of documents.

They stand in C{shared/ogc} beside the checkout, or in the folder that the
environment's C{QGSWPS_OGC_SCHEMAS} names, and are no part of the project.
Without them documents are not validated; L{missing} says so, for the tests
that exist to be skipped then.  Where C{CI} is C{true} they have to be there.
"""

from __future__ import annotations

import contextlib
import functools
import gzip
import importlib
import importlib.util
import os
import unittest
import unittest.mock
from collections.abc import Iterator, Mapping
from typing import Any

from lxml import etree

_ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))


def folder() -> str:
    """Where the schemas are, or should be."""
    beside = os.path.join(os.path.dirname(_ROOT), "shared", "ogc")
    return os.environ.get("QGSWPS_OGC_SCHEMAS") or beside


def missing() -> str | None:
    """Why documents can't be validated, or None if they can."""
    script = os.path.join(folder(), "validate.py")
    if os.path.isfile(script):
        return None
    return (
        f"no OGC schemas: there is no {script} (set QGSWPS_OGC_SCHEMAS);"
        " documents are not validated"
    )


def demanded() -> bool:
    """Whether the schemas have to be there."""
    return os.environ.get("CI") == "true"


@functools.lru_cache(maxsize=1)
def _validator(path: str) -> Any:
    from osgeo import gdal

    # GDAL closes SpatiaLite with each GeoPackage, and that (5.1) frees the types of
    # libxml2 that the schemas of lxml refer to.
    gdal.SetConfigOption("SPATIALITE_LOAD", "NO")
    spec = importlib.util.spec_from_file_location("qgswps_ogc_validate", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def errors(body: bytes, root: str) -> list[str]:
    """The ways in which a WPS 1.0.0 document breaks its schema."""
    validator = _validator(os.path.join(folder(), "validate.py"))
    found: list[str] = validator.wps_errors("1.0.0", body, root=root)
    return found


#: The namespaces of our documents, and the elements that these begin with.
_NAMESPACES = (b"http://www.opengis.net/wps/1.0.0", b"http://www.opengis.net/ows/1.1")
_ROOTS = (
    "Capabilities",
    "ProcessDescriptions",
    "ExecuteResponse",
    "ExceptionReport",
)


@functools.lru_cache(maxsize=16)
def _problems(body: bytes) -> tuple[str, ...]:
    """The ways in which an XML document of ours is wrong; none of others'."""
    if not any(namespace in body[:1000] for namespace in _NAMESPACES):
        return ()
    try:
        name = etree.QName(etree.fromstring(body))
    except etree.XMLSyntaxError as error:
        return (f"not well-formed: {error}",)
    if (name.namespace or "").encode() not in _NAMESPACES:
        return ()
    if not body.startswith(b"<?xml "):
        return ("something stands before the XML declaration",)
    if name.localname not in _ROOTS:
        return (f"{name.localname} is no document",)
    absent = missing()
    if absent is None:
        return tuple(errors(body, name.localname))
    return (absent,) if demanded() else ()


def check(headers: Mapping[str, str], body: bytes) -> None:
    """
    See whether a response is right, if it is a document of WPS 1.0.0; what
    tests send requests with calls it for each response.

    @param headers: those of the response, their names in lower case.
    @raise AssertionError: it is not.
    """
    contentType = headers.get("content-type", "")
    if not body or contentType.partition(";")[0].strip() != "text/xml":
        return
    if headers.get("content-encoding") == "gzip":
        body = gzip.decompress(body)
    problems = list(_problems(body))
    if _NAMESPACES[0] in body[:1000] and contentType != "text/xml":
        problems.append(f"the content type is {contentType}, expected text/xml")
    if problems:
        raise AssertionError(f"{problems}\n{body[:5000].decode(errors='replace')}")


@contextlib.contextmanager
def watching() -> Iterator[None]:
    """L{check} each response that comes by C{requests}, which OWSLib uses."""
    session: Any = importlib.import_module("requests").Session
    send = session.send

    def checked(self: Any, request: Any, **options: Any) -> Any:
        response = send(self, request, **options)
        headers = {"content-type": response.headers.get("Content-Type", "")}
        check(headers, response.content)
        return response

    with unittest.mock.patch.object(session, "send", checked):
        yield


def assertValid(test: unittest.TestCase, body: bytes, root: str) -> None:
    """
    Fail a test if a WPS 1.0.0 document is not valid; without the schemas do
    nothing, or fail where they are demanded.

    @param root: the local name of the root element that is expected.
    """
    absent = missing()
    if absent is None:
        test.assertEqual(errors(body, root), [], body.decode(errors="replace"))
    elif demanded():
        test.fail(absent)
