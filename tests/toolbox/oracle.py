"""
The oracle: an algorithm is run by the server and by plain QGIS, with the same
values, and their results are compared.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from typing import Any

import attrs
from lxml import etree

from tests import live
from tests.toolbox import compare, hints, inputs
from tests.toolbox.inputs import Given
from tests.toolbox.plain import PlainQGIS
from tests.toolbox.world import EPSG

_WPS = "{http://www.opengis.net/wps/1.0.0}"
_OWS = "{http://www.opengis.net/ows/1.1}"
_XLINK = "{http://www.w3.org/1999/xlink}"

#: In these formats results keep all that they have.
_WANTED = ("application/geopackage+sqlite3", "image/tiff")


@attrs.frozen
class Verdict:
    """
    What came of an algorithm.

    @ivar executed: both have run it.
    @ivar equal: their results are the same.
    @ivar note: why not, or how it was compared.
    """

    executed: bool
    equal: bool
    note: str = ""


#: Settings for all of the toolbox, and nothing of the server's or the tests' own.
TOOLBOX = {
    "QGSWPS_PROCESSING_ACCESSPOLICY": "none",
    "QGSWPS_PROCESSING_PROVIDERS_MODULE_PATH": "",
    "QGSWPS_PROCESSING_ECHO": "no",
}

#: Types of outputs that are layers.
_LAYERS = ("outputVector", "outputRaster", "outputLayer", "outputMultilayer")


#: A run that takes longer ends in time for its client to hear of it.
_QUERY = "?MAP=world&TIMEOUT=50"


class Refused(Exception):
    """The server's word on a request or a process that failed."""


class Oracle:
    """
    Compares a server with plain QGIS.

    The server serves the project C{world} of L{PlainQGIS.world}.
    """

    def __init__(self, server: live.LiveServer, plain: PlainQGIS) -> None:
        self._server = server
        self._plain = plain

    def ask(self, algorithm: str) -> Verdict:
        """Run an algorithm in both ways."""
        if algorithm in hints.REASONS:
            return Verdict(False, False, hints.REASONS[algorithm])
        folder = self._plain.folder()
        try:
            task = inputs.task(
                algorithm,
                self._plain.algorithms[algorithm],
                hints.HINTS.get(algorithm, {}),
                self._plain.world,
                folder,
                self._server.url,
            )
        except KeyError as error:
            return Verdict(False, False, f"the test has no input: {error.args[0]}")
        theirs = self._plain.run(task, folder)
        try:
            ours = self._execute(task)
        except Refused as error:
            # What a program says that fails does not end a run in QGIS.
            said = theirs.get("error") or "; ".join(theirs["errors"])
            if said:
                return Verdict(False, False, f"fails in QGIS too: {_short(said)}")
            return Verdict(False, False, f"only here: {_short(str(error))}")
        if "error" in theirs:
            return Verdict(False, False, f"only QGIS: {_short(theirs['error'])}")
        chance = algorithm in hints.CHANCE
        try:
            compared = self._compare(
                algorithm, ours, theirs["result"], task.parameters, chance
            )
        except compare.Different as error:
            return Verdict(True, False, _short(str(error)))
        if not compared:
            return Verdict(True, True, "no result to compare")
        return Verdict(True, True, "chance: compared in form" if chance else "")

    # The server

    def _outputs(self, algorithm: str) -> dict[str, str | None]:
        """The outputs, and the media type to ask each in; None for literals."""
        answer = self._server.wps("DescribeProcess", identifier=algorithm, MAP="world")
        found: dict[str, str | None] = {}
        types = self._plain.algorithms[algorithm]["outputs"]
        layers = [name for name, type_ in types.items() if type_ in _LAYERS]
        leave = hints.HINTS.get(algorithm, {})
        for output in etree.fromstring(answer.body).iter("Output"):
            offered = [
                node.text or ""
                for node in output.iterfind("ComplexOutput/Supported/Format/MimeType")
            ]
            name = output.findtext(f"{_OWS}Identifier") or ""
            data = [
                each for each in offered if not each.startswith("application/x-ogc")
            ]
            own = hints.FORMATS.get(algorithm)
            preferred = _WANTED if own is None else (own,)
            wanted = [each for each in preferred if each in data and name in layers]
            if leave.get(name) is inputs.LEAVE:
                continue
            found[name] = [*wanted, *data][0] if data else None
        return found

    def _execute(self, task: inputs.Task) -> dict[str, str | bytes]:
        outputs = self._outputs(task.algorithm)
        answer = self._server.post(request(task, outputs), _QUERY)
        root = etree.fromstring(answer.body)
        texts = [node.text or "" for node in root.iter(f"{_OWS}ExceptionText")]
        if texts or answer.status != 200:
            raise Refused("; ".join(texts) or f"status {answer.status}")
        return dict(self._results(root))

    def _results(self, root: etree._Element) -> Iterator[tuple[str, str | bytes]]:
        for output in root.iter(f"{_WPS}Output"):
            name = output.findtext(f"{_OWS}Identifier") or ""
            literal = output.find(f"{_WPS}Data/{_WPS}LiteralData")
            reference = output.find(f"{_WPS}Reference")
            if literal is not None:
                yield name, literal.text or ""
            elif reference is not None:
                file = self._server.get(
                    reference.get("href") or reference.get(f"{_XLINK}href") or ""
                )
                if file.status != 200:
                    raise Refused(f"the file of {name} is answered with {file.status}")
                yield name, file.body
            else:
                raise Refused(f"{name} is neither a literal nor a reference")

    # Both

    def _compare(
        self,
        algorithm: str,
        ours: Mapping[str, str | bytes],
        theirs: Mapping[str, Any],
        asked: Mapping[str, Any],
        chance: bool,
    ) -> int:
        """
        Compare all results.

        @param asked: what plain QGIS was told to write to.

        @return: how many there were.
        """
        types = self._plain.algorithms[algorithm]["outputs"]
        compared = 0
        for name in types:
            # Some write what they don't return.
            value = theirs.get(name, asked.get(name))
            if name not in ours:
                if value is not None and not _isAbsent(value):
                    raise compare.Different(f"{name} is missing")
                continue
            if value is None or _isAbsent(value):
                raise compare.Different(f"{name} is here only")
            compared += 1
            try:
                _compareOne(ours[name], value, chance, types[name])
            except compare.Different as error:
                raise compare.Different(f"{name}: {error}") from None
        return compared


def _isAbsent(value: Any) -> bool:
    """A path of which nothing has come, since the algorithm had nothing to write."""
    path = _path(value)
    return path is not None and not os.path.exists(path)


def _path(value: Any) -> str | None:
    if not isinstance(value, str) or not value.startswith("/"):
        return None
    return value.partition("|")[0]


def _compareOne(ours: str | bytes, theirs: Any, chance: bool, kind: str) -> None:
    path = _path(theirs)
    if isinstance(ours, str):
        if path is not None and kind != "outputString":
            raise compare.Different("a text, in QGIS a file")
        if not chance:
            compare.values(ours, theirs)
        return
    if isinstance(theirs, list) and all(map(_path, theirs)):
        compare.files(ours, compare.archive([_path(each) or "" for each in theirs]))
    elif path is None:
        compare.structures(ours, theirs)
    elif os.path.isdir(path):
        compare.files(ours, compare.folder(path), chance)
    else:
        compare.files(ours, compare.content(path), chance)


def request(task: inputs.Task, outputs: Mapping[str, str | None]) -> bytes:
    """An Execute request that asks for all outputs, complex ones as references."""
    root = etree.Element(
        f"{_WPS}Execute",
        {"service": "WPS", "version": "1.0.0"},
        {"wps": _WPS[1:-1], "ows": _OWS[1:-1]},
    )
    _text(root, f"{_OWS}Identifier", task.algorithm)
    given = etree.SubElement(root, f"{_WPS}DataInputs")
    for each in task.given:
        _input(given, each)
    form = etree.SubElement(root, f"{_WPS}ResponseForm")
    document = etree.SubElement(form, f"{_WPS}ResponseDocument")
    for name, mimeType in outputs.items():
        attributes = (
            {} if mimeType is None else {"mimeType": mimeType, "asReference": "true"}
        )
        output = etree.SubElement(document, f"{_WPS}Output", attributes)
        _text(output, f"{_OWS}Identifier", name)
    return etree.tostring(root)


def _text(parent: etree._Element, name: str, text: str) -> etree._Element:
    node = etree.SubElement(parent, name)
    node.text = text
    return node


def _input(parent: etree._Element, given: Given) -> None:
    node = etree.SubElement(parent, f"{_WPS}Input")
    _text(node, f"{_OWS}Identifier", given.identifier)
    data = etree.SubElement(node, f"{_WPS}Data")
    if given.box is not None:
        left, bottom, right, top = given.box
        box = etree.SubElement(data, f"{_WPS}BoundingBoxData", {"crs": f"EPSG:{EPSG}"})
        _text(box, f"{_OWS}LowerCorner", f"{left} {bottom}")
        _text(box, f"{_OWS}UpperCorner", f"{right} {top}")
    elif given.mimeType is None:
        _text(data, f"{_WPS}LiteralData", given.text)
    else:
        attributes = {"mimeType": given.mimeType}
        if given.encoding:
            attributes["encoding"] = given.encoding
        _text(data, f"{_WPS}ComplexData", given.text).attrib.update(attributes)


def _short(text: str) -> str:
    """A reason in one line, without what is another one each time."""
    line = " ".join(text.split())
    line = re.sub(r"(/[\w.+-]+)+/([\w.+-]+)", r"\2", line)
    return line if len(line) <= 160 else line[:157] + "..."


def environment(plain: PlainQGIS) -> dict[str, str]:
    """The settings of a server to be set against plain QGIS."""
    return {
        **TOOLBOX,
        "QGSWPS_CACHE_ROOTDIR": plain.world,
        # Some write beside their input, or into it, and one downloads something.
        "QGSWPS_SANDBOX_WRITABLE": plain.world,
        "QGSWPS_SANDBOX_PORTS": "any",
    }
