"""What Linux tells of processes (proc(5))."""

from __future__ import annotations

import contextlib
import os


def children(pid: int) -> set[int]:
    """The process ids of a process's children, zombies too."""
    found: set[int] = set()
    # It may end meanwhile.
    with contextlib.suppress(OSError):
        for task in os.listdir(f"/proc/{pid}/task"):
            path = f"/proc/{pid}/task/{task}/children"
            with contextlib.suppress(OSError), open(path) as file:
                found.update(map(int, file.read().split()))
    return found


def tree(pid: int, most: int = 1 << 20) -> list[int]:
    """
    A process and its descendants.

    @param most: with so many it is enough.
    """
    found = [pid]
    for each in found:
        if len(found) >= most:
            break
        found += children(each)
    return found
