"""A working folder of the service for drill and benchmarks: a brief, topics, readers, settings; commands as processes.

The program is a black box here: its command line, its --json, its settings by environment, and nothing else of it.
"""

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

COMMAND = (sys.executable, "-m", "newsletter")
WORDS = ("river", "bridge", "council", "market", "school", "garden", "library", "harbour", "orchard", "museum")
FIRST_GUESS = 20


@dataclass(frozen=True, kw_only=True)
class Cost:
    """What a process took: seconds by the clock, seconds of CPU, its peak of memory, how it ended."""

    seconds: float
    cpu: float
    peak_mb: float
    code: int


@dataclass(kw_only=True)
class WorkFolder:
    """A folder and its settings (names without prefix)."""

    path: Path
    topics: int = 1
    stories: int = 5
    settings: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name in ("briefs", "subscribers"):
            (self.path / name).mkdir(parents=True, exist_ok=True)
        catalogue = "".join(
            f'[topics.t{n}]\nname = "Topic {n}"\nkeywords = ["topic{n}"]\n\n' for n in range(self.topics)
        )
        (self.path / "subscribers" / "topics.toml").write_text(catalogue, encoding="utf-8")
        self.settings = {
            "FROM": "The Brief <brief@news.example.org>",
            "SECRET_KEY": "0123456789abcdef0123456789abcdef",
            "BASE_URL": "https://news.example.org",
            "POSTAL_ADDRESS": "1 Market Square, Sampleton",
            "SMTP__HOST": "127.0.0.1",
            "SMTP__TLS": "none",
            **self.settings,
        }

    @property
    def environment(self) -> dict[str, str]:
        """What its commands see: none of the caller's own settings."""
        kept = {name: value for name, value in os.environ.items() if not name.upper().startswith("NEWSLETTER_")}
        return kept | {f"NEWSLETTER_{name}": value for name, value in self.settings.items()}

    def start(self, *arguments: str) -> "subprocess.Popen[bytes]":
        """Start a command; what it prints to stdout can be read."""
        return subprocess.Popen(
            [*COMMAND, *arguments],
            cwd=self.path,
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )

    def ask(self, *arguments: str, codes: Sequence[int] = (0,)) -> list[Any]:
        """Run a command with --json, which must end with one of `codes`, and return what it printed."""
        ran = subprocess.run(
            [*COMMAND, *arguments, "--json"], cwd=self.path, env=self.environment, capture_output=True, check=False
        )
        if ran.returncode not in codes:
            raise SystemExit(f"`newsletter {' '.join(arguments)}` ended with {ran.returncode}: {ran.stderr.decode()}")
        return [json.loads(line) for line in ran.stdout.splitlines()]

    def measure(self, *arguments: str, codes: Sequence[int] = (0,)) -> Cost:
        """Run a command to its end and say what it took."""
        return measure([*COMMAND, *arguments], codes=codes, cwd=self.path, env=self.environment)

    def write_readers(self, count: int) -> None:
        """Import so many readers, of some dozens of domains; with more topics than one, each has one to six of them."""
        chosen = random.Random(1)
        names = [f"t{number}" for number in range(self.topics)]
        picks = (";".join(chosen.sample(names, min(len(names), chosen.randint(1, 6)))) for _ in range(count))
        rows = (f"reader{n}@d{n % 37}.example.org,{topics}\n" for n, topics in enumerate(picks))
        with (self.path / "subscribers" / "list.csv").open("w", encoding="utf-8") as file:
            file.write("email,topics\n")
            file.writelines(rows)
        told = self.ask("subscribers", "import", "subscribers/list.csv")[0]
        if told["added"] != count:
            raise SystemExit(f"{told['added']} of {count} readers were imported")

    def fit_brief(self, octets: int) -> int:
        """Write a brief whose whole mail has about so many octets; returns how many it has."""
        first, second = (self._measure_mail(sentences) for sentences in (FIRST_GUESS, 2 * FIRST_GUESS))
        a_sentence = max(1, (second - first) // FIRST_GUESS)
        return self._measure_mail(max(1, FIRST_GUESS + (octets - first) // a_sentence))

    def write_brief(self, sentences: int) -> None:
        """Write a brief of so many sentences."""
        words = random.Random(1)
        parts = ["---\ntitle: The Monday brief\ndate: 2026-01-05\n---\n\n# The Monday brief\n"]
        for number in range(self.stories):
            topics = sorted({f"t{number % self.topics}", f"t{number * 7 % self.topics}"})
            parts.append(f"\n## Story {number}\nTopics: {', '.join(topics)}\n\n")
            share = sentences // self.stories + (number < sentences % self.stories)
            parts += [f"The {' '.join(words.choices(WORDS, k=12))}.\n" for _ in range(share)]
        (self.path / "briefs" / "2026-01-05-monday.md").write_text("".join(parts), encoding="utf-8")

    def _measure_mail(self, sentences: int) -> int:
        self.write_brief(sentences)
        argv = [*COMMAND, "render", "--topics", "*", "--format", "eml"]
        return len(subprocess.run(argv, cwd=self.path, env=self.environment, capture_output=True, check=True).stdout)


def measure(
    argv: Sequence[str], *, codes: Sequence[int] = (0,), cwd: Path | None = None, env: dict[str, str] | None = None
) -> Cost:
    """Run a process to its end and say what it took."""
    began = time.perf_counter()
    process = subprocess.Popen(argv, cwd=cwd, env=env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    _, status, used = os.wait4(process.pid, 0)
    ended = time.perf_counter()
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode not in codes:
        raise SystemExit(f"{' '.join(argv[:8])} ended with {process.returncode}")
    return Cost(
        seconds=ended - began,
        cpu=used.ru_utime + used.ru_stime,
        peak_mb=used.ru_maxrss / 1024,
        code=process.returncode,
    )


def kill(process: "subprocess.Popen[bytes]") -> float:
    """Kill a process with -9; returns the moment of it."""
    at = time.monotonic()
    process.send_signal(signal.SIGKILL)
    process.communicate(timeout=30)
    return at
