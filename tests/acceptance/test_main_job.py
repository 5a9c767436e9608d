"""From a brief to every reader's own mail, and a log that agrees with what the SMTP server saw."""

import re
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime

import pytest
from smtp_server import DROP, SmtpServer, run_in_thread
from smtp_talk import Answers
from workshop import MONDAY, Workshop, parse_mail, read_parts

TITLES = ("A football match ended level", "A comet passes close by", "The museum opens late")
EXPECTED = {"ada@example.org": {1}, "ben@example.org": {0, 2}, "cleo@example.org": {0, 1, 2}}
ONCE = [
    "From",
    "To",
    "Subject",
    "Date",
    "Message-ID",
    "List-Id",
    "List-Unsubscribe",
    "List-Unsubscribe-Post",
    "Feedback-ID",
    "MIME-Version",
]


@pytest.fixture
def ready(workshop: Workshop) -> Workshop:
    """Subscribers imported."""
    told = workshop.run("subscribers", "import", "subscribers/list.csv", "--json").json
    assert told == {"added": 4, "updated": 0, "unchanged": 0, "rejected": []}
    return workshop


def test_each_reader_gets_exactly_their_stories_in_both_parts(ready: Workshop) -> None:
    with run_in_thread(SmtpServer()) as server:
        ready.use(server)
        told = ready.run("send", "--brief", "latest", "--json").json
    assert told["issue"] == 1
    assert told["new"] == 4
    assert told["editions"] == 3
    assert told["audit"] == {
        "issue": 1,
        "selected": 4,
        "accepted": 3,
        "rejected": 0,
        "queued": 0,
        "deferred": 0,
        "sending": 0,
        "uncertain": 0,
        "excluded": {"no_matching_stories": 1},
        "balanced": True,
    }
    assert {mail.recipient for mail in server.mails} == set(EXPECTED)
    for mail in server.mails:
        for part in read_parts(mail):
            got = {number for number, title in enumerate(TITLES) if title in part}
            assert got == EXPECTED[mail.recipient]


def test_headers_are_there_exactly_once_in_the_raw_bytes(ready: Workshop) -> None:
    with run_in_thread(SmtpServer()) as server:
        ready.use(server)
        ready.run("send")
    for mail in server.mails:
        head, _, body = mail.data.partition(b"\r\n\r\n")
        for name in ONCE:
            assert len(re.findall(rf"(?im)^{name}:", head.decode())) == 1, name
        message = parse_mail(mail)
        assert re.fullmatch(r"<https://news\.example\.org/unsubscribe/[a-z2-7]+>", message["List-Unsubscribe"])
        assert message["List-Unsubscribe-Post"] == "List-Unsubscribe=One-Click"
        assert message["Message-ID"].endswith("@news.example.org>")
        assert max(len(line) for line in body.split(b"\r\n")) <= 76
        assert message.get_content_type() == "multipart/alternative"
        assert mail.return_path == "brief@news.example.org"
    by_reader = {mail.recipient: parse_mail(mail) for mail in server.mails}
    assert by_reader["ben@example.org"]["To"].addresses[0].display_name == "Ben, B."
    assert 'lang="de"' in read_parts(next(m for m in server.mails if m.recipient == "ben@example.org"))[1]


def test_the_same_brief_again_mails_nobody(ready: Workshop) -> None:
    with run_in_thread(SmtpServer()) as server:
        ready.use(server)
        ready.run("send")
        again = ready.run("send", "--json").json
    assert (again["issue"], again["new"]) == (1, 0)
    assert len(server.mails) == 3


def test_the_log_the_audit_and_mail_agree_with_what_the_server_saw(ready: Workshop) -> None:
    replies = {"RCPT": {"ada@example.org": "550 5.1.1 no such user here"}}
    with run_in_thread(SmtpServer(replies=replies, greylist=None)) as server:
        ready.use(server)
        ready.run("send")
        log = ready.run("log", "--json").lines
    seen = {parse_mail(mail)["Message-ID"]: mail.data for mail in server.mails}
    assert len(log) == 3
    assert {line["outcome"] for line in log} == {"accepted", "rejected"}
    for line in log:
        if line["outcome"] == "accepted":
            assert ready.run_raw("mail", line["delivery"]) == seen[line["message_id"]]
            sent_at = parsedate_to_datetime(parse_mail(seen[line["message_id"]])["Date"])
            assert sent_at.isoformat()[:19] == line["at"][:19]
        else:
            assert (line["email"], line["code"], line["enhanced_code"]) == ("ada@example.org", 550, "5.1.1")
            assert "no such user" in line["response"]
    person = ready.run("subscribers", "show", "ada@example.org", "--json").json
    assert person["suppression"]["reason"] == "5.1.1"
    assert person["deliveries"][0]["state"] == "rejected"
    assert ready.run("audit", "--json").json["balanced"] is True


def test_a_mail_can_be_made_again_after_everything_changed(ready: Workshop) -> None:
    with run_in_thread(SmtpServer()) as server:
        ready.use(server)
        ready.run("send")
        log = {line["email"]: line["delivery"] for line in ready.run("log", "--json").lines}
    sent = {mail.recipient: mail.data for mail in server.mails}
    ready.run("subscribers", "add", "ben@example.org", "--topics", "science", "--name", "Benjamin")
    ready.write("subscribers/topics.toml", '[topics.science]\nname = "Renamed"\n')
    ready.write("mine/mail.txt.j2", "{{ story_list }} {{ slot.unsubscribe }}")
    old, new = ready.settings["SECRET_KEY"], "f" * 32
    ready.configure(TEMPLATES="mine", BASE_URL="https://other.example", SECRET_KEY=f'["{new}","{old}"]')
    assert ready.run_raw("mail", log["ben@example.org"]) == sent["ben@example.org"]
    ready.configure(SECRET_KEY=new)
    assert "error:" in ready.run("mail", log["ben@example.org"], code=1).err
    ready.configure(SECRET_KEY=old)
    ready.run("subscribers", "forget", "ben@example.org")
    assert "forgotten" in ready.run("mail", log["ben@example.org"], code=1).err


def test_a_deferred_mail_goes_later_with_the_same_message_id(ready: Workshop) -> None:
    ready.configure(RETRY_DELAYS="[0,0]")
    replies: Answers = {"BODY": {"ada@example.org": ["451 4.7.1 later", DROP, None]}}
    with run_in_thread(SmtpServer(replies=replies)) as server:
        ready.use(server)
        told = ready.run("send", "--json").json
        log = ready.run("log", "--email", "ada@example.org", "--json").lines
    assert told["audit"]["accepted"] == 3
    assert [line["outcome"] for line in log] == ["deferred", "uncertain", "accepted"]
    assert len({line["message_id"] for line in log}) == 1
    assert len(server.mails_to("ada@example.org")) == 1


def test_a_delivery_that_is_due_only_later_is_no_error(ready: Workshop) -> None:
    replies = {"RCPT": {"ada@example.org": "451 4.7.1 later"}}
    with run_in_thread(SmtpServer(replies=replies)) as server:
        ready.use(server)
        told = ready.run("send", "--json").json
    assert (told["audit"]["deferred"], told["audit"]["accepted"]) == (1, 2)
    assert told["audit"]["balanced"] is True


def test_held_uncertain_deliveries_wait_for_the_operator(ready: Workshop) -> None:
    ready.configure(ON_UNCERTAIN="hold")
    replies: Answers = {"BODY": {"ada@example.org": [DROP], "ben@example.org": [DROP]}}
    with run_in_thread(SmtpServer(replies=replies)) as server:
        ready.use(server)
        told = ready.run("send", "--json").json
        assert told["audit"]["uncertain"] == 2
        shown = ready.run("issues", "show", "1", "--json").json
        assert {held["email"] for held in shown["uncertain"]} == {"ada@example.org", "ben@example.org"}
        ready.run("issues", "settle", "1", "--as", "sent", "--email", "ada@example.org")
        ready.run("issues", "settle", "1", "--as", "resend", "--json")
        told = ready.run("deliver", "--json").json
    assert told["audit"]["accepted"] == 3
    assert told["audit"]["balanced"] is True
    assert len(server.mails_to("ada@example.org")) == 0
    assert len(server.mails_to("ben@example.org")) == 1


def test_a_relay_that_is_down_stops_with_3_and_counts_nothing(ready: Workshop) -> None:
    ran = ready.run("send", "--json", code=3)
    assert ran.json["audit"]["queued"] == 3
    assert "127.0.0.1:1" in ran.err
    assert ready.run("log", "--json").out == ""
    with run_in_thread(SmtpServer()) as server:
        ready.use(server)
        assert ready.run("deliver", "--json").json["audit"]["accepted"] == 3


def test_a_refused_login_stops_with_3_and_counts_nothing(ready: Workshop) -> None:
    with run_in_thread(SmtpServer(login_demanded=True, logins={"a": "right"})) as server:
        ready.use(server)
        ready.configure(SMTP__USERNAME="a", SMTP__PASSWORD="wrong-secret")
        ran = ready.run("send", "--json", code=3)
    assert ran.json["audit"]["queued"] == 3
    assert "wrong-secret" not in ran.err + ran.out


def test_only_publishes_delivers_to_one_and_leaves_the_issue_paused(ready: Workshop) -> None:
    with run_in_thread(SmtpServer()) as server:
        ready.use(server)
        ready.run("send", "--only", "ada@example.org")
        assert [mail.recipient for mail in server.mails] == ["ada@example.org"]
        assert ready.run("issues", "show", "1", "--json").json["state"] == "paused"
        assert ready.run("deliver", "--json", code=3).json["audit"]["queued"] == 2
        ready.run("issues", "resume", "1")
        ready.run("deliver")
        assert len(server.mails) == 3


def test_who_leaves_after_publication_gets_nothing(ready: Workshop) -> None:
    ready.run("send", code=3)
    ready.run("subscribers", "remove", "ada@example.org")
    ready.run("suppressions", "add", "BEN@example.org", "--reason", "asked by phone")
    ready.run("subscribers", "forget", "cleo@example.org")
    with run_in_thread(SmtpServer()) as server:
        ready.use(server)
        books = ready.run("deliver", "--json").json["audit"]
    assert server.mails == []
    assert books["excluded"] == {"no_matching_stories": 1, "suppressed": 1, "unsubscribed": 2}
    assert books["balanced"] is True


def test_cancel_pause_and_service_pause(ready: Workshop) -> None:
    with run_in_thread(SmtpServer()) as server:
        ready.use(server)
        ready.run("pause")
        assert ready.run("send", "--json", code=3).json["audit"]["queued"] == 3
        ready.run("resume")
        ready.run("issues", "pause", "1")
        ready.run("deliver", code=3)
        ready.run("issues", "resume", "1")
        ready.run("issues", "cancel", "1")
        ready.run("deliver")
    assert server.mails == []
    books = ready.run("audit", "1", "--json", "--names").json
    assert books["excluded"] == {"cancelled": 3, "no_matching_stories": 1}
    assert len(books["names"]) == 4
    assert "error: issue 1 is cancelled" in ready.run("issues", "resume", "1", code=1).err


def test_a_changed_brief_says_so_and_goes_out_only_when_reissued(ready: Workshop) -> None:
    with run_in_thread(SmtpServer()) as server:
        ready.use(server)
        ready.run("send")
        extra = "\nA theatre finds its roof\n\nThe theatre is dry again.\n"
        ready.write(
            "briefs/2026-11-23-monday.md",
            MONDAY.replace("opens late**\n", "opens late**\n- **A theatre finds its roof**\n") + extra,
        )
        ran = ready.run("send", code=1)
        assert "2026-11-23-monday.md" in ran.err
        assert ran.err.startswith("error: ")
        assert ready.run("send", "--reissue", "--json").json["audit"]["accepted"] == 2
    assert {m.recipient for m in server.mails[3:]} == {"ben@example.org", "cleo@example.org"}


def test_explain_says_why_and_why_not(ready: Workshop) -> None:
    with run_in_thread(SmtpServer()) as server:
        ready.use(server)
        ready.run("send")
    told = ready.run("explain", "--email", "ada@example.org", "--json").json
    assert [story["title"] for story in told["stories"]] == [TITLES[1]]
    assert any("comet" in reason for reason in told["stories"][0]["because"])
    assert len(told["left_out"]) == 2
    assert ready.run("explain", "--email", "dan@example.org", "--json").json["reason"] == "no_matching_stories"
    for command in (["explain", "--email", "ada@example.org"], ["log"], ["audit", "--names"], ["issues", "list"]):
        assert "ada@example.org" in ready.run(*command).out or command[0] == "issues"


def test_a_dry_run_writes_and_sends_nothing(ready: Workshop) -> None:
    told = ready.run("send", "--dry-run", "--json").json
    assert (told["issue"], told["new"], told["editions"]) == (None, 4, 3)
    assert ready.run("issues", "list", "--json").out == ""


def test_hostile_text_stays_text(ready: Workshop) -> None:
    ready.write(
        "briefs/2026-11-24-hostile.md",
        "Headlines:\n\n- A {{ 7*7 }} comet {% raw %} =?utf-8?q?hi?=\n\nDetails:\n\n"
        "A {{ 7*7 }} comet {% raw %} =?utf-8?q?hi?=\n\n"
        "<script>alert(1)</script> [x](javascript:alert(2)) <b onclick=evil()>bold</b> {{ settings }}\n\n.\n\n.dot\n",
    )
    with run_in_thread(SmtpServer()) as server:
        ready.use(server)
        ready.run("send")
    text, html = read_parts(server.mails[0])
    assert "A {{ 7*7 }} comet {% raw %} =?utf-8?q?hi?=" in text
    assert "{{ settings }}" in text
    assert parse_mail(server.mails[0])["Subject"] == "A {{ 7*7 }} comet {% raw %} =?utf-8?q?hi?="
    for evil in ("<script", "javascript:", "onclick", "alert(1)"):
        assert evil not in html
    assert "\n.dot\n" in text.replace("\r\n", "\n")


def test_a_mail_bears_its_readers_day_and_is_shown_again_as_it_was(ready: Workshop) -> None:
    now = datetime.now(UTC)
    zone, by = ("Pacific/Kiritimati", 1) if now.hour >= 10 else ("Pacific/Pago_Pago", -1)  # UTC+14, UTC-11
    ready.write("briefs/today.md", f"---\ndate: {now.date()}\n---\n\n# Day\n\n## A comet\n\nIt comes.\n")
    ready.run("subscribers", "add", "ada@example.org", "--timezone", zone)
    with run_in_thread(SmtpServer()) as server:
        ready.use(server)
        ready.run("send", "--brief", "briefs/today.md")
    sent = {mail.recipient: mail for mail in server.mails}
    for address, day in (("ada@example.org", now + timedelta(days=by)), ("cleo@example.org", now)):
        for part in read_parts(sent[address]):
            assert f"{day:%A, %B} {day.day}, {day.year}" in part
    ready.run("subscribers", "add", "ada@example.org", "--timezone", "Europe/Berlin")
    log = {line["email"]: line["delivery"] for line in ready.run("log", "--json").lines}
    assert ready.run_raw("mail", log["ada@example.org"]) == sent["ada@example.org"].data


def test_a_mail_too_long_is_cut_after_whole_stories_with_a_link_to_the_rest(ready: Workshop) -> None:
    long = "\n\n".join(f"Paragraph {number} of a story. " + "Words and more words. " * 12 for number in range(40))
    stories = "".join(f"## Comet {number}\n\n{long}\n\n" for number in range(10))
    ready.write("briefs/2026-11-25-long.md", f"# Long\n\n{stories}")
    with run_in_thread(SmtpServer()) as server:
        ready.use(server)
        ready.run("send")
    text, html = read_parts(next(mail for mail in server.mails if mail.recipient == "ada@example.org"))
    assert len(html.encode()) < 90_000
    for part in (text, html):
        assert all(f"Comet {number}" in part for number in range(10))
        assert 3 < part.count("Paragraph 1 of") == part.count("Paragraph 39 of") < 8
        assert "/unsubscribe/" in part
        assert part.count("https://news.example.org/view/") >= 2


def test_a_story_that_no_mail_could_hold_goes_as_far_as_it_goes(ready: Workshop) -> None:
    long = "\n\n".join(f"Paragraph {number}. " + "Words and more words. " * 12 for number in range(380))
    ready.write("briefs/2026-11-25-long.md", f"# Long\n\n## A comet\n\n{long}\n\n## Third comet\n\nShort too.\n")
    html = ready.run("render", "--topics", "*").out
    assert "Paragraph 20." in html
    assert "Paragraph 379." not in html
    assert "Short too." in html
    assert "Continue reading on the web" in html
    assert len(html.encode()) < 90_000
    mjml = ready.run("render", "--topics", "*", "--format", "mjml").out
    assert "Paragraph 20." in mjml
    assert "Paragraph 379." not in mjml


@pytest.mark.parametrize(
    ("name", "text", "where"),
    [
        ("brief/frame.mjml.j2", "\n", "mine/brief/frame.mjml.j2, line 1"),
        ("mail.txt.j2", '{% include "mail.txt.j2" %}\n', "mine/mail.txt.j2, line 1"),
        ("brief/story.mjml.j2", "{% block story %}\n{{ story.nothing }}{% endblock %}", "mine/brief/story.mjml.j2"),
    ],
)
def test_a_broken_template_is_a_sentence_with_its_file(ready: Workshop, name: str, text: str, where: str) -> None:
    ready.write(f"mine/{name}", text)
    ready.configure(TEMPLATES="mine")
    for command in (("render", "--topics", "*"), ("send",)):
        err = ready.run(*command, code=1).err
        assert err.startswith("error: ")
        assert where in err
        assert err.count("\n") == 1
    assert ready.run("issues", "list", "--json").out == ""


@pytest.mark.parametrize(
    ("setting", "value", "sentence"),
    [
        ("LANGUAGE", "xx", "NEWSLETTER_LANGUAGE 'xx' is none of the templates' languages: en,"),
        ("SMTP__CA_FILE", "/nope.pem", "NEWSLETTER_SMTP__CA_FILE '/nope.pem' is not a file"),
        (
            "BRIEFS",
            "https://user:hunter2@127.0.0.1:1/feed.xml",
            "feed https://***@127.0.0.1:1/feed.xml cannot be fetched: ",
        ),
        ("FROM", "A <a@b.example>, B <b@c.example>", "is more than one address"),
    ],
)
def test_a_setting_that_does_not_fit_stops_before_anything_is_published(
    ready: Workshop, setting: str, value: str, sentence: str
) -> None:
    ready.configure(**{setting: value})
    err = ready.run("send", code=1).err
    assert sentence in err
    assert "hunter2" not in err


def test_a_finished_issue_says_so_and_an_unknown_one_too(ready: Workshop) -> None:
    with run_in_thread(SmtpServer()) as server:
        ready.use(server)
        ready.run("send")
    assert ready.run("issues", "list", "--json").json["state"] == "finished"
    assert "there is no issue 99" in ready.run("log", "--issue", "99", code=1).err
    ready.run("suppressions", "add", "ada@example.org")
    left_out = ready.run("explain", "--email", "dan@example.org", "--json").json["left_out"]
    assert left_out[0]["because"] == ["its topics were not chosen: Sport"]
