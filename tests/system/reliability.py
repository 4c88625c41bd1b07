"""
The chaos tests for long, and a table of what they have counted::

    python3 -m tests.system.reliability [--rounds 100] [--output docs/reliability.md]
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time

from tests import live

_COLUMNS = {
    "rounds": "rounds",
    "jobs": "jobs",
    "DONE_STATUS": "succeeded",
    "ERROR_STATUS": "failed",
    "DISMISS_STATUS": "dismissed",
    "refused": "refused",
    "broken": "no answer",
}
_ENDED = ("DONE_STATUS", "ERROR_STATUS", "DISMISS_STATUS")


def table(lines: list[str]) -> str:
    """The report's lines of JSON as Markdown."""
    head = ["what happens", *_COLUMNS.values(), "lost, stuck, twice, left over"]
    rows = [f"| {' | '.join(head)} |", "| --- |" + " ---: |" * (len(head) - 1)]
    for line in lines:
        counts = json.loads(line)
        counts["jobs"] = sum(counts.get(name, 0) for name in _ENDED)
        cells = [str(counts.get(name, 0)) for name in _COLUMNS]
        # The tests fail, and report nothing, where this would not be 0.
        rows.append(f"| {counts['what']} | {' | '.join(cells)} | 0 |")
    return "\n".join(rows) + "\n"


def main() -> None:
    """Run them."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=100, help="rounds of each")
    parser.add_argument("--output", help="file whose table is replaced")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        report = os.path.join(folder, "report")
        done = subprocess.run(
            [sys.executable, "-m", "twisted.trial", "tests.system.test_chaos"],
            cwd=live.ROOT,
            env={
                **os.environ,
                "QGSWPS_CHAOS_ROUNDS": str(options.rounds),
                "QGSWPS_CHAOS_REPORT": report,
            },
            check=False,
        )
        lines = []
        if os.path.exists(report):
            with open(report) as file:
                lines = file.read().splitlines()
    text = table(lines)
    sys.stdout.write(text)
    if options.output and done.returncode == 0:
        live.replaceFigures(
            options.output, f"{time.strftime('%Y-%m-%d', time.gmtime())}\n\n{text}"
        )
    sys.exit(done.returncode)


if __name__ == "__main__":
    main()
