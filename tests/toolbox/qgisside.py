"""
Plain QGIS, with nothing of ours: C{python3 -m tests.toolbox.qgisside FOLDER}.

Makes small data and a project in a folder, says on standard output, as a line of
JSON, what algorithms there are; then it reads lines of JSON, each an algorithm to
run, and answers each with a line: what C{processing.run} gave, or raised.

Each run is in a forked child: what crashes or hangs costs one line.
"""

from __future__ import annotations

import contextlib
import json
import math
import os
import select
import signal
import sys
from collections.abc import Sequence
from typing import Any

os.environ["QT_QPA_PLATFORM"] = "offscreen"

import numpy
from osgeo import gdal, ogr, osr
from qgis.core import (
    Qgis,
    QgsAnnotationLayer,
    QgsAnnotationPointTextItem,
    QgsApplication,
    QgsCoordinateReferenceSystem,
    QgsLayoutItemMap,
    QgsLayoutSize,
    QgsMapLayer,
    QgsMapThemeCollection,
    QgsMeshLayer,
    QgsPointXY,
    QgsPrintLayout,
    QgsProcessingAlgorithm,
    QgsProcessingContext,
    QgsProcessingFeedback,
    QgsProcessingParameterDefinition,
    QgsProcessingUtils,
    QgsProject,
    QgsRasterLayer,
    QgsRectangle,
    QgsRelation,
    QgsVectorFileWriter,
    QgsVectorLayer,
)
from qgis.PyQt.QtGui import QColor

from tests.toolbox.world import BOTTOM, EPSG, LEFT, SIZE

#: Seconds that a run may take.
PATIENCE = 50

_KEPT: list[Any] = []


# Data


def _wave(n: int) -> float:
    """Numbers that look like chance, and are the same each time."""
    return math.modf(abs(math.sin(n * 12.9898)) * 43758.5453)[0]


def _spot(n: int) -> tuple[float, float]:
    return LEFT + 500 + 9000 * _wave(n), BOTTOM + 500 + 9000 * _wave(n + 1000)


_FIELDS = (
    ("number", ogr.OFTInteger),
    ("name", ogr.OFTString),
    ("class", ogr.OFTInteger),
    ("value", ogr.OFTReal),
    ("low", ogr.OFTReal),
    ("high", ogr.OFTReal),
    ("text", ogr.OFTString),
    ("store", ogr.OFTString),
    ("time", ogr.OFTDateTime),
    ("data", ogr.OFTBinary),
)


def _vector(path: str, name: str, kind: int, shapes: Sequence[str | None]) -> None:
    """A layer of a GeoPackage, which is made with the first."""
    driver = ogr.GetDriverByName("GPKG")
    source = (
        ogr.Open(path, 1) if os.path.exists(path) else driver.CreateDataSource(path)
    )
    crs = osr.SpatialReference()
    crs.ImportFromEPSG(EPSG)
    geometry = [] if kind == ogr.wkbNone else ["GEOMETRY_NAME=geometry"]
    layer = source.CreateLayer(
        name, crs if kind != ogr.wkbNone else None, kind, geometry
    )
    for field, type_ in _FIELDS:
        layer.CreateField(ogr.FieldDefn(field, type_))
    for n, shape in enumerate(shapes, 1):
        feature = ogr.Feature(layer.GetLayerDefn())
        feature["number"] = n
        feature["name"] = f"{name} {n}"
        feature["class"] = n % 4
        feature["value"] = round(100 * _wave(n + 50), 2)
        feature["low"] = 10.0 * n
        feature["high"] = 10.0 * n + 10
        feature["text"] = f"{n / 2}"
        feature["store"] = f'"a"=>"{n}", "b"=>"x"'
        feature["time"] = f"2026/01/{1 + n % 28:02} 10:00:00"
        feature.SetFieldBinaryFromHexString("data", f"{n:08x}")
        if shape is not None:
            feature.SetGeometryDirectly(ogr.CreateGeometryFromWkt(shape))
        layer.CreateFeature(feature)


def _square(x: float, y: float, size: float, hole: bool = False) -> str:
    def ring(x: float, y: float, size: float) -> str:
        corners = ((0, 0), (1, 0), (1, 1), (0, 1), (0, 0))
        return ",".join(f"{x + a * size} {y + b * size}" for a, b in corners)

    inner = f",({ring(x + size / 4, y + size / 4, size / 2)})" if hole else ""
    return f"(({ring(x, y, size)}){inner})"


def _vectors(path: str) -> None:
    points = [f"POINT({x} {y})" for x, y in map(_spot, range(40))]
    _vector(path, "points", ogr.wkbPoint, points)
    others = [f"POINT({x} {y})" for x, y in map(_spot, range(200, 220))]
    _vector(path, "others", ogr.wkbPoint, others)
    step = SIZE // 5
    lines = []
    for n in range(1, 5):
        x, y = LEFT + n * step, BOTTOM + n * step
        ends = [LEFT, *(LEFT + m * step for m in range(1, 5)), LEFT + SIZE]
        lines.append(",".join(f"{end} {y}" for end in ends))
        ends = [BOTTOM, *(BOTTOM + m * step for m in range(1, 5)), BOTTOM + SIZE]
        lines.append(",".join(f"{x} {end}" for end in ends))
    _vector(path, "lines", ogr.wkbLineString, [f"LINESTRING({line})" for line in lines])
    crossing = [
        f"LINESTRING({LEFT} {BOTTOM + n},{LEFT + SIZE} {BOTTOM + SIZE - n})"
        for n in (700, 2900, 4300)
    ]
    _vector(path, "crossing", ogr.wkbLineString, crossing)
    measured = [
        "LINESTRING ZM("
        + ",".join(
            f"{LEFT + m * 1000} {BOTTOM + n * 1500 + m * 100} {m * 10} {m * 5}"
            for m in range(8)
        )
        + ")"
        for n in range(1, 5)
    ]
    _vector(path, "measured", ogr.wkbLineStringZM, measured)
    cells = [
        "POLYGON"
        + _square(LEFT + 400 + 1900 * a, BOTTOM + 400 + 1900 * b, 1500, a == b)
        for a in range(5)
        for b in range(4)
    ]
    _vector(path, "polygons", ogr.wkbPolygon, cells)
    areas = [
        f"MULTIPOLYGON({_square(LEFT + 1000, BOTTOM + 1000, 4000)},"
        f"{_square(LEFT + 6000, BOTTOM + 300, 1000)})",
        f"MULTIPOLYGON({_square(LEFT + 4000, BOTTOM + 4000, 5000)})",
    ]
    _vector(path, "areas", ogr.wkbMultiPolygon, areas)
    _vector(path, "table", ogr.wkbNone, [None] * 12)


def _raster(
    path: str,
    bands: list[Any],
    kind: int,
    nodata: float | None = None,
    palette: Any = None,
) -> None:
    height, width = bands[0].shape
    raster = gdal.GetDriverByName("GTiff").Create(path, width, height, len(bands), kind)
    raster.SetGeoTransform((LEFT, SIZE / width, 0, BOTTOM + SIZE, 0, -SIZE / height))
    crs = osr.SpatialReference()
    crs.ImportFromEPSG(EPSG)
    raster.SetProjection(crs.ExportToWkt())
    if palette is not None:
        # After the pixels it would be too late for GDAL 3.10.
        raster.GetRasterBand(1).SetColorTable(palette)
    for n, values in enumerate(bands, 1):
        if nodata is not None:
            raster.GetRasterBand(n).SetNoDataValue(nodata)
        raster.GetRasterBand(n).WriteArray(values)


def _rasters(folder: str) -> None:
    y, x = numpy.mgrid[0:50, 0:50]
    height = 500 + 300 * numpy.sin(x / 9) * numpy.cos(y / 7) + 2 * x
    holed = height.astype("float32")
    holed[20:23, 30:33] = -9999
    _raster(f"{folder}/dem.tif", [holed], gdal.GDT_Float32, -9999)
    _raster(f"{folder}/dem2.tif", [(height / 2).astype("float32")], gdal.GDT_Float32)
    classes = ((x // 10 + y // 10) % 4 + 1).astype("uint8")
    _raster(f"{folder}/classes.tif", [classes], gdal.GDT_Byte)
    ones = ((x // 5) % 2).astype("uint8")
    _raster(f"{folder}/ones.tif", [ones], gdal.GDT_Byte)
    colors = [((x * n + y) % 256).astype("uint8") for n in (5, 3, 2)]
    _raster(f"{folder}/colors.tif", colors, gdal.GDT_Byte)
    palette = gdal.ColorTable()
    for n in range(5):
        palette.SetColorEntry(n, (50 * n, 255 - 50 * n, 100, 255))
    _raster(f"{folder}/palette.tif", [classes], gdal.GDT_Byte, palette=palette)


def _mesh(path: str) -> None:
    lines = ["MESH2D"]
    side = 5
    for b in range(side - 1):
        for a in range(side - 1):
            n = b * side + a + 1
            corners = f"{n} {n + 1} {n + side + 1} {n + side}"
            lines.append(f"E4Q {b * (side - 1) + a + 1} {corners} 1")
    for b in range(side):
        for a in range(side):
            x, y = LEFT + a * SIZE / (side - 1), BOTTOM + b * SIZE / (side - 1)
            lines.append(f"ND {b * side + a + 1} {x} {y} {a * 10 + b}")
    with open(path, "w") as file:
        file.write("\n".join(lines) + "\n")


def _files(folder: str) -> None:
    for name, text in {
        "colors.txt": "500 255 0 0\n600 0 255 0\nnv 0 0 0\n",
        "tracks.gpx": '<?xml version="1.0"?><gpx version="1.0" creator="x"'
        ' xmlns="http://www.topografix.com/GPX/1/0"><wpt lat="47" lon="9">'
        "<name>A</name></wpt><wpt lat='47.1' lon='9.1'><name>B</name></wpt></gpx>",
        "download.txt": "what is downloaded\n",
    }.items():
        with open(os.path.join(folder, name), "w") as file:
            file.write(text)
    os.mkdir(os.path.join(folder, "shape"))
    gdal.VectorTranslate(
        f"{folder}/shape/points.shp",
        f"{folder}/world.gpkg",
        layers=["points"],
        selectFields=["number", "name"],
    )
    os.mkdir(os.path.join(folder, "single"))
    gdal.VectorTranslate(
        f"{folder}/single/points.gpkg", f"{folder}/world.gpkg", layers=["points"]
    )
    gdal.Translate(f"{folder}/single/dem.tif", f"{folder}/dem.tif")
    os.mkdir(os.path.join(folder, "FOLDER"))
    photo = gdal.GetDriverByName("MEM").Create("", 8, 8, 3)
    photo.SetMetadata(
        {
            "EXIF_GPSLatitude": "(47) (0) (0)",
            "EXIF_GPSLatitudeRef": "N",
            "EXIF_GPSLongitude": "(9) (0) (0)",
            "EXIF_GPSLongitudeRef": "E",
        }
    )
    gdal.GetDriverByName("JPEG").CreateCopy(f"{folder}/FOLDER/photo.jpg", photo)
    database = ogr.GetDriverByName("SQLite").CreateDataSource(
        f"{folder}/spatial.sqlite", ["SPATIALITE=YES"]
    )
    layer = database.CreateLayer("things", None, ogr.wkbPoint)
    layer.CreateField(ogr.FieldDefn("name", ogr.OFTString))


def _project(folder: str) -> None:
    project = QgsProject.instance()
    crs = QgsCoordinateReferenceSystem(f"EPSG:{EPSG}")
    project.setCrs(crs)
    layers: list[QgsMapLayer] = [
        QgsVectorLayer(f"{folder}/world.gpkg|layername={name}", name, "ogr")
        for name in (
            *("points", "others", "lines", "crossing", "measured", "polygons"),
            *("areas", "table"),
        )
    ]
    layers += [
        QgsRasterLayer(f"{folder}/{name}.tif", name, "gdal")
        for name in ("dem", "dem2", "classes", "ones", "colors", "palette")
    ]
    layers.append(QgsMeshLayer(f"{folder}/mesh.2dm", "mesh", "mdal"))
    layers.append(QgsVectorLayer(f"{folder}/spatial.sqlite", "spatial", "ogr"))
    for layer in layers:
        if not layer.isValid():
            raise SystemExit(f"{layer.name()} is not valid")
        if not layer.crs().isValid() and layer.name() != "table":
            layer.setCrs(crs)
        project.addMapLayer(layer)
    relation = QgsRelation()
    relation.setId("classes")
    relation.setName("classes")
    relation.setReferencedLayer(project.mapLayersByName("areas")[0].id())
    relation.setReferencingLayer(project.mapLayersByName("polygons")[0].id())
    relation.addFieldPair("class", "number")
    project.relationManager().addRelation(relation)
    item = QgsAnnotationPointTextItem("note", QgsPointXY(LEFT + 1000, BOTTOM + 1000))
    project.mainAnnotationLayer().addItem(item)
    layout = QgsPrintLayout(project)
    layout.initializeDefaults()
    layout.setName("page")
    layout.pageCollection().page(0).setPageSize(QgsLayoutSize(60, 40))
    picture = QgsLayoutItemMap(layout)
    picture.setId("map")
    picture.attemptSetSceneRect(_rectangle(5, 5, 50, 30))
    picture.setCrs(crs)
    picture.setLayers([project.mapLayersByName("polygons")[0]])
    picture.setExtent(QgsRectangle(LEFT, BOTTOM, LEFT + SIZE, BOTTOM + SIZE))
    layout.addLayoutItem(picture)
    project.layoutManager().addLayout(layout)
    atlas = layout.clone()
    atlas.setName("atlas")
    atlas.atlas().setEnabled(True)
    atlas.atlas().setCoverageLayer(project.mapLayersByName("areas")[0])
    project.layoutManager().addLayout(atlas)
    theme = QgsMapThemeCollection.MapThemeRecord()
    entry = QgsMapThemeCollection.MapThemeLayerRecord(
        project.mapLayersByName("polygons")[0]
    )
    theme.addLayerRecord(entry)
    project.mapThemeCollection().insert("theme", theme)
    project.write(os.path.join(folder, "world.qgs"))
    project.mapLayersByName("polygons")[0].saveNamedStyle(f"{folder}/style.qml")
    project.clear()


def _rectangle(*sides: float) -> Any:
    from qgis.PyQt.QtCore import QRectF

    return QRectF(*sides)


def makeWorld(folder: str) -> None:
    """Make data and project."""
    _vectors(f"{folder}/world.gpkg")
    _rasters(folder)
    _mesh(f"{folder}/mesh.2dm")
    _files(folder)
    _project(folder)


# Algorithms


def _plain(value: Any) -> Any:
    """What JSON can say of a value."""
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, QgsMapLayer):
        return value.source()
    if isinstance(value, QgsCoordinateReferenceSystem):
        return value.authid() or None
    if isinstance(value, QColor):
        return value.name(QColor.HexArgb)
    if hasattr(value, "isNull") and value.isNull():
        return None
    return str(value)


def _definition(param: QgsProcessingParameterDefinition) -> dict[str, Any]:
    def ask(name: str) -> Any:
        method = getattr(param, name, None)
        return method() if callable(method) else None

    types = ask("dataTypes")
    return {
        "name": param.name(),
        "type": param.type(),
        "optional": bool(param.flags() & QgsProcessingParameterDefinition.FlagOptional),
        "hidden": bool(param.flags() & QgsProcessingParameterDefinition.FlagHidden),
        "destination": param.isDestination(),
        "default": _plain(param.defaultValue()),
        "parent": ask("parentLayerParameterName") or ask("parentLayoutParameterName"),
        "many": bool(ask("allowMultiple")),
        "kinds": [int(each) for each in types] if types else [],
        "kind": int(ask("layerType")) if ask("layerType") is not None else None,
        "fields": int(ask("dataType"))
        if param.type() in ("field", "number") and ask("dataType") is not None
        else None,
        "options": list(ask("options") or ()) if param.type() == "enum" else [],
        "static": bool(ask("usesStaticStrings")),
        "minimum": _plain(ask("minimum")) if param.type() == "number" else None,
        "extension": ask("defaultFileExtension") or ask("extension") or "",
        "folder": param.type() == "file" and int(param.behavior()) == 1,
    }


def definitions() -> dict[str, Any]:
    """All algorithms that are neither hidden nor for the desktop."""
    hidden = (
        QgsProcessingAlgorithm.FlagHideFromToolbox
        | QgsProcessingAlgorithm.FlagNotAvailableInStandaloneTool
    )
    return {
        algorithm.id(): {
            "parameters": [_definition(p) for p in algorithm.parameterDefinitions()],
            "outputs": {o.name(): o.type() for o in algorithm.outputDefinitions()},
        }
        for algorithm in QgsApplication.processingRegistry().algorithms()
        if not algorithm.flags() & hidden
    }


class _Feedback(QgsProcessingFeedback):  # type: ignore[misc]
    def __init__(self) -> None:
        super().__init__(False)
        self.errors: list[str] = []

    def reportError(self, error: str, fatalError: bool = False) -> None:
        self.errors.append(error)


def _run(folder: str, task: dict[str, Any]) -> dict[str, Any]:
    import processing

    project = QgsProject.instance()
    project.read(os.path.join(folder, "world.qgs"))
    os.makedirs(task["folder"], exist_ok=True)
    os.chdir(task["folder"])
    context = QgsProcessingContext()
    context.setProject(project)
    feedback = _Feedback()
    try:
        result = processing.run(
            task["algorithm"], task["parameters"], None, feedback, context
        )
    except Exception as error:
        said = "; ".join(dict.fromkeys([*feedback.errors, str(error)]))
        return {"error": said.strip() or type(error).__name__}
    outputs = QgsApplication.processingRegistry().algorithmById(task["algorithm"])
    for output in outputs.outputDefinitions():
        if output.type() in ("outputVector", "outputLayer") and result.get(
            output.name()
        ):
            result[output.name()] = _exported(
                result[output.name()], output.name(), task["folder"], context
            )
    return {"result": _plain(result), "errors": feedback.errors}


def _exported(value: Any, name: str, folder: str, context: Any) -> Any:
    """
    A layer as a GeoPackage: to write to one at once would lose features, since
    those that an algorithm makes of one have one key.
    """
    layer = value
    if isinstance(value, str):
        layer = QgsProcessingUtils.mapLayerFromString(value, context)
    if isinstance(layer, QgsAnnotationLayer):
        return _kept(layer, os.path.join(folder, f"{name}.qgs"))
    if not isinstance(layer, QgsVectorLayer):
        return value
    path = os.path.join(folder, f"{name}-exported.gpkg")
    options = QgsVectorFileWriter.SaveVectorOptions()
    options.driverName = "GPKG"
    options.layerName = "result"
    options.attributes = [
        n for n, field in enumerate(layer.fields()) if field.name() != "fid"
    ]
    options.skipAttributeCreation = not options.attributes
    error, text, *_ = QgsVectorFileWriter.writeAsVectorFormatV3(
        layer, path, context.transformContext(), options
    )
    if error:
        raise SystemExit(f"{name} can't be written: {text}")
    return path


def _kept(layer: QgsAnnotationLayer, path: str) -> str:
    """A project with a layer that is nowhere but in projects."""
    project = QgsProject()
    project.addMapLayer(layer.clone())
    if not project.write(path):
        raise SystemExit(f"{path} can't be written")
    project.removeAllMapLayers()
    return path


def _inChild(folder: str, task: dict[str, Any]) -> dict[str, Any]:
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        answer: dict[str, Any] = {"error": "no answer"}
        try:
            os.setsid()
            os.dup2(2, 1)
            answer = _run(folder, task)
        finally:
            with open(writing, "w") as file:
                file.write(json.dumps(answer))
            os._exit(0)
    os.close(writing)
    data = b""
    with open(reading, "rb", buffering=0) as file:
        while select.select([file], [], [], PATIENCE)[0]:
            part = file.read(65536)
            if not part:
                break
            data += part
        else:
            data = b'{"error": "it takes too long"}'
    with contextlib.suppress(ProcessLookupError):
        os.killpg(pid, signal.SIGKILL)
    _, status = os.waitpid(pid, 0)
    if not data:
        return {"error": f"it ends the process with status {status}"}
    told: dict[str, Any] = json.loads(data)
    return told


def main() -> None:
    """Serve standard input."""
    folder = sys.argv[1]
    out = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)
    for module in (gdal, ogr, osr):
        module.UseExceptions()
    application = QgsApplication([], False)
    _KEPT.append(application)
    application.initQgis()
    sys.path.append(os.path.join(application.pkgDataPath(), "python", "plugins"))
    from processing.core.Processing import Processing

    Processing.initialize()
    makeWorld(folder)
    said = {"version": Qgis.QGIS_VERSION, "algorithms": definitions()}
    out.write(json.dumps(said) + "\n")
    for line in sys.stdin:
        out.write(json.dumps(_inChild(folder, json.loads(line))) + "\n")
    os._exit(0)


if __name__ == "__main__":
    main()
