#!/usr/bin/python3
"""
Make the demo project C{demo/world.qgs} and its data beside it.

The data is Natural Earth (public domain), as QGIS ships it, made smaller; the
raster is computed.  Making it again gives the same.

Usage: C{/usr/bin/python3 conf/make_demo.py}
"""

from __future__ import annotations

import os
import re
import sys
import tempfile
from pathlib import Path
from typing import Any

os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")
os.environ.setdefault("XDG_RUNTIME_DIR", tempfile.mkdtemp())
# Nothing in the files tells when they were made.
os.environ["OGR_CURRENT_DATE"] = "2024-01-01T00:00:00.000Z"
# Qt writes the attributes of XML in the order of their hashes.
os.environ["QT_HASH_SEED"] = "0"
# No statistics beside the raster.
os.environ["GDAL_PAM_ENABLED"] = "NO"

import numpy
from osgeo import gdal, ogr, osr
from qgis.core import (
    QgsApplication,
    QgsCoordinateReferenceSystem,
    QgsProject,
    QgsRasterLayer,
    QgsVectorLayer,
)
from qgis.PyQt.QtCore import QDateTime, Qt

FOLDER = Path(__file__).resolve().parent / "demo"

#: Layers of the project, top first: name, and table or file.
LAYERS = (
    ("cities", "world.gpkg|layername=cities"),
    ("disputed borders", "world.gpkg|layername=disputed_borders"),
    ("countries", "world.gpkg|layername=countries"),
    (
        "large countries",
        'world.gpkg|layername=countries|subset="square_degrees" > 400',
    ),
    ("elevation", "elevation.tif"),
)

#: Largest towns, by hand: a name, a blank in some, accents, and a number.
CITIES = (
    ("Tokyo", 139.69, 35.69, 37.4),
    ("Delhi", 77.21, 28.61, 29.4),
    ("São Paulo", -46.63, -23.55, 21.8),
    ("Mexico City", -99.13, 19.43, 21.7),
    ("Cairo", 31.24, 30.04, 20.5),
    ("New York", -74.01, 40.71, 18.8),
    ("Lagos", 3.38, 6.52, 14.0),
    ("Paris", 2.35, 48.86, 11.0),
    ("Jakarta", 106.85, -6.21, 10.6),
    ("Wien", 16.37, 48.21, 1.9),
    ("Zürich", 8.54, 47.38, 0.4),
    ("Montpellier", 3.88, 43.61, 0.3),
    ("Sydney", 151.21, -33.87, 5.0),
    ("Nairobi", 36.82, -1.29, 4.7),
    ("Reykjavík", -21.94, 64.15, 0.1),
)


def makeVectors(source: str, target: str) -> None:
    """Copy simplified countries and borders, and add the cities."""
    for layer, keep, tolerance in (
        (
            "countries",
            "iso_a2, NAME AS name, ISO_A3 AS iso_a3, OGR_GEOM_AREA AS square_degrees",
            0.5,
        ),
        ("disputed_borders", "name, adm0_left, adm0_right", 0.1),
    ):
        gdal.VectorTranslate(
            target,
            source,
            accessMode="update" if os.path.exists(target) else None,
            format="GPKG",
            layerName=layer,
            SQLStatement=f'SELECT {keep} FROM "{layer}"',
            SQLDialect="OGRSQL",
            # What was simplified may cross itself.
            options=f"-simplify {tolerance} -makevalid -nlt PROMOTE_TO_MULTI".split(),
            layerCreationOptions=["SPATIAL_INDEX=YES"],
        )
    data = ogr.Open(target, 1)
    for layer in data:
        for feature in layer:
            if not feature.GetGeometryRef().IsValid():
                raise SystemExit(f"{layer.GetName()} {feature.GetFID()} is not valid")
    wgs84 = osr.SpatialReference()
    wgs84.ImportFromEPSG(4326)
    cities = data.CreateLayer("cities", wgs84, ogr.wkbPoint)
    cities.CreateField(ogr.FieldDefn("name", ogr.OFTString))
    cities.CreateField(ogr.FieldDefn("millions", ogr.OFTReal))
    for name, x, y, millions in CITIES:
        city = ogr.Feature(cities.GetLayerDefn())
        city["name"] = name
        city["millions"] = millions
        city.SetGeometry(ogr.CreateGeometryFromWkt(f"POINT ({x} {y})"))
        cities.CreateFeature(city)
    # SQLite leaves holes where things were changed.
    data.ExecuteSQL("VACUUM")


def makeRaster(target: str) -> None:
    """Write smooth hills over the world, in metres."""
    width, height = 360, 180
    x, y = numpy.meshgrid(
        numpy.radians(numpy.arange(width) - 179.5),
        numpy.radians(89.5 - numpy.arange(height)),
    )
    hills = (
        900 * numpy.cos(3 * x) * numpy.cos(2 * y)
        + 500 * numpy.sin(7 * x + 1) * numpy.cos(5 * y)
        + 250 * numpy.sin(13 * x) * numpy.sin(11 * y)
    )
    wgs84 = osr.SpatialReference()
    wgs84.ImportFromEPSG(4326)
    options = ["COMPRESS=DEFLATE", "PREDICTOR=2", "TILED=YES"]
    raster = gdal.GetDriverByName("GTiff").Create(
        target, width, height, 1, gdal.GDT_Int16, options
    )
    raster.SetGeoTransform((-180, 1, 0, 90, 0, -1))
    raster.SetProjection(wgs84.ExportToWkt())
    raster.GetRasterBand(1).WriteArray(numpy.rint(hills).astype("int16"))


def makeProject(target: str) -> None:
    """Write the project, and make it the same each time."""
    project = QgsProject.instance()
    project.clear()
    project.setTitle("World")
    project.setCrs(QgsCoordinateReferenceSystem("EPSG:4326"), True)
    layers: list[Any] = []
    for name, source in LAYERS:
        path = str(FOLDER / source)
        if source.endswith(".tif"):
            layer = QgsRasterLayer(path, name, "gdal")
        else:
            layer = QgsVectorLayer(path, name, "ogr")
        if not layer.isValid():
            raise SystemExit(f"{path} can't be opened")
        setColour(layer)
        layers.append(layer)
        project.addMapLayer(layer, False)
        project.layerTreeRoot().addLayer(layer)
    metadata = project.metadata()
    metadata.setAuthor("")
    metadata.setCreationDateTime(QDateTime(2024, 1, 1, 0, 0, 0, 0, Qt.UTC))
    project.setMetadata(metadata)
    if not project.write(target):
        raise SystemExit(f"{target} can't be written: {project.error()}")
    text = Path(target).read_text(encoding="utf-8")
    for number, layer in enumerate(layers, 1):
        # QGIS makes ids of names and random parts, and takes no others.
        identifier = f"{layer.id()[:-36]}00000000_0000_0000_0000_{number:012d}"
        text = text.replace(layer.id(), identifier)
    Path(target).write_text(unvarying(text), encoding="utf-8")


def setColour(layer: Any) -> None:
    """Colours are random by default."""
    renderer = layer.renderer()
    if not hasattr(renderer, "symbol"):
        return
    from qgis.PyQt.QtGui import QColor

    colours = {"cities": "#b2182b", "disputed borders": "#7f3b08"}
    renderer.symbol().setColor(QColor(colours.get(layer.name(), "#a6bddb")))


def unvarying(text: str) -> str:
    """A project's text without the times, names and random ids in it."""
    text = re.sub(r' save(User|UserFull|DateTime)="[^"]*"', r' save\1=""', text)
    text = re.sub(r"Annotations_[0-9a-f_]{36}", "annotations", text)
    # In the order of their random ids.
    settings = re.compile(r"(?:^ *<layer-setting .*\n)+", re.M)
    text = settings.sub(lambda m: "".join(sorted(m[0].splitlines(True))), text)
    ids = dict.fromkeys(re.findall(r"\{[0-9a-f]{8}-[0-9a-f-]{27}\}", text))
    for number, each in enumerate(ids):
        fixed = f"{{00000000-0000-0000-0000-{number:012d}}}"
        text = text.replace(each, fixed)
    return text


def main() -> None:
    """Make all of it."""
    for module in (gdal, ogr, osr):
        module.UseExceptions()
    FOLDER.mkdir(exist_ok=True)
    application = QgsApplication([], False, tempfile.mkdtemp())
    application.initQgis()
    source = Path(QgsApplication.pkgDataPath()) / "resources/data/world_map.gpkg"
    for name in ("world.gpkg", "elevation.tif", "world.qgs"):
        (FOLDER / name).unlink(missing_ok=True)
    makeVectors(str(source), str(FOLDER / "world.gpkg"))
    makeRaster(str(FOLDER / "elevation.tif"))
    makeProject(str(FOLDER / "world.qgs"))
    for path in FOLDER.iterdir():
        if path.suffix in (".qgs~", ".gpkg-wal", ".gpkg-shm"):
            path.unlink()
        elif path.is_file():
            sys.stdout.write(f"{path.stat().st_size:8} {path}\n")
    QgsProject.instance().clear()
    application.exitQgis()


if __name__ == "__main__":
    main()
