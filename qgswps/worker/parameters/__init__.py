"""
The parameters of algorithms: how each type is described, and how its value
is made from what a client sends.

Each module here handles some types; L{qgswps.worker.parameters.base} holds
the registry.
"""

from __future__ import annotations

from qgswps.worker.parameters import destinations, layers, literals, spatial
from qgswps.worker.parameters.base import (
    Unpublished,
    default,
    describe,
    isHidden,
    value,
)

__all__ = [
    "Unpublished",
    "default",
    "describe",
    "destinations",
    "isHidden",
    "layers",
    "literals",
    "spatial",
    "value",
]
