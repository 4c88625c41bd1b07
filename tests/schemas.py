"""
The OGC schemas, for tests of documents.

They stand in C{shared/ogc} beside the checkout, or in the folder that the
environment's C{QGSWPS_OGC_SCHEMAS} names, and are no part of the project.
Without them documents are not validated; L{missing} says so, for the tests
that exist to be skipped then.  Where C{CI} is C{true} they have to be there.
"""

from __future__ import annotations

import functools
import importlib.util
import os
import unittest
from typing import Any

_ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))


def folder() -> str:
    """Where the schemas are, or should be."""
    beside = os.path.join(os.path.dirname(_ROOT), "shared", "ogc")
    return os.environ.get("QGSWPS_OGC_SCHEMAS") or beside


def missing() -> str | None:
    """Why documents can't be validated, or None if they can."""
    script = os.path.join(folder(), "validate.py")
    if os.path.isfile(script):
        return None
    return (
        f"no OGC schemas: there is no {script} (set QGSWPS_OGC_SCHEMAS);"
        " documents are not validated"
    )


def demanded() -> bool:
    """Whether the schemas have to be there."""
    return os.environ.get("CI") == "true"


@functools.lru_cache(maxsize=1)
def _validator(path: str) -> Any:
    spec = importlib.util.spec_from_file_location("qgswps_ogc_validate", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def errors(body: bytes, root: str) -> list[str]:
    """The ways in which a WPS 1.0.0 document breaks its schema."""
    validator = _validator(os.path.join(folder(), "validate.py"))
    found: list[str] = validator.wps_errors("1.0.0", body, root=root)
    return found


def assertValid(test: unittest.TestCase, body: bytes, root: str) -> None:
    """
    Fail a test if a WPS 1.0.0 document is not valid; without the schemas do
    nothing, or fail where they are demanded.

    @param root: the local name of the root element that is expected.
    """
    absent = missing()
    if absent is None:
        test.assertEqual(errors(body, root), [], body.decode(errors="replace"))
    elif demanded():
        test.fail(absent)
