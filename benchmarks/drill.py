"""The drill: the service against a misbehaving SMTP server, killed with -9 at random moments. Nobody may be lost.

    make drill                                      3,000 readers, 10 connections, 20 kills, for each policy
    python benchmarks/drill.py --short              300 readers, 4 kills
    python benchmarks/drill.py --policy hold --seed 7 --no-pipelining

Afterwards the books are compared with the server's own record (_judge.py says how). Exit 1 if a promise is broken.
"""

import argparse
import json
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from _faults import DEAD, Kind, find_fate
from _faulty_server import FaultyServer
from _judge import Evidence, Finding, Kill, judge
from _workfolder import WorkFolder, kill

RETRY_DELAYS = "[0,0,1,0,0,0,0,0,0,0]"
SMTP_TIMEOUT_SECONDS = 2
SENTENCES = 100
LONGEST_RUN_SECONDS = 60
GIVE_UP_SECONDS = 240
POLL_SECONDS = 0.002
PUBLISHING_SECONDS = 0.15
PUBLICATION_SHARE = 0.15
SETTLED_BY_HAND = 2
IN_DOUBT = frozenset({("DATA", Kind.LEAVE), ("DATA", Kind.RESET), ("BODY", Kind.DROP), ("BODY", Kind.LOSE)})


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What a drill is made of."""

    readers: int = 3_000
    connections: int = 10
    kills: int = 20
    policy: str = "resend"
    pipelining: bool = True
    seed: int = 1


@dataclass(kw_only=True)
class Drill:
    """One drill, from an empty folder to the judge's finding."""

    plan: Plan
    folder: WorkFolder
    server: FaultyServer
    kills: list[tuple[int, float]] = field(default_factory=list)
    in_publication: int = 0
    resent: frozenset[str] = frozenset()

    def __post_init__(self) -> None:
        self.random = random.Random(f"drill {self.plan.seed}")
        self.readers = frozenset(f"reader{n}@d{n % 37}.example.org" for n in range(self.plan.readers))
        self.dead = frozenset(reader for reader in self.readers if find_fate(self.plan.seed, reader) in DEAD)
        self.gives_up_at = time.monotonic() + GIVE_UP_SECONDS

    def run(self) -> Finding:
        """Publish and deliver under kills, then judge; what is held is settled, and judged again."""
        self.folder.write_brief(SENTENCES)
        self.folder.write_readers(self.plan.readers)
        self.kill_while_publishing()
        self.kill_while_delivering()
        self.finish()
        finding = judge(self.collect())
        finding.figures["kills while publishing"] = self.in_publication
        if self.plan.policy == "hold":
            self.settle(finding)
        return finding

    def start(self, *command: str) -> "subprocess.Popen[bytes]":
        """Start a sender; the server notes its connections under a number of its own."""
        if time.monotonic() > self.gives_up_at:
            raise SystemExit(f"deliveries are still owed after {GIVE_UP_SECONDS} s: {self.folder.ask('audit')}")
        self.server.run += 1
        return self.folder.start(*command)

    def kill_while_publishing(self) -> None:
        """Kill `send` soon after it has begun to write, while it publishes; some times, or until all is published."""
        journal = self.folder.path / "newsletter.db-wal"
        for _ in range(max(1, round(self.plan.kills * PUBLICATION_SHARE))):
            before = _read_stamp(journal)
            process = self.start("send")
            while _read_stamp(journal) == before and process.poll() is None:
                time.sleep(POLL_SECONDS)
            time.sleep(self.random.random() * PUBLISHING_SECONDS)
            self.kills.append((self.server.run, kill(process)))
            states = [issue["state"] for issue in self.folder.ask("issues", "list")]
            if states not in ([], ["preparing"]):
                return
            self.in_publication += len(states)

    def kill_while_delivering(self) -> None:
        """Start a process, let it send a random number of mails, kill it; until all kills are used up."""
        command = "send"  # publication goes on where it was killed
        while len(self.kills) < self.plan.kills and (left := self.count_left()) > 0:
            share = 2 * left / (self.plan.kills - len(self.kills) + 1)
            goal = self.server.transactions + 1 + self.random.random() * share
            process = self.start(command)
            command = "deliver"
            until = time.monotonic() + LONGEST_RUN_SECONDS
            while self.server.transactions < goal and process.poll() is None and time.monotonic() < until:
                time.sleep(POLL_SECONDS)
            time.sleep(self.random.random() * 5 * POLL_SECONDS)
            if process.poll() is None:
                self.kills.append((self.server.run, kill(process)))
            else:
                process.communicate()

    def count_left(self) -> int:
        """How many readers have neither got a mail nor been refused for good."""
        return len(self.readers) - len(self.dead) - len({mail.recipient for mail in self.server.taken})

    def finish(self) -> None:
        """Deliver until the books owe nothing."""
        while True:
            process = self.start("deliver", "--json")
            told, _ = process.communicate(timeout=GIVE_UP_SECONDS)
            if process.returncode not in {0, 3}:
                raise SystemExit(f"`newsletter deliver` ended with {process.returncode}")
            books = json.loads(told)["audit"]
            if process.returncode == 0 and not books["queued"] + books["deferred"] + books["sending"]:
                return

    def collect(self) -> Evidence:
        """The books and the record as they are now."""
        books = self.folder.ask("audit", "--names", codes=(0, 1))[0]
        log = self.folder.ask("log")
        kills = [Kill(run=run, at=at, open=self.server.count_open(run, at)) for run, at in self.kills]
        return Evidence(
            readers=self.readers,
            dead=self.dead,
            states={line["email"]: line["state"] for line in books["names"]},
            balanced=books["balanced"] and books["selected"] == len(self.readers),
            attempts=[(line["email"], line["outcome"]) for line in log],
            taken=list(self.server.taken),
            kills=kills,
            connections=self.plan.connections,
            cuts=sum(count for fault, count in self.server.struck.items() if fault in IN_DOUBT),
            resent=self.resent,
            hold=self.plan.policy == "hold",
            rude=dict(self.server.rude),
        )

    def settle(self, finding: Finding) -> None:
        """Decide on what is held, as an operator would: some by hand as sent, all others again; and judge once more."""
        issue = self.folder.ask("issues", "list")[0]["issue"]
        listed = {line["email"] for line in self.folder.ask("issues", "show", str(issue))[0]["uncertain"]}
        names = self.folder.ask("audit", "--names")[0]["names"]
        held = {line["email"] for line in names if line["state"] == "uncertain"}
        finding.expect_none("held, and not listed by `issues show`", sorted(held ^ listed))
        self.server.faults = {}
        taken = {mail.recipient: mail for mail in self.server.taken}
        by_hand = sorted(held & taken.keys())[:SETTLED_BY_HAND]
        for reader in by_hand:
            self.folder.ask("issues", "settle", str(issue), "--as", "sent", "--email", reader)
        self.folder.ask("issues", "settle", str(issue), "--as", "resend")
        self.resent = frozenset(held - set(by_hand))
        self.finish()
        again = judge(self.collect())
        finding.broken += [f"after settling: {sentence}" for sentence in again.broken]
        left = [reader for reader, mails in self.count_mails().items() if reader in by_hand and mails != 1]
        finding.expect_none("settled as sent, and sent again", left)
        twice = self.resent & taken.keys()
        finding.expect_none("told to go again, and did not", [r for r in twice if self.count_mails()[r] != 2])
        finding.figures |= {"settled as sent": len(by_hand), "settled as resend": len(self.resent)}
        finding.figures["lost after settling"] = again.figures["lost"] + again.figures["uncertain"]

    def count_mails(self) -> dict[str, int]:
        """How many mails the server took, by reader."""
        counts: dict[str, int] = {}
        for mail in self.server.taken:
            counts[mail.recipient] = counts.get(mail.recipient, 0) + 1
        return counts


def _read_stamp(file: Path) -> int:
    """When something was written to a file last; 0 where nothing is in it."""
    try:
        told = file.stat()
    except FileNotFoundError:
        return 0
    return told.st_mtime_ns if told.st_size else 0


def run_drill(plan: Plan, path: Path) -> Finding:
    """Run a drill in an empty folder."""
    with FaultyServer(seed=plan.seed, pipelining=plan.pipelining).run_in_thread() as server:
        settings = {
            "SMTP__PORT": str(server.port),
            "SMTP__CONNECTIONS": str(plan.connections),
            "SMTP__TIMEOUT": str(SMTP_TIMEOUT_SECONDS),
            "RETRY_DELAYS": RETRY_DELAYS,
            "ON_UNCERTAIN": plan.policy,
        }
        drill = Drill(plan=plan, folder=WorkFolder(path=path, settings=settings), server=server)
        finding = drill.run()
        finding.figures["faults"] = server.struck.total()
    return finding


def read_plans(arguments: Sequence[str] | None = None) -> list[Plan]:
    """The drills that the command line asks for."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--short", action="store_true", help="300 readers and 4 kills")
    parser.add_argument("--readers", type=int)
    parser.add_argument("--connections", type=int, default=10)
    parser.add_argument("--kills", type=int)
    parser.add_argument("--policy", choices=["resend", "hold", "both"], default="both")
    parser.add_argument("--no-pipelining", action="store_true")
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(10_000))
    told = parser.parse_args(arguments)
    return [
        Plan(
            readers=told.readers or (300 if told.short else 3_000),
            kills=(4 if told.short else 20) if told.kills is None else told.kills,
            connections=told.connections,
            policy=policy,
            pipelining=not told.no_pipelining,
            seed=told.seed,
        )
        for policy in (["resend", "hold"] if told.policy == "both" else [told.policy])
    ]


def main() -> None:
    """Run the drills and print their tables; exit 1 if a promise is broken."""
    broken = False
    for plan in read_plans():
        began = time.monotonic()
        with tempfile.TemporaryDirectory() as folder:
            finding = run_drill(plan, Path(folder))
        offers = "with" if plan.pipelining else "without"
        sys.stdout.write(f"policy {plan.policy}, {offers} PIPELINING, seed {plan.seed}\n")
        sys.stdout.writelines(f"  {name:<38}{count:>8,}\n" for name, count in finding.figures.items())
        average = finding.figures["… after a kill"] / max(1, finding.figures["kills"])
        sys.stdout.write(f"  {'duplicates a kill, on average':<38}{average:>8.1f}\n")
        sys.stdout.write(f"  {'seconds':<38}{time.monotonic() - began:>8.0f}\n")
        sys.stdout.writelines(f"  BROKEN: {sentence}\n" for sentence in finding.broken)
        sys.stdout.flush()
        broken = broken or bool(finding.broken)
    sys.exit(1 if broken else 0)


if __name__ == "__main__":
    main()
