"""The texts in values that are nested."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any


def within(value: Any) -> Iterator[str]:
    """All texts in a value of any depth, names of members included."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for name, each in value.items():
            yield from within(name)
            yield from within(each)
    elif isinstance(value, (list, tuple, set)):
        for each in value:
            yield from within(each)
