"""Persons and issues in the operator's hand: they leave, are suppressed, are erased; issues are paused and settled."""

from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select, update

from newsletter import control
from newsletter.core.errors import StoreError
from newsletter.core.model import (
    Block,
    BlockKind,
    Brief,
    DeliveryState,
    Exclusion,
    Outcome,
    Span,
    Story,
    Topic,
)
from newsletter.core.preferences import parse_row
from newsletter.report import (
    describe_attempts,
    describe_issue,
    describe_issue_fully,
    describe_subscriber,
    describe_subscribers,
    explain_delivery,
)
from newsletter.store import exclusions, issues, ledger, moves, outbox, schema, subscribers, upkeep
from newsletter.store.database import Database, open_database
from newsletter.store.moves import Finished
from newsletter.store.schema import deliveries
from newsletter.subscribe import forget_subscriber, lift_suppression, remove_subscriber, suppress_address
from newsletter.transfer import ImportResult, save_rows

NOW = datetime(2026, 11, 23, 9, 0, tzinfo=UTC)
HOUR = timedelta(hours=1)
ADA, BEN, CLEO = "ada.lovelace@example.org", "ben@example.org", "cleo@example.org"


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    with closing(open_database(f"sqlite:///{tmp_path / 'n.db'}")) as opened:
        sign_up(opened, ADA, BEN, CLEO, name="Augusta Lovelace")
        yield opened


def sign_up(database: Database, *emails: str, now: datetime = NOW, **cells: str) -> None:
    rows = [parse_row({"email": email, **cells}, topics=(), languages=()) for email in emails]
    with database.write() as conn:
        save_rows(conn, database.ledger_key, rows, ImportResult(), now=now, source="test")


def person(database: Database, email: str) -> Any:
    with database.read() as conn:
        return subscribers.find_subscriber(conn, email)


def publish(database: Database, *, now: datetime = NOW, name: str = "monday", since: int | None = None) -> int:
    """An issue with an edition for everybody; `since` is the issue up to which they were covered before."""
    brief = Brief(id=name, title="Monday", date=date(2026, 11, 23), language="en", stories=(Story(title="Comet"),))
    with database.write() as conn:
        number = issues.insert_issue(
            conn, [brief], issues.NewIssue(period=name, due_at=now), domain="example.org", now=now
        )
        story = issues.insert_story(conn, brief.stories[0], now)
        new = issues.NewStory(story=brief.stories[0], content="{}", topics=[{"id": "space", "because": ["comet"]}])
        placed = issues.insert_issue_story(conn, number, 1, story, new)
        (frame,) = issues.put_blobs(conn, [b"frame"])
        (edition,) = issues.intern_editions(conn, number, [("en", frame, (placed,))])
        readers = list(subscribers.list_subscribers(conn))
        rows = [
            {
                "issue_id": number,
                "subscriber_id": reader.id,
                "edition_id": edition,
                "batch_id": 0,
                "lane": "",
                "state": DeliveryState.QUEUED,
                "reason": None,
                "since_issue_id": since,
            }
            for reader in readers
        ]
        batch = {"issue_id": number, "lane": "", "first_subscriber": 1, "last_subscriber": 99, "due_at": now}
        issues.advance_cursor(conn, number, readers[-1].id, selected=len(rows))
        issues.insert_page(conn, rows, [batch])
        issues.finish_issue(conn, number, now)
    return number


def attempt(
    database: Database, issue: int, email: str, outcome: Outcome, state: DeliveryState, due_at: datetime | None = None
) -> None:
    who = person(database, email)
    with database.write() as conn:
        finished = Finished(
            key=(issue, who.id),
            attempt=1,
            at=NOW,
            relay_id=outbox.intern_relay(conn, "relay:25"),
            outcome=outcome,
            code=451,
            enhanced="4.2.2",
            response=f"<{email}> Augusta Lovelace is over quota",
            seconds=0.1,
            digest=None,
            state=state,
            due_at=due_at,
        )
        moves.finish_attempts(conn, [finished])


def books(database: Database, issue: int) -> ledger.Audit:
    with database.read() as conn:
        return ledger.audit_issue(conn, issues.find_issue(conn, issue))


# ── Leaving ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_who_leaves_is_written_down_once_with_date_and_channel(database: Database) -> None:
    for later in (NOW, NOW + HOUR):
        remove_subscriber(database, ADA, now=later, channel="operator")
    with database.read() as conn:
        told = describe_subscriber(conn, subscribers.find_subscriber(conn, ADA))
    assert told["state"] == "unsubscribed"
    assert [(c["withdrawn_at"], c["withdrawn_by"]) for c in told["consent"]] == [(NOW, "operator")]
    with pytest.raises(StoreError, match=r"there is no subscriber nobody@example\.org"):
        remove_subscriber(database, "nobody@example.org", now=NOW, channel="operator")


def test_the_first_reason_of_a_suppression_stays_until_it_is_lifted(database: Database) -> None:
    suppress_address(database, ADA, reason="5.1.1", now=NOW, source="bounce")
    suppress_address(database, ADA, reason="asked", now=NOW + HOUR, source="operator")
    assert (person(database, ADA).reason, person(database, ADA).at) == ("5.1.1", NOW)
    lift_suppression(database, ADA)
    assert person(database, ADA).at is None
    with pytest.raises(StoreError, match=rf"{ADA} is not suppressed"):
        lift_suppression(database, ADA)


# ── Being forgotten ─────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.sqlite
def test_of_the_forgotten_no_byte_is_left_and_the_books_still_close(database: Database, tmp_path: Path) -> None:
    sign_up(database, ADA, name="Countess Lovelace", now=NOW + HOUR)
    suppress_address(database, ADA, reason="Lovelace asked by phone", now=NOW, source="ada.lovelace.eml")
    issue = publish(database)
    attempt(database, issue, ADA, Outcome.DEFERRED, DeliveryState.QUEUED, NOW + HOUR)
    attempt(database, issue, BEN, Outcome.ACCEPTED, DeliveryState.ACCEPTED)
    number, address_hash = person(database, ADA).id, person(database, ADA).address_hash
    forget_subscriber(database, ADA, now=NOW + HOUR)

    held = b"".join(path.read_bytes() for path in tmp_path.iterdir())
    assert len(held) > 10_000
    assert b"ben@example.org" in held
    for trace in (b"ada.lovelace", b"Countess", b"Lovelace asked"):
        assert trace not in held
    with database.read() as conn:
        (kept,) = subscribers.list_suppressions(conn)
        assert (kept.address_hash, kept.email, kept.reason, kept.source) == (
            address_hash,
            None,
            "forgotten",
            "operator",
        )
        rows = conn.execute(select(schema.attempts.c.response).where(schema.attempts.c.subscriber_id == number))
        assert [row.response for row in rows] == [""]
        assert [name.email for name in ledger.list_names(conn, issue)] == [None, BEN, CLEO]
    told = list(describe_attempts(database, issue_id=None, subscriber_id=number, state=None, since=None))
    assert [(line["email"], line["outcome"]) for line in told] == [(None, "deferred")]
    audit = books(database, issue)
    assert (audit.selected, audit.accepted, audit.queued, audit.excluded) == (3, 1, 1, {"unsubscribed": 1})
    assert audit.balanced


def test_what_the_forgotten_are_owed_is_owed_no_more(database: Database) -> None:
    issue = publish(database)
    attempt(database, issue, ADA, Outcome.DEFERRED, DeliveryState.QUEUED, NOW)
    for email in (ADA, BEN):  # one deferred, one fresh
        forget_subscriber(database, email, now=NOW)
    with database.write() as conn:
        assert upkeep.count_owed(conn, NOW + HOUR, issue) == 1
        assert outbox.read_deferred(conn, "", NOW + HOUR, None) == []
    assert books(database, issue).excluded == {"unsubscribed": 2}
    with pytest.raises(StoreError, match="there is no subscriber"):
        forget_subscriber(database, ADA, now=NOW)


def test_a_hash_that_was_kept_learns_no_address_again(database: Database) -> None:
    forget_subscriber(database, ADA, now=NOW)
    suppress_address(database, ADA, reason="asked", now=NOW, source="operator")
    with database.read() as conn:
        assert [(row.email, row.reason) for row in subscribers.list_suppressions(conn)] == [(None, "forgotten")]


# ── From every issue to gathering ───────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(("issue_at", "last_mail_at"), [(NOW - HOUR, NOW), (NOW + HOUR, NOW + HOUR)])
def test_who_begins_to_gather_counts_from_the_newest_issue_or_else_the_sign_up(
    database: Database, issue_at: datetime, last_mail_at: datetime
) -> None:
    issue = publish(database, now=issue_at)
    sign_up(database, ADA, frequency="daily", now=NOW + 2 * HOUR)
    ada = person(database, ADA)
    assert (ada.frequency, ada.covered_issue_id, ada.last_mail_at) == ("daily", issue, last_mail_at)
    sign_up(database, ADA, frequency="weekly", now=NOW + 3 * HOUR)
    assert person(database, ADA).last_mail_at == last_mail_at
    assert person(database, BEN).last_mail_at is None


def test_who_begins_to_gather_before_any_issue_counts_from_the_sign_up(database: Database) -> None:
    sign_up(database, ADA, frequency="daily")
    assert (person(database, ADA).covered_issue_id, person(database, ADA).last_mail_at) == (0, None)


# ── Issues ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_an_issue_is_paused_resumed_and_cancelled_for_good(database: Database) -> None:
    issue = publish(database)
    for _ in range(2):
        assert control.pause_issue(database, issue, now=NOW) == {"issue": issue, "state": "paused"}
    with database.write() as conn:
        told = describe_issue(conn, issues.find_issue(conn, issue))
        assert told["reason"] == "by the operator at 2026-11-23 09:00 UTC"
        assert (told["state"], told["selected"], told["queued"], told["balanced"]) == ("paused", 3, 3, True)
        assert outbox.claim_batch(conn, 1, NOW, issue) is None
    assert control.resume_issue(database, issue, now=NOW) == {"issue": issue, "state": "running", "owed": 3}
    for excluded in (3, 0):
        told = control.cancel_issue(database, issue, now=NOW)
        assert told == {"issue": issue, "state": "cancelled", "excluded": excluded}
    assert books(database, issue).excluded == {"cancelled": 3}
    for verb in (control.pause_issue, control.resume_issue):
        with pytest.raises(StoreError, match=f"issue {issue} is cancelled"):
            verb(database, issue, now=NOW)
    with pytest.raises(StoreError, match="there is no issue 9"):
        control.cancel_issue(database, 9, now=NOW)


def test_an_issue_that_is_finished_can_neither_be_paused_nor_cancelled(database: Database) -> None:
    issue = publish(database)
    with database.write() as conn:
        conn.execute(deliveries.update().values(state="accepted"))
    for verb in (control.pause_issue, control.cancel_issue):
        with pytest.raises(StoreError, match=f"issue {issue} is finished"):
            verb(database, issue, now=NOW)
    assert control.resume_issue(database, issue, now=NOW)["owed"] == 0


def test_an_issue_that_is_still_being_written_is_left_alone(database: Database) -> None:
    brief = Brief(id="tuesday", title="Tuesday", date=date(2026, 11, 24), language="en", stories=())
    with database.write() as conn:
        issue = issues.insert_issue(
            conn, [brief], issues.NewIssue(period="tuesday", due_at=NOW), domain="example.org", now=NOW
        )
    for verb in (control.pause_issue, control.resume_issue, control.cancel_issue):
        with pytest.raises(StoreError, match=f"issue {issue} is still being written"):
            verb(database, issue, now=NOW)
    with database.read() as conn:
        assert issues.find_issue(conn, issue).state == "preparing"
    assert not books(database, issue).balanced


def test_uncertain_deliveries_are_settled_one_or_all_as_sent_or_to_be_sent_again(database: Database) -> None:
    issue = publish(database)
    for email in (ADA, BEN, CLEO):
        attempt(database, issue, email, Outcome.UNCERTAIN, DeliveryState.UNCERTAIN)
    with database.read() as conn:
        told = describe_issue_fully(conn, issue)
    assert [held["email"] for held in told["uncertain"]] == [ADA, BEN, CLEO]
    assert (told["editions"], told["briefs"][0]["id"], told["stories"][0]["topics"]) == (1, "monday", ["space"])
    ada = person(database, ADA).id
    settled = control.settle_issue(database, issue, now=NOW, resend=False, subscriber_id=ada, expire_after=HOUR)
    assert settled == {"issue": issue, "settled": 1, "as": "sent"}
    settled = control.settle_issue(database, issue, now=NOW, resend=True, expire_after=HOUR)
    assert settled == {"issue": issue, "settled": 2, "as": "resend"}
    audit = books(database, issue)
    assert (audit.accepted, audit.deferred, audit.uncertain, audit.balanced) == (1, 2, 0, True)
    log = list(describe_attempts(database, issue_id=issue, subscriber_id=ada, state="accepted", since=NOW))
    assert [(line["attempt"], line["outcome"]) for line in log] == [(1, "uncertain"), (2, "accepted")]
    assert log[1]["response"] == control.SETTLED_RESPONSE
    assert control.settle_issue(database, issue, now=NOW, resend=False, expire_after=HOUR)["settled"] == 0


def test_the_log_is_sifted_by_issue_person_state_and_time(database: Database) -> None:
    first, second = publish(database), publish(database, name="tuesday")
    attempt(database, first, ADA, Outcome.ACCEPTED, DeliveryState.ACCEPTED)
    attempt(database, first, BEN, Outcome.DEFERRED, DeliveryState.QUEUED, NOW + HOUR)
    attempt(database, second, ADA, Outcome.REJECTED, DeliveryState.REJECTED)

    def sift(**chosen: Any) -> list[tuple[int, str]]:
        wanted = {"issue_id": None, "subscriber_id": None, "state": None, "since": None, **chosen}
        return [(line["issue"], line["email"]) for line in describe_attempts(database, **wanted)]

    assert sift() == [(first, ADA), (first, BEN), (second, ADA)]
    assert sift(issue_id=second) == [(second, ADA)]
    assert sift(subscriber_id=person(database, ADA).id) == [(first, ADA), (second, ADA)]
    assert sift(state="deferred") == [(first, BEN)]
    assert sift(state="rejected") == [(second, ADA)]
    assert sift(since=NOW + HOUR) == []


def test_attempts_and_rendered_mails_are_pruned_and_the_counts_stay(database: Database) -> None:
    old, new = publish(database), publish(database, name="tuesday", now=NOW + HOUR)
    attempt(database, old, ADA, Outcome.ACCEPTED, DeliveryState.ACCEPTED)
    before = books(database, old)
    with database.write() as conn:
        issues.insert_rendering(conn, old, "en", {1: b"old story"})
        issues.insert_rendering(conn, new, "en", {2: b"new story"})
        assert ledger.prune_issues(conn, NOW, timedelta()) == 0
        assert ledger.prune_issues(conn, NOW + HOUR, timedelta()) == 1
        assert ledger.prune_issues(conn, NOW + HOUR, timedelta()) == 0
        kept = {bytes(row.bytes) for row in conn.execute(schema.blobs.select())}
        assert issues.read_rendering(conn, new, "en", 2) == b"new story"
        assert list(ledger.list_attempts(conn, issue_id=old)) == []
    assert kept == {b"frame", b"new story"}
    assert books(database, old) == before
    assert before.balanced


def test_a_death_on_the_wire_is_an_attempt_of_unknown_end(database: Database) -> None:
    issue = publish(database)
    for hold, state in ((True, "uncertain"), (False, "deferred")):
        with database.write() as conn:
            batch = outbox.claim_batch(conn, 1, NOW, None)
            assert batch is not None
            claimed = outbox.read_batch(conn, batch)
            assert moves.start_deliveries(conn, [claimed[0].key], 1, NOW) == {claimed[0].key: 0}
            assert ledger.audit_issue(conn, issues.find_issue(conn, issue)).sending == 1
            assert upkeep.is_sending(conn, None)
            assert upkeep.is_sending(conn, issue)
            assert upkeep.recover_claims(conn, NOW + HOUR, hold=hold, most_attempts=9) == 1
            assert not upkeep.is_sending(conn, None)
        audit = books(database, issue)
        assert (getattr(audit, state), audit.sending, audit.balanced) == (1, 0, True)
    assert books(database, issue).excluded == {}


def test_what_is_too_old_is_given_up(database: Database) -> None:
    issue = publish(database)
    attempt(database, issue, ADA, Outcome.DEFERRED, DeliveryState.QUEUED, NOW + HOUR)
    with database.write() as conn:
        assert upkeep.expire_deliveries(conn, NOW + HOUR, 2 * HOUR) == 0
        assert upkeep.expire_deliveries(conn, NOW + 2 * HOUR, 2 * HOUR) == 3
    audit = books(database, issue)
    assert (audit.rejected, audit.excluded, audit.queued) == (1, {Exclusion.EXPIRED: 2}, 0)
    assert audit.balanced


# ── Who may not be mailed any more when their turn comes ────────────────────────────────────────────────────────────


def start(database: Database, issue: int, *emails: str) -> int:
    """Try to put the mails of these people on the wire; returns how many may go."""
    keys = [(issue, person(database, email).id) for email in emails]
    with database.write() as conn:
        started = moves.start_deliveries(conn, keys, 1, NOW)
        exclusions.settle_unstarted(conn, [key for key in keys if key not in started], NOW)
    return len(started)


def test_will_and_suppression_are_read_again_when_a_mail_is_about_to_go(database: Database) -> None:
    sign_up(database, "dan@example.org", "eve@example.org")
    issue = publish(database)
    remove_subscriber(database, ADA, now=NOW, channel="operator")
    suppress_address(database, BEN, reason="asked", now=NOW, source="operator")
    with database.write() as conn:
        away = update(schema.subscribers).where(schema.subscribers.c.email == CLEO)
        conn.execute(away.values(paused_until=NOW + HOUR))
        upkeep.set_paused(conn, True)
    assert start(database, issue, ADA, BEN, CLEO, "dan@example.org") == 0
    assert books(database, issue).excluded == {"unsubscribed": 1, "suppressed": 1, "paused": 1}
    with database.write() as conn:
        upkeep.set_paused(conn, False)
        assert [row.email for row, _ in outbox.read_deferred(conn, "", NOW, issue)] == ["dan@example.org"]
    assert start(database, issue, "dan@example.org", "eve@example.org") == 2
    assert start(database, issue, "dan@example.org") == 0
    audit = books(database, issue)
    assert (audit.sending, audit.queued, audit.balanced) == (2, 0, True)


def test_what_a_gathering_reader_did_not_get_is_offered_again(database: Database) -> None:
    issue = publish(database, since=0)
    with database.write() as conn:
        conn.execute(update(schema.subscribers).values(covered_issue_id=issue))
    control.cancel_issue(database, issue, now=NOW)
    assert (person(database, ADA).covered_issue_id, person(database, ADA).has_gap) == (0, True)


def test_the_editions_that_readers_hold_are_found_by_range(database: Database) -> None:
    first, second = publish(database), publish(database, name="tuesday")
    for email, outcome, state in (
        (ADA, Outcome.ACCEPTED, DeliveryState.ACCEPTED),
        (BEN, Outcome.REJECTED, DeliveryState.REJECTED),
    ):
        attempt(database, first, email, outcome, state)
    ada, ben = person(database, ADA).id, person(database, BEN).id
    with database.read() as conn:
        assert ledger.read_held_editions(conn, [first, second], ada, ben) == {ada: [1, 2], ben: [2]}
        assert ledger.read_held_editions(conn, [first], ben, ben) == {}


def test_two_stories_are_one_by_feed_id_or_by_title_and_text_and_never_by_title_alone(database: Database) -> None:
    def paragraph(text: str) -> tuple[Block, ...]:
        return (Block(kind=BlockKind.PARAGRAPH, spans=(Span(text=text),)),)

    with database.write() as conn:
        known = issues.insert_story(conn, Story(title="Comet", blocks=paragraph("Look up."), guid="g1"), NOW)
        issues.insert_story(conn, Story(title="Live"), NOW)
        same_text = issues.find_story(conn, Story(title="COMET ", blocks=paragraph("look  up."), guid="g2"))
        same_guid = issues.find_story(conn, Story(title="Other", guid="g1"))
        assert same_text is not None
        assert same_guid is not None
        assert (same_text.id, same_guid.id) == (known, known)
        assert issues.find_story(conn, Story(title="Live")) is None
        assert issues.find_story(conn, Story(title="Comet", blocks=paragraph("Look down."))) is None


def test_why_a_story_came_or_did_not_is_told_of_everybody(database: Database) -> None:
    sign_up(database, ADA, topics="*")
    issue = publish(database)
    sign_up(database, "late@example.org", topics="*")
    space = {"space": Topic(id="space", name="Outer space")}
    told = explain_delivery(database, space, person(database, ADA), None)
    assert (told["issue"], told["delivery"], told["state"], told["reason"]) == (issue, "1-1", "queued", None)
    assert [(story["title"], story["because"]) for story in told["stories"]] == [("Comet", ["chose every story"])]
    told = explain_delivery(database, space, person(database, "late@example.org"), issue)
    assert (told["delivery"], told["state"]) == (None, "not selected")
    assert told["left_out"][0]["because"] == ["chose every story", "no mail: not selected"]
    with database.write() as conn:
        attended = subscribers.intern_topic_sets(conn, {"space"})["space"]
        conn.execute(update(schema.subscribers).where(schema.subscribers.c.email == BEN).values(topic_set_id=attended))
        conn.execute(update(schema.deliveries).where(schema.deliveries.c.subscriber_id == 3).values(edition_id=None))
    assert explain_delivery(database, space, person(database, BEN), None)["stories"][0]["because"] == [
        "Outer space: comet"
    ]
    assert explain_delivery(database, {}, person(database, CLEO), None)["left_out"][0]["because"] == [
        "its topics were not chosen: space"
    ]
    with database.write() as conn:
        conn.execute(update(schema.issue_stories).values(topics="[]"))
    assert explain_delivery(database, {}, person(database, CLEO), None)["left_out"][0]["because"] == [
        "no topic took it"
    ]


def test_books_that_are_only_planned_balance() -> None:
    planned = ledger.Audit.opening(queued=2, excluded={"paused": 1})
    assert (planned.issue, planned.selected, planned.queued, planned.balanced) == (None, 3, 2, True)


def test_nobody_is_told_of_as_nobody(database: Database) -> None:
    with database.read() as conn:
        assert list(describe_subscribers(conn, [])) == []
