"""What makes a forked child a process of its own."""

from __future__ import annotations

import contextlib
import ctypes
import os
import random
import signal
import struct
import sys
from collections.abc import Iterable

from qgswps import processes

_PR_SET_PDEATHSIG = 1
_PR_SET_CHILD_SUBREAPER = 36

_CAPABILITIES_VERSION = 0x20080522

#: Root's rights to files (capabilities(7)): C{CAP_DAC_OVERRIDE} and
#: C{CAP_DAC_READ_SEARCH}.
_FILE_CAPABILITIES = 1 << 1 | 1 << 2

#: How often in a row new descendants are looked for.
_PASSES = 1000

_libc = ctypes.CDLL(None, use_errno=True)


def dieWithParent(number: int = signal.SIGKILL) -> None:
    """Have the kernel send a signal when the parent ends; 0 for none."""
    _libc.prctl(_PR_SET_PDEATHSIG, int(number), 0, 0, 0)


def adoptOrphans() -> None:
    """Become the parent of descendants whose own parent has ended."""
    _libc.prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def eventDescriptors() -> tuple[int, ...]:
    """The numbers of this process's eventfds."""
    return tuple(
        number for number in map(int, os.listdir("/proc/self/fd")) if _isEvent(number)
    )


def _isEvent(number: int) -> bool:
    try:
        return os.readlink(f"/proc/self/fd/{number}") == "anon_inode:[eventfd]"
    except OSError:
        return False


def ownEventDescriptors(shared: Iterable[int]) -> None:
    """
    Give each of these eventfds a new one under the same number.

    Qt and GLib wake their event loops through eventfds.  A forked child
    shares these with its siblings, which would swallow each other's wake-ups.
    """
    # Qt may have closed one, and its number may be another descriptor's now.
    for number in filter(_isEvent, shared):
        replacement = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        os.dup2(replacement, number, inheritable=False)
        os.close(replacement)


def freshRandomness() -> None:
    """Siblings must not draw the same numbers."""
    random.seed()
    numpy = sys.modules.get("numpy")
    if numpy is not None:
        numpy.random.seed()


def dieFirst() -> None:
    """Have the kernel end this process, not the server, when memory is short."""
    with contextlib.suppress(OSError):
        descriptor = os.open("/proc/self/oom_score_adj", os.O_WRONLY)
        try:
            os.write(descriptor, b"500")
        finally:
            os.close(descriptor)


def keepFileCapabilities() -> None:
    """Give up what root may do, but for what concerns files."""
    header = struct.pack("=Ii", _CAPABILITIES_VERSION, 0)
    had = ctypes.create_string_buffer(24)
    if _libc.capget(header, had) != 0:
        return
    effective, permitted = struct.unpack_from("=II", had.raw)
    kept = permitted & _FILE_CAPABILITIES
    data = struct.pack("=6I", effective & kept, kept, 0, 0, 0, 0)
    _libc.capset(header, data)


def becomeWorker(parent: int, events: Iterable[int]) -> None:
    """
    Call it first thing in a forked child.

    @param parent: process id of the fork server.
    @param events: the L{eventDescriptors} of the fork server.
    """
    os.setsid()
    dieWithParent()
    if os.getppid() != parent:
        # The parent ended before the kernel knew that we care.
        os._exit(1)
    dieFirst()
    ownEventDescriptors(events)
    freshRandomness()
    # So all that it starts stays below it, whatever else that leaves.
    adoptOrphans()


def orphans(known: set[int]) -> set[int]:
    """
    The process ids of this process's children that it did not make.

    @param known: those that it made.
    """
    return processes.children(os.getpid()) - known


def endTrees(roots: Iterable[int]) -> None:
    """
    End children of this process, with all that is below them.

    They are stopped before any is killed: else those still to be found could
    take the places of the others, again and again.

    @param roots: process ids.
    """
    stopped: set[int] = set()
    for _ in range(_PASSES):
        found = {pid for root in roots for pid in processes.tree(root)} - stopped
        if not found:
            break
        for pid in found:
            _signal(pid, signal.SIGSTOP)
        stopped |= found
    for pid in stopped:
        _signal(pid, signal.SIGKILL)


def _signal(pid: int, number: int) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.kill(pid, number)


def killGroup(pid: int, number: int = signal.SIGKILL) -> None:
    """Signal a process group, if there is one."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, number)
