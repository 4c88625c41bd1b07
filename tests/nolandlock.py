"""
C{python3 -m tests.nolandlock COMMAND …}: run a command as on a kernel without
Landlock: a filter of system calls (seccomp(2)) has these answer C{ENOSYS}.
"""

from __future__ import annotations

import ctypes
import errno
import os
import struct
import sys

_NO_NEW_PRIVS = 38
_SET_SECCOMP = 22
_FILTER = 2

_LANDLOCK = (444, 445, 446)

#: Classic BPF: load a word, compare, return.
_LOAD, _EQUAL, _RETURN = 0x20, 0x15, 0x06
_ALLOW = 0x7FFF0000
_ERRNO = 0x00050000 | errno.ENOSYS


def instruction(code: int, yes: int, no: int, value: int) -> bytes:
    """One instruction."""
    return struct.pack("=HBBI", code, yes, no, value)


def main() -> None:
    """Forbid, and run what is to be run."""
    count = len(_LANDLOCK)
    program = instruction(_LOAD, 0, 0, 0)  # the number of the system call
    for position, number in enumerate(_LANDLOCK):
        program += instruction(_EQUAL, count - position, 0, number)
    program += instruction(_RETURN, 0, 0, _ALLOW) + instruction(_RETURN, 0, 0, _ERRNO)
    content = ctypes.create_string_buffer(program, len(program))
    whole = struct.pack("@HP", count + 3, ctypes.addressof(content))
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_NO_NEW_PRIVS, 1, 0, 0, 0) or libc.prctl(
        _SET_SECCOMP, _FILTER, whole, 0, 0
    ):
        raise OSError(ctypes.get_errno(), "seccomp")
    os.execvp(sys.argv[1], sys.argv[1:])


if __name__ == "__main__":
    main()
