"""
The parameters of algorithms: how each type is described, and how its value
is made from what a client sends.

Each module here handles some types; L{qgswps.worker.parameters.base} holds
the registry.
"""

from __future__ import annotations

from qgswps.worker.parameters import (
    colors,
    connections,
    destinations,
    expressions,
    files,
    geometries,
    layers,
    literals,
    meshes,
    spatial,
    structures,
    tables,
    times,
)
from qgswps.worker.parameters.base import (
    Unpublished,
    default,
    describe,
    isHidden,
    value,
)

__all__ = [
    "Unpublished",
    "colors",
    "connections",
    "default",
    "describe",
    "destinations",
    "expressions",
    "files",
    "geometries",
    "isHidden",
    "layers",
    "literals",
    "meshes",
    "spatial",
    "structures",
    "tables",
    "times",
    "value",
]
