"""OWSLib, as told by lines of JSON."""

from __future__ import annotations

import base64
import importlib.metadata
import time
from typing import Any

from lines import serve
from owslib.wps import (
    BoundingBoxDataInput,
    ComplexDataInput,
    WebProcessingService,
    WPSExecution,
)

#: Seconds between two looks at a job.
PAUSE = 0.05


def version() -> str:
    """Of the library."""
    return importlib.metadata.version("OWSLib")


def capabilities(url: str) -> dict[str, Any]:
    """What a client learns at first."""
    wps = WebProcessingService(url)
    return {
        "type": wps.identification.type,
        "title": wps.identification.title,
        "provider": wps.provider.name,
        "operations": [each.name for each in wps.operations],
        "languages": wps.languages.supported if wps.languages else None,
        "processes": [each.identifier for each in wps.processes],
        "titles": [each.title for each in wps.processes],
    }


def _described(item: Any) -> dict[str, Any]:
    default = item.defaultValue
    return {
        "title": item.title,
        "dataType": item.dataType,
        "allowed": item.allowedValues,
        "default": getattr(default, "mimeType", default),
        "formats": [getattr(each, "mimeType", each) for each in item.supportedValues],
        "minOccurs": getattr(item, "minOccurs", None),
        "maxOccurs": getattr(item, "maxOccurs", None),
    }


def describe(url: str, identifier: str) -> dict[str, Any]:
    """What a client learns of a process."""
    process = WebProcessingService(url, skip_caps=True).describeprocess(identifier)
    return {
        "title": process.title,
        "abstract": process.abstract,
        "store": process.storeSupported,
        "status": process.statusSupported,
        "inputs": {each.identifier: _described(each) for each in process.dataInputs},
        "outputs": {
            each.identifier: _described(each) for each in process.processOutputs
        },
    }


def _value(value: Any) -> Any:
    """A text is a literal; an object says what it is."""
    if isinstance(value, str):
        return value
    if "box" in value:
        return BoundingBoxDataInput(value["box"], crs=value.get("crs"))
    return ComplexDataInput(
        value["data"], mimeType=value.get("mimeType"), encoding=value.get("encoding")
    )


def _output(item: Any) -> dict[str, Any]:
    content = item.retrieveData() if item.reference else b""
    return {
        "mimeType": item.mimeType,
        "dataType": item.dataType,
        "reference": item.reference,
        "data": [
            part.decode() if isinstance(part, bytes) else str(part)
            for part in item.data
        ],
        "content": base64.b64encode(content).decode(),
    }


def _state(execution: Any) -> dict[str, Any]:
    return {
        "status": execution.getStatus(),
        "message": execution.statusMessage,
        "percent": execution.percentCompleted,
        "errors": [
            {"code": each.code, "locator": each.locator, "text": each.text}
            for each in execution.errors
        ],
        "statusLocation": execution.statusLocation,
        "creationTime": execution.creationTime,
    }


def execute(
    url: str,
    identifier: str,
    inputs: list[tuple[str, Any]],
    outputs: list[list[Any]] | None = None,
    mode: str = "sync",
    lineage: bool = False,
    wait: bool = True,
) -> dict[str, Any]:
    """
    Run a process.

    @param outputs: identifier, whether by reference, and media type.
    @param wait: ask for its state until it has ended.
    """
    execution = WebProcessingService(url, skip_caps=True).execute(
        identifier,
        [(name, _value(value)) for name, value in inputs],
        output=[tuple(each) for each in outputs or ()],
        mode=mode,
        lineage=lineage,
    )
    seen = [_state(execution)]
    while wait and not execution.isComplete():
        execution.checkStatus(sleepSecs=PAUSE)
        seen.append(_state(execution))
    return {
        **_state(execution),
        "succeeded": execution.isSucceded(),
        "seen": seen,
        "inputs": [[item.identifier, _output(item)] for item in execution.dataInputs],
        "outputs": {
            item.identifier: _output(item) for item in execution.processOutputs
        },
    }


def check(url: str) -> dict[str, Any]:
    """
    Ask once for the state of a job.

    @param url: its statusLocation.
    """
    execution = WPSExecution()
    execution.checkStatus(url, sleepSecs=0)
    return _state(execution)


def wait(url: str, status: str) -> dict[str, Any]:
    """Ask until a job has a state."""
    while True:
        state = check(url)
        if state["status"] == status:
            return state
        time.sleep(PAUSE)


serve(
    version=version,
    capabilities=capabilities,
    describe=describe,
    execute=execute,
    check=check,
    wait=wait,
)
