"""
The names that inputs are published by.

QGIS tells C{-a} from C{-A}. Clients that make a variable, an argument or a
field of each input often don't: they fold letter case and punctuation, and one
process with two inputs of one name keeps them from loading all the others.
"""

from __future__ import annotations

import re

from qgswps.model import InputDescription, ProcessDescription


def _folded(name: str) -> str:
    """A name as clients make an identifier of it."""
    return re.sub(r"\W", "_", name.lower())


def published(process: ProcessDescription) -> dict[str, str]:
    """
    The name of each input in descriptions, by its identifier: that itself,
    with a number where another input comes before it that differs in letter
    case or punctuation only.
    """
    names: dict[str, str] = {}
    taken: set[str] = set()
    for item in process.inputs:
        name, number = item.identifier, 1
        while _folded(name) in taken:
            number += 1
            name = f"{item.identifier}_{number}"
        taken.add(_folded(name))
        names[item.identifier] = name
    return names


def find(process: ProcessDescription, name: str) -> InputDescription | None:
    """The input of that identifier or published name, or None."""
    found = process.input(name)
    if found is None:
        for identifier, other in published(process).items():
            if other == name:
                return process.input(identifier)
    return found
