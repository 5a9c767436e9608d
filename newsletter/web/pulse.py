"""What the daemon says of itself to the process that serves the pages: a line of JSON every few seconds.

The end of the lines means that the daemon has ended.
"""

import json
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass

FRESH_SECONDS = 30.0
"""So long a daemon that says nothing is taken for alive."""


@dataclass(kw_only=True)
class Pulse:
    """The last thing that was heard, and when; `clock` counts seconds."""

    clock: Callable[[], float] = time.monotonic
    metrics: str = ""
    heard_at: float | None = None

    def is_fresh(self) -> bool:
        """Whether the daemon was heard of lately."""
        return self.heard_at is not None and self.clock() - self.heard_at < FRESH_SECONDS

    def hear(self, line: bytes) -> None:
        """One line."""
        self.metrics = str(json.loads(line)["metrics"])
        self.heard_at = self.clock()

    def follow(self, lines: Iterable[bytes]) -> None:
        """Hear every line, to the last."""
        for line in lines:
            self.hear(line)


def write_pulse(metrics: str) -> bytes:
    """A line for `hear`."""
    return json.dumps({"metrics": metrics}).encode() + b"\n"
