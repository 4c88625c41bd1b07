"""
What a job has in all, with all that it has started: the kernel's own limits
are of single processes, or of all that a user has.
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Iterable

from qgswps import processes
from qgswps.model import SandboxSettings

#: How many processes are looked at where any number is allowed.
_MOST = 1 << 20

#: Seconds between looks, at least.
INTERVAL = 0.25

#: How much of the time may be spent on looking, as a divisor.
_SHARE = 10

_KIBIBYTE = 2**10

#: What a process has of its own, in KiB: of C{/proc/PID/status}, where what
#: several share counts for each of them, and of C{/proc/PID/smaps_rollup},
#: where they share it.
_RESIDENT = re.compile(r"^(?:Rss(?:Anon|Shmem)|VmSwap):\s*(\d+) kB", re.MULTILINE)
_PROPORTIONAL = re.compile(r"^(?:Pss_(?:Anon|Shmem)|SwapPss):\s*(\d+) kB", re.MULTILINE)


class Supervisor:
    """
    Looks at the workers of a fork server.

    @ivar due: when the next look is to be, as L{time.monotonic} has it.
    """

    def __init__(self, settings: SandboxSettings) -> None:
        self._processes = settings.processes
        self._memory = settings.memory
        self.due = 0.0
        self._memoryDue = 0.0

    def look(self, workers: Iterable[int]) -> dict[int, str]:
        """
        Which workers have too much, and what of.

        @param workers: process ids.
        """
        begun = time.monotonic()
        most = self._processes or _MOST
        trees = {pid: processes.tree(pid, most + 1) for pid in workers}
        self.due = _after(begun)
        found = {
            pid: f"it had more than the {most} processes that sandbox.processes allows"
            for pid, tree in trees.items()
            if len(tree) > most
        }
        if self._memory and begun >= self._memoryDue:
            for pid in trees.keys() - found.keys():
                had = self._tooMuch(trees[pid])
                if had:
                    found[pid] = (
                        f"it had {had} MiB of memory, more than the {self._memory} MiB"
                        " that sandbox.memory allows"
                    )
            # This takes longer, the more processes there are.
            self._memoryDue = _after(begun)
        return found

    def _tooMuch(self, tree: Iterable[int]) -> int:
        """The memory of some processes, in MiB; 0 if they may have it."""
        if _total(tree, "status", _RESIDENT) <= self._memory:
            return 0
        had = _total(tree, "smaps_rollup", _PROPORTIONAL)
        return had if had > self._memory else 0


def _after(begun: float) -> float:
    """When to look again, if this look has begun then and ends now."""
    return begun + max(INTERVAL, (time.monotonic() - begun) * _SHARE)


def _total(pids: Iterable[int], name: str, pattern: re.Pattern[str]) -> int:
    """What processes have together, in MiB."""
    return sum(_of(pid, name, pattern) for pid in pids) // _KIBIBYTE


def _of(pid: int, name: str, pattern: re.Pattern[str]) -> int:
    """What a process has, in KiB; nothing if it is gone."""
    try:
        with open(f"/proc/{pid}/{name}") as file:
            return sum(map(int, pattern.findall(file.read())))
    except PermissionError:
        # It hides what it has: all of it counts.
        return _of(pid, "status", _RESIDENT)
    except OSError:
        return 0


def tasks() -> int:
    """How many processes and threads this process's user has."""
    user = os.getuid()
    found = 0
    for name in filter(str.isdigit, os.listdir("/proc")):
        try:
            if os.stat(f"/proc/{name}").st_uid == user:
                found += len(os.listdir(f"/proc/{name}/task"))
        except OSError:
            continue  # it has ended
    return found
