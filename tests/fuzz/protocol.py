"""Requests in KVP and in XML."""

from __future__ import annotations

from urllib.parse import quote

from lxml import etree

from qgswps import forms
from qgswps.errors import OWSError
from qgswps.layerref import LayerReference
from qgswps.layerref import parse as parseLayer
from qgswps.ows import kvp, xmlio
from qgswps.ows.operations import Operation
from qgswps.ows.wps100 import requests
from qgswps.ows.wps100.exceptions import exceptionReport
from qgswps.web import mapquery


def checkFaults(error: OWSError) -> None:
    """Each fault can be told to a client: a code, a text, a 4xx or 501, XML."""
    assert error.faults
    assert all(fault.code and fault.text for fault in error.faults)
    assert 400 <= error.status < 500 or error.status == 501, error.status
    etree.fromstring(exceptionReport(error))


def kvpRequest(data: bytes) -> None:
    """A query string: what it asks for, or what is wrong with it."""
    parameters = kvp.parseQuery(data)
    assert all(name == name.strip().lower() for name in parameters)
    try:
        operation: Operation | None = requests.parseKVP(parameters)
    except OWSError as error:
        checkFaults(error)
        operation = None
    if operation is not None:
        # It depends on nothing but the bytes.
        assert requests.parseKVP(kvp.parseQuery(data)) == operation
    _inputs(data)


def _inputs(data: bytes) -> None:
    """What is written down again as the standard has it is read alike."""
    try:
        items = kvp.parseInputs(data)
    except OWSError as error:
        checkFaults(error)
        return
    # Without a bare semicolon, a client may have escaped the list as a whole.
    written = "".join(_written(item) + ";" for item in items)
    again = kvp.parseInputs(written.encode())
    assert again == items, (items, again)


def _written(item: kvp.Item) -> str:
    text = quote(item.identifier, safe="")
    if item.value is not None:
        text += "=" + quote(item.value, safe="")
    return text + "".join(
        f"@{name}={quote(value, safe='')}" for name, value in item.attributes.items()
    )


def xmlRequest(data: bytes) -> None:
    """The body of a request."""
    try:
        requests.parseXML(data, kvp.Parameters())
    except OWSError as error:
        checkFaults(error)
    try:
        root = xmlio.parse(data)
    except OWSError as error:
        checkFaults(error)
        return
    assert root.getroottree().docinfo.internalDTD is None
    assert not any(isinstance(each, etree._Entity) for each in root.iter())
    # What goes on to others is read there as it was here.
    again = xmlio.parse(etree.tostring(root, encoding="UTF-8"))
    assert _said(again) == _said(root)
    xmlio.content(root)
    try:
        mapquery.checkBody(data, {})
    except OWSError as error:
        checkFaults(error)


def _said(root: etree._Element) -> list[object]:
    """All that a document says."""
    return [
        (each.tag, sorted(each.attrib.items()), each.text or "", each.tail or "")
        for each in root.iter()
    ]


def mapRequest(data: bytes) -> None:
    """The query of a request for maps."""
    parameters = mapquery.parse(data)
    # QGIS Server gets what was looked at, and nothing else.
    again = mapquery.parse(mapquery.compose(parameters).encode())
    assert again == parameters, (parameters, again)
    for check, values in (
        (mapquery.check, parameters),
        (mapquery.checkFeatures, mapquery.parseAsGiven(data)),
    ):
        try:
            check(values)
        except OWSError as error:
            checkFaults(error)


def textForm(data: bytes) -> None:
    """
    A text of each form that a request is refused for, without QGIS: GeoJSON,
    GML and WKT among them.
    """
    text = data.decode("utf-8", "replace")
    for name in forms.FORMS:
        found = forms.fault(name, text)
        assert found is None or found


def layerReference(data: bytes) -> None:
    """C{layer:NAME?…}"""
    text = data.decode("utf-8", "replace")
    try:
        found = parseLayer(text)
    except ValueError as error:
        assert str(error)
        return
    assert (found is not None) == text.startswith("layer:")
    if found is not None:
        assert found.name
        assert parseLayer(_reference(found)) == found


def _reference(layer: LayerReference) -> str:
    text = "layer:" + quote(layer.name, safe="")
    parts = []
    if layer.select is not None:
        parts.append("select=" + quote(layer.select, safe=""))
    if layer.rect is not None:
        crs = [] if layer.crs is None else [layer.crs]
        parts.append("rect=" + ",".join([*map(repr, layer.rect), *crs]))
    return text + ("?" + "&".join(parts) if parts else "")
