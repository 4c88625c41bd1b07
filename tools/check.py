"""
Run the linters and the tests, and end with one line that counts them all::

    .venv/run/bin/python tools/check.py [--lint|--tests] [NAME …]

C{NAME}s are what trial takes: packages, modules, classes, methods; the default
is C{tests}.  A linter counts as one.  With C{--lint} only these run, with
C{--tests} none of them.  The exit status is 1 if anything failed
or nothing ran.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parent.parent
LINT_PYTHON = str(ROOT / ".venv" / "lint" / "bin" / "python")

#: Each linter: what is run as a module of the linters' environment.
LINTERS = [
    ("ruff", "check", "--no-cache", "."),
    ("mypy",),
]


class Count(NamedTuple):
    """How many checks ended how."""

    passed: int = 0
    failed: int = 0
    skipped: int = 0

    def plus(self, other: Count) -> Count:
        """Both together."""
        return Count(*(a + b for a, b in zip(self, other, strict=True)))

    def summary(self) -> str:
        """The closing line."""
        return f"{self.passed} passed, {self.failed} failed, {self.skipped} skipped"


def say(text: str) -> None:
    """Write a line, before what a child process writes next."""
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def lint() -> Count:
    """Run each linter over the checkout."""
    count = Count()
    for linter in LINTERS:
        say(f"== {linter[0]}")
        done = subprocess.run([LINT_PYTHON, "-m", *linter], cwd=ROOT, check=False)
        count = count.plus(Count(passed=1) if done.returncode == 0 else Count(failed=1))
    return count


def test(names: list[str]) -> Count:
    """
    Run tests in a process of their own, so that one which ends that process
    is a failure and not the end of the count.
    """
    say("== trial")
    with tempfile.TemporaryDirectory() as directory:
        counts = Path(directory, "counts")
        done = subprocess.run(
            [sys.executable, __file__, "--trial", str(counts), *names],
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            check=False,
        )
        if not counts.exists():
            say(f"the tests ended early, with status {done.returncode}")
            return Count(failed=1)
        count = Count(*json.loads(counts.read_text()))
    if not any(count):
        say("there were no tests")
        return Count(failed=1)
    if done.returncode and not count.failed:
        say(f"the tests passed but ended with status {done.returncode}")
        return count.plus(Count(failed=1))
    return count


def trial(counts: str, names: list[str]) -> None:
    """
    Run tests in this process, as C{trial} does, and write the counts as JSON.

    @param counts: name of the file to write.
    """
    from twisted.trial.reporter import TreeReporter
    from twisted.trial.runner import TestLoader, TrialRunner

    sys.path[0] = str(ROOT)
    runner = TrialRunner(TreeReporter, workingDirectory="_trial_temp")
    result = runner.run(TestLoader().loadByNames(names, recurse=True))
    passed = result.successes + len(result.expectedFailures)
    failed = len(result.failures) + len(result.errors)
    failed += len(result.unexpectedSuccesses)
    Path(counts).write_text(json.dumps([passed, failed, len(result.skips)]))


def main(arguments: list[str]) -> int:
    """
    @return: the exit status.
    """
    if arguments[:1] == ["--trial"]:
        trial(arguments[1], arguments[2:])
        return 0
    if arguments[:1] == ["--tests"]:
        del arguments[0]
        count = Count()
    else:
        count = lint()
    if arguments != ["--lint"]:
        count = count.plus(test(arguments or ["tests"]))
    say(count.summary())
    return 1 if count.failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
