"""
The file of those who may use the server: names, with hashes of their passwords
or tokens.

A line is C{NAME:HASH}; C{#} begins one of comment. The hash of a password is
bcrypt's, as C{htpasswd -B} writes it; that of a token is
C{$token$sha256$HEX}: it is too long to be guessed, so that a fast hash is good
for it.

C{python3 -m qgswps.credentials password NAME} and C{… token NAME} make a line.
"""

from __future__ import annotations

import argparse
import getpass
import hashlib
import hmac
import re
import secrets
import sys
from collections.abc import Mapping

import attrs
import bcrypt

from qgswps.config import Settings

#: What a hash of bcrypt looks like. One with more rounds takes some seconds.
_BCRYPT = re.compile(r"\$2[aby]\$(?:0[4-9]|1[0-5])\$[./A-Za-z0-9]{53}")

_TOKEN = re.compile(r"\$token\$sha256\$([0-9a-f]{64})")

_NAME = re.compile(r"[^\s:#][^:\x00-\x1f\x7f]{0,99}")

#: bcrypt takes no more of a password, in bytes.
LONGEST = 72

#: The cost of new hashes: about a tenth of a second each.
_ROUNDS = 10

#: Stands for the hash of somebody who is not there; nothing has it.
NOBODY = b"$2b$10$" + b"." * 53


class CredentialsError(Exception):
    """A file that can't be used: the line, and what was expected."""


@attrs.frozen
class Credentials:
    """
    Who may come.

    @ivar passwords: hashes by names.
    @ivar tokens: names by hashes, as hexadecimal digits.
    """

    passwords: Mapping[str, bytes] = attrs.field(factory=dict, repr=False)
    tokens: Mapping[str, str] = attrs.field(factory=dict, repr=False)

    def bearer(self, token: str) -> str | None:
        """Whose token that is."""
        given = hashlib.sha256(token.encode()).hexdigest()
        # Takes the same time wherever they differ.
        found = [
            name
            for known, name in self.tokens.items()
            if hmac.compare_digest(given, known)
        ]
        return found[0] if found else None


def matches(password: bytes, hashed: bytes) -> bool:
    """Whether a hash is that of a password. Takes its time: for a thread."""
    if b"\0" in password:
        return False
    return bcrypt.checkpw(password[:LONGEST], hashed)


def parse(text: str) -> Credentials:
    """
    Read a file's text.

    @raise CredentialsError: it is of another form, or a name is there twice.
    """
    passwords: dict[str, bytes] = {}
    tokens: dict[str, str] = {}
    names: set[str] = set()
    for number, given in enumerate(text.splitlines(), 1):
        line = given.strip()
        if not line or line.startswith("#"):
            continue
        # No message repeats what may be a password.
        name, colon, hashed = line.partition(":")
        if not colon or not _NAME.fullmatch(name):
            raise CredentialsError(f"line {number}: expected NAME:HASH")
        if name in names:
            raise CredentialsError(f"line {number}: {name!r} is there twice")
        names.add(name)
        token = _TOKEN.fullmatch(hashed)
        if token is not None:
            tokens[token.group(1)] = name
        elif _BCRYPT.fullmatch(hashed):
            passwords[name] = hashed.encode()
        else:
            raise CredentialsError(
                f"line {number}: expected a hash by bcrypt with a cost of at most 15,"
                " as htpasswd -B writes it, or that of a token"
            )
    if not names:
        raise CredentialsError("there is nobody in it")
    return Credentials(passwords, tokens)


def load(path: str) -> Credentials:
    """
    Read a file.

    @raise CredentialsError: it can't be used.
    """
    try:
        with open(path, encoding="utf-8") as file:
            return parse(file.read())
    except OSError as error:
        raise CredentialsError(f"{path}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise CredentialsError(f"{path}: expected UTF-8") from None
    except CredentialsError as error:
        raise CredentialsError(f"{path}: {error}") from None


def forSettings(settings: Settings) -> Credentials | None:
    """
    Those that the settings name; None if everybody may come.

    @raise ConfigurationError: the file can't be used.
    """
    path = settings.authentication.credentials
    if not path:
        return None
    try:
        return load(path)
    except CredentialsError as error:
        raise settings.problem("authentication", "credentials", str(error)) from None


# The command


def passwordLine(name: str, password: str) -> str:
    """A line for a password."""
    hashed = bcrypt.hashpw(password.encode()[:LONGEST], bcrypt.gensalt(_ROUNDS))
    return f"{name}:{hashed.decode()}"


def tokenLine(name: str, token: str) -> str:
    """A line for a token."""
    return f"{name}:$token$sha256${hashlib.sha256(token.encode()).hexdigest()}"


def main() -> int:
    """Write a line to the standard output, and a new token to the other one."""
    parser = argparse.ArgumentParser(
        prog="python3 -m qgswps.credentials",
        description="Make a line for the file that authentication.credentials names.",
    )
    parser.add_argument("kind", choices=("password", "token"))
    parser.add_argument("name")
    arguments = parser.parse_args()
    if not _NAME.fullmatch(arguments.name):
        parser.error("a name has no colon and no control characters")
    if arguments.kind == "token":
        token = secrets.token_urlsafe(32)
        sys.stdout.write(tokenLine(arguments.name, token) + "\n")
        sys.stderr.write(f"{token}\n")
        return 0
    if sys.stdin.isatty():
        password = getpass.getpass("Password: ")
        if getpass.getpass("Again: ") != password:
            parser.error("these are two passwords")
    else:
        password = sys.stdin.readline().rstrip("\r\n")
    if not password or "\0" in password or len(password.encode()) > LONGEST:
        parser.error(f"a password has 1 to {LONGEST} bytes in UTF-8, and no NUL")
    sys.stdout.write(passwordLine(arguments.name, password) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
