"""Header lines: counted in raw bytes, read back by the standard library, closed to injection."""

import email
import email.policy
import re
from email.header import decode_header, make_header
from email.utils import parseaddr

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from mail_samples import SENDER

from newsletter.core.errors import ConfigError, NewsletterError
from newsletter.core.mails.headers import (
    check_link,
    check_sender,
    write_feedback_id,
    write_head,
    write_list_id,
    write_mailbox,
    write_tail,
    write_text,
    write_unsubscribe,
)
from newsletter.core.mails.parts import Sender
from newsletter.core.mails.quoted import clean_line

names = st.text(st.characters() | st.sampled_from('",<>()@\\=?\r\n 漢é'), max_size=200)


def read(line: str, header: str) -> str:
    return str(email.message_from_bytes(line.encode() + b"\r\n", policy=email.policy.default)[header])


def readable(text: str) -> str:
    return clean_line(text).encode("utf-8", "replace").decode()


def assert_one_header(line: str, header: str) -> None:
    assert line.endswith("\r\n")
    first, *folded = line.removesuffix("\r\n").split("\r\n")
    assert first.startswith(f"{header}:")
    assert all(continued.startswith(" ") and continued.strip() for continued in folded)
    assert all(len(part.encode()) <= 78 for part in [first, *folded])
    assert "\n" not in line.replace("\r\n", "")


@given(st.text(st.characters() | st.sampled_from("=?utf-8q \r\n漢é")))
def test_any_subject_is_one_header_and_reads_as_it_was(text: str) -> None:
    line = write_text("Subject", text)
    if all(len(word) <= 60 for word in clean_line(text).split()):
        assert_one_header(line, "Subject")
    assert read(line, "Subject") == readable(text)


@given(names)
def test_any_name_is_one_header_and_reads_as_it_was(name: str) -> None:
    line = write_mailbox("To", name, "a@b.example")
    assert_one_header(line, "To")
    # Not by email.policy: its parser puts a space between the encoded words of a name (CPython 3.11).
    shown, address = parseaddr(line.removeprefix("To: ").replace("\r\n", ""))
    assert (str(make_header(decode_header(shown))), address) == (readable(name), "a@b.example")


@pytest.mark.parametrize(
    ("name", "line"),
    [
        ("", "To: a@b.example\r\n"),
        ("Jo Reader", "To: Jo Reader <a@b.example>\r\n"),
        ('Doe, "J"', 'To: "Doe, \\"J\\"" <a@b.example>\r\n'),
        ("Zoë", "To: =?utf-8?q?Zo=C3=AB?= <a@b.example>\r\n"),
        ("=?utf-8?q?x?=", "To: =?utf-8?b?PT91dGYtOD9xP3g/PQ==?= <a@b.example>\r\n"),
        ("Jo\r\nBcc: evil@x.example", 'To: "Jo Bcc: evil@x.example" <a@b.example>\r\n'),
    ],
)
def test_names_as_they_are_written(name: str, line: str) -> None:
    assert write_mailbox("To", name, "a@b.example") == line


def test_a_long_name_folds_before_the_address() -> None:
    line = write_mailbox("To", "N" * 50, f"{'a' * 40}@b.example")
    assert line == f"To: {'N' * 50}\r\n <{'a' * 40}@b.example>\r\n"


def test_domains_become_a_labels_and_local_parts_stay_unicode() -> None:
    assert write_mailbox("To", "", "jürgen@bücher.example") == "To: jürgen@xn--bcher-kva.example\r\n"


def test_a_long_ascii_text_folds_between_words() -> None:
    line = write_text("Subject", "word " * 30)
    assert_one_header(line, "Subject")
    assert "=?" not in line
    assert write_text("Subject", "") == "Subject: \r\n"


def test_list_unsubscribe_folds_only_between_its_addresses() -> None:
    link = "https://news.example.org/unsubscribe/" + "a" * 200
    assert write_unsubscribe(link, None) == f"List-Unsubscribe: <{link}>\r\n"
    assert write_unsubscribe(link, "mailto:u@x.example") == f"List-Unsubscribe: <{link}>,\r\n <mailto:u@x.example>\r\n"


@pytest.mark.parametrize("link", ["", "https://a b", "https://a\r\nBcc: x", "https://a>", "https://bücher.example"])
def test_a_link_that_could_leave_its_brackets_is_refused(link: str) -> None:
    with pytest.raises(NewsletterError, match="cannot stand in a header"):
        check_link(link)


def test_list_id_and_feedback_id_name_the_sender_only() -> None:
    assert write_list_id("Ledger", "news@b.example") == "List-Id: Ledger <news.b.example>\r\n"
    assert write_list_id("Zeitung für alle", "né@b.example").endswith("<n-.b.example>\r\n")
    assert write_feedback_id(12, "de", "a@ledger.example") == "Feedback-ID: issue12:de:newsletter:ledgerexample\r\n"
    assert write_feedback_id(None, "en", "a@ledger.example").startswith("Feedback-ID: preview:en:newsletter:")
    for domain in ("b.io", "a-very-long-domain-name.of-many.parts.example"):
        sender_id = write_feedback_id(1, "en", f"a@{domain}").strip().split(":")[-1]
        assert 5 <= len(sender_id) <= 15


def test_what_all_mails_share() -> None:
    assert write_head(SENDER) == "From: The Morning Ledger <news@ledger.example>\r\n"
    replying = Sender(
        name="L", from_name="", from_address="a@b.example", reply_to="r@b.example", base_url="", key_id=""
    )
    assert write_head(replying) == "From: a@b.example\r\nReply-To: r@b.example\r\n"
    assert write_tail(SENDER, 1, "en").count("\r\n") == 5


@pytest.mark.parametrize(
    ("name", "sender"),
    [
        ("FROM", Sender(name="", from_name="", from_address="a@b\r\nBcc: x", base_url="", key_id="")),
        ("REPLY_TO", Sender(name="", from_name="", from_address="a@b.example", reply_to="x", base_url="", key_id="")),
    ],
)
def test_a_wrong_address_of_the_sender_names_its_setting(name: str, sender: Sender) -> None:
    with pytest.raises(ConfigError, match=name):
        check_sender(sender)


@given(st.text(min_size=1, max_size=300), st.sampled_from(["Subject", "To", "Reply-To"]))
@example("ä" * 200, "To")
@example("L" * 300, "Subject")
@example("漢字" * 40, "Subject")
@example("00000000¡¡¡¡¡¡\U00010000\U00010000", "Reply-To")
def test_encoded_words_and_their_lines_keep_to_rfc_2047(text: str, header: str) -> None:
    written = (
        write_text(header, clean_line(text)) if header == "Subject" else write_mailbox(header, text, "a@example.org")
    )
    assert max((len(word) for word in re.findall(r"=\?utf-8\?[bq]\?[^?]*\?=", written)), default=0) <= 75
    if "=?utf-8?" in written:
        assert max(len(line) for line in written.split("\r\n")) <= 76
