"""Feeds over HTTP: fetches them side by side, keeps the last good state of each, and makes briefs of the states.

A broken feed stops no other and loses nothing: what is no feed with a story never takes the place of what was one.
"""

from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, replace
from datetime import datetime, tzinfo
from functools import lru_cache, partial
from queue import Empty, SimpleQueue
from threading import Event, Thread
from typing import TypeAlias

from newsletter.core.errors import BriefError, NewsletterError, SourceError
from newsletter.core.model import Brief, BriefWarning
from newsletter.sources.http import FETCH_SECONDS, Fetched, fetch
from newsletter.sources.remote import parse_remote, show_address, strip_password
from newsletter.store.database import Database
from newsletter.store.feeds import FeedState, note_check, read_feeds, write_feed

STOP_SECONDS = 0.2
"""How soon a refresh that waits notices that it should stop."""

_parse = lru_cache(maxsize=32)(parse_remote)
"""What stays running looks at its feeds every few seconds, and they change every few hours."""

Answer: TypeAlias = Fetched | SourceError


@dataclass(frozen=True, kw_only=True)
class FeedRules:
    """What holds for all feeds. `language` stands where a feed names none; a brief's date is the day in `zone`."""

    language: str
    zone: tzinfo
    allow_private: bool = False
    seconds: float = FETCH_SECONDS

    def parse(self, address: str, body: bytes, content_type: str | None, changed_at: datetime) -> Brief:
        """The brief in the body of a feed; BriefError where that is no feed with a story."""
        return _parse(
            body,
            content_type=content_type,
            address=address,
            changed_at=changed_at,
            language=self.language,
            zone=self.zone,
        )


def refresh_feeds(
    database: Database, addresses: Collection[str], *, rules: FeedRules, now: datetime, stop: Event | None = None
) -> dict[str, str]:
    """Fetch these feeds, each in a thread of its own, and write down what came of it; blocks until all have answered.

    Returns, by address, the sentence of what is wrong with each that is not well. Once `stop` is set it returns soon,
    with what it has. Raises StoreError where the database cannot be written.
    """
    with database.read() as conn:
        states = read_feeds(conn, [strip_password(address) for address in addresses])
    problems = {}
    for address, answer in _fetch_all(addresses, states, rules, stop):
        key = strip_password(address)
        found = _judge(address, answer, states.get(key, FeedState()), rules, now)
        with database.write() as conn:
            if isinstance(found, FeedState):
                write_feed(conn, key, found)
            else:
                note_check(conn, key, now=now, problem=found)
        if isinstance(found, str):
            problems[address] = found
    return problems


def _fetch_all(
    addresses: Collection[str], states: dict[str, FeedState], rules: FeedRules, stop: Event | None
) -> Iterator[tuple[str, Answer]]:
    """Each address with its answer, as they come. The threads are daemons: a slow feed does not hold up an exit."""
    answers: SimpleQueue[tuple[str, Answer]] = SimpleQueue()
    wanted = set(addresses)
    for address in wanted:
        state = states.get(strip_password(address), FeedState())
        ask = partial(
            fetch,
            address,
            etag=state.etag,
            last_modified=state.last_modified,
            allow_private=rules.allow_private,
            seconds=rules.seconds,
        )
        Thread(target=_answer, args=(address, ask, answers), name=f"feed {show_address(address)}", daemon=True).start()
    for _ in wanted:
        while True:
            try:
                yield answers.get(timeout=STOP_SECONDS if stop else None)
                break
            except Empty:
                if stop is not None and stop.is_set():
                    return


def _answer(address: str, ask: Callable[[], Fetched], answers: "SimpleQueue[tuple[str, Answer]]") -> None:
    """Ask, and hand over the answer, whatever happens: who waits for it has no other way to know."""
    answer: Answer = SourceError(f"feed {show_address(address)} cannot be fetched: the program failed at it")
    try:
        answer = ask()
    except SourceError as error:
        answer = error
    finally:
        answers.put((address, answer))


def _judge(address: str, answer: Answer, old: FeedState, rules: FeedRules, now: datetime) -> FeedState | str | None:
    """What an answer means: a new good state, the sentence of what is wrong, or None where all is as it was."""
    if isinstance(answer, SourceError):
        return str(answer)
    kept = {name: getattr(old, name) for name in ("content_type", "etag", "last_modified")}
    told = {name: getattr(answer, name) for name in kept}
    if answer.body is None or (answer.body == old.body and told == kept):
        return None
    fresh = FeedState(body=answer.body, **told, checked_at=now, changed_at=now)
    try:
        brief = rules.parse(address, answer.body, answer.content_type, now)
    except BriefError as error:
        return f"feed {error}"
    # Many feeds say the time of day, or count something: only other stories are a change.
    return replace(fresh, changed_at=old.changed_at) if brief.digest == _digest(address, old, rules) else fresh


def _digest(address: str, state: FeedState, rules: FeedRules) -> str | None:
    """The digest of the brief in a state, None where there is none or this program cannot read it."""
    if state.body is None or state.changed_at is None:
        return None
    try:
        return rules.parse(address, state.body, state.content_type, state.changed_at).digest
    except BriefError:
        return None


def read_feed(database: Database, address: str, *, rules: FeedRules) -> tuple[list[Brief], list[NewsletterError]]:
    """The brief of a feed's last good state, none where there is none, and what is wrong with the feed.

    Nothing is fetched; a feed that never was is an error too.
    """
    with database.read() as conn:
        state = read_feeds(conn, [strip_password(address)]).get(strip_password(address), FeedState())
    if state.body is None or state.changed_at is None:
        return [], [SourceError(state.problem or f"feed {show_address(address)} was not fetched yet")]
    try:
        brief = rules.parse(address, state.body, state.content_type, state.changed_at)
    except BriefError as error:
        return [], [error]
    if state.problem is None:
        return [brief], []
    sentence = f"{state.problem}; what it held at {state.changed_at:%Y-%m-%d %H:%M} UTC stands in"
    warning = BriefWarning(line=None, message=sentence)
    return [replace(brief, warnings=(warning, *brief.warnings))], [SourceError(sentence)]
