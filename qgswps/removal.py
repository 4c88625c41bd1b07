"""
Removing folders as jobs may leave them: as deep in each other as they like,
and closed to the user that they and the server run as.
"""

from __future__ import annotations

import contextlib
import os
import secrets


def removeTree(path: str) -> None:
    """
    Remove a folder with all that is in it; no link is followed.

    What can't be removed is left; no error if there is no such folder.
    """
    empty(path)
    with contextlib.suppress(OSError):
        os.rmdir(path)


def empty(path: str) -> None:
    """
    Remove what is in a folder, likewise.

    C{shutil.rmtree} goes down as far as there are folders, with a call and a
    descriptor for each.  Here those below others are brought up instead.
    """
    try:
        folder = _opened(path)
    except OSError:
        return  # there is none, or it is a file or a link
    try:
        _empty(folder)
    finally:
        os.close(folder)


def _opened(name: str, parent: int | None = None) -> int:
    """A descriptor of a folder, which is made one's own to change."""
    flags = os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW
    found = os.open(name, flags, dir_fd=parent)
    try:
        it = f"/proc/self/fd/{found}"
        # Somebody else's may be open to all.
        with contextlib.suppress(OSError):
            os.chmod(it, 0o700)
        return os.open(it, os.O_RDONLY | os.O_DIRECTORY)
    finally:
        os.close(found)


def _empty(folder: int) -> None:
    stuck: set[str] = set()
    while names := [name for name in os.listdir(folder) if name not in stuck]:
        for name in names:
            if _unlinked(name, folder):
                continue
            try:
                below = _opened(name, folder)
            except OSError:
                stuck.add(name)
                continue
            try:
                for each in os.listdir(below):
                    if not _unlinked(each, below):
                        with contextlib.suppress(OSError):
                            _bringUp(each, below, folder)
                os.rmdir(name, dir_fd=folder)
            except OSError:
                stuck.add(name)
            finally:
                os.close(below)


def _unlinked(name: str, folder: int) -> bool:
    """Remove a file; False if it is a folder, or can't be removed."""
    try:
        os.unlink(name, dir_fd=folder)
    except FileNotFoundError:
        return True
    except OSError:
        return False
    return True


def _bringUp(name: str, below: int, folder: int) -> None:
    # Who can't write to a folder can't move it either.
    os.close(_opened(name, below))
    # No name that a job could have foreseen.
    os.rename(name, secrets.token_hex(8), src_dir_fd=below, dst_dir_fd=folder)
