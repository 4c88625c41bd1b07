"""
Values against a JSON Schema, as far as the schemas of this package go.

It knows C{type}, C{enum}, C{properties}, C{required},
C{additionalProperties} (C{false}), C{items}, C{minItems}, C{maxItems},
C{minimum}, C{minLength} and C{anyOf}; all else means nothing to it, as the
specification says of unknown words.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from typing import Any

Schema = Mapping[str, Any]

_TYPES: dict[str, type | tuple[type, ...]] = {
    "object": dict,
    "array": list,
    "string": str,
    "boolean": bool,
    "null": type(None),
}


def parse(text: str) -> Any:
    """
    JSON, without the infinities and NaN that Python adds to it.

    @raise ValueError: it is none.
    """
    try:
        return json.loads(text, parse_constant=_refuse)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None


def _refuse(word: str) -> None:
    raise ValueError(f"{word} is no number")


def faults(value: Any, schema: Schema, path: str = "") -> Iterator[str]:
    """
    What is wrong with a value, each as a text such as C{[0].name is missing}.
    """
    where = path or "the value"
    if "anyOf" in schema:
        tried = [list(faults(value, each, path)) for each in schema["anyOf"]]
        if all(tried):
            # The choice that has the right type says the most.
            yield from min(tried, key=lambda each: (_isOfType(each, where), len(each)))
        return
    if "enum" in schema and value not in schema["enum"]:
        choices = ", ".join(json.dumps(each) for each in schema["enum"])
        yield f"{where} is {_short(value)}, not one of {choices}"
        return
    type_ = schema.get("type")
    if type_ is not None and not _is(value, type_):
        article = "an" if type_[0] in "aio" else "a"
        yield f"{where} is {_short(value)}, not {article} {type_}"
        return
    if isinstance(value, dict):
        yield from _members(value, schema, path)
    elif isinstance(value, list):
        yield from _items(value, schema, path, where)
    elif isinstance(value, str) and len(value) < schema.get("minLength", 0):
        yield f"{where} is empty"
    elif _is(value, "number") and value < schema.get("minimum", -math.inf):
        yield f"{where} is {value}, less than {schema['minimum']}"


def _isOfType(found: list[str], where: str) -> bool:
    return bool(found) and found[0].startswith(f"{where} is ")


def _members(value: dict[str, Any], schema: Schema, path: str) -> Iterator[str]:
    prefix = f"{path}." if path else ""
    for name in schema.get("required", ()):
        if name not in value:
            yield f"{prefix}{name} is missing"
    known = schema.get("properties", {})
    for name, member in value.items():
        if name in known:
            yield from faults(member, known[name], f"{prefix}{name}")
        elif schema.get("additionalProperties") is False:
            yield f"{prefix}{name} is none of {', '.join(known)}"


def _items(value: list[Any], schema: Schema, path: str, where: str) -> Iterator[str]:
    least, most = schema.get("minItems", 0), schema.get("maxItems", math.inf)
    if len(value) < least:
        yield f"{where} has {len(value)} items, at least {least} are needed"
    if len(value) > most:
        yield f"{where} has {len(value)} items, at most {most} are taken"
    for number, item in enumerate(value):
        yield from faults(item, schema.get("items", {}), f"{path}[{number}]")


def _is(value: Any, type_: str) -> bool:
    if type_ in ("number", "integer"):
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            return False
        return type_ == "number" or float(value).is_integer()
    return isinstance(value, _TYPES[type_])


def _short(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 60 else text[:57] + "..."
