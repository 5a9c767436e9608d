"""What comes back is read for what it says: standards first, then the formats of none; and any bytes."""

import json
from base64 import b64encode
from quopri import encodestring
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from newsletter.core.bounces.opening import MOST_OCTETS, open_message
from newsletter.core.bounces.reading import read_reports
from newsletter.core.bounces.reasons import find_kind, find_reason
from newsletter.core.bounces.report import Kind, Reason, Report
from newsletter.core.bounces.traces import find_in_text, find_traces

DAEMON = "From: Mail Delivery System <MAILER-DAEMON@mx.example.net>\nSubject: Undelivered Mail Returned to Sender\n"
COPY = "Return-Path: <news@example.com>\nFrom: News <news@example.com>\nTo: ann@example.org\nSubject: Today\n"


def write_dsn(*recipients: str, notice: str = "It did not work.", head: str = DAEMON, report: str = "") -> bytes:
    """A delivery status notification with a block of fields for each recipient."""
    blocks = "\n".join(f"{fields}\n" for fields in (report or "Reporting-MTA: dns; mx.example.net", *recipients))
    return (
        f'{head}Content-Type: multipart/report; report-type=delivery-status; boundary="b"\nMIME-Version: 1.0\n\n'
        f"--b\nContent-Type: text/plain; charset=utf-8\n\n{notice}\n\n"
        f"--b\nContent-Type: message/delivery-status\n\n{blocks}\n"
        f"--b\nContent-Type: image/gif\n\nGIF\n--b\nContent-Type: text/rfc822-headers\n\n{COPY}\n--b--\n"
    ).encode()


def write_block(email: str = "ann@example.org", status: str = "5.1.1", said: str = "", action: str = "failed") -> str:
    diagnostic = f"\nDiagnostic-Code: smtp; {said}" if said else ""
    return f"Final-Recipient: rfc822; {email}\nAction: {action}\nStatus: {status}{diagnostic}"


def read_one(octets: bytes) -> Report:
    (report,) = read_reports(octets)
    return report


def tell(report: Report) -> tuple[Any, ...]:
    return report.kind, report.email, report.status, report.code, report.reason


# ── Standards ───────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_status_notification_tells_recipient_status_code_and_reason() -> None:
    report = read_one(write_dsn(write_block(said="550 5.1.1 <ann@example.org>... User unknown")))
    assert tell(report) == ("hard", "ann@example.org", "5.1.1", 550, "unknown user")
    assert report.text == "550 5.1.1 <ann@example.org>... User unknown"


def test_every_recipient_has_a_report_and_each_but_one() -> None:
    reports = read_reports(
        write_dsn(
            write_block("ann@example.org", "5.1.1", "550 no such user"),
            write_block("ben@example.org", "4.2.2", "452 mailbox full"),
            write_block("ANN@example.org", "5.1.1", "550 no such user"),
        )
    )
    assert [tell(report) for report in reports] == [
        ("hard", "ann@example.org", "5.1.1", 550, "unknown user"),
        ("soft", "ben@example.org", "4.2.2", 452, "mailbox full"),
    ]


def test_fields_without_the_empty_line_between_recipients_are_told_apart() -> None:
    together = write_block("ann@example.org") + "\n" + write_block("ben@example.org", "5.2.2")
    assert [report.email for report in read_reports(write_dsn(together))] == ["ann@example.org", "ben@example.org"]


def test_the_original_recipient_is_told_where_it_is_another() -> None:
    block = write_block("box@example.net") + "\nOriginal-Recipient: rfc822;ann@example.org"
    report = read_one(write_dsn(block))
    assert (report.email, report.original) == ("box@example.net", "ann@example.org")
    alone = "Original-Recipient: <ann@example.org>\nAction: failed\nDiagnostic-Code: smtp; 550 5.1.1 User unknown"
    assert (read_one(write_dsn(alone)).email, read_one(write_dsn(alone)).original) == ("ann@example.org", None)


def test_an_address_of_other_scripts_is_unescaped() -> None:
    report = read_one(write_dsn(write_block("x").replace("rfc822; x", r"utf-8; j\x{F6}rg@b\x{FC}cher.example")))
    assert report.email == "jörg@bücher.example"


@pytest.mark.parametrize("action", ["delivered", "relayed", "expanded"])
def test_what_arrived_is_no_bounce(action: str) -> None:
    assert tell(read_one(write_dsn(write_block(status="2.0.0", action=action))))[:2] == (
        Kind.NO_REPORT,
        "ann@example.org",
    )


def test_what_is_still_tried_is_soft_and_says_so() -> None:
    report = read_one(write_dsn(write_block(status="4.4.1", action="delayed", said="connection timed out")))
    assert (report.kind, report.reason) == ("soft", Reason.DELAYED)


def test_where_the_fields_say_nothing_the_sentences_do() -> None:
    notice = (
        "<ann@example.org>: host mx.example.org said: 550 5.2.1 This mailbox is disabled\n\n<ben@example.org>: fine"
    )
    report = read_one(write_dsn(write_block(status="5.0.0"), notice=notice))
    assert (report.kind, report.status, report.reason) == ("soft", "5.2.1", Reason.SUSPENDED)
    more = read_one(write_dsn(write_block(status="5.0.0", said="X-Notes; no luck"), notice=notice))
    assert more.reason is Reason.SUSPENDED


def test_a_refusal_after_the_mail_was_read_is_a_filter_and_no_unknown_user() -> None:
    said = "550 5.7.1 User unknown (in reply to end of DATA command)"
    assert read_one(write_dsn(write_block(status="5.7.1", said=said))).reason is Reason.FILTERED
    talk = "<ann@example.org>\n... while talking to mx.example.org.:\n>>> DATA\n<<< 550 5.2.0 User unknown"
    assert read_one(write_dsn(write_block(status="5.2.0", said="550 User unknown"), notice=talk)).kind == Kind.SOFT
    assert read_one(write_dsn(write_block(status="5.1.1", said="550 User unknown"), notice=talk)).kind == Kind.HARD


def test_of_a_notice_that_names_somebody_often_the_first_lines_count() -> None:
    notice = "<ann@example.org>: tried\n<ben@example.org>: fine\n" * 5 + "<ann@example.org>: mailbox full\n"
    assert read_one(write_dsn(write_block(status="5.0.0"), notice=notice)).reason is Reason.NONE


def test_a_block_that_names_nobody_is_passed_over() -> None:
    (report,) = read_reports(write_dsn("Action: failed\nStatus: 5.0.0", write_block()))
    assert report.email == "ann@example.org"


def write_complaint(fields: str, to: str = "ann@example.org") -> bytes:
    return (
        "From: feedback@provider.example\nSubject: FW: Today\n"
        'Content-Type: multipart/report; report-type=feedback-report; boundary="b"\n\n'
        f"--b\n\nThis is an abuse report.\n--b\nContent-Type: message/feedback-report\n\n{fields}\nVersion: 1\n\n"
        f"--b\nContent-Type: message/rfc822\n\nFrom: News <news@example.com>\nTo: <{to}>\nSubject: Today\n\nText\n"
        "--b--\n"
    ).encode()


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        ("Feedback-Type: abuse\nOriginal-Rcpt-To: <ben@example.org>", [("complaint", "ben@example.org", "abuse")]),
        ("Feedback-Type: opt-out\nRemoval-Recipient: <cyd@example.org>", [("complaint", "cyd@example.org", "opt-out")]),
        ("User-Agent: x", [("complaint", "ann@example.org", "abuse")]),
        (
            "Feedback-Type: abuse\nOriginal-Rcpt-To: ben@example.org\nOriginal-Rcpt-To: cyd@example.org",
            [("complaint", "ben@example.org", "abuse"), ("complaint", "cyd@example.org", "abuse")],
        ),
        ("Feedback-Type: auth-failure", [("complaint", "ann@example.org", "auth-failure")]),
    ],
)
def test_a_complaint_names_whom_it_is_about(fields: str, told: list[tuple[str, str, str]]) -> None:
    reports = read_reports(write_complaint(fields))
    assert [(report.kind, report.email, report.reason) for report in reports] == told


def test_a_complaint_that_names_nobody_is_a_complaint_all_the_same() -> None:
    assert tell(read_one(write_complaint("Feedback-Type: abuse", to="redacted"))) == (
        "complaint",
        None,
        None,
        None,
        "abuse",
    )


@pytest.mark.parametrize(
    "head",
    [
        "Auto-Submitted: auto-replied\nSubject: Re: Today\n",
        "Return-Path: <>\nAuto-Submitted: auto-replied (vacation)\nSubject: Today\n",
        "X-Autoreply: yes\nSubject: Today\n",
        "Precedence: auto_reply\nSubject: Today\n",
        "X-Mailer: vacation 1.2\nSubject: Today\n",
        "Subject: Out of Office: Today\n",
        "Subject: Automatische Antwort: Today\n",
        "Subject: Réponse automatique : Today\n",
    ],
)
def test_an_auto_reply_is_neither_bounce_nor_unsubscribe(head: str) -> None:
    text = "I am away. Mail to ben@example.org will not be delivered: 550 5.1.1 user unknown."
    report = read_one(f"From: Ann <ann@example.org>\n{head}\n{text}\n".encode())
    assert (report.kind, report.email) == ("auto-reply", "ann@example.org")


@pytest.mark.parametrize("subject", ["unsubscribe", "Re: Unsubscribe", "Abmelden", "please remove me"])
def test_who_writes_to_leave_is_told(subject: str) -> None:
    assert read_one(f"From: ann@example.org\nSubject: {subject}\n\n\n".encode()).kind == Kind.UNSUBSCRIBE


# ── Formats that follow no standard ─────────────────────────────────────────────────────────────────────────────────

QMAIL = (
    """From: MAILER-DAEMON@mx.example.net
Subject: failure notice

Hi. This is the qmail-send program at mx.example.net.
I'm afraid I wasn't able to deliver your message to the following addresses.
This is a permanent error; I've given up. Sorry it didn't work out.

<ann@example.org>:
192.0.2.1 does not like recipient.
Remote host said: 550 5.1.1 <ann@example.org>... No such user
Giving up on 192.0.2.1.

<ben@example.org>:
Sorry, I couldn't find any host named example.org. (#5.1.2)

--- Below this line is a copy of the message.

"""
    + COPY
)

EXIM = (
    """Return-path: <>
From: Mail Delivery System <Mailer-Daemon@mx.example.net>
Subject: Mail delivery failed: returning message to sender
X-Failed-Recipients: ann@example.org
Auto-Submitted: auto-replied

This message was created automatically by mail delivery software.

A message that you sent could not be delivered to one or more of its recipients.
The following address(es) failed:

  ann@example.org
    SMTP error from remote mail server after RCPT TO:<ann@example.org>:
    host mx.example.org [192.0.2.1]: 552 5.2.2 Mailbox full

------ This is a copy of the message, including all the headers. ------

"""
    + COPY
)

SENTENCES = """From: postmaster@example.org
To: news@example.com
Subject: Undeliverable: Today

Your message
  To:      news@example.com
  Subject: Today
did not reach the following recipient(s):

ann@example.org on Thu, 5 Nov 2026 08:00:00 +0000
    The recipient name is not recognized
"""

TRANSCRIPT = """From: gateway@example.org
Subject: Today

Error message below:
550 - Requested action not taken: no such user here
Message details:
  MAIL FROM: news@example.com
  RCPT TO: ann@example.org
"""

INSIDE = """From: MAILER-DAEMON@mx.example.net
Subject: Delivery problems

Reporting-MTA: dns; mx.example.net

Final-Recipient: rfc822; ann@example.org
Action: failed
Status: 5.2.2
Diagnostic-Code: smtp; 552 5.2.2 quota exceeded
"""

NOBODY = (
    """From: MAILER-DAEMON@mx.example.net
Subject: Returned mail: please see below

The user has no account here. Contact postmaster@mx.example.net.

----- Original message -----
"""
    + COPY
)


@pytest.mark.parametrize(
    ("message", "told"),
    [
        (
            QMAIL,
            [
                ("hard", "ann@example.org", "5.1.1", 550, "unknown user"),
                ("hard", "ben@example.org", "5.1.2", None, "unknown host"),
            ],
        ),
        (EXIM, [("soft", "ann@example.org", "5.2.2", 552, "mailbox full")]),
        (SENTENCES, [("hard", "ann@example.org", None, None, "unknown user")]),
        (TRANSCRIPT, [("hard", "ann@example.org", None, 550, "unknown user")]),
        (INSIDE, [("soft", "ann@example.org", "5.2.2", 552, "mailbox full")]),
        (NOBODY, [("hard", "ann@example.org", None, None, "unknown user")]),
    ],
    ids=["qmail", "exim", "sentences", "transcript", "fields in the text", "nobody named"],
)
def test_bounces_of_no_standard(message: str, told: list[tuple[Any, ...]]) -> None:
    assert [tell(report) for report in read_reports(message.encode())] == told
    assert [tell(report) for report in read_reports(message.replace("\n", "\r\n").encode())] == told


def test_a_bounce_in_html_alone() -> None:
    page = (
        "<html><head><style>p { margin: 0 }</style></head><body><p>Delivery failed:</p>"
        "<div>&lt;ann@example.org&gt;: 550 5.1.1 user unknown</div><script>alert('x@y.example')</script><style></body>"
    )
    report = read_one(f"{DAEMON}Content-Type: text/html\n\n{page}\n".encode())
    assert tell(report) == ("hard", "ann@example.org", "5.1.1", 550, "unknown user")


def test_a_bounce_that_returns_another_bounce_is_read_inside() -> None:
    outer = f"{DAEMON}Content-Type: multipart/mixed; boundary=o\n\n--o\n\n\n--o\nContent-Type: message/rfc822\n\n"
    assert read_one((outer + EXIM.partition("\n")[2] + "\n--o--\n").encode()).email == "ann@example.org"
    text = "Return-Path: <>\nFrom: gateway@example.net\nSubject: Hello\n\nForwarded:\nReturn-Path: <>\n"
    assert read_one((text + EXIM.partition("\n")[2]).encode()).email == "ann@example.org"


def test_a_name_with_a_copy_but_no_bounce_is_none() -> None:
    outer = "From: ann@example.org\nContent-Type: multipart/mixed; boundary=o\n\n"
    outer += "--o\n\nSee.\n--o\nContent-Type: message/rfc822\n\n"
    assert read_one((outer + COPY + "\n--o--\n").encode()).kind == Kind.NO_REPORT


SES = {
    "notificationType": "Bounce",
    "bounce": {
        "bounceType": "Permanent",
        "bouncedRecipients": [
            {"emailAddress": "ann@example.org", "status": "5.1.1", "diagnosticCode": "smtp; 550 5.1.1 user unknown"},
            {"emailAddress": "ben@example.org"},
            {"emailAddress": 7},
            "nonsense",
        ],
    },
}


def test_a_notification_of_amazon_ses() -> None:
    told = [("hard", "ann@example.org"), ("soft", "ben@example.org")]
    mail = f"From: no-reply@sns.example\nSubject: Notification\n\n{json.dumps(SES)}\n--\nTo stop, click.\n"
    assert [(report.kind, report.email) for report in read_reports(mail.encode())] == told
    wrapped = json.dumps({"Type": "Notification", "Message": json.dumps(SES)})
    assert [(report.kind, report.email) for report in read_reports(f"Subject: x\n\n{wrapped}".encode())] == told


@pytest.mark.parametrize(
    ("notification", "told"),
    [
        (
            {"eventType": "Complaint", "complaint": {"complainedRecipients": [{"emailAddress": "a@b.example"}, {}]}},
            [("complaint", "a@b.example", "abuse")],
        ),
        (
            {"notificationType": "Delivery", "delivery": {"recipients": ["a@b.example", "none"]}},
            [("not-a-report", "a@b.example", "")],
        ),
        ({"notificationType": "Bounce", "bounce": "?"}, [("not-a-report", None, "")]),
        ({"notificationType": "AmazonSnsSubscriptionSucceeded"}, [("not-a-report", None, "")]),
        ({"Message": "not json"}, [("not-a-report", None, "")]),
        ({"Message": "[1]"}, [("not-a-report", None, "")]),
    ],
)
def test_other_notifications_of_amazon_ses(notification: dict[str, Any], told: list[tuple[Any, ...]]) -> None:
    reports = read_reports(f"Subject: x\n\n{json.dumps(notification)}".encode())
    assert [(report.kind, report.email, report.reason) for report in reports] == told


# ── Broken, encoded, of other scripts ──


def write_encoded(encoding: str, fields: bytes, kind: str = "message/delivery-status") -> bytes:
    return (
        (
            f"{DAEMON}Content-Type: multipart/report; boundary=b\n\n--b\n\nIt did not work.\n\n"
            f"--b\nContent-Type: {kind}\nContent-Transfer-Encoding: {encoding}\n\n"
        ).encode()
        + fields
        + b"\n--b--\n"
    )


UTF8_FIELDS = (
    "Reporting-MTA: dns; mx.example\n\nFinal-Recipient: utf-8; zoë@例え.example\nAction: failed\nStatus: 5.1.1\n"
    "Diagnostic-Code: smtp; 550 5.1.1 Empfänger unbekannt: no such user\n"
).encode()


@pytest.mark.parametrize("kind", ["message/delivery-status", "message/global-delivery-status"])
@pytest.mark.parametrize(
    ("encoding", "fields"),
    [("8bit", UTF8_FIELDS), ("base64", b64encode(UTF8_FIELDS)), ("quoted-printable", encodestring(UTF8_FIELDS))],
)
def test_fields_of_other_scripts_are_read_in_any_encoding(encoding: str, fields: bytes, kind: str) -> None:
    report = read_one(write_encoded(encoding, fields, kind))
    assert (report.kind, report.email, report.status) == ("hard", "zoë@例え.example", "5.1.1")
    assert "Empfänger" in report.text


def test_what_is_in_no_encoding_is_read_all_the_same() -> None:
    fields = b"Final-Recipient: rfc822; ann@example.org\nDiagnostic-Code: smtp; 550 \xd3\xc3\xbb\xa7 unknown user\n"
    assert read_one(write_encoded("8bit", b"Reporting-MTA: x\n\n" + fields)).text.encode()
    assert read_one(write_encoded("base64", b"abcde")).kind == Kind.NO_REPORT
    odd = b"--\xff\n\nhi\n--\xff--\n"
    inside = b'From: mailer-daemon@x.example\nContent-Type: multipart/mixed; boundary="\xff"\n\n' + odd
    assert read_one(DAEMON.encode() + b"Content-Type: message/rfc822\n\n" + inside).kind == Kind.NO_REPORT
    nested = b"Content-Type: multipart/mixed; boundary=o\n\n--o\n\n\n--o\nContent-Type: message/rfc822\n\nX: \xff\xfe\n"
    inner = EXIM.partition("\n")[2].encode()
    assert read_one(DAEMON.encode() + nested + inner + b"\n--o--\n").email == "ann@example.org"
    recipient = {"emailAddress": "a@b.example", "diagnosticCode": "\ud800"}
    told = json.dumps({"notificationType": "Bounce", "bounce": {"bouncedRecipients": [recipient]}})
    assert read_one(f"Subject: x\n\n{told}".encode()).text == "?"


def test_an_encoded_diagnosis_is_read() -> None:
    said = "=?utf-8?b?" + b64encode(b"550 5.2.2 quota exceeded").decode() + "?="
    assert read_one(write_dsn(write_block(status="5.0.0", said=said))).reason is Reason.MAILBOX_FULL


@pytest.mark.parametrize(
    "head",
    ["Subject: Fwd: Undelivered Mail Returned to Sender\n", "Subject: failure notice\nList-Id: <talk.example.org>\n"],
)
def test_what_people_pass_on_is_no_bounce_of_theirs(head: str) -> None:
    text = QMAIL.partition("\n\n")[2]
    assert read_one(f"From: Ann <ann@example.org>\n{head}\n{text}".encode()).kind == Kind.NO_REPORT


def test_a_complaint_of_outlook() -> None:
    octets = (
        "From: staff@hotmail.com\nSubject: complaint about message from 192.0.2.1\n"
        "Content-Type: multipart/mixed; boundary=b\n\n--b\nContent-Type: message/rfc822\n\n"
        f"X-HmXmrOriginalRecipient: <ann@outlook.example>\n{COPY}\n--b--\n"
    ).encode()
    assert tell(read_one(octets)) == ("complaint", "ann@outlook.example", None, None, "abuse")


@pytest.mark.parametrize(
    "said",
    [
        "550-Verification failed for <news@example.com>\n 550-Unrouteable address\n 550 Sender verify failed",
        "550 Sender verify failed: The account or domain may not exist",
    ],
)
def test_a_refusal_of_our_own_address_is_not_the_readers_fault(said: str) -> None:
    assert read_one(write_dsn(write_block(status="5.0.0", said=said))).kind == Kind.SOFT


# ── Reasons ─────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("text", "status", "code", "reason", "kind"),
    [
        ("User unknown", "5.1.1", 550, Reason.UNKNOWN_USER, "hard"),
        ("User unknown", "4.1.1", 450, Reason.UNKNOWN_USER, "soft"),
        ("Host or domain name not found", "5.4.4", None, Reason.UNKNOWN_HOST, "hard"),
        ("The user has moved to another place", "5.1.6", 551, Reason.MOVED, "hard"),
        ("This domain does not accept mail", "5.7.27", 556, Reason.TAKES_NO_MAIL, "hard"),
        ("", None, 521, Reason.TAKES_NO_MAIL, "hard"),
        ("Service refused", "5.7.1", 521, Reason.POLICY, "soft"),
        ("mailbox is over quota", "5.2.2", 552, Reason.MAILBOX_FULL, "soft"),
        ("This account has been disabled", "5.2.1", 550, Reason.SUSPENDED, "soft"),
        ("inactive email address", "5.1.1", 550, Reason.UNKNOWN_USER, "hard"),
        ("message looks like spam", "5.7.1", 554, Reason.SPAM, "soft"),
        ("message contains a virus", "5.7.1", 554, Reason.VIRUS, "soft"),
        ("listed at a dnsbl", "5.7.1", 554, Reason.BLOCKED, "soft"),
        ("fails DMARC", "5.7.26", 550, Reason.AUTHENTICATION, "soft"),
        ("too many connections", "4.7.0", 421, Reason.RATE, "soft"),
        ("message size exceeds fixed limit", "5.3.4", 552, Reason.TOO_LARGE, "soft"),
        ("relay access denied", "5.7.1", 554, Reason.RELAYING, "soft"),
        ("delivery time expired", "4.4.7", None, Reason.EXPIRED, "soft"),
        ("connection refused", "4.4.1", None, Reason.NETWORK, "soft"),
        ("local error", "5.3.0", 554, Reason.SYSTEM, "soft"),
        ("No such domain", "5.1.8", 553, Reason.POLICY, "soft"),
        ("550 sender unknown: no such user", None, 550, Reason.POLICY, "soft"),
        ("Recipient address rejected", None, 550, Reason.UNKNOWN_USER, "hard"),
        ("Recipient address rejected", "5.6.0", 550, Reason.CONTENT, "soft"),
        ("", "5.1.10", None, Reason.TAKES_NO_MAIL, "hard"),
        ("", "5.6.9", None, Reason.CONTENT, "soft"),
        ("", None, 551, Reason.MOVED, "hard"),
        ("", None, None, Reason.NONE, "soft"),
        ("<user-unknown@spam.example>, see https://virus.example", None, None, Reason.NONE, "soft"),
    ],
)
def test_words_come_before_numbers(text: str, status: str | None, code: int | None, reason: Reason, kind: str) -> None:
    found = find_reason(text, status, code)
    assert (found, find_kind(found, status, code)) == (reason, kind)


@pytest.mark.parametrize(
    ("said", "reason"),
    [
        ("550-5.1.1 The email account that you tried to reach does not exist", Reason.UNKNOWN_USER),
        ("550 5.4.1 Recipient address rejected: Access denied. AS(201806281)", Reason.UNKNOWN_USER),
        ("550 5.1.10 RESOLVER.ADR.RecipientNotFound; Recipient not found by SMTP address lookup", Reason.UNKNOWN_USER),
        ("550 Requested action not taken: mailbox unavailable", Reason.UNKNOWN_USER),
        ("553 sorry, that recipient is not in my validrcptto list (#5.7.1)", Reason.UNKNOWN_USER),
        ("511 sorry, no mailbox here by that name (#5.1.1 - chkuser)", Reason.UNKNOWN_USER),
        ("550 unrouteable address", Reason.UNKNOWN_HOST),
        ("550 5.4.310 DNS domain nosuch.example does not exist", Reason.UNKNOWN_HOST),
        ("[Errno 8] nodename nor servname provided, or not known", Reason.UNKNOWN_HOST),
        ("556 5.1.10 Domain nosuch.example does not accept mail (nullMX)", Reason.TAKES_NO_MAIL),
        ("552-5.2.2 The recipient's inbox is out of storage space and inactive", Reason.MAILBOX_FULL),
        ("452 4.2.2 The email account that you tried to reach is over quota", Reason.MAILBOX_FULL),
        ("550 5.7.1 Our system has detected that this message is likely unsolicited mail", Reason.SPAM),
        ("550 5.7.26 This mail has been blocked because the sender is unauthenticated", Reason.AUTHENTICATION),
        ("550 5.7.606 Access denied, banned sending IP [192.0.2.1]", Reason.BLOCKED),
        ("421 RP-001 The server has exceeded the rate limit allowed", Reason.RATE),
        ("554 Message not allowed - [PH01] Email not accepted for policy reasons.", Reason.POLICY),
        ("450 4.1.8 Sender address rejected: Domain not found", Reason.POLICY),
        ("550 5.3.0 Rejected, please use our web form", Reason.SYSTEM),
        ("4.4.7 Message expired: unable to deliver in 840 minutes", Reason.EXPIRED),
    ],
)
def test_what_the_great_providers_and_common_servers_say(said: str, reason: Reason) -> None:
    assert read_one(write_dsn(write_block(status="5.0.0", said=said))).reason is reason


# ── No false alarms, and any bytes ──────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    "message",
    [
        "From: Ann <ann@example.org>\nSubject: Re: Today\n\nI could not deliver it to ben@example.org. 550 sold.\n",
        "From: Ann <ann@example.org>\nSubject: delivery problem\n\nI did not get your mail, ben@example.org did.\n",
        "From: postmaster@example.org\nSubject: Maintenance on Sunday\n\nThe servers rest. Ask admin@example.org.\n",
        "From: bounce-house@toys.example\nSubject: New castles\n\nOrder at shop@toys.example. User unknown? Ask us.\n",
        "From: News <news@toys.example>\nSubject: Delivery failed for a rocket\n\nIt was not delivered. p@x.example\n",
        "",
        "\n\n{",
        "Subject: x\n\n{ no json",
    ],
)
def test_ordinary_mail_is_no_report(message: str) -> None:
    assert [report.kind for report in read_reports(message.encode())] == [Kind.NO_REPORT]


@given(st.binary(max_size=2_000))
def test_any_bytes_are_read(octets: bytes) -> None:
    assert read_reports(octets)


SAMPLES = [write_dsn(write_block(said="550 5.1.1 unknown")), QMAIL.encode(), EXIM.encode(), write_complaint("a: b")]


@given(
    st.sampled_from(SAMPLES), st.lists(st.tuples(st.integers(0, 1_200), st.binary(min_size=1, max_size=9)), max_size=9)
)
def test_broken_bounces_are_read(sample: bytes, damage: list[tuple[int, bytes]]) -> None:
    octets = bytearray(sample)
    for place, put in damage:
        octets[place : place + len(put)] = put
    for report in read_reports(bytes(octets)):
        assert report.email is None or "@" in report.email
    assert find_traces(open_message(bytes(octets)))


@pytest.mark.parametrize(
    "octets",
    [
        b"Content-Type: message/rfc822\n\n" * 5_000,
        b"".join(b"Content-Type: multipart/mixed; boundary=b%d\n\n--b%d\n" % (n, n) for n in range(2_000)),
        b"Content-Type: message/delivery-status\n\n" + b"Final-Recipient: rfc822; a@b.example\n" * 9_000,
        b"From: mailer-daemon@x.example\nSubject: failed\n\n" + b"<a@b.example>: 550 user unknown " * 9_000,
        b"From: mailer-daemon@x.example\nContent-Type: text/html\n\n" + b"<style> " * 40_000,
        b"From: mailer-daemon@x.example\nContent-Type: text/plain; charset=nonsense\n\nfailed \xff\n",
        b"From: =?nonsense?q?x?= <mailer-daemon@x.example>\nSubject: =?utf-8?b?abcde?=\n\nfailed\n",
        b"Content-Type: message/delivery-status\nContent-Transfer-Encoding: base64\n\n!!!!\n",
        b"x" * (MOST_OCTETS + 9),
    ],
)
def test_hostile_messages_are_read(octets: bytes) -> None:
    assert len(read_reports(octets)) <= 100


# ── What of ours it carries ─────────────────────────────────────────────────────────────────────────────────────────

TOKEN = "f5s5saqme3vvkbaim7ydow5k"
NAME = "12-345.wftdyitzvt5n5wak"


def test_tokens_are_found_where_the_message_arrived_and_in_what_it_returns() -> None:
    octets = write_dsn(
        write_block(),
        head=f"Delivered-To: B+{TOKEN.upper()}@bounces.example.com\nTo: <u+{TOKEN}@bounces.example.com>\n{DAEMON}",
        report=f"Original-Envelope-Id: {NAME}\nReporting-MTA: dns; x.example",
    )
    traces = find_traces(open_message(octets))
    assert (traces.bounce, traces.unsubscribe, traces.names) == ((TOKEN,), (TOKEN,), (NAME,))
    returned = QMAIL.replace("news@example.com>", f"b+{TOKEN}@example.com>", 1) + f"Message-ID: <{NAME}@example.com>\n"
    traces = find_traces(open_message(returned.encode()))
    assert (traces.bounce, traces.names) == ((TOKEN,), (NAME,))


def test_it_is_found_anywhere_in_a_text() -> None:
    traces = find_in_text(f'{{"from": "b+{TOKEN}@x.example", "id": "<{NAME}@x.example>"}}')
    assert (traces.bounce, traces.unsubscribe, traces.names) == ((TOKEN,), (), (NAME,))


def test_nothing_of_ours_is_found_where_there_is_nothing() -> None:
    traces = find_traces(open_message(QMAIL.encode()))
    assert (traces.bounce, traces.unsubscribe, traces.names) == ((), (), ())
