"""
Landlock: what Linux lets a process take away from itself (landlock(7)).

No privilege is needed.  What is restricted stays so, for the process and for
all that it starts.  What a kernel does not know yet is left out.
"""

from __future__ import annotations

import ctypes
import os
import struct
from typing import Final

_CREATE_RULESET = 444
_ADD_RULE = 445
_RESTRICT_SELF = 446
_ASK_VERSION = 1
_BENEATH = 1
_PORT = 2
_PR_SET_NO_NEW_PRIVS = 38

#: Rights to files and folders.
EXECUTE: Final = 1 << 0
WRITE_FILE: Final = 1 << 1
READ_FILE: Final = 1 << 2
READ_DIR: Final = 1 << 3
TRUNCATE: Final = 1 << 14
IOCTL_DEV: Final = 1 << 15

#: Those that a rule about a file may have.
_OF_FILES = EXECUTE | WRITE_FILE | READ_FILE | TRUNCATE | IOCTL_DEV

#: Kinds of files that may not be made anywhere: devices.
_DEVICES = 1 << 6 | 1 << 11

READ: Final = READ_FILE | READ_DIR
RUN: Final = READ | EXECUTE

#: All rights to files, by the version of Landlock that brought the last one.
_FILES = {1: (1 << 13) - 1, 2: (1 << 14) - 1, 3: (1 << 15) - 1, 5: (1 << 16) - 1}

#: All but what makes devices, and speaks to them.
ALL: Final = ((1 << 15) - 1) & ~_DEVICES

_BIND_TCP = 1 << 0
_CONNECT_TCP = 1 << 1

#: UNIX sockets without a path, and signals, that lead out of the domain.
_SCOPES = 1 << 0 | 1 << 1

_libc = ctypes.CDLL(None, use_errno=True)
_libc.syscall.restype = ctypes.c_long


def _call(number: int, *arguments: object) -> int:
    result = int(_libc.syscall(ctypes.c_long(number), *arguments))
    if result < 0:
        code = ctypes.get_errno()
        raise OSError(code, f"Landlock: {os.strerror(code)}")
    return result


def version() -> int:
    """Which version of Landlock this kernel has; 0 for none that can be used."""
    try:
        return _call(
            _CREATE_RULESET, None, ctypes.c_size_t(0), ctypes.c_uint(_ASK_VERSION)
        )
    except OSError:
        return 0


class Ruleset:
    """
    What a process may do from now on, as far as Landlock knows of it: nothing
    but what rules allow.
    """

    def __init__(self, version: int, tcp: bool = False) -> None:
        """
        @param version: as of L{version}, and at least 1.
        @param tcp: connections are restricted, too, as far as it can be done.
        @raise OSError: the kernel refuses.
        """
        self._files = _FILES[max(known for known in _FILES if known <= version)]
        self.tcp = tcp and version >= 4
        ports = _BIND_TCP | _CONNECT_TCP if self.tcp else 0
        scopes = _SCOPES if version >= 6 else 0
        attributes = struct.pack("=QQQ", self._files, ports, scopes)
        size = 24 if version >= 6 else 16 if version >= 4 else 8
        self._descriptor = _call(
            _CREATE_RULESET, attributes, ctypes.c_size_t(size), ctypes.c_uint(0)
        )

    def allow(self, descriptor: int, rights: int, isFolder: bool = True) -> None:
        """
        Allow something below a folder, or to a file.

        @param descriptor: of the folder or file, as C{O_PATH} gives it.
        """
        allowed = rights & self._files & (-1 if isFolder else _OF_FILES)
        self._add(_BENEATH, struct.pack("=Qi", allowed, descriptor))

    def allowPort(self, port: int) -> None:
        """Allow connections by TCP to a port, of any host."""
        self._add(_PORT, struct.pack("=QQ", _CONNECT_TCP, port))

    def _add(self, kind: int, rule: bytes) -> None:
        _call(
            _ADD_RULE,
            ctypes.c_int(self._descriptor),
            ctypes.c_int(kind),
            rule,
            ctypes.c_uint(0),
        )

    def enforce(self) -> None:
        """
        Let it hold for this thread and what it starts, for ever.

        @raise OSError: the kernel refuses.
        """
        forgoPrivileges()
        _call(_RESTRICT_SELF, ctypes.c_int(self._descriptor), ctypes.c_uint(0))
        os.close(self._descriptor)


def forgoPrivileges() -> None:
    """Let no program that is started have more rights than this process."""
    _libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
