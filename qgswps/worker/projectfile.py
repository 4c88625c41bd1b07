"""
Project files as text: what is in them can be told, and parts of them read,
without that QGIS opens all layers.

A large project is mostly the styles of its layers.  Its text is therefore
cut where a layer begins and ends, and only the layers that are needed are
parsed.
"""

from __future__ import annotations

import io
import os
import re
import zipfile
from collections.abc import Iterable, Iterator
from urllib.parse import unquote

import attrs
from lxml import etree
from qgis.core import QgsApplication, QgsReadWriteContext
from qgis.PyQt.QtCore import QBuffer, QIODevice

#: What layer elements say of geometries, and the kinds of the model.
_GEOMETRIES = {
    "Point": "point",
    "Line": "line",
    "Polygon": "polygon",
    "No geometry": "nogeometry",
}
_TYPES = {
    "raster": "raster",
    "mesh": "mesh",
    "vector-tile": "vectortile",
    "annotation": "annotation",
    "point-cloud": "pointcloud",
}

#: Tags are nowhere else in well-formed XML but outside of these two.
_TOKENS = re.compile(
    rb"<!\[CDATA\[.*?\]\]>|<!--.*?-->|<(/?)(projectlayers|maplayer)(?=[\s/>])",
    re.DOTALL,
)
_CLOSE = b"</maplayer>"

#: Id and name of a layer mostly stand in so many bytes.
_HEAD = 2048

#: The children of a layer's element in which others may be named; so may they
#: in the source of virtual layers.
_REFERRING = (
    "vectorjoins",
    "expressionfields",
    "defaults",
    "layerDependencies",
    "childLayers",
)

#: Functions and variables of expressions by which layers are found that the
#: text does not name: the function's layer is neither a constant nor the one
#: at hand.
_COMPUTED = re.compile(
    r"@(map_layers|map_layer_ids|layers|layer_ids)\b"
    r"|\b(aggregate|relation_aggregate|get_feature|get_feature_by_id|layer_property"
    r"|overlay_\w+|raster_value|raster_statistic|is_selected|num_selected"
    r"|decode_uri)\s*\("
    r"(?!\s*(layer\s*:=\s*|relation\s*:=\s*)?(\)|'|@layer(_id|_name)?\b|\$))",
    re.IGNORECASE,
)


class Unreadable(Exception):
    """There is no project, or it is none; the text is for the client."""


@attrs.frozen
class Content:
    """
    What is stored as one project.

    @ivar xml: the project itself.
    @ivar auxiliary: the database of its auxiliary fields, if it has one.
    """

    xml: bytes
    auxiliary: bytes | None = None


@attrs.frozen
class StoredLayer:
    """
    A layer as the project has it.

    @ivar kind: as in L{qgswps.model.LayerType.kinds}, as far as told.
    @ivar xml: its element.
    """

    id: str
    name: str
    kind: str
    xml: bytes


@attrs.frozen
class Relation:
    """
    A relation between two layers.

    @ivar layers: the ids of both.
    @ivar xml: its element.
    """

    id: str
    name: str
    layers: tuple[str, str]
    xml: bytes


@attrs.frozen
class ProjectFile:
    """
    A project in parts.

    @ivar skeleton: the project without its layers, and without relations:
        QGIS forgets those whose layers are not there.
    @ivar layers: by id, in the order of the layer tree, then the others.
    """

    skeleton: bytes
    layers: dict[str, StoredLayer]
    relations: tuple[Relation, ...] = ()
    auxiliary: bytes | None = None

    def find(self, given: str) -> StoredLayer | None:
        """The layer of an id or a name: the first one of that name."""
        named = (layer for layer in self.layers.values() if layer.name == given)
        return self.layers.get(given) or next(named, None)

    def mentioned(self, text: str) -> list[str]:
        """
        The ids of the layers that a text may mean.

        A text that is a name as a whole means that one layer; else each name
        and id that occurs in it counts, in whatever sense, and all if the
        layer is only known when an expression is evaluated.
        """
        whole = self.find(text)
        if whole is not None:
            return [whole.id]
        if _COMPUTED.search(text):
            return list(self.layers)
        if "%" in text:
            text = f"{text} {unquote(text)}"
        # Names in SQL have no case.
        text = text.casefold()
        found = dict.fromkeys(
            layer.id
            for layer in self.layers.values()
            if _occurs(layer.id, text) or _occurs(layer.name, text)
        )
        for relation in self.relations:
            if _occurs(relation.id, text) or _occurs(relation.name, text):
                found.update(dict.fromkeys(relation.layers))
        return [key for key in found if key in self.layers]

    def withReferred(self, wanted: Iterable[str]) -> list[str]:
        """Layers and those that they are made of, these first, by their ids."""
        ordered: dict[str, None] = {}
        visited: set[str] = set()

        def visit(key: str) -> None:
            if key in visited:
                return
            visited.add(key)
            for text in _referring(self.layers[key]):
                for other in self.mentioned(text):
                    visit(other)
            ordered[key] = None

        for key in wanted:
            visit(key)
        return list(ordered)


def _occurs(name: str, text: str) -> bool:
    """Whether a name stands in a text (without case) as words of its own."""
    name = name.casefold()
    if not name or name not in text:
        return False
    return re.search(rf"(?<!\w){re.escape(name)}(?!\w)", text) is not None


def _parser(target: type[etree.XMLParser] = etree.XMLParser) -> etree.XMLParser:
    return target(
        resolve_entities=False, no_network=True, load_dtd=False, huge_tree=True
    )


def _referring(layer: StoredLayer) -> Iterator[str]:
    """The texts of a layer in which others may be named."""
    root = etree.fromstring(layer.xml, _parser())
    isVirtual = root.findtext("provider") == "virtual"
    for name in (*_REFERRING, *(["datasource"] if isVirtual else [])):
        for child in root.findall(name):
            for element in child.iter(etree.Element):
                yield from filter(None, (element.text, *element.attrib.values()))


def storageOf(uri: str) -> object | None:
    """What of QGIS keeps a project that is no file; None for files."""
    return QgsApplication.projectStorageRegistry().projectStorageFromUri(uri)


def read(path: str) -> Content:
    """
    What is stored under a path or URI.

    @raise Unreadable: there is nothing, or it can't be read.
    """
    storage = storageOf(path)
    if storage is not None:
        return _unpacked(_readStored(storage, path), None)
    try:
        with open(path, "rb") as file:
            data = file.read()
    except OSError as error:
        raise Unreadable(error.strerror or "it can't be opened") from None
    return _unpacked(data, os.path.splitext(path)[0] + ".qgd")


def _readStored(storage: object, uri: str) -> bytes:
    buffer = QBuffer()
    buffer.open(QIODevice.OpenModeFlag.ReadWrite)
    if not storage.readProject(uri, buffer, QgsReadWriteContext()):  # type: ignore[attr-defined]
        # QGIS's reason has the URI in it, perhaps with a password.
        raise Unreadable("it is not where it should be stored, or that is away")
    return bytes(buffer.data())


def _unpacked(data: bytes, beside: str | None) -> Content:
    """
    The content of a C{.qgz} or C{.qgs} file.

    @param beside: the path of the auxiliary database of a C{.qgs} file.
    """
    if not data.startswith(b"PK"):
        auxiliary = None
        if beside is not None and os.path.isfile(beside):
            with open(beside, "rb") as file:
                auxiliary = file.read()
        return Content(data, auxiliary)
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            members = {
                os.path.splitext(name)[1].lower(): name for name in archive.namelist()
            }
            if ".qgs" not in members:
                raise Unreadable("there is no .qgs in it")
            xml = archive.read(members[".qgs"])
            auxiliary = archive.read(members[".qgd"]) if ".qgd" in members else None
            return Content(xml, auxiliary)
    except (zipfile.BadZipFile, NotImplementedError, OSError, EOFError):
        raise Unreadable("it is a damaged archive") from None


def parse(content: Content) -> ProjectFile | None:
    """
    A project in parts; None for one that QGIS has to read as a whole: of an
    early version, with parts of other projects in it, or damaged.
    """
    try:
        return _parse(content)
    except (etree.XMLSyntaxError, ValueError):
        return None


def _parse(content: Content) -> ProjectFile:
    skeleton, elements = _cut(content.xml)
    root = etree.fromstring(skeleton, _parser())
    version = re.match(r"\d+", root.get("version", ""))
    if root.tag != "qgis" or version is None or int(version[0]) < 3:
        # QGIS rewrites those of before.
        raise ValueError
    if b'"embedded"' in skeleton:
        # Groups of other projects stand in the layer tree.
        raise ValueError
    stored = {layer.id: layer for layer in map(_stored, elements)}
    layers: dict[str, StoredLayer] = {}
    for node in root.iter("layer-tree-layer"):
        layer = stored.pop(node.get("id", ""), None)
        if layer is not None:
            layers[layer.id] = layer
    relations = []
    for element in root.findall("relations/relation"):
        relations.append(_relation(element))
        element.getparent().remove(element)
    if relations:
        skeleton = etree.tostring(root, encoding="utf-8")
    return ProjectFile(
        skeleton, {**layers, **stored}, tuple(relations), content.auxiliary
    )


def _relation(element: etree._Element) -> Relation:
    get = element.attrib.get
    layers = (get("referencingLayer", ""), get("referencedLayer", ""))
    xml = etree.tostring(element, encoding="utf-8", with_tail=False)
    return Relation(get("id", ""), get("name", ""), layers, xml)


def _cut(xml: bytes) -> tuple[bytes, list[bytes]]:
    """A project without layers, and their elements."""
    head = xml[:_HEAD]
    if b"<!ENTITY" in head or re.match(rb"<\?xml[^>]*encoding=.(?!utf-8)", head, re.I):
        # What is cut out would be something else without these.
        raise ValueError
    kept: list[bytes] = []
    elements: list[bytes] = []
    within, begun, end = False, None, 0
    for token in _TOKENS.finditer(xml):
        closing, tag = token.group(1), token.group(2)
        if tag == b"projectlayers":
            within = not closing
        elif tag == b"maplayer":
            if not within or bool(closing) != (begun is not None):
                raise ValueError
            if not closing:
                begun = token.start()
                continue
            kept.append(xml[end:begun])
            end = token.start() + len(_CLOSE)
            elements.append(xml[begun:end])
            begun = None
    if begun is not None:
        raise ValueError
    return b"".join((*kept, xml[end:])), elements


def _stored(xml: bytes) -> StoredLayer:
    """Read the first lines of a layer."""
    parser = _parser(etree.XMLPullParser)
    attributes: dict[str, str] = {}
    found: dict[str, str] = {}
    for piece in (xml[:_HEAD], xml[_HEAD:]):
        parser.feed(piece)
        for _, element in parser.read_events():
            parent = element.getparent()
            if parent is None or parent.getparent() is not None:
                continue
            attributes = dict(parent.attrib)
            if element.tag in ("id", "layername"):
                found.setdefault(element.tag, element.text or "")
        if len(found) == 2:
            break
    if attributes.get("embedded") == "1" or not found.get("id"):
        raise ValueError
    kind = _TYPES.get(attributes.get("type", ""), "")
    if attributes.get("type") == "vector":
        kind = _GEOMETRIES.get(attributes.get("geometry", ""), "vector")
    return StoredLayer(found["id"], found.get("layername", ""), kind, xml)


def layoutNames(content: Content) -> tuple[str, ...]:
    """The names of a project's print layouts."""
    try:
        skeleton, _ = _cut(content.xml)
        root = etree.fromstring(skeleton, _parser())
    except (etree.XMLSyntaxError, ValueError):
        root = etree.fromstring(content.xml, _parser())
    return tuple(
        name
        for name in (e.get("name") for e in root.iterfind("Layouts/Layout"))
        if name
    )
