"""
What result layers look like: a style that somebody made for them, or one that
shows what is there.

Styles are QML files.  Those of algorithms are named by C{styles.json} in the
folders of the providers: C{{"script:wells": {"OUTPUT": "wells.qml"}}}.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
from collections.abc import Iterator
from typing import Any
from xml.etree import ElementTree

import numpy
from osgeo import gdal
from qgis.core import (
    QgsApplication,
    QgsColorScheme,
    QgsContrastEnhancement,
    QgsFillSymbol,
    QgsLineSymbol,
    QgsMarkerSymbol,
    QgsProcessingAlgorithm,
    QgsRasterLayer,
    QgsSingleBandGrayRenderer,
    QgsSingleSymbolRenderer,
    QgsSymbol,
)
from qgis.PyQt.QtGui import QColor
from qgis.PyQt.QtXml import QDomDocument

from qgswps.jobfiles import OUTPUTS
from qgswps.model import WorkerSettings
from qgswps.worker import compat, project
from qgswps.worker.job import Job, fileName

#: Where styles are kept, in the job directory.
STYLES = "styles"

#: The file that names the styles of algorithms, in a provider's folder.
INDEX = "styles.json"

#: Where in that folder they are looked for.
_PLACES = ("", "qml", "styles")

#: What layers have that nobody styled; clear on white and on maps.
_COLOUR = "#d7601a"
_OUTLINE = "#5c2607"
_DEFAULTS: dict[str, Any] = {
    "point": lambda: QgsMarkerSymbol.createSimple(
        {"color": _COLOUR, "outline_color": _OUTLINE, "size": "2.6"}
    ),
    "line": lambda: QgsLineSymbol.createSimple({"color": _COLOUR, "width": "0.6"}),
    "polygon": lambda: QgsFillSymbol.createSimple(
        {"color": _COLOUR, "outline_color": _OUTLINE, "outline_width": "0.3"}
    ),
}

#: A number that statistics have in place of infinity.
_HUGE = 1e37
#: The longer side of what is looked at of a raster, in pixels.
_SAMPLE = 512

#: The folders of the providers.
_folders: list[str] = []

#: The registry does not keep what is Python of it.
_kept: list[QgsColorScheme] = []


class _OneColour(QgsColorScheme):
    """
    The colours of new layers in QGIS: not any one, but always the same, which
    also tells the layers that have been styled.
    """

    def schemeName(self) -> str:
        return "qgswps"

    def fetchColors(self, context: str = "", baseColor: Any = None) -> list[Any]:
        """The one colour, without a name."""
        return [(QColor(_COLOUR), "")]

    def clone(self) -> _OneColour:
        return _OneColour()


def install(settings: WorkerSettings) -> None:
    """Take the styles of the settings' providers."""
    _folders[:] = settings.providersPath
    if _kept:
        return
    scheme = _OneColour()
    registry = QgsApplication.colorSchemeRegistry()
    registry.addColorScheme(scheme)
    registry.setRandomStyleColorScheme(scheme)
    _kept[:] = [scheme]


# Which style a layer gets


def find(
    algorithm: QgsProcessingAlgorithm, output: str, path: str, layer: Any, job: Job
) -> str | None:
    """
    The style of a result; None for the default one.

    @param path: of the layer's data, relative to the job directory.
    @param layer: what the algorithm made if that is no file, or None.
    @return: the path of a QML file, relative to the job directory.
    """
    if layer is not None and isStyled(layer):
        return _save(layer, output, job)
    for found in _candidates(algorithm, output, path, layer, job):
        if _isStyle(found):
            relative = job.relative(found)
            if relative is not None and relative.startswith(f"{OUTPUTS}/"):
                return relative
            target = _newFile(output, job)
            shutil.copyfile(found, target)
            return job.relative(target)
        _warn(f"{os.path.basename(found)} is no style of QGIS, the default is taken.")
        return None
    return None


def _candidates(
    algorithm: QgsProcessingAlgorithm, output: str, path: str, layer: Any, job: Job
) -> Iterator[str]:
    """QML files for a result, the one to take first."""
    stem = os.path.splitext(path)[0]
    names = [f"{OUTPUTS}/{output}.qml", f"{stem}.qml", f"{output}.qml"]
    # The directory in which a job runs.
    names.append(f"tmp/{output}.qml")
    for name in names:
        found = os.path.join(job.directory, name)
        # An output's name is the algorithm's own, and may be anything.
        if os.path.isfile(found) and job.relative(found) is not None:
            yield found
    yield from _ofProviders(algorithm, output)
    rendering = _renderingStyle(algorithm, output)
    if rendering:
        yield rendering


def _ofProviders(algorithm: QgsProcessingAlgorithm, output: str) -> Iterator[str]:
    for folder in _folders:
        index = _index(folder)
        for key in (algorithm.id(), algorithm.name()):
            of = index.get(key)
            name = of.get(output) if isinstance(of, dict) else None
            if not name:
                continue
            found = _inFolder(folder, str(name))
            if found is not None:
                yield found
            else:
                _warn(f"{_said(folder)}: there is no {name} for {output} of {key}.")


def _index(folder: str) -> dict[str, Any]:
    """What a folder says of styles; a mistake in it does no more harm."""
    try:
        with open(os.path.join(folder, INDEX), encoding="utf-8") as file:
            index = json.load(file)
    except FileNotFoundError:
        return {}
    except json.JSONDecodeError as error:
        _warn(f"{_said(folder)}, line {error.lineno}: {error.msg}.")
        return {}
    except (OSError, ValueError) as error:
        _warn(f"{_said(folder)}: {getattr(error, 'strerror', None) or error}.")
        return {}
    if isinstance(index, dict) and all(isinstance(of, dict) for of in index.values()):
        return index
    expected = 'an object such as {"script:wells": {"OUTPUT": "wells.qml"}}'
    _warn(f"{_said(folder)}, line 1: expected {expected}.")
    return index if isinstance(index, dict) else {}


def _said(folder: str) -> str:
    # Where the folder lies is nobody's business.
    return f"{os.path.basename(folder.rstrip(os.sep))}/{INDEX}"


def _inFolder(folder: str, name: str) -> str | None:
    """A file that a folder's index names, but nothing outside of it."""
    root = os.path.realpath(folder) + os.sep
    for place in _PLACES:
        found = os.path.realpath(os.path.join(folder, place, name))
        if found.startswith(root) and os.path.isfile(found):
            return found
    return None


def _renderingStyle(algorithm: QgsProcessingAlgorithm, output: str) -> str | None:
    """What users of QGIS have chosen in its dialog of that name."""
    # A plugin of QGIS, which is found only when QGIS has started.
    from processing.gui.RenderingStyles import RenderingStyles

    found = RenderingStyles.getStyle(algorithm.id(), output)
    return str(found) if found and os.path.isfile(str(found)) else None


def _isStyle(path: str) -> bool:
    try:
        return ElementTree.parse(path).getroot().tag == "qgis"
    except (OSError, ElementTree.ParseError):
        return False


def _warn(text: str) -> None:
    """A line in the job's log."""
    sys.stderr.write(f"WARNING: {text}\n")


def isStyled(layer: Any) -> bool:
    """Whether somebody has changed what a new layer looks like."""
    if layer.type() == compat.LAYER_VECTOR:
        renderer = layer.renderer()
        if renderer is None:
            return False
        if renderer.type() != "singleSymbol":
            # Without a geometry it can have no other one.
            return renderer.type() != "nullSymbol" or layer.isSpatial()
        plain = QgsSymbol.defaultSymbol(layer.geometryType())
        return (
            layer.labelsEnabled()
            or layer.diagramRenderer() is not None
            or plain is None
            or renderer.symbol().dump() != plain.dump()
        )
    if layer.type() == compat.LAYER_RASTER:
        again = QgsRasterLayer(layer.source(), layer.name(), layer.providerType())
        return bool(_rendering(layer) != _rendering(again))
    return False


def _rendering(layer: Any) -> str:
    document = QDomDocument()
    root = document.createElement("pipe")
    document.appendChild(root)
    for stage in (
        layer.renderer(),
        layer.brightnessFilter(),
        layer.hueSaturationFilter(),
    ):
        if stage is not None:
            stage.writeXml(document, root)
    return str(document.toString())


def _save(layer: Any, output: str, job: Job) -> str | None:
    target = _newFile(output, job)
    text, ok = layer.saveNamedStyle(target)
    if not ok:
        _warn(f"the style of {output} can't be saved: {text}")
        return None
    return job.relative(target)


def _newFile(output: str, job: Job) -> str:
    return job.newFile(STYLES, f"{fileName(output, 'output')}.qml")


# What layers are given


def apply(layer: Any, path: str) -> bool:
    """Give a layer a style; whether it has taken it."""
    text, ok = layer.loadNamedStyle(path)
    if not ok:
        name = os.path.basename(path)
        _warn(f"the style {name} does not suit its layer, the default is taken: {text}")
    return bool(ok)


def applyDefault(layer: Any) -> None:
    """Show a layer that has no style."""
    if layer.type() == compat.LAYER_VECTOR:
        make = _DEFAULTS.get(project.kindOf(layer))
        if make is not None:
            layer.setRenderer(QgsSingleSymbolRenderer(make()))
    elif layer.type() == compat.LAYER_RASTER:
        _stretch(layer)


def _stretch(layer: Any) -> None:
    """
    Spread a raster's values from black to white where QGIS does not.

    It does for most rasters by itself; not for those with one value only, or
    with infinite ones, and none for bytes.
    """
    renderer = layer.renderer()
    if not isinstance(renderer, QgsSingleBandGrayRenderer):
        return
    now = renderer.contrastEnhancement()
    if now is not None:
        low, high = now.minimumValue(), now.maximumValue()
        if low < high and abs(low) < _HUGE and abs(high) < _HUGE:
            return
    limits = _limits(layer.source(), renderer.grayBand())
    if limits is None:
        return
    low, high = limits
    if low == high:
        # In the middle: grey.
        low, high = low - 1, high + 1
    stretched = QgsContrastEnhancement(
        layer.dataProvider().dataType(renderer.grayBand())
    )
    stretched.setMinimumValue(low)
    stretched.setMaximumValue(high)
    stretched.setContrastEnhancementAlgorithm(compat.STRETCH)
    renderer.setContrastEnhancement(stretched)


def _limits(source: str, number: int) -> tuple[float, float] | None:
    """The least and the largest finite value of a band, or of a sample of it."""
    dataset = gdal.Open(source)
    band = dataset.GetRasterBand(number)
    factor = max(1.0, max(band.XSize, band.YSize) / _SAMPLE)
    values = band.ReadAsArray(
        buf_xsize=max(1, int(band.XSize / factor)),
        buf_ysize=max(1, int(band.YSize / factor)),
    )
    valid = numpy.isfinite(values)
    nothing = band.GetNoDataValue()
    if nothing is not None:
        valid &= values != values.dtype.type(nothing)
    values = values[valid]
    return (float(values.min()), float(values.max())) if values.size else None
