"""Lines of JSON in, lines of JSON out: how a test steers a client library."""

from __future__ import annotations

import json
import sys
import traceback
from collections.abc import Callable
from typing import Any

from tests import schemas


def serve(**actions: Callable[..., Any]) -> None:
    """Do what each line of the standard input says, until its end."""
    answers = sys.stdout
    # What the library prints is none.
    sys.stdout = sys.stderr
    # What the library gets has to be valid, too.
    with schemas.watching():
        for line in sys.stdin:
            request = json.loads(line)
            try:
                answer = {"result": actions[request.pop("do")](**request)}
            except Exception:
                answer = {"error": traceback.format_exc()}
            answers.write(json.dumps(answer) + "\n")
            answers.flush()
