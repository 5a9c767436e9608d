"""The mail as bytes: its headers counted raw, its parts ready for the wire, its slots filled with text only."""

import re
from dataclasses import replace
from datetime import timedelta, timezone

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mail_samples import (
    LINKS,
    NOW,
    READER,
    SENDER,
    ReadHtml,
    compile_frame,
    compile_story,
    compose,
    make_edition,
    make_story,
    read_mail,
    read_part,
    with_name,
)

from newsletter.core.errors import NewsletterError
from newsletter.core.mails.editions import assemble_edition
from newsletter.core.mails.message import Links, Recipient, compose_mail, render_html, render_text

EDITION = make_edition(make_story("One & two", "Text"), make_story("Zwölf", "Mehr"))
ONCE = (
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
    "Content-Type",
)


def read_headers(raw: bytes) -> list[tuple[str, str]]:
    head = raw.partition(b"\r\n\r\n")[0].decode()
    lines = re.sub("\r\n[ \t]", " ", head).split("\r\n")
    return [(name, value) for name, _, value in (line.partition(": ") for line in lines)]


def assert_ready_for_the_wire(raw: bytes) -> None:
    assert raw.endswith(b"--\r\n")
    assert b"\r" not in raw.replace(b"\r\n", b"")
    assert b"\n" not in raw.replace(b"\r\n", b"")
    head, _, body = raw.partition(b"\r\n\r\n")
    assert all(len(line) <= 998 for line in head.split(b"\r\n"))
    for line in body.split(b"\r\n"):
        assert len(line) <= 76
        assert not line.startswith(b".")
        assert line.isascii()


def test_each_header_stands_exactly_once() -> None:
    headers = read_headers(compose(EDITION))
    assert sorted(name for name, _ in headers) == sorted(ONCE)
    found = dict(headers)
    assert found["From"] == "The Morning Ledger <news@ledger.example>"
    assert found["To"] == "Jo Reader <jo@reader.example>"
    assert found["Date"] == "Tue, 03 Mar 2026 06:00:00 +0000"
    assert found["Message-ID"] == "<1-2@ledger.example>"
    assert found["List-Id"] == "The Morning Ledger <news.ledger.example>"
    assert found["List-Unsubscribe"] == f"<{LINKS.unsubscribe}>, <{LINKS.unsubscribe_mailto}>"
    assert found["List-Unsubscribe-Post"] == "List-Unsubscribe=One-Click"
    assert found["Feedback-ID"] == "issue12:en:newsletter:ledgerexample"


def test_reply_to_where_it_is_set_and_no_mailto_without_a_bounce_domain() -> None:
    frame = compile_frame(sender=replace(SENDER, reply_to="desk@ledger.example"))
    links = replace(LINKS, unsubscribe_mailto=None)
    found = dict(read_headers(compose(assemble_edition(frame, [compile_story(make_story("T"))]), READER, links)))
    assert found["Reply-To"] == "desk@ledger.example"
    assert found["List-Unsubscribe"] == f"<{LINKS.unsubscribe}>"


def test_the_mail_is_text_first_then_html_both_utf8_quoted_printable() -> None:
    raw = compose(EDITION)
    assert_ready_for_the_wire(raw)
    mail = read_mail(raw)
    assert mail.get_content_type() == "multipart/alternative"
    assert not mail.defects
    parts = list(mail.iter_parts())
    assert [part.get_content_type() for part in parts] == ["text/plain", "text/html"]
    for part in parts:
        assert part.get_content_charset() == "utf-8"
        assert part["Content-Transfer-Encoding"] == "quoted-printable"
        assert not part.defects
    # The last line break of a part belongs to the boundary after it (RFC 2046 5.1.1).
    assert read_part(mail, "plain").replace("\r\n", "\n") + "\n" == render_text(EDITION, READER, LINKS)
    assert read_part(mail, "html").replace("\r\n", "\n") + "\n" == render_html(EDITION, READER, LINKS)


@given(st.text(max_size=200), st.lists(st.text(), min_size=1, max_size=3))
@settings(max_examples=60)
def test_any_text_makes_a_mail_for_the_wire_with_its_headers_once(name: str, texts: list[str]) -> None:
    raw = compose(make_edition(*(make_story(text, text) for text in texts)), with_name(name))
    assert_ready_for_the_wire(raw)
    assert sorted(header for header, _ in read_headers(raw)) == sorted(ONCE)


@pytest.mark.parametrize(
    "title",
    ["=?utf-8?q?=41?=", "Läuft: 50 % mehr, „wirklich“", "😀 emoji 👩‍💻", "漢字" * 12, 'Quote "x", <y>', "a" * 58],
)
def test_titles_are_shown_unaltered_in_the_subject(title: str) -> None:
    mail = read_mail(compose(make_edition(make_story(title))))
    assert mail["Subject"] == title


def test_an_injected_header_stays_in_its_own() -> None:
    raw = compose(make_edition(make_story("T\r\nBcc: evil@x.example")), with_name("J\r\nBcc: evil@x.example"))
    assert "Bcc" not in dict(read_headers(raw))
    assert read_mail(raw)["Subject"] == "T Bcc: evil@x.example"


@pytest.mark.parametrize("address", ["a@b.example\r\nBcc: x@y.example", "a b@c.example", "nobody", "<a@b.example>", ""])
def test_an_address_that_is_none_gets_no_mail(address: str) -> None:
    with pytest.raises(NewsletterError, match="no mail can be written to"):
        compose(EDITION, with_name("", address))


@pytest.mark.parametrize("field", ["unsubscribe", "preferences", "view", "unsubscribe_mailto"])
def test_a_link_that_could_break_out_is_refused(field: str) -> None:
    with pytest.raises(NewsletterError, match="cannot stand in a header"):
        compose(EDITION, READER, replace(LINKS, **{field: "https://x>\r\nBcc: y"}))


def test_the_message_id_is_checked_and_needs_no_brackets() -> None:
    raw = compose_mail(EDITION, READER, LINKS, message_id="a@b", date=NOW).octets
    assert dict(read_headers(raw))["Message-ID"] == "<a@b>"
    with pytest.raises(NewsletterError):
        compose_mail(EDITION, READER, LINKS, message_id="<a>\r\nX: y", date=NOW)


def test_the_date_keeps_its_zone() -> None:
    date = NOW.astimezone(timezone(timedelta(hours=5, minutes=30)))
    raw = compose_mail(EDITION, READER, LINKS, message_id="a@b", date=date).octets
    assert dict(read_headers(raw))["Date"] == "Tue, 03 Mar 2026 11:30:00 +0530"


def test_smtputf8_addresses_are_raw_with_an_a_label_domain() -> None:
    raw = compose(EDITION, Recipient(email="jürgen@bücher.example", name="Jürgen", topics=("*",)))
    assert "To: =?utf-8?q?J=C3=BCrgen?= <jürgen@xn--bcher-kva.example>\r\n".encode() in raw
    assert "jürgen@bücher.example" in render_text(
        EDITION, Recipient(email="jürgen@bücher.example", topics=("*",)), LINKS
    )


@pytest.mark.parametrize(
    ("topics", "shown"), [(("*",), "all topics"), (("sci", "biz"), "Science, Business & Trade"), (("gone",), "gone")]
)
def test_both_parts_say_why_the_reader_gets_this(topics: tuple[str, ...], shown: str) -> None:
    reader = Recipient(email="o'hara&co@reader.example", topics=topics)
    sentence = f"You get The Morning Ledger at {reader.email} because you subscribed to: {shown}."
    assert sentence in render_text(EDITION, reader, LINKS)
    assert sentence in ReadHtml(render_html(EDITION, reader, LINKS)).text["p"]


def test_links_stand_unaltered_in_both_parts() -> None:
    base = "https://news.example.org/path/" + "t" * 120
    links = Links(unsubscribe=f"{base}?a=1&b=2", preferences=f"{base}?c='\"", view=f"{base}.")
    html = ReadHtml(render_html(EDITION, READER, links))
    hrefs = {a["href"] for tag, a in html.attributes if tag == "a"}
    text = render_text(EDITION, READER, links)
    for link in (links.unsubscribe, links.preferences, links.view):
        assert link in hrefs
        assert f"\n{link}\n" in text


def test_values_that_look_like_slots_or_templates_stay_text() -> None:
    frame = compile_frame(sender=replace(SENDER, topic_names={"x": "{{ slot.view }} %(view)s\r\n.hidden"}))
    edition = assemble_edition(frame, [compile_story(make_story("T"))])
    text = render_text(edition, replace(READER, topics=("x",)), LINKS)
    assert "subscribed to: {{ slot.view }} %(view)s .hidden." in text


def test_a_template_may_print_the_mailto() -> None:
    assert "unsubscribe_mailto" not in EDITION.html
    plain = replace(EDITION, text=("unsubscribe_mailto",))
    assert render_text(plain, READER, LINKS) == LINKS.unsubscribe_mailto
    assert render_text(plain, READER, replace(LINKS, unsubscribe_mailto=None)) == ""
