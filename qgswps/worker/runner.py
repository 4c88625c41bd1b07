"""A job, from its task to its result."""

from __future__ import annotations

import os
import re
import sys
import traceback
from collections.abc import Sequence
from typing import Any

import attrs
from qgis.core import (
    QgsApplication,
    QgsProcessingAlgorithm,
    QgsProcessingException,
    QgsProject,
)

from qgswps import codec
from qgswps.errors import Fault, OWSError, failure, missing
from qgswps.jobfiles import OUTPUTS, TASK
from qgswps.model import ECHO, InputValue, LayerValue, Result, Task
from qgswps.worker import (
    commandline,
    echo,
    fetched,
    lazyproject,
    needs,
    outputs,
    parameters,
    project,
    resultproject,
    sandbox,
)
from qgswps.worker.feedback import Feedback
from qgswps.worker.job import Job


def run(directory: str, feedback: Feedback) -> Result:
    """
    Do what the task in a directory says.

    Whatever goes wrong is in the result; the traceback of what nobody
    expected goes to the log.
    """
    try:
        return _run(directory, feedback)
    except OWSError as error:
        faults = error.faults
    except QgsProcessingException as error:
        # What the algorithm says to its user.
        sys.stderr.write(f"{error}\n")
        faults = failure(sandbox.explained(_said(str(error), feedback))).faults
    except Exception as error:
        traceback.print_exc(file=sys.stderr)
        told = sandbox.explained(f"{type(error).__name__}: {error}")
        faults = failure(told).faults
    # Where a job's files lie is nobody's business.
    return Result(
        faults=tuple(
            attrs.evolve(fault, text=fault.text.replace(directory + os.sep, ""))
            for fault in faults
        )
    )


#: What QGIS says when a program that an algorithm runs fails; not all
#: algorithms then fail themselves, and what they leave is incomplete.
_PROGRAM_FAILED = re.compile(
    r"Process (returned error code|was unexpectedly terminated|.* failed to start)"
)

_TRACEBACK = re.compile(
    r"^Traceback \(most recent call last\):\n(?:[ ].*\n)*", re.MULTILINE
)


def _said(text: str, feedback: Feedback) -> str:
    """
    A failure's text, after the errors that were reported before it.

    Exceptions of scripts, and GDAL's programs in Python, bring a traceback
    along; what went wrong stands after it.
    """
    unique = dict.fromkeys(filter(None, (*feedback.errors, text.rstrip())))
    said = _TRACEBACK.sub("", "\n".join(unique)).strip()
    return said or "The algorithm failed and did not say why."


def _run(directory: str, feedback: Feedback) -> Result:
    task = codec.read(os.path.join(directory, TASK), Task)
    request = task.request
    if request.processId == ECHO:
        return echo.run(directory, request, feedback)
    algorithm = QgsApplication.processingRegistry().createAlgorithmById(
        request.processId
    )
    if algorithm is None:
        raise OWSError(
            Fault(
                "InvalidParameterValue",
                f"there is no process {request.processId!r}",
                "identifier",
            )
        )
    request = fetched.placed(request, algorithm)
    ok, text = algorithm.canExecute()
    if not ok:
        raise failure(f"{request.processId} can't be run here: {text}")
    partial = project.PartialProject(QgsProject.instance())
    if task.project is not None:
        partial = project.load(task.project, needs.texts(algorithm, request))
    source = partial.project
    os.makedirs(os.path.join(directory, OUTPUTS), exist_ok=True)
    # A plugin of QGIS, which is found only when QGIS has started.
    from processing.tools import dataobjects

    context = dataobjects.createContext(feedback)
    context.setProject(source)
    job = Job(directory, request, source, context, task.project is not None)
    job.sees(source.crs())
    values, faults = _values(algorithm, job)
    faults += commandline.faults(algorithm, values)
    with lazyproject.opening(partial, algorithm):
        faults += _unaccepted(algorithm, values, context, faults)
        if faults:
            raise OWSError(faults)
        if not algorithm.validateInputCrs(values, context):
            feedback.pushWarning("Not all input layers use the same CRS.")
        results, ok = algorithm.run(values, context, feedback, {}, False)
    if feedback.isCanceled():
        raise failure("the run was cancelled")
    if not ok or any(map(_PROGRAM_FAILED.match, feedback.errors)):
        raise failure(_said("", feedback))
    try:
        made = outputs.collect(algorithm, results, job)
    except OWSError as error:
        if error.status < 500:
            raise
        # The algorithm may have said why, and gone on.
        raise failure(_said(str(error), feedback)) from error
    isServed = any(isinstance(output, LayerValue) for output in made.values())
    if job.layers and (job.hasProject or isServed):
        # Else it is made when it is first wanted.
        try:
            resultproject.write(
                directory,
                request.processId,
                job.layers,
                source if job.hasProject else None,
            )
        except OWSError as error:
            if isServed:
                raise
            # The data that the client wants is there.
            sys.stderr.write(f"WARNING: {error}\n")
    return Result(outputs=made, layers=tuple(job.layers))


def _values(
    algorithm: QgsProcessingAlgorithm, job: Job
) -> tuple[dict[str, Any], list[Fault]]:
    """
    What the algorithm is run with, without the inputs that are wrong, and all
    that is wrong with those.
    """
    given: dict[str, list[InputValue]] = {}
    for each in job.request.inputs:
        given.setdefault(each.identifier, []).append(each.value)
    definitions = {
        definition.name(): definition
        for definition in algorithm.parameterDefinitions()
        if not parameters.isHidden(definition)
    }
    faults = [
        Fault(
            "InvalidParameterValue",
            f"{algorithm.id()} has no input {name!r}",
            name,
        )
        for name in given
        if name not in definitions
    ]
    named = outputs.names(algorithm)
    faults += [
        Fault(
            "InvalidParameterValue",
            f"{algorithm.id()} has no output {wanted.identifier!r}",
            wanted.identifier,
        )
        for wanted in job.request.outputs
        if wanted.identifier not in named
    ]
    values = job.values
    # Where results go depends on what is given: destinations come last.
    for definition in sorted(definitions.values(), key=lambda d: d.isDestination()):
        name = definition.name()
        if name not in given and not definition.isDestination():
            default = parameters.default(definition)
            if default is not None:
                # As the desktop does: some algorithms take something else than
                # their default where they are given nothing.
                values[name] = default
            continue
        try:
            value = parameters.value(definition, given.get(name, []), job)
        except OWSError as error:
            faults += error.faults
        else:
            if value is not None:
                values[name] = value
    return values, faults


def _unaccepted(
    algorithm: QgsProcessingAlgorithm,
    values: dict[str, Any],
    context: Any,
    known: Sequence[Fault],
) -> list[Fault]:
    """
    What QGIS does not accept of the parameters.

    @param known: what is wrong already; the inputs that they name have no
        value, which is no fault of its own.
    """
    text = _objection(algorithm, values, context, complete=not known)
    if text is None and not known:
        # It may take what a parameter's own check does not.
        return []
    wrong = {fault.locator for fault in known}
    faults: list[Fault] = []
    for definition in algorithm.parameterDefinitions():
        name = definition.name()
        if name in wrong or definition.checkValueIsAcceptable(
            values.get(name), context
        ):
            continue
        if name not in values:
            faults += missing(name).faults
        else:
            reason = f"{name} has a value that QGIS does not accept"
            faults.append(Fault("InvalidParameterValue", reason, name))
    if text is None:
        return faults
    # QGIS names the parameter in its text, at least of its own checks.
    named = _mentioned(algorithm, text)
    if not known and not faults:
        locator = max(named, key=len) if named else None
        return [Fault("InvalidParameterValue", text, locator)]
    wrong.update(fault.locator for fault in faults)
    # What it says of a wrong input follows from that.
    if named and not wrong & set(named):
        locator = max(named, key=len)
        faults.append(Fault("InvalidParameterValue", text, locator))
    return faults


def _objection(
    algorithm: QgsProcessingAlgorithm,
    values: dict[str, Any],
    context: Any,
    complete: bool,
) -> str | None:
    """
    What the algorithm itself says of its parameters; None if they will do.

    @param complete: whether it gets all that were given.
    """
    try:
        ok, text = algorithm.checkParameterValues(values, context)
    except Exception:
        if complete:
            raise
        # One in Python may rely on what it has not got here.
        return None
    return None if ok else str(text)


def _mentioned(algorithm: QgsProcessingAlgorithm, text: str) -> list[str]:
    """The names of the parameters that a text speaks of."""
    return [
        definition.name()
        for definition in algorithm.parameterDefinitions()
        for said in (definition.name(), definition.description())
        if said and re.search(rf"(?<!\w){re.escape(said)}(?!\w)", text)
    ]
