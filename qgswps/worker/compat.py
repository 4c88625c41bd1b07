"""
One vocabulary for the enumerations of QGIS 3.22 to 3.40.

QGIS moved many of its enumerations into C{Qgis} and made Python enums of
them.  Here each constant is looked up once, by its new name first.
"""

from __future__ import annotations

import operator
from functools import reduce
from typing import Any

from qgis import core
from qgis.PyQt.QtGui import QImage


def _first(*paths: str) -> Any:
    """The first of these dotted names below C{qgis.core} that there is."""
    for path in paths:
        try:
            return reduce(getattr, path.split("."), core)
        except AttributeError:
            continue
    raise ImportError(f"qgis.core has none of {', '.join(paths)}")


ALGORITHM_HIDDEN = _first(
    "Qgis.ProcessingAlgorithmFlag.HideFromToolbox",
    "QgsProcessingAlgorithm.Flag.FlagHideFromToolbox",
)
ALGORITHM_DESKTOP_ONLY = _first(
    "Qgis.ProcessingAlgorithmFlag.NotAvailableInStandaloneTool",
    "QgsProcessingAlgorithm.Flag.FlagNotAvailableInStandaloneTool",
)
ALGORITHM_DEPRECATED = _first(
    "Qgis.ProcessingAlgorithmFlag.Deprecated",
    "QgsProcessingAlgorithm.Flag.FlagDeprecated",
)
ALGORITHM_NO_THREADING = _first(
    "Qgis.ProcessingAlgorithmFlag.NoThreading",
    "QgsProcessingAlgorithm.Flag.FlagNoThreading",
)
ALGORITHM_REQUIRES_PROJECT = _first(
    "Qgis.ProcessingAlgorithmFlag.RequiresProject",
    "QgsProcessingAlgorithm.Flag.FlagRequiresProject",
)
ALGORITHM_KNOWN_ISSUES = _first(
    "Qgis.ProcessingAlgorithmFlag.KnownIssues",
    "QgsProcessingAlgorithm.Flag.FlagKnownIssues",
)

PARAMETER_HIDDEN = _first(
    "Qgis.ProcessingParameterFlag.Hidden",
    "QgsProcessingParameterDefinition.Flag.FlagHidden",
)
PARAMETER_OPTIONAL = _first(
    "Qgis.ProcessingParameterFlag.Optional",
    "QgsProcessingParameterDefinition.Flag.FlagOptional",
)
PARAMETER_ADVANCED = _first(
    "Qgis.ProcessingParameterFlag.Advanced",
    "QgsProcessingParameterDefinition.Flag.FlagAdvanced",
)

READ_UNRESOLVED = _first(
    "Qgis.ProjectReadFlag.DontResolveLayers",
    "QgsProject.ReadFlag.FlagDontResolveLayers",
)
READ_WITHOUT_LAYOUTS = _first(
    "Qgis.ProjectReadFlag.DontLoadLayouts",
    "QgsProject.ReadFlag.FlagDontLoadLayouts",
)
READ_WITHOUT_STYLES = _first(
    "Qgis.ProjectReadFlag.DontStoreOriginalStyles",
    "QgsProject.ReadFlag.FlagDontStoreOriginalStyles",
)
#: None before QGIS 3.28, which had no such flag.
READ_ONLY = getattr(
    getattr(core.Qgis, "ProjectReadFlag", None), "ForceReadOnlyLayers", None
)
_ReadFlags = _first("Qgis.ProjectReadFlags", "QgsProject.ReadFlags")

LEVEL_INFO = _first("Qgis.MessageLevel.Info", "Qgis.Info")
LEVEL_WARNING = _first("Qgis.MessageLevel.Warning", "Qgis.Warning")
LEVEL_CRITICAL = _first("Qgis.MessageLevel.Critical", "Qgis.Critical")

LAYER_VECTOR = _first("Qgis.LayerType.Vector", "QgsMapLayerType.VectorLayer")
LAYER_RASTER = _first("Qgis.LayerType.Raster", "QgsMapLayerType.RasterLayer")
#: The other types of layer by the name that L{qgswps.model} has for them.
LAYER_KINDS = {
    LAYER_RASTER: "raster",
    _first("Qgis.LayerType.Mesh", "QgsMapLayerType.MeshLayer"): "mesh",
    _first(
        "Qgis.LayerType.VectorTile", "QgsMapLayerType.VectorTileLayer"
    ): "vectortile",
    _first(
        "Qgis.LayerType.Annotation", "QgsMapLayerType.AnnotationLayer"
    ): "annotation",
    _first(
        "Qgis.LayerType.PointCloud", "QgsMapLayerType.PointCloudLayer"
    ): "pointcloud",
}

WRITER_OK = _first(
    "QgsVectorFileWriter.WriterError.NoError", "QgsVectorFileWriter.NoError"
)
OVERWRITE_FILE = _first(
    "QgsVectorFileWriter.ActionOnExistingFile.CreateOrOverwriteFile",
    "QgsVectorFileWriter.CreateOrOverwriteFile",
)

WITHOUT_GEOMETRY = _first(
    "Qgis.FeatureRequestFlag.NoGeometry",
    "QgsFeatureRequest.Flag.NoGeometry",
)

EXACT_INTERSECT = _first(
    "Qgis.FeatureRequestFlag.ExactIntersect",
    "QgsFeatureRequest.Flag.ExactIntersect",
)

#: QImage's format for pictures with transparent parts.
ARGB32 = QImage.Format.Format_ARGB32

STRETCH = _first(
    "QgsContrastEnhancement.ContrastEnhancementAlgorithm.StretchToMinimumMaximum",
    "QgsContrastEnhancement.StretchToMinimumMaximum",
)


def readFlags(*flags: Any) -> Any:
    """Some of the flags for reading a project, together; None counts not."""
    return _ReadFlags(
        reduce(operator.or_, (flag for flag in flags if flag is not None))
    )


def number(member: Any) -> int:
    """The number of an enumeration's member, of whichever kind it is."""
    return int(getattr(member, "value", member))


def isSet(flags: Any, flag: Any) -> bool:
    """Whether a flag is among flags."""
    return bool(flags & flag)


def plain(value: Any) -> Any:
    """A value of QGIS as Python's; None for a null variant."""
    if hasattr(value, "isNull") and type(value).__name__ == "QVariant":
        return None if value.isNull() else value.value()
    return value
