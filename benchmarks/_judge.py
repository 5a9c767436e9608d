"""The judge of the drill: the books of the service against the record of the server that took, or refused, the mails.

Pure: records come in, figures and broken promises go out. Knows nothing of processes, sockets or the program.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from _faults import Taken

SHOWN = 5
FINAL = frozenset({"accepted", "rejected", "excluded", "uncertain"})


@dataclass(frozen=True, kw_only=True)
class Kill:
    """One kill -9: of which process (by number), when, and how many connections it had open then."""

    run: int
    at: float
    open: int


@dataclass(frozen=True, kw_only=True)
class Evidence:
    """All that is known when the drill is over.

    `states`: reader to state, as `audit --names` tells. `attempts`: (reader, outcome), as `log` tells. `taken`: what
    the server took, in its order. `dead`: who can never get a mail. `cuts`: faults of the server after it said 354
    that leave the sender in doubt. `resent`: whom the operator told the service to mail again. `hold`: the policy.
    """

    readers: frozenset[str]
    dead: frozenset[str]
    states: Mapping[str, str]
    balanced: bool
    attempts: Sequence[tuple[str, str]]
    taken: Sequence[Taken]
    kills: Sequence[Kill]
    connections: int
    cuts: int = 0
    resent: frozenset[str] = frozenset()
    hold: bool = False
    rude: Mapping[str, int] = field(default_factory=dict)


@dataclass(kw_only=True)
class Finding:
    """What the judge found: `figures` for the table, `broken` promises as sentences, none where all is well."""

    figures: dict[str, int] = field(default_factory=dict)
    broken: list[str] = field(default_factory=list)

    def expect_none(self, promise: str, found: Iterable[object]) -> None:
        """Note a promise as broken where anything was found against it."""
        cases = [str(case) for case in found]
        if cases:
            more = f" and {len(cases) - SHOWN} more" if len(cases) > SHOWN else ""
            self.broken.append(f"{promise}: {', '.join(cases[:SHOWN])}{more}")


def judge(evidence: Evidence) -> Finding:
    """Compare the books with the server's record."""
    finding = Finding()
    _judge_books(evidence, finding)
    _judge_names(evidence, finding)
    _judge_doubles(evidence, finding)
    _judge_doubts(evidence, finding)
    finding.expect_none("the sender broke the protocol", [f"{what} ({n} times)" for what, n in evidence.rude.items()])
    return finding


def _judge_books(evidence: Evidence, finding: Finding) -> None:
    """Everyone is in the books, in a final state, and only who can never get a mail is given up."""
    states, took = evidence.states, {mail.recipient for mail in evidence.taken}
    by_state: dict[str, set[str]] = defaultdict(set)
    for reader, state in states.items():
        by_state[state].add(reader)
    unfinished = {reader for reader in evidence.readers if states.get(reader) not in FINAL}
    unsent = by_state["accepted"] - took
    undead = evidence.dead - by_state["rejected"] - by_state["uncertain"]
    finding.figures |= {"readers": len(evidence.readers), "accepted": len(by_state["accepted"])}
    finding.figures |= {"rejected": len(by_state["rejected"]), "uncertain": len(by_state["uncertain"])}
    finding.figures["lost"] = len(unfinished | unsent | (by_state["excluded"] & evidence.readers))
    if not evidence.balanced:
        finding.broken.append("the books do not balance")
    finding.expect_none("in no final state", sorted(unfinished))
    finding.expect_none("in the books but nobody we know", sorted(states.keys() - evidence.readers))
    finding.expect_none("excluded, without a reason to be", sorted(by_state["excluded"]))
    finding.expect_none("accepted in the books, and the server never took it", sorted(unsent))
    finding.expect_none("given up, though the server would have taken it", sorted(by_state["rejected"] - evidence.dead))
    finding.expect_none("not given up, though it never can be delivered", sorted(undead))
    finding.expect_none("taken, though the server refused it", sorted(took & evidence.dead))
    written = {reader for reader, outcome in evidence.attempts if outcome == "accepted"}
    if not evidence.resent:  # settled as sent, a reader is accepted without such an attempt
        finding.expect_none(
            "accepted in the books, without an attempt that says so", sorted(by_state["accepted"] - written)
        )


def _judge_names(evidence: Evidence, finding: Finding) -> None:
    """A reader's mails all have one Message-ID, and no two readers share one."""
    names: dict[str, set[str]] = defaultdict(set)
    owners: dict[str, set[str]] = defaultdict(set)
    for mail in evidence.taken:
        names[mail.recipient].add(mail.message_id)
        owners[mail.message_id].add(mail.recipient)
    finding.expect_none("without Message-ID", sorted(owners.get("", ())))
    finding.expect_none("several Message-IDs", sorted(reader for reader, known in names.items() if len(known) > 1))
    finding.expect_none("a Message-ID of several readers", sorted(name for name, of in owners.items() if len(of) > 1))


def _judge_doubles(evidence: Evidence, finding: Finding) -> None:
    """A mail goes out twice only where the sender could not know: its reply was lost, or it was killed before it."""
    causes = Counter(_find_cause(first, evidence) for first in _list_repeated(evidence.taken))
    unexplained = [mail.recipient for mail in _list_repeated(evidence.taken) if _find_cause(mail, evidence) is None]
    by_kill = {kill.run: causes[kill.run] for kill in evidence.kills}
    most = {kill.run: min(kill.open, evidence.connections) for kill in evidence.kills}
    lost = sum(mail.lost for mail in evidence.taken)
    doubles = causes.total() - causes["operator"]
    finding.figures |= {"mails taken": len(evidence.taken), "duplicates": causes.total()}
    finding.figures |= {"… after a kill": sum(by_kill.values()), "… after a lost reply": causes["reply"]}
    finding.figures |= {"… asked for by the operator": causes["operator"], "… unexplained": len(unexplained)}
    finding.figures |= {"most after one kill": max(by_kill.values(), default=0), "kills": len(evidence.kills)}
    finding.figures |= {"bound: open at kills": sum(most.values()), "bound: lost replies": lost}
    finding.expect_none("sent twice, with no kill or lost reply to explain it", sorted(unexplained))
    for run, count in by_kill.items():
        if count > most[run]:
            finding.broken.append(f"{count} duplicates after a kill with {most[run]} connections open")
    if doubles > sum(most.values()) + lost:
        finding.broken.append(f"{doubles} duplicates, and the bound is {sum(most.values()) + lost}")
    if evidence.hold and doubles:
        finding.broken.append(f"{doubles} duplicates, though uncertain ones are held")


def _list_repeated(taken: Sequence[Taken]) -> list[Taken]:
    """The mails that were followed by another to the same reader."""
    last = {mail.recipient: mail for mail in taken}
    return [mail for mail in taken if last[mail.recipient] is not mail]


def _find_cause(mail: Taken, evidence: Evidence) -> int | str | None:
    """Why a mail was sent again: "operator", "reply" (it was lost), the number of a killed process, or None."""
    if mail.recipient in evidence.resent:
        return "operator"
    if mail.settled:
        return None
    if mail.lost:
        return "reply"
    return next((kill.run for kill in evidence.kills if mail.visit.was_open(kill.run, kill.at)), None)


def _judge_doubts(evidence: Evidence, finding: Finding) -> None:
    """Uncertain is what a kill or a loss near the final dot leaves, and nothing else."""
    doubts = sum(outcome == "uncertain" for _, outcome in evidence.attempts)
    bound = evidence.connections * len(evidence.kills) + evidence.cuts
    finding.figures |= {"uncertain attempts": doubts, "bound: connections × kills + cuts": bound}
    if doubts > bound:
        finding.broken.append(f"{doubts} attempts are uncertain, and no more than {bound} can be")
    settled = {mail.recipient for mail in evidence.taken if mail.settled}
    held = {reader for reader, state in evidence.states.items() if state == "uncertain"}
    finding.expect_none("uncertain, though its reply was written down", sorted(held & settled))
