"""The policy's tables: what a reply, a loss or the lapse of time leads to."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from newsletter.core.model import Outcome
from newsletter.core.policy import (
    BLAME_LIMIT,
    BLAME_WINDOW_REPLIES,
    LANES,
    MAILS_A_CONNECTION,
    Cause,
    Reply,
    Stage,
    Verdict,
    has_expired,
    judge_loss,
    judge_reply,
    judge_unsendable,
    lane_of,
    mails_per_connection,
    must_pause,
    must_suppress,
    next_delay,
    parse_enhanced,
)
from newsletter.core.replies import MAX_RETRY_AFTER, parse_retry_after

MINUTES = [timedelta(minutes=m) for m in (5, 15, 30, 60, 120, 240)]


def reply(line: str) -> Reply:
    """`550 5.1.1 no such user` as a Reply."""
    code, _, text = line.partition(" ")
    return Reply(int(code), parse_enhanced(text), text)


def judge(line: str, stage: Stage = Stage.RCPT) -> Verdict:
    return judge_reply(reply(line), stage=stage)


@pytest.mark.parametrize(
    ("text", "enhanced"),
    [
        ("5.1.1 no such user", "5.1.1"),
        ("2.0.0", "2.0.0"),
        ("4.7.28 rate", "4.7.28"),
        ("5.7.515 refused", "5.7.515"),
        ("#5.1.0 refused", "5.1.0"),
        ("5.1.1<someone>", "5.1.1"),
        ("no such user 5.1.1", None),
        ("3.1.1 no such class", None),
        ("5.1", None),
        ("5.1.1.2 is an address", None),
        ("5.1.1234", None),
        ("", None),
    ],
)
def test_enhanced_code_stands_at_the_start(text: str, enhanced: str | None) -> None:
    assert parse_enhanced(text) == enhanced


@pytest.mark.parametrize(
    ("line", "stage"),
    [
        ("250 2.1.0 ok", Stage.MAIL),
        ("250 ok", Stage.RCPT),
        ("251 will forward", Stage.RCPT),
        ("354 go on", Stage.DATA),
        ("250 2.0.0 queued", Stage.BODY),
        ("250 5.1.1 spam, blocked, no such user", Stage.BODY),
    ],
)
def test_the_expected_class_is_accepted_whatever_its_text(line: str, stage: Stage) -> None:
    assert judge(line, stage) == Verdict(outcome=Outcome.ACCEPTED, cause=Cause.ACCEPTED)


@pytest.mark.parametrize(
    ("line", "cause"),
    [
        ("421 4.3.2 shutting down", Cause.RELAY),
        ("421 closing", Cause.RELAY),
        ("451 4.4.1 no answer from host", Cause.RELAY),
        ("450 4.4.2 timed out", Cause.RELAY),
        ("452 4.3.1 insufficient system storage", Cause.RELAY),
        ("454 4.7.0 temporary authentication failure", Cause.RELAY),
        ("450 4.2.1 try again later", Cause.GREYLISTED),
        ("451 4.7.1 come back", Cause.GREYLISTED),
        ("450 4.7.0 not now", Cause.GREYLISTED),
        ("450 Greylisted, come back in 5 minutes", Cause.GREYLISTED),
        ("421 4.7.0 gray-listing in action", Cause.GREYLISTED),
        ("421 4.7.28 unusual rate of mail from your network", Cause.RATE),
        ("421 4.7.0 [TSS04] temporarily deferred", Cause.RATE),
        ("451 4.7.1 too many messages, slow down", Cause.RATE),
        ("452 4.5.3 too many recipients", Cause.RATE),
        ("452 4.2.2 over quota", Cause.MAILBOX_FULL),
        ("450 mailbox is full", Cause.MAILBOX_FULL),
        ("450 4.1.1 user unknown", Cause.BAD_ADDRESS),
        ("450 no such user here", Cause.BAD_ADDRESS),
        ("450 4.1.2 bad host", Cause.BAD_ADDRESS),
        ("451 local error", Cause.OTHER),
        ("451 4.3.0 lookup failed", Cause.OTHER),
        ("450 5.7.8 a permanent code on a temporary reply is ignored", Cause.OTHER),
    ],
)
def test_4xx_is_deferred_and_suppresses_nobody(line: str, cause: Cause) -> None:
    verdict = judge(line)
    assert (verdict.outcome, verdict.cause) == (Outcome.DEFERRED, cause)
    assert not verdict.suppress
    assert not verdict.stop


@pytest.mark.parametrize(
    "line",
    [
        "550 5.1.1 no",
        "550 5.1.2 no",
        "550 5.1.3 no",
        "550 5.1.6 no",
        "556 5.1.10 null MX",
        "550 5.2.1 disabled",
        "550 5.7.13 no",
        "550 5.7.17 no",
        "550 5.7.18 no",
        "550 user unknown",
        "550 Unknown local user",
        "550 5.7.1 <a@b.example>: user unknown",
        "550 5.5.0 Invalid recipient",
        "553 no such mailbox",
        "554 this user doesn’t have a post.example account",
        "550 The mailbox you wrote to does not exist",
        "550 5.1.1 <nospam@blocked.example>: not here",
        "550 user unknown, says mx1.antispam.example",
        "550 user unknown, see https://help.example/policy/spam",
        "550 4.2.1 user unknown, a temporary code on a permanent reply is ignored",
    ],
)
def test_a_dead_address_is_rejected_and_suppressed(line: str) -> None:
    assert judge(line) == Verdict(outcome=Outcome.REJECTED, cause=Cause.BAD_ADDRESS, suppress=True)


@pytest.mark.parametrize(
    "line",
    [
        "550 5.1.7 bad sender",
        "550 5.1.8 bad sender",
        "550 5.7.1 refused",
        "550 5.7.23 refused",
        "550 5.7.40 refused",
        "550 5.7.515 refused",
        "550 5.7.606 refused",
        "554 looks like spam",
        "554 blocked by a block list",
        "554 5.6.0 scored as spam",
        "550 5.1.1 refused by policy",
        "550 5.1.1 user unknown: your host is on a blacklist",
        "550 5.2.1 this user gets mail at a rate that cannot be right",
        "550 5.4.5 daily sending quota exceeded",
        "550 sender domain does not exist",
        "554 5.7.1 relay access denied",
        "554 Helo command rejected: host not found",
    ],
)
def test_what_is_our_fault_suppresses_nobody(line: str) -> None:
    assert judge(line) == Verdict(outcome=Outcome.REJECTED, cause=Cause.OUR_FAULT)


@pytest.mark.parametrize(
    ("line", "cause"),
    [
        ("552 5.2.2 mailbox full", Cause.MAILBOX_FULL),
        ("552 over quota", Cause.MAILBOX_FULL),
        ("552 exceeded storage allocation", Cause.MAILBOX_FULL),
        ("550 5.1.1 the user's mailbox is full", Cause.MAILBOX_FULL),
        ("552 5.2.3 no", Cause.OUR_MESSAGE),
        ("552 5.3.4 no", Cause.OUR_MESSAGE),
        ("552 message size exceeds the limit of our policy", Cause.OUR_MESSAGE),
        ("552 no", Cause.OUR_MESSAGE),
        ("554 5.5.2 no", Cause.OUR_MESSAGE),
        ("554 5.6.1 no", Cause.OUR_MESSAGE),
        ("500 what", Cause.OUR_MESSAGE),
        ("504 no", Cause.OUR_MESSAGE),
        ("555 parameters", Cause.OUR_MESSAGE),
        ("550 no", Cause.OTHER),
        ("554 transaction failed", Cause.OTHER),
        ("550 5.4.1 recipient address rejected: access denied", Cause.OTHER),
    ],
)
def test_other_permanent_replies_reject_and_do_not_suppress_at_once(line: str, cause: Cause) -> None:
    assert judge(line) == Verdict(outcome=Outcome.REJECTED, cause=cause)


@pytest.mark.parametrize(
    "line", ["530 5.7.0 login first", "534 5.7.9 weak", "535 5.7.8 wrong", "538 5.7.11 TLS", "550 5.7.8 login"]
)
@pytest.mark.parametrize("stage", list(Stage))
def test_configuration_stops_everything_and_rejects_nobody(line: str, stage: Stage) -> None:
    assert judge(line, stage) == Verdict(outcome=Outcome.DEFERRED, cause=Cause.CONFIGURATION, stop=True)


@pytest.mark.parametrize("line", ["550 5.1.1 user unknown", "550 5.2.1 x", "552 5.2.2 mailbox full", "554 no"])
def test_a_refusal_of_mail_from_is_never_the_readers(line: str) -> None:
    assert judge(line, Stage.MAIL) == Verdict(outcome=Outcome.REJECTED, cause=Cause.OUR_FAULT)
    assert judge("552 5.3.4 too large", Stage.MAIL).cause is Cause.OUR_MESSAGE


@pytest.mark.parametrize(
    ("code", "stage", "outcome"),
    [
        (None, Stage.MAIL, Outcome.DEFERRED),
        (354, Stage.MAIL, Outcome.DEFERRED),
        (354, Stage.RCPT, Outcome.DEFERRED),
        (250, Stage.DATA, Outcome.DEFERRED),
        (99, Stage.DATA, Outcome.DEFERRED),
        (None, Stage.BODY, Outcome.UNCERTAIN),
        (354, Stage.BODY, Outcome.UNCERTAIN),
        (611, Stage.BODY, Outcome.UNCERTAIN),
    ],
)
def test_nonsense_is_the_relays_trouble_and_in_doubt_after_the_final_dot(
    code: int | None, stage: Stage, outcome: Outcome
) -> None:
    assert judge_reply(Reply(code, None, "what?"), stage=stage) == Verdict(outcome=outcome, cause=Cause.RELAY)


def test_a_loss_is_uncertain_only_when_in_doubt() -> None:
    assert judge_loss(in_doubt=True) == Verdict(outcome=Outcome.UNCERTAIN, cause=Cause.RELAY)
    assert judge_loss(in_doubt=False) == Verdict(outcome=Outcome.DEFERRED, cause=Cause.RELAY)


@pytest.mark.parametrize(
    ("enhanced", "cause", "suppress"),
    [
        ("5.1.3", Cause.BAD_ADDRESS, True),
        ("5.1.7", Cause.OUR_FAULT, False),
        ("5.3.4", Cause.OUR_MESSAGE, False),
        ("5.6.7", Cause.OUR_MESSAGE, False),
    ],
)
def test_our_own_refusals_follow_the_same_table(enhanced: str, cause: Cause, suppress: bool) -> None:
    assert judge_unsendable(enhanced) == Verdict(outcome=Outcome.REJECTED, cause=cause, suppress=suppress)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("greylisted, try again in 300 seconds", 300),
        ("Try again in 1 second", 1),
        ("retry after 90 sec", 90),
        ("retry after 45s", 45),
        ("greylisted for 5 minutes", 300),
        ("please wait at least 2 mins", 120),
        ("come back in about 1 hour", 3600),
        ("come back in 00:04:32", 272),
        ("try again in 0 seconds", None),
        ("try again later", None),
        ("in 5 messages", None),
        ("refused since 10:20", None),
        ("in 999999999 hours", int(MAX_RETRY_AFTER.total_seconds())),
    ],
)
def test_the_time_a_relay_asks_for_is_read(text: str, seconds: int | None) -> None:
    expected = None if seconds is None else timedelta(seconds=seconds)
    assert parse_retry_after(text) == expected
    assert judge(f"450 4.7.1 {text}").retry_after == expected


def test_a_permanent_reply_asks_for_no_other_try() -> None:
    assert judge("550 5.7.1 try again in 5 minutes").retry_after is None


def test_delays_follow_the_attempts_until_they_are_used_up() -> None:
    assert [next_delay(n, MINUTES, jitter=0) for n in range(1, 7)] == MINUTES
    assert next_delay(7, MINUTES, jitter=0) is None
    assert next_delay(1, [], jitter=0) is None


@given(st.integers(1, 6), st.floats(-1, 1))
def test_jitter_stays_within_a_fifth(attempts: int, jitter: float) -> None:
    delay = next_delay(attempts, MINUTES, jitter=jitter)
    assert delay is not None
    assert MINUTES[attempts - 1] * 0.8 <= delay <= MINUTES[attempts - 1] * 1.2


@given(st.floats(-1, 1), st.integers(1, 86_400))
def test_a_time_asked_for_is_never_undercut(jitter: float, seconds: int) -> None:
    asked = timedelta(seconds=seconds)
    delay = next_delay(1, MINUTES, jitter=jitter, asked=asked)
    assert delay is not None
    assert asked <= delay <= asked * 1.2
    assert next_delay(7, MINUTES, jitter=jitter, asked=asked) is None


def test_expiry_counts_from_the_due_moment() -> None:
    due_at = datetime(2026, 3, 1, tzinfo=UTC)
    day = timedelta(days=1)
    assert not has_expired(due_at, due_at + day, day)
    assert has_expired(due_at, due_at + day + timedelta(seconds=1), day)
    assert not has_expired(due_at, due_at - day, day)


def test_an_issue_pauses_at_twenty_of_the_last_two_hundred() -> None:
    blamed, fine = [Cause.OUR_FAULT], [Cause.ACCEPTED]
    assert must_pause(blamed * BLAME_LIMIT)
    assert not must_pause(blamed * (BLAME_LIMIT - 1) + fine)
    assert must_pause(blamed * BLAME_LIMIT + fine * (BLAME_WINDOW_REPLIES - BLAME_LIMIT))
    assert not must_pause(blamed * BLAME_LIMIT + fine * (BLAME_WINDOW_REPLIES - BLAME_LIMIT + 1))


@pytest.mark.parametrize(
    ("cause", "issues", "days", "suppressed"),
    [
        (Cause.BAD_ADDRESS, 1, 0, True),
        (Cause.OTHER, 2, 90, False),
        (Cause.OTHER, 3, 0, True),
        (Cause.MAILBOX_FULL, 4, 13, False),
        (Cause.MAILBOX_FULL, 3, 30, False),
        (Cause.MAILBOX_FULL, 4, 14, True),
        (Cause.OUR_FAULT, 99, 999, False),
        (Cause.OUR_MESSAGE, 99, 999, False),
        (Cause.RELAY, 99, 999, False),
    ],
)
def test_an_address_is_suppressed_only_with_patience(cause: Cause, issues: int, days: int, suppressed: bool) -> None:
    assert must_suppress(cause, issues=issues, span=timedelta(days=days)) is suppressed


@pytest.mark.parametrize(
    ("domain", "lane"),
    [
        ("gmail.com", "gmail.com"),
        ("GoogleMail.com", "gmail.com"),
        ("hotmail.co.uk", "outlook.com"),
        ("live.de", "outlook.com"),
        ("msn.com", "outlook.com"),
        ("yahoo.com.br", "yahoo.com"),
        ("aol.com", "yahoo.com"),
        ("ymail.com", "yahoo.com"),
        ("me.com", "icloud.com"),
        ("mac.com", "icloud.com"),
        ("web.de", "gmx.net"),
        ("example.org", ""),
        ("notgmail.com", ""),
        ("gmail.com.example", ""),
        ("live.example.org", ""),
    ],
)
def test_great_providers_share_a_lane(domain: str, lane: str) -> None:
    assert lane_of(f"someone@{domain}") == lane


def test_a_lane_is_named_after_a_domain_of_its_own() -> None:
    assert [lane_of(f"a@{lane}") for lane in LANES] == list(LANES)


@pytest.mark.parametrize(
    ("host", "mails"),
    [
        ("smtp-relay.gmail.com", 50),
        ("ASPMX.L.Google.com.", 50),
        ("smtp.office365.com", 50),
        ("smtp.mail.yahoo.com", 20),
        ("mx.yahoodns.net", 20),
        ("gmail.com", 50),
        ("notgmail.com", MAILS_A_CONNECTION),
        ("gmail.com.example", MAILS_A_CONNECTION),
        ("localhost", MAILS_A_CONNECTION),
        ("127.0.0.1", MAILS_A_CONNECTION),
        ("", MAILS_A_CONNECTION),
    ],
)
def test_a_connection_to_a_great_providers_relay_takes_fewer_mails(host: str, mails: int) -> None:
    assert mails_per_connection(host) == mails


@given(st.integers(100, 999), st.text(max_size=200), st.sampled_from(Stage))
def test_every_reply_has_a_verdict(code: int, text: str, stage: Stage) -> None:
    verdict = judge_reply(Reply(code, parse_enhanced(text), text), stage=stage)
    assert not (verdict.suppress and verdict.outcome is not Outcome.REJECTED)
    assert not (verdict.stop and verdict.outcome is not Outcome.DEFERRED)
