"""A process of the service that stays running; what it writes is read line by line."""

import re
import signal
import subprocess
import threading
from pathlib import Path

PATIENCE_SECONDS = 60


class Process:
    """`heard` is what it has written so far: a thread reads it, so that it never waits for us."""

    def __init__(self, popen: "subprocess.Popen[str]") -> None:
        self.popen = popen
        self.heard: list[str] = []
        self._read_up_to = 0
        self._grown = threading.Condition()
        self._is_over = False
        self._listener = threading.Thread(target=self._listen, daemon=True)
        self._listener.start()

    def wait_for(self, words: str) -> str:
        """The next line of its log that has these words."""
        with self._grown:
            assert self._grown.wait_for(lambda: self._find(words) or self._is_over, PATIENCE_SECONDS), self._tell(words)
            found = self._find(words)
            assert found, self._tell(words)
            self._read_up_to = found
            return self.heard[found - 1]

    def end(self, number: signal.Signals = signal.SIGTERM) -> int:
        """Tell it to end; its exit code."""
        self.popen.send_signal(number)
        code = self.popen.wait(PATIENCE_SECONDS)
        self._listener.join(PATIENCE_SECONDS)
        return code

    @property
    def address(self) -> str:
        """Where its pages are."""
        found = re.search(r"web=(\S+)", "".join(self.heard))
        assert found is not None
        return found[1]

    @property
    def children(self) -> list[int]:
        """The processes that it began."""
        task = Path(f"/proc/{self.popen.pid}/task/{self.popen.pid}/children")
        return [int(pid) for pid in task.read_text().split()]

    def _listen(self) -> None:
        assert self.popen.stderr is not None
        for line in self.popen.stderr:
            with self._grown:
                self.heard.append(line)
                self._grown.notify_all()
        with self._grown:
            self._is_over = True
            self._grown.notify_all()

    def _find(self, words: str) -> int:
        """The number of the next line with these words, from 1; 0 where there is none yet."""
        new = enumerate(self.heard[self._read_up_to :], start=self._read_up_to + 1)
        return next((number for number, line in new if words in line), 0)

    def _tell(self, words: str) -> str:
        return f"no {words!r} in {''.join(self.heard)}"
