"""What comes back of mails that went out: who it is about, what follows, and what forgers achieve: nothing."""

import json
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from daemon_house import House
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import update

from newsletter import control
from newsletter.compose import prove_name
from newsletter.core.errors import StoreError
from newsletter.core.model import Key, name_delivery
from newsletter.core.tokens import Purpose, hash_address
from newsletter.feedback import Feedback, Trust
from newsletter.report import describe_attempts, describe_subscriber, explain_delivery
from newsletter.store import issues, joining, notices, reports, subscribers
from newsletter.store.schema import deliveries
from newsletter.subscribe import forget_subscriber

DOMAIN = "bounces.example.org"
DAEMON = "From: Mail Delivery System <MAILER-DAEMON@mx.example.net>\nSubject: Undelivered Mail\n"


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    """Two issues, of which the first was taken for everybody."""
    house = House(tmp_path / "house", settings={"BOUNCE_DOMAIN": DOMAIN})
    house.add_people("ann@example.org", "ben@example.org", "cyd@example.org")
    publish(house, "one")
    yield house
    house.service.database.close()


def publish(house: House, name: str, *, accepted: bool = True) -> int:
    house.add_brief(name, f"Brief {name}")
    number = house.service.make_publisher().publish(house.service.find_brief(name), now=house.now).issue
    if accepted:
        with house.service.database.write() as conn:
            conn.execute(update(deliveries).where(deliveries.c.issue_id == number).values(state="accepted"))
    return number


def key_of(house: House, email: str = "ann@example.org", issue: int = 1) -> Key:
    return issue, house.service.find_person(email).id


def write_return_path(house: House, key: Key) -> str:
    return f"b+{house.service.signer.sign(Purpose.BOUNCE, key[1], key[0])}@{DOMAIN}"


def write_bounce(
    to: str,
    *emails: str,
    status: str = "5.1.1",
    said: str = "550 5.1.1 user unknown",
    returned: str = "",
    report: str = "",
) -> bytes:
    """A delivery status notification that came to an address."""
    blocks = "".join(
        f"Final-Recipient: rfc822; {email}\nAction: failed\nStatus: {status}\nDiagnostic-Code: smtp; {said}\n\n"
        for email in emails or ("ann@example.org",)
    )
    return (
        f'Delivered-To: {to}\n{DAEMON}Content-Type: multipart/report; report-type=delivery-status; boundary="b"\n\n'
        "--b\n\nIt did not arrive.\n\n--b\nContent-Type: message/delivery-status\n\n"
        f"Reporting-MTA: dns; mx.example.net\n{report}\n"
        f"{blocks}--b\nContent-Type: text/rfc822-headers\n\nSubject: Today\n{returned}\n--b--\n"
    ).encode()


def write_complaint(to: str, *emails: str, kind: str = "abuse", returned: str = "") -> bytes:
    named = "".join(f"Original-Rcpt-To: {email}\n" for email in emails)
    return (
        f"Delivered-To: {to}\nFrom: fbl@provider.example\nSubject: FW: Today\n"
        'Content-Type: multipart/report; report-type=feedback-report; boundary="b"\n\n'
        f"--b\n\nA complaint.\n\n--b\nContent-Type: message/feedback-report\n\nFeedback-Type: {kind}\n{named}\n"
        f"--b\nContent-Type: message/rfc822\n\nSubject: Today\n{returned}\nText\n--b--\n"
    ).encode()


def take(house: House, octets: bytes, **options: Any) -> list[tuple[str, str | None, str]]:
    feedback = Feedback(database=house.service.database, signer=house.service.signer)
    taken = feedback.take_message(octets, source="test", now=house.now, **options)
    return [(str(one.report.kind), one.report.email, str(one.action)) for one in taken]


def bounce(house: House, email: str, number: int) -> None:
    """Let a reader's mail of an issue come back hard."""
    assert take(house, write_bounce(write_return_path(house, key_of(house, email, number)), email))


def suppression_of(house: House, email: str) -> str | None:
    database = house.service.database
    with database.read() as conn:
        return joining.find_suppression(conn, hash_address(database.ledger_key, email))


def test_a_hard_bounce_to_our_return_path_suppresses_and_stands_in_every_account(house: House) -> None:
    key = key_of(house)
    assert take(house, write_bounce(write_return_path(house, key))) == [("hard", "ann@example.org", "suppressed")]
    person, database = house.service.find_person("ann@example.org"), house.service.database
    assert (person.reason, person.source) == ("unknown user", f"test, delivery {name_delivery(key)}")
    with database.read() as conn:
        (report,) = describe_subscriber(conn, person)["reports"]
    assert (report["kind"], report["status"], report["reason"], report["action"], report["delivery"]) == (
        "hard",
        "5.1.1",
        "unknown user",
        "suppressed",
        name_delivery(key),
    )
    assert explain_delivery(database, house.service.catalogue, person, 1)["reports"] == [report]


def test_it_stands_in_the_log_beside_the_attempt(house: House) -> None:
    from web_house import deliver

    publish(house, "two", accepted=False)
    deliver(house)
    take(house, write_bounce(write_return_path(house, key_of(house, issue=2))))
    log = describe_attempts(house.service.database, issue_id=2, subscriber_id=None, state=None, since=None)
    told = {line["email"]: [report["kind"] for report in line["reports"]] for line in log}
    assert told == {"ann@example.org": ["hard"], "ben@example.org": [], "cyd@example.org": []}


@pytest.mark.parametrize("where", ["upper case", "envid", "message id", "return path", "list of a copy"])
def test_a_token_is_known_wherever_it_stands(house: House, where: str) -> None:
    key, ledger_key = key_of(house), house.service.database.ledger_key
    path, proof = write_return_path(house, key), prove_name(ledger_key, name_delivery(key))
    octets = {
        "upper case": write_bounce(path.upper()),
        "envid": write_bounce("news@example.org", report=f"Original-Envelope-Id: {proof}\n"),
        "message id": write_bounce("news@example.org", returned=f"Message-ID: <{proof}@example.org>\n"),
        "return path": write_bounce("news@example.org", returned=f"Return-Path: <{path}>\n"),
        "list of a copy": write_bounce(f"Bounces <{path}>, other@example.org"),
    }[where]
    assert take(house, octets) == [("hard", "ann@example.org", "suppressed")]


def test_a_message_is_taken_once_however_often_it_is_seen(house: House) -> None:
    octets = write_bounce(write_return_path(house, key_of(house)), status="4.2.2", said="452 mailbox full")
    assert take(house, octets) == [("soft", "ann@example.org", "counted")]
    for again in (octets, octets.replace(b"\n", b"\r\n")):
        assert take(house, again) == [("soft", "ann@example.org", "ignored")]
    with house.service.database.read() as conn:
        assert len(reports.list_reports(conn)) == 1


def test_trying_it_out_changes_nothing(house: House) -> None:
    octets = write_bounce(write_return_path(house, key_of(house)))
    assert take(house, octets, dry_run=True) == [("hard", "ann@example.org", "suppressed")]
    assert suppression_of(house, "ann@example.org") is None
    assert take(house, octets) == [("hard", "ann@example.org", "suppressed")]


def test_an_operator_may_vouch_for_a_report_that_was_kept(house: House) -> None:
    take(house, write_bounce("news@example.org", "ann@example.org", "stranger@example.net"))
    take(house, write_complaint("news@example.org", "ben@example.org"))
    feedback = Feedback(database=house.service.database, signer=house.service.signer)
    with house.service.database.read() as conn:
        unclear = {row.email: row.id for row in reports.list_reports(conn, unclear=True)}
    told = {email: feedback.vouch(number, now=house.now).action for email, number in unclear.items()}
    assert told == {
        "ben@example.org": "unsubscribed",
        "stranger@example.net": "suppressed",
        "ann@example.org": "suppressed",
    }
    person = house.service.find_person("ann@example.org")
    assert person.source == "test, vouched for, delivery 1-1"
    told_why = explain_delivery(house.service.database, house.service.catalogue, person, 1)
    assert [report["action"] for report in told_why["reports"]] == ["suppressed"]
    with house.service.database.read() as conn:
        assert reports.list_reports(conn, unclear=True) == []
    for number in (*unclear.values(), 99):
        with pytest.raises(StoreError, match="report"):
            feedback.vouch(number, now=house.now)


# ── Forgers ─────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("email", ["ann@example.org", "stranger@example.net"])
def test_a_report_without_a_token_does_nothing_until_it_is_vouched_for(house: House, email: str) -> None:
    octets = write_bounce("news@example.org", email)
    assert take(house, octets) == [("hard", email, "ignored")]
    assert suppression_of(house, email) is None
    with house.service.database.read() as conn:
        assert [row.email for row in reports.list_reports(conn, unclear=True)] == [email]
    assert take(house, octets, trust=Trust.EVERYBODY) == [("hard", email, "suppressed")]
    assert suppression_of(house, email) == "unknown user"
    assert take(house, octets, trust=Trust.EVERYBODY) == [("hard", email, "ignored")]


def test_a_token_speaks_for_its_own_person_and_for_nobody_else(house: House) -> None:
    path = write_return_path(house, key_of(house, "ann@example.org"))
    told = take(house, write_bounce(path, "ben@example.org", "ann@example.org", "cyd@example.org"))
    assert told == [
        ("hard", "ben@example.org", "ignored"),
        ("hard", "ann@example.org", "suppressed"),
        ("hard", "cyd@example.org", "ignored"),
    ]
    told = take(house, write_complaint(path, "ben@example.org", "cyd@example.org"))
    assert [action for _, _, action in told] == ["unsubscribed", "ignored"]  # mail may be forwarded: the first is Ann's
    assert house.service.find_person("ben@example.org").state == "active"
    assert house.service.find_person("ann@example.org").state == "unsubscribed"


@pytest.mark.parametrize(
    "forge",
    [
        lambda house, path: path.replace("b+", "u+"),
        lambda house, path: path[:-1].replace(DOMAIN[:-1], "x.example"),
        lambda house, path: f"b+{house.service.signer.sign(Purpose.PREFERENCES, 1)}@{DOMAIN}",
        lambda house, path: f"b+{'a' * 40}@{DOMAIN}",
        lambda house, path: path.replace(path[5], "b" if path[5] == "a" else "a", 1),
    ],
    ids=["purpose", "the token is what counts", "another purpose", "invented", "altered"],
)
def test_only_a_token_as_we_signed_it_is_ours(house: House, forge: Any) -> None:
    path = write_return_path(house, key_of(house))
    (told,) = take(house, write_bounce(forged := forge(house, path)))
    is_ours = forged.startswith(path.partition("@")[0])
    assert told == ("hard", "ann@example.org", "suppressed" if is_ours else "ignored")


def test_a_forwarded_mail_that_bounces_is_its_readers(house: House) -> None:
    path = write_return_path(house, key_of(house))
    assert take(house, write_bounce(path, "elsewhere@example.net")) == [("hard", "ann@example.org", "suppressed")]


def test_an_address_that_a_reader_had_before_is_dead_and_the_new_one_is_not(house: House) -> None:
    path, person = write_return_path(house, key_of(house)), house.service.find_person("ann@example.org")
    new = "new@example.org"
    changes = {"email": new, "email_key": new, "address_hash": hash_address(house.service.database.ledger_key, new)}
    with house.service.database.write() as conn:
        subscribers.update_subscribers(conn, [(person, changes)], house.now)
    assert take(house, write_bounce(path, "ann@example.org")) == [("hard", "ann@example.org", "suppressed")]
    assert suppression_of(house, "ann@example.org") == "unknown user"
    assert house.service.find_person("new@example.org").reason is None


def test_of_somebody_forgotten_nothing_is_done_and_nothing_is_kept(house: House) -> None:
    path = write_return_path(house, key_of(house))
    take(house, write_bounce(path, status="4.2.2", said="452 <ann@example.org> mailbox full"))
    forget_subscriber(house.service.database, "ann@example.org", now=house.now)
    assert [action for _, _, action in take(house, write_bounce(path))] == ["ignored"]
    with house.service.database.read() as conn:
        rows = reports.list_reports(conn)
    assert [(row.email, row.text) for row in rows] == [(None, ""), (None, "")]
    assert "ann@example.org" not in json.dumps([dict(row._mapping) for row in rows], default=str)


def test_an_old_mail_that_comes_back_says_nothing_of_the_address_that_its_reader_has_now(house: House) -> None:
    path, person = write_return_path(house, key_of(house)), house.service.find_person("ann@example.org")
    new, ledger_key = "new@example.org", house.service.database.ledger_key
    house.now += timedelta(days=1)
    with house.service.database.write() as conn:
        changes = {"email": new, "email_key": new, "address_hash": hash_address(ledger_key, new)}
        subscribers.update_subscribers(conn, [(person, changes)], house.now)
    assert take(house, write_bounce(path, "forwarded@elsewhere.example")) == [("hard", "ann@example.org", "suppressed")]
    assert house.service.find_person(new).reason is None


def test_a_new_address_that_was_mistyped_is_not_the_readers(house: House) -> None:
    person, database = house.service.find_person("ann@example.org"), house.service.database
    values = {"subscriber_id": person.id, "kind": "address", "email": "typo@nowhere.example", "language": "en"}
    with database.write() as conn:
        number = notices.insert_notice(conn, {**values, "choice": "{}"}, house.now)
    proof = prove_name(database.ledger_key, f"notice-{number}")
    octets = write_bounce("news@example.org", "typo@nowhere.example", returned=f"Message-ID: <{proof}@example.org>\n")
    assert take(house, octets) == [("hard", "typo@nowhere.example", "suppressed")]
    assert house.service.find_person("ann@example.org").reason is None


def test_a_message_is_known_again_by_whichever_way_it_comes(house: House) -> None:
    octets = write_bounce(write_return_path(house, key_of(house)))
    assert take(house, octets)[0][2] == "suppressed"
    piped = (
        b"From MAILER-DAEMON Wed Nov 25 08:00:00 2026\nReceived: by mx\n with pipe\nDelivered-To: x@example.org\n"
        + octets
    )
    assert take(house, piped)[0][2] == "ignored"


def test_nothing_of_somebody_erased_is_written_down_again(house: House) -> None:
    forget_subscriber(house.service.database, "ben@example.org", now=house.now)
    take(house, write_bounce("news@example.org", "ben@example.org", said="550 5.1.1 <ben@example.org> unknown"))
    with house.service.database.read() as conn:
        (row,) = reports.list_reports(conn)
    assert (row.email, row.text) == (None, "")


# ── What follows ────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(("kind", "leaves"), [("abuse", True), ("opt-out", True), ("virus", False)])
def test_a_complaint_unsubscribes_and_suppresses_where_a_reader_made_it(house: House, kind: str, leaves: bool) -> None:
    octets = write_complaint(write_return_path(house, key_of(house)), "ann@example.org", kind=kind)
    assert take(house, octets) == [("complaint", "ann@example.org", "unsubscribed" if leaves else "ignored")]
    person = house.service.find_person("ann@example.org")
    assert (person.state, person.reason) == (("unsubscribed", "complaint") if leaves else ("active", None))
    with house.service.database.read() as conn:
        (consent,) = subscribers.list_consents(conn, person.id, person.id)
    assert consent.withdrawn_by == ("complaint" if leaves else None)


@pytest.mark.parametrize(
    ("subject", "head"),
    [("unsubscribe", ""), ("", ""), ("Re: anything at all", ""), ("unsubscribe", "Auto-Submitted: auto-replied\n")],
)
def test_who_writes_to_the_address_in_the_header_leaves(house: House, subject: str, head: str) -> None:
    token = house.service.signer.sign(Purpose.UNSUBSCRIBE, house.service.find_person("ann@example.org").id)
    octets = f"From: other@example.net\nTo: u+{token}@{DOMAIN}\nSubject: {subject}\n{head}\n\n".encode()
    assert take(house, octets) == [("unsubscribe", "ann@example.org", "unsubscribed")]
    person = house.service.find_person("ann@example.org")
    assert (person.state, person.reason) == ("unsubscribed", None)


def test_an_auto_reply_does_nothing(house: House) -> None:
    path = write_return_path(house, key_of(house))
    octets = f"From: ann@example.org\nTo: {path}\nAuto-Submitted: auto-replied\nSubject: Away\n\nunsubscribe\n".encode()
    assert take(house, octets) == [("auto-reply", "ann@example.org", "ignored")]
    assert house.service.find_person("ann@example.org").state == "active"


def test_soft_bounces_of_issues_in_a_row_are_one_too_many_in_the_end(house: House) -> None:
    told: list[str] = []
    for number in range(1, 6):
        if number > 1:
            house.now += timedelta(days=6)
            publish(house, f"n{number}")
        path = write_return_path(house, key_of(house, issue=number))
        for _ in range(2):  # the same issue twice counts once
            octets = write_bounce(path, status="5.2.2", said=f"552 5.2.2 mailbox full {len(told)}")
            told += [action for _, _, action in take(house, octets)]
    assert told[:6] == ["counted"] * 6
    assert told[6] == "suppressed"
    assert suppression_of(house, "ann@example.org") == "mailbox full"


def test_soft_bounces_that_are_vouched_for_count_too(house: House) -> None:
    told = []
    for number in range(1, 5):
        if number > 1:
            house.now += timedelta(days=6)
            publish(house, f"n{number}")
        octets = write_bounce("news@example.org", status="5.2.2", said=f"552 5.2.2 mailbox full {number}")
        told += [action for _, _, action in take(house, octets, trust=Trust.READERS)]
    assert told == ["counted", "counted", "counted", "suppressed"]


def test_a_mail_that_arrived_in_between_begins_the_count_anew(house: House) -> None:
    actions: list[str] = []
    for number in range(1, 7):
        if number > 1:
            house.now += timedelta(days=6)
            publish(house, f"n{number}")
        if number != 4:
            path = write_return_path(house, key_of(house, issue=number))
            octets = write_bounce(path, status="5.2.2", said=f"552 mailbox full {number}")
            actions += [action for _, _, action in take(house, octets)]
    assert actions == ["counted"] * 5


def test_what_accuses_us_or_is_still_tried_suppresses_nobody(house: House) -> None:
    for number in range(1, 9):
        if number > 1:
            house.now += timedelta(days=6)
            publish(house, f"n{number}")
        path = write_return_path(house, key_of(house, issue=number))
        assert take(house, write_bounce(path, status="5.7.1", said=f"554 5.7.1 spam {number}"))[0][2] == "counted"
        delayed = write_bounce(path, status="4.4.1", said=f"timed out {number}")
        assert take(house, delayed.replace(b"Action: failed", b"Action: delayed"))[0][2] == "ignored"
    assert suppression_of(house, "ann@example.org") is None


def test_a_bounced_confirmation_is_its_persons(house: House) -> None:
    person, database = house.service.find_person("ben@example.org"), house.service.database
    values = {"subscriber_id": person.id, "kind": "known", "email": "ben@example.org", "language": "en", "choice": "{}"}
    with database.write() as conn:
        number = notices.insert_notice(conn, values, house.now)
    proof = prove_name(database.ledger_key, f"notice-{number}")
    octets = write_bounce("news@example.org", "ben@example.org", returned=f"Message-ID: <{proof}@example.org>\n")
    assert take(house, octets) == [("hard", "ben@example.org", "suppressed")]
    unknown = prove_name(database.ledger_key, "notice-99")
    octets = write_bounce("news@example.org", "cyd@example.org", returned=f"Message-ID: <{unknown}@example.org>\n")
    assert take(house, octets) == [("hard", "cyd@example.org", "ignored")]


def test_an_issue_of_which_too_much_comes_back_is_paused(house: House) -> None:
    house.add_people(*(f"p{n}@example.org" for n in range(40)))
    number = publish(house, "two", accepted=False)
    with house.service.database.write() as conn:
        others = subscribers.find_subscribers(conn, [f"p{n}@example.org" for n in range(30)])
        taken = [person.id for person in others.values()]
        some = (deliveries.c.issue_id == number, deliveries.c.subscriber_id.in_(taken))
        conn.execute(update(deliveries).where(*some).values(state="accepted"))
    for n in range(19):
        bounce(house, f"p{n}@example.org", number)
    with house.service.database.read() as conn:
        assert issues.find_issue(conn, number).state == "running"
    bounce(house, "p19@example.org", number)
    with house.service.database.read() as conn:
        issue = issues.find_issue(conn, number)
    assert issue.state == "paused"
    assert issue.reason == "20 hard bounces of the mails that were taken (66.7% of 30)"
    assert control.resume_issue(house.service.database, number, now=house.now)["state"] == "running"
    bounce(house, "p20@example.org", number)
    with house.service.database.read() as conn:
        assert issues.find_issue(conn, number).state == "running"  # the operator has decided


def test_complaints_pause_an_issue_whose_bounces_an_operator_let_pass(house: House) -> None:
    house.add_people(*(f"p{n}@example.org" for n in range(45)))
    number = publish(house, "two", accepted=False)
    with house.service.database.write() as conn:
        others = subscribers.find_subscribers(conn, [f"p{n}@example.org" for n in range(44)])
        some = (deliveries.c.issue_id == number, deliveries.c.subscriber_id.in_([one.id for one in others.values()]))
        conn.execute(update(deliveries).where(*some).values(state="accepted"))
    for n in range(20):
        bounce(house, f"p{n}@example.org", number)
    control.resume_issue(house.service.database, number, now=house.now)
    path = write_return_path(house, key_of(house, "p19@example.org", number))
    take(house, write_bounce(path, said="550 5.1.1 once more, user unknown"))
    with house.service.database.read() as conn:
        assert issues.find_issue(conn, number).state == "running"  # it is no other reader's
    for n in range(20, 40):
        email = f"p{n}@example.org"
        take(house, write_complaint(write_return_path(house, key_of(house, email, number)), email))
    with house.service.database.read() as conn:
        assert issues.find_issue(conn, number).reason == "20 complaints of the mails that were taken (45.5% of 44)"


def test_of_an_issue_that_is_over_nothing_is_paused(house: House) -> None:
    house.add_people(*(f"p{n}@example.org" for n in range(25)))
    number = publish(house, "two")
    for n in range(21):
        email = f"p{n}@example.org"
        take(house, write_complaint(write_return_path(house, key_of(house, email, number)), email))
    with house.service.database.read() as conn:
        assert issues.find_issue(conn, number).state == "running"
        assert reports.count_readers(conn, [number], ("hard", "complaint")) == {number: {"hard": 0, "complaint": 21}}


@given(st.lists(st.tuples(st.integers(0, 900), st.binary(min_size=1, max_size=6)), min_size=1, max_size=9))
@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_whatever_is_broken_in_a_bounce_it_is_taken_and_can_be_told(
    house: House, damage: list[tuple[int, bytes]]
) -> None:
    octets = bytearray(write_bounce(write_return_path(house, key_of(house)), said="550 Empfänger unbekannt"))
    for place, put in damage:
        octets[place : place + len(put)] = put
    assert take(house, bytes(octets))
    with house.service.database.read() as conn:
        assert json.dumps([dict(row._mapping) for row in reports.list_reports(conn)], default=str)
