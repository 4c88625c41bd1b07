"""Changed inputs, the same each time; for searching in earnest there is atheris."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence

from tests.fuzz.harness import Target

#: What stands at the edge of what numbers can be.
_EDGES = (
    b"\0",
    b"\xff",
    b"\x7f",
    b"-1",
    b"0",
    b"1e999",
    b"4294967296",
    b"%00",
    b"\r\n",
)


def mutations(target: Target) -> Iterator[bytes]:
    """The inputs of the corpus with parts lost, doubled, changed and exchanged."""
    rng = random.Random(target.name)
    seeds = list(target.inputs().values())
    words = [word.encode("utf-8", "surrogatepass") for word in target.words]
    for _ in range(target.mutations):
        data = rng.choice(seeds)
        for _ in range(rng.choice((1, 1, 2, 3, 5, 8))):
            data = _changed(rng, data, words, seeds)
        yield data[: target.largest]


def _changed(
    rng: random.Random, data: bytes, words: Sequence[bytes], seeds: Sequence[bytes]
) -> bytes:
    start = rng.randint(0, len(data))
    end = min(len(data), start + rng.choice((0, 1, 2, 4, 8, 16, 64)))
    match rng.randrange(8):
        case 0:
            new = b""
        case 1 | 2:
            new = rng.choice(words)
        case 3:
            new = rng.choice(_EDGES)
        case 4:
            new = rng.randbytes(rng.randint(1, 4))
        case 5:
            new = data[start:end] * rng.choice((2, 3, 50))
        case 6:
            other = rng.choice(seeds)
            at = rng.randint(0, len(other))
            new = other[at : at + rng.randint(1, 64)]
        case _:
            new = bytes(byte ^ 1 << rng.randrange(8) for byte in data[start:end])
    return data[:start] + new + data[end:]
