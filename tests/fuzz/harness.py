"""How an input is given to a target, and what is a finding."""

from __future__ import annotations

import contextlib
import hashlib
import importlib
import resource
import signal
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType

import attrs

CORPUS = Path(__file__).parent / "corpus"

#: Seconds of CPU time that one input may take; all are small.
SECONDS = 5.0

#: How much more memory than before the process may need for one input, in MiB.
MEGABYTES = 128


class TooSlow(BaseException):
    """An input takes too long.  No parser is to catch it."""


class TooMuch(BaseException):
    """An input takes too much memory."""


@attrs.frozen
class Target:
    """
    Something that reads what strangers send.

    @ivar function: C{module:name} of what takes bytes; it raises whatever is
        none of the errors that are meant to be, and C{AssertionError}.  What it
        returns tells inputs apart where the code that is reached can't.
    @ivar words: texts that the inputs are made of.
    @ivar needsQgis: it works in a process with QGIS, and may crash that.
    @ivar largest: how many bytes an input has at most.
    @ivar mutations: how many changed inputs C{make test} tries.
    """

    name: str
    function: str
    words: tuple[str, ...]
    needsQgis: bool = False
    largest: int = 4096
    mutations: int = 1000

    @property
    def corpus(self) -> Path:
        """The folder of the inputs that are kept."""
        return CORPUS / self.name

    def inputs(self) -> dict[str, bytes]:
        """These inputs, by their names."""
        return {path.name: path.read_bytes() for path in sorted(self.corpus.iterdir())}

    def load(self) -> Callable[[bytes], object]:
        """The function itself."""
        module, _, name = self.function.partition(":")
        function: Callable[[bytes], object] = getattr(
            importlib.import_module(module), name
        )
        return function


@attrs.frozen
class Finding:
    """
    What went wrong with an input.

    @ivar signature: the same for all inputs that go wrong alike.
    @ivar text: the traceback.
    """

    signature: str
    text: str


def attempt(
    run: Callable[[bytes], object],
    data: bytes,
    returned: Callable[[object], None] = lambda value: None,
) -> Finding | None:
    """
    Give an input to a target, within limits.

    @param returned: is told what the target returns.
    @return: what is wrong; None if all is as it should be.
    """
    before = _peak()
    try:
        with _limited():
            value = run(data)
            if _peak() - before > MEGABYTES:
                raise TooMuch(f"{_peak() - before} MiB for {len(data)} bytes")
    except (Exception, TooSlow, TooMuch) as error:
        return _finding(error)
    returned(value)
    return None


def nameOf(data: bytes) -> str:
    """The name of a file for an input."""
    return hashlib.sha1(data, usedforsecurity=False).hexdigest()[:12]


def _peak() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10


@contextlib.contextmanager
def _limited() -> Iterator[None]:
    def expire(number: int, frame: FrameType | None) -> None:
        raise TooSlow(f"more than {SECONDS:g} s")

    former = signal.signal(signal.SIGVTALRM, expire)
    signal.setitimer(signal.ITIMER_VIRTUAL, SECONDS)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)
        signal.signal(signal.SIGVTALRM, former)


def _finding(error: BaseException) -> Finding:
    frames = traceback.extract_tb(error.__traceback__)
    ours = [f for f in frames if "/qgswps/" in f.filename or "/fuzz/" in f.filename]
    place = [
        f"{Path(frame.filename).stem}.{frame.name}:{frame.lineno}"
        for frame in ours[-2:]
        if Path(frame.filename) != Path(__file__)
    ]
    signature = " ".join([type(error).__name__, *place])
    return Finding(signature, "".join(traceback.format_exception(error)))
