"""Projects: which layers they have, and opening what a job needs of them."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterable
from typing import Any

from qgis.core import (
    QgsMeshDatasetIndex,
    QgsProject,
    QgsProviderRegistry,
    QgsReadWriteContext,
    QgsRelation,
)
from qgis.PyQt.QtCore import Qt
from qgis.PyQt.QtXml import QDomDocument

from qgswps.errors import OWSError, invalid
from qgswps.model import FieldSummary, LayerSummary, ProjectSummary
from qgswps.worker import compat, projectfile
from qgswps.worker.projectfile import Content, ProjectFile, Unreadable

_GEOMETRIES = {0: "point", 1: "line", 2: "polygon", 3: "vector", 4: "nogeometry"}

#: The types of fields by the numbers of Qt's meta types.
_FIELD_TYPES = {
    1: "boolean",
    10: "string",
    12: "binary",
    14: "datetime",
    15: "datetime",
    16: "datetime",
}

#: File systems of GDAL that are a local file themselves.
_LOCAL = {"", "/vsizip/", "/vsitar/", "/vsigzip/"}


def kindOf(layer: Any) -> str:
    """The kind of a layer, in the words of the model."""
    if layer.type() == compat.LAYER_VECTOR:
        return _GEOMETRIES.get(compat.number(layer.geometryType()), "vector")
    return compat.LAYER_KINDS.get(layer.type(), "")


def find(project: QgsProject, given: str) -> Any:
    """
    The open layer of a name or an id; None if there is none.

    An id goes before a name, and of layers of the same name the first one
    of the layer tree is taken.
    """
    layer = project.mapLayer(given)
    if layer is not None:
        return layer
    named = project.mapLayersByName(given)
    if len(named) > 1:
        order = {key: n for n, key in enumerate(_order(project))}
        named.sort(key=lambda each: order.get(each.id(), len(order)))
    return named[0] if named else None


def _order(project: QgsProject) -> list[str]:
    """The ids of all open layers as the layer tree lists them, then the others."""
    opened = project.mapLayers()
    listed = [node.layerId() for node in project.layerTreeRoot().findLayers()]
    return list(dict.fromkeys([*(key for key in listed if key in opened), *opened]))


# Summaries


def summarize(path: str, known: str = "") -> ProjectSummary | None:
    """
    What the description of processes needs to know of a project.

    All layers are opened: whether they are valid can't be told otherwise.

    @param known: the C{modified} of a summary that the caller has already.
    @return: None if the project was not saved since that.
    @raise OWSError: there is no such project, or it can't be read.
    """
    # Taken first: what is saved from here on will be seen the next time.
    modified = _modified(path)
    if modified and modified == known:
        return None
    content = _content(path)
    project = readWhole(path, compat.READ_WITHOUT_LAYOUTS)
    layers = [project.mapLayer(key) for key in _order(project)]
    files = dict.fromkeys(file for file in map(_fileOf, layers) if file)
    return ProjectSummary(
        title=project.title() or project.baseName(),
        crs=project.crs().authid(),
        layers=tuple(map(_summary, layers)),
        layouts=projectfile.layoutNames(content),
        themes=tuple(project.mapThemeCollection().mapThemes()),
        files=tuple(files),
        modified=modified,
    )


def _modified(path: str) -> str:
    """When a stored project was saved; empty for files."""
    storage: Any = projectfile.storageOf(path)
    if storage is None:
        return ""
    ok, metadata = storage.readProjectStorageMetadata(path)
    if not ok:
        raise _notStored()
    return str(metadata.lastModified.toString(Qt.DateFormat.ISODateWithMs))


def _summary(layer: Any) -> LayerSummary:
    isVector = layer.type() == compat.LAYER_VECTOR
    isRaster = layer.type() == compat.LAYER_RASTER
    return LayerSummary(
        id=layer.id(),
        name=layer.name(),
        kind=kindOf(layer),
        crs=layer.crs().authid(),
        title=layer.title() if hasattr(layer, "title") else "",
        valid=layer.isValid(),
        fields=tuple(map(_field, layer.fields())) if isVector else (),
        bands=layer.bandCount() if isRaster and layer.isValid() else 0,
        groups=tuple(groups(layer)) if kindOf(layer) == "mesh" else (),
    )


def _field(field: Any) -> FieldSummary:
    if field.isNumeric():
        return FieldSummary(field.name(), "numeric")
    return FieldSummary(field.name(), _FIELD_TYPES.get(compat.number(field.type()), ""))


def groups(layer: Any) -> dict[str, int]:
    """The groups of datasets of a mesh layer: their numbers by their names."""
    found: dict[str, int] = {}
    for number in layer.datasetGroupsIndexes() if layer.isValid() else ():
        metadata = layer.datasetGroupMetadata(QgsMeshDatasetIndex(number, 0))
        found.setdefault(metadata.name(), number)
    found.pop("", None)
    return found


def _fileOf(layer: Any) -> str | None:
    """The local file, or folder, that a layer is in."""
    decoded = QgsProviderRegistry.instance().decodeUri(
        layer.providerType(), layer.source()
    )
    path = str(decoded.get("path") or "")
    if decoded.get("vsiPrefix", "") not in _LOCAL:
        return None
    # Further file systems of GDAL may be in the path.
    if not os.path.isabs(path) or path.startswith("/vsi"):
        return None
    return os.path.normpath(path)


# Opening


class PartialProject:
    """
    The project of this process, of which only some layers are open.

    @ivar project: as QGIS knows it, with the layers that are open.
    """

    def __init__(self, project: QgsProject, file: ProjectFile | None = None) -> None:
        """
        @param project: as it was read.
        @param file: what there is to open; None if all is open.
        """
        self.project = project
        self._file = file
        self._opened: set[str] = set()

    @property
    def isComplete(self) -> bool:
        """Whether all layers are open."""
        return self._file is None or len(self._opened) == len(self._file.layers)

    def names(self) -> list[tuple[str, str]]:
        """Name and kind of all layers, open or not."""
        if self._file is not None:
            return [(layer.name, layer.kind) for layer in self._file.layers.values()]
        layers = [self.project.mapLayer(key) for key in _order(self.project)]
        return [(layer.name(), kindOf(layer)) for layer in layers]

    def openMentioned(self, texts: Iterable[str]) -> None:
        """Open the layers that some texts may mean."""
        if self._file is not None:
            for text in texts:
                self._open(self._file, self._file.mentioned(text))

    def openAll(self) -> None:
        """Open all layers."""
        if self._file is not None:
            self._open(self._file, self._file.layers)

    def _open(self, file: ProjectFile, wanted: Iterable[str]) -> None:
        missing = [key for key in wanted if key not in self._opened]
        if not missing:
            return
        bridge = self.project.layerTreeRegistryBridge()
        # The layer tree has them already.
        bridge.setEnabled(False)
        try:
            for key in file.withReferred(missing):
                if key not in self._opened:
                    self._opened.add(key)
                    self._openOne(key, file.layers[key].xml)
        finally:
            bridge.setEnabled(True)
        # What QGIS resolved when it read the project, without these layers.
        self.project.layerTreeRoot().resolveReferences(self.project)
        for relation in file.relations:
            if self._opened.issuperset(relation.layers):
                self._relate(relation.xml)
        if b"<visibility-preset " in file.skeleton:
            self.project.mapThemeCollection().readXml(_document(file.skeleton))

    def _openOne(self, key: str, xml: bytes) -> None:
        self.project.readLayer(_document(xml).documentElement())
        layer = self.project.mapLayer(key)
        if layer is None:
            return
        # QGIS itself does this for vector layers only.
        layer.resolveReferences(self.project)
        if layer.type() == compat.LAYER_VECTOR:
            layer.loadAuxiliaryLayer(self.project.auxiliaryStorage())

    def _relate(self, xml: bytes) -> None:
        relation = QgsRelation.createFromXml(
            _document(xml).documentElement(), QgsReadWriteContext()
        )
        # It takes the place of one of the same id.
        self.project.relationManager().addRelation(relation)


def _document(xml: bytes) -> QDomDocument:
    document = QDomDocument()
    document.setContent(xml)
    return document


#: The last one opened: QGIS has one project a process as well.
_current: list[PartialProject] = []


def offered(project: QgsProject) -> list[tuple[str, str]]:
    """Name and kind of all layers of a project, whether they are open or not."""
    for current in _current:
        if current.project is project:
            return current.names()
    return PartialProject(project).names()


def load(path: str, needed: Iterable[str] | None) -> PartialProject:
    """
    Read a project as the one of this process, and open layers of it.

    @param needed: texts that name the layers to open; those that they depend
        on come along.  None for all, and for the layouts.
    @raise OWSError: there is no such project, or it can't be read.
    """
    _current.clear()
    file = None if needed is None else projectfile.parse(_content(path))
    if needed is None or file is None:
        partial = PartialProject(readWhole(path))
    else:
        partial = PartialProject(_readSkeleton(path, file), file)
        partial.openMentioned(needed)
    _current.append(partial)
    return partial


def _readSkeleton(path: str, file: ProjectFile) -> QgsProject:
    """Read a project without its layers."""
    project = QgsProject.instance()
    with tempfile.TemporaryDirectory(prefix="project-") as folder:
        copy = os.path.join(folder, "project.qgs")
        # QGIS looks for auxiliary fields beside it, and makes a copy of them.
        for name, data in (("qgs", file.skeleton), ("qgd", file.auxiliary)):
            if data is not None:
                with open(os.path.join(folder, f"project.{name}"), "wb") as opened:
                    opened.write(data)
        _read(project, copy, path, compat.READ_WITHOUT_LAYOUTS)
    # Paths are relative to where it really is.
    project.setFileName(path)
    project.setDirty(False)
    return project


def readWhole(path: str, *flags: Any) -> QgsProject:
    """
    Let QGIS read a project with all its layers, as the one of this process.

    @raise OWSError: there is no such project, or it can't be read.
    """
    project = QgsProject.instance()
    _read(project, path, path, *flags)
    return project


def _read(project: QgsProject, source: str, path: str, *flags: Any) -> None:
    """
    @param source: where QGIS is to read.
    @param path: where the project really is.
    """
    _mustBeThere(path)
    try:
        ok = project.read(
            source,
            compat.readFlags(compat.READ_WITHOUT_STYLES, compat.READ_ONLY, *flags),
        )
        why = project.error()
    except Exception as error:
        ok, why = False, str(error)
    if not ok:
        # Where it lies is nobody's business.
        raise _notReadable(path, why.replace(os.path.dirname(source) + os.sep, ""))


def _content(path: str) -> Content:
    _mustBeThere(path)
    try:
        return projectfile.read(path)
    except Unreadable as error:
        raise _notReadable(path, str(error)) from None


def _mustBeThere(path: str) -> None:
    if projectfile.storageOf(path) is None and not os.path.isfile(path):
        raise invalid("MAP", f"there is no project {os.path.basename(path)!r}", 404)


def _notStored() -> OWSError:
    return invalid(
        "MAP", "there is no such project, or the database that has it is away", 404
    )


def _notReadable(path: str, why: str) -> OWSError:
    """What a client is told of a project that QGIS can't read."""
    if projectfile.storageOf(path) is not None:
        # The URI, and what QGIS says of it, may hold a password.
        return _notStored()
    name = os.path.basename(path)
    return invalid("MAP", f"the project {name!r} can't be read: {why or 'damaged'}")
