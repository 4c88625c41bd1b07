"""An algorithm as a function: how long the lines of a layer are together."""

# A module of ours, from the file beside this one.
from _units import KILOMETRE
from qgis.core import QgsDistanceArea, QgsProcessingException
from qgis.processing import alg


@alg(
    name="total_length",
    label="Total length",
    group="examples",
    group_label="Examples",
)
@alg.input(type=alg.SOURCE, name="INPUT", label="Lines", types=[1])
@alg.output(type=alg.NUMBER, name="KILOMETRES", label="Length in kilometres")
def total_length(instance, parameters, context, feedback, inputs):
    """
    Adds up the lengths of a layer's lines, measured on the ellipsoid.
    """
    source = instance.parameterAsSource(parameters, "INPUT", context)
    if source is None:
        raise QgsProcessingException(instance.invalidSourceError(parameters, "INPUT"))
    measure = QgsDistanceArea()
    measure.setSourceCrs(source.sourceCrs(), context.transformContext())
    measure.setEllipsoid(context.ellipsoid() or "EPSG:7030")
    metres = sum(measure.measureLength(f.geometry()) for f in source.getFeatures())
    return {"KILOMETRES": metres / KILOMETRE}
