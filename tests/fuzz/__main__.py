"""
C{python -m tests.fuzz [TARGET …] [--seconds 600]}: look for findings.

atheris works in a process of its own, which is started again when a target
has crashed it.  What it finds goes to C{run/fuzz/TARGET}: C{findings} has the
shortest input of each kind beside its traceback, C{crashes} what has ended the
process or took too long, C{corpus} the inputs that reached more of the code.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
import time
from pathlib import Path

import attrs

from tests.fuzz.harness import Target
from tests.fuzz.targets import TARGETS

ROOT = Path(__file__).resolve().parents[2]
PYTHON = str(ROOT / ".venv" / "fuzz" / "bin" / "python")

#: Seconds that one input may take altogether, and MiB that the process may have.
TIMEOUT = 30
MEMORY = 3000

#: The process is not started again more often.
MOST_CRASHES = 50

_LINE = re.compile(r"#(\d+)\s+(\w+)\s+cov: (\d+) ft: (\d+) corp: (\d+)/")
_UNITS = re.compile(r"stat::number_of_executed_units:\s*(\d+)")


@attrs.define
class Outcome:
    """
    What came of a target.

    @ivar first: what the inputs that were there reach, as libFuzzer counts.
    @ivar last: what is reached at the end.
    """

    name: str
    executions: int = 0
    seconds: float = 0.0
    first: int = 0
    last: int = 0
    inputs: int = 0
    crashes: int = 0
    findings: int = 0


def fuzz(target: Target, seconds: int, folder: Path) -> Outcome:
    """Search for some seconds."""
    findings, crashes, corpus = (
        folder / name for name in ("findings", "crashes", "corpus")
    )
    for each in (findings, crashes, corpus):
        each.mkdir(parents=True, exist_ok=True)
    words = folder / "words"
    words.write_text("".join(f'"{_escaped(word)}"\n' for word in target.words))
    outcome = Outcome(target.name)
    began = time.monotonic()
    end = began + seconds
    while (left := int(end - time.monotonic())) > 0:
        log = folder / f"log{outcome.crashes}"
        with log.open("wb") as output:
            done = subprocess.run(
                [
                    *(PYTHON, "-m", "tests.fuzz.atherisrun", target.name),
                    str(findings),
                    f"-max_total_time={left}",
                    f"-max_len={target.largest}",
                    f"-timeout={TIMEOUT}",
                    f"-rss_limit_mb={MEMORY}",
                    f"-dict={words}",
                    f"-artifact_prefix={crashes}/",
                    "-print_final_stats=1",
                    *(str(corpus), str(target.corpus)),
                ],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                cwd=ROOT,
                env={**os.environ, "PYTHONPATH": str(ROOT)},
                check=False,
            )
        _note(log.read_text(errors="replace"), outcome)
        if done.returncode == 0:
            break
        outcome.crashes += 1
        if outcome.crashes >= MOST_CRASHES:
            break
    outcome.seconds = time.monotonic() - began
    outcome.findings = len(list(findings.glob("*.txt")))
    (folder / "outcome.json").write_text(json.dumps(attrs.asdict(outcome)))
    return outcome


def _escaped(word: str) -> str:
    """As libFuzzer's dictionaries have it."""
    return "".join(
        chr(byte) if 32 <= byte < 127 and byte not in b'"\\' else f"\\x{byte:02X}"
        for byte in word.encode("utf-8", "surrogatepass")
    )


def _note(log: str, outcome: Outcome) -> None:
    lines = _LINE.findall(log)
    if not lines:
        return
    reached = {kind: int(features) for _, kind, _, features, _ in lines}
    outcome.first = outcome.first or reached.get("INITED", 0)
    outcome.last = max(outcome.last, int(lines[-1][3]))
    outcome.inputs = int(lines[-1][4])
    total = _UNITS.search(log)
    outcome.executions += int(total[1] if total is not None else lines[-1][0])


def main() -> int:
    """
    @return: the exit status: 1 if there are findings.
    """
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("targets", nargs="*", metavar="TARGET", help=", ".join(TARGETS))
    parser.add_argument("--seconds", type=int, default=600, help="for each target")
    parser.add_argument("--output", default=str(ROOT / "run" / "fuzz"))
    options = parser.parse_args()
    unknown = set(options.targets) - set(TARGETS)
    if unknown:
        parser.error(f"no target: {', '.join(sorted(unknown))}")
    isClean = True
    for name in options.targets or TARGETS:
        folder = Path(options.output, name)
        outcome = fuzz(TARGETS[name], options.seconds, folder)
        isClean = isClean and not (outcome.crashes or outcome.findings)
        sys.stdout.write(
            f"{name}: {outcome.executions} executions in {outcome.seconds:.0f} s"
            f" ({outcome.executions / max(outcome.seconds, 1):.0f}/s), features"
            f" {outcome.first} to {outcome.last}, {outcome.inputs} inputs,"
            f" {outcome.findings} findings, {outcome.crashes} crashes: {folder}\n"
        )
        sys.stdout.flush()
    return 0 if isClean else 1


if __name__ == "__main__":
    sys.exit(main())
