"""
Model values as JSON, for the files that processes hand to each other.

A value of a union is an object with its class's name under C{"is"}; all
else is as attrs says it.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Callable
from typing import Any, TypeVar, get_args

import attrs
import cattrs

from qgswps import model

T = TypeVar("T")

_converter = cattrs.Converter(omit_if_default=True)


def _registerUnion(union: Any) -> None:
    members = {member.__name__: member for member in get_args(union)}

    def unstructure(value: Any) -> dict[str, Any]:
        fields = _converter.unstructure(value, unstructure_as=type(value))
        return {"is": type(value).__name__, **fields}

    def structure(value: dict[str, Any], _: Any) -> Any:
        return _converter.structure(value, members[value["is"]])

    def isUnion(candidate: Any) -> bool:
        return bool(candidate == union)

    _converter.register_unstructure_hook_func(isUnion, unstructure)
    _converter.register_structure_hook_func(isUnion, structure)


for _union in (model.DataType, model.InputValue, model.OutputData):
    _registerUnion(_union)


def dumps(value: Any) -> bytes:
    """A model value as UTF-8 JSON."""
    return json.dumps(_converter.unstructure(value), ensure_ascii=False).encode()


def loads(cls: type[T] | Callable[..., T], data: bytes | str) -> T:
    """
    The model value that L{dumps} wrote.

    @raise Exception: what is there is not a C{cls}.
    """
    return _converter.structure(json.loads(data), cls)  # type: ignore[arg-type]


def write(path: str, value: Any, mode: int = 0o666) -> None:
    """
    Write a value so that a reader sees all of it or nothing.

    @param mode: who may read it, as far as the umask allows.
    """
    _replace(path, dumps(value), mode)


def _replace(path: str, data: bytes, mode: int) -> None:
    scratch = f"{path}.{os.getpid()}.new"
    try:
        descriptor = os.open(scratch, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode)
        with open(descriptor, "wb") as file:
            file.write(data)
        os.replace(scratch, path)
    except OSError:
        with contextlib.suppress(OSError):
            os.unlink(scratch)
        raise


def read(path: str, cls: type[T]) -> T:
    """Read a value that L{write} wrote."""
    with open(path, "rb") as file:
        return loads(cls, file.read())


# The catalogue: hundreds of descriptions that say much the same


def writeCatalogue(path: str, catalogue: model.Catalogue) -> None:
    """
    Write a catalogue, as L{write} does: a line for what is omitted, and one
    for each process.
    """
    first = model.Catalogue((), catalogue.omitted)
    _replace(path, b"\n".join(map(dumps, (first, *catalogue.processes))), 0o666)


def readCatalogue(path: str) -> model.Catalogue:
    """
    Read a catalogue that L{writeCatalogue} wrote.

    It is read line by line, and parts that are equal are one: all of it at
    once would take ten times the memory.
    """
    known: dict[Any, Any] = {}
    with open(path, "rb") as file:
        first = loads(model.Catalogue, file.readline())
        processes = tuple(
            _shared(loads(model.ProcessDescription, line), known) for line in file
        )
    return model.Catalogue(processes, first.omitted)


def _shared(value: Any, known: dict[Any, Any]) -> Any:
    """A value, or the one that is known and equal; likewise all of its parts."""
    if isinstance(value, tuple):
        value = tuple(_shared(each, known) for each in value)
    elif attrs.has(type(value)):
        parts = attrs.asdict(value, recurse=False)
        value = type(value)(
            **{name: _shared(part, known) for name, part in parts.items()}
        )
    elif not isinstance(value, str):
        return value  # 1 and True are equal
    return known.setdefault((type(value), value), value)
