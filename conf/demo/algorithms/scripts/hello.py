"""The smallest script that says something: an algorithm as a function."""

from qgis.processing import alg


@alg(
    name="hello",
    label="Say hello",
    group="demo",
    group_label="Demonstration",
)
@alg.input(type=alg.STRING, name="NAME", label="Whom to greet", default="world")
@alg.input(type=alg.INT, name="TIMES", label="How many times", default=1, minValue=1)
@alg.output(type=alg.STRING, name="GREETING", label="The greeting")
def hello(instance, parameters, context, feedback, inputs):
    """
    Greets by name.
    """
    name = instance.parameterAsString(parameters, "NAME", context)
    times = instance.parameterAsInt(parameters, "TIMES", context)
    return {"GREETING": " ".join([f"Hello {name}!"] * times)}
