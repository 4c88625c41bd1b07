"""Previews of raster results: pictures of the layer as QGIS shows it."""

from __future__ import annotations

from qgis.core import QgsRasterLayer
from qgis.PyQt.QtCore import QSize, Qt

from qgswps.errors import failure
from qgswps.worker import compat, styles

#: The longer side of a preview, in pixels.
LARGEST = 1024


def draw(source: str, style: str | None, target: str) -> None:
    """
    Draw a raster.

    @param source: path of its data.
    @param style: path of a QML file, or None for the default style.
    @param target: path of the PNG file to write.
    """
    layer = QgsRasterLayer(source, "picture", "gdal")
    if not layer.isValid():
        raise failure("a result can't be drawn: its data can't be opened")
    if style is None or not styles.apply(layer, style):
        styles.applyDefault(layer)
    size = QSize(layer.width(), layer.height())
    if max(size.width(), size.height()) > LARGEST:
        size = size.scaled(LARGEST, LARGEST, Qt.AspectRatioMode.KeepAspectRatio)
    size = size.expandedTo(QSize(1, 1))
    image = layer.previewAsImage(size, Qt.GlobalColor.transparent, compat.ARGB32)
    if image.isNull() or not image.save(target, "PNG"):
        raise failure("a result can't be drawn")
