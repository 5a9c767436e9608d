"""Addresses: the fast path must say what email-validator says, and equal mailboxes must have equal keys."""

import string

import pytest
from email_validator import EmailNotValidError, validate_email
from hypothesis import example, given
from hypothesis import strategies as st

from newsletter.core.address import has_control_characters, parse_address, parse_domain, parse_named_address

LOCAL_PARTS = st.text(string.ascii_letters + string.digits + ".-_+'\"@ é\u0301ß<>\\\n", max_size=70)
DOMAINS = st.sampled_from(
    [
        "example.org",
        "Mail.EXAMPLE.com",
        "bücher.example",
        "xn--bcher-kva.example",
        "straße.de",
        "例え.jp",
        "dept.test",
        "test",
        "nodot",
        "a..b.org",
        "-a.org",
        "a.org.",
        "xn--zzzz.org",
        "1.2.3.4",
        "[1.2.3.4]",
        "a@b.org",
        "here.local",
        "ab--cd.org",
        "",
        f"{'a' * 64}.org",
        ".".join(["a" * 60] * 4),
        ".".join(["a" * 62] * 4),
    ]
) | st.text("abcA-.1é", max_size=20)


def ask_library(text: str) -> tuple[str, str] | None:
    try:
        found = validate_email(text, check_deliverability=False, test_environment=True, strict=True)
    except EmailNotValidError:
        return None
    return (found.normalized, found.ascii_domain) if "." in found.ascii_domain else None


@given(LOCAL_PARTS, DOMAINS)
@example("anna", "example.org")
@example("a" * 64, ".".join(["a" * 62] * 3))
@example("a" * 65, "example.org")
@example("a" * 64, f"{'ü' * 20}.{'ü' * 20}.{'ü' * 20}.{'ü' * 20}.example")
@example("anna", ".".join(["a" * 62] * 4))
@example("INFO", "example.org")
def test_agrees_with_email_validator(local: str, domain: str) -> None:
    text = f"{local}@{domain}"
    expected = ask_library(text)
    if expected is None:
        with pytest.raises(ValueError, match="is not an email address"):
            parse_address(text)
        return
    found = parse_address(text)
    assert (found.email, found.domain) == expected
    assert parse_address(found.email).key == found.key
    assert found.wire.isascii() or not found.email.rpartition("@")[0].isascii()


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Anna.Smith@Example.ORG", "anna.smith@example.org"),
        ("leser@BÜCHER.example", "leser@xn--bcher-kva.example"),
        ("JOSÉ@example.org", "jose\u0301@example.org"),
    ],
)
def test_equal_without_case_and_in_either_form_of_the_domain(one: str, other: str) -> None:
    assert parse_address(one).key == parse_address(other).key


def test_keeps_the_case_of_the_local_part_on_the_wire() -> None:
    found = parse_address("Anna@Bücher.example")
    assert (found.email, found.wire) == ("Anna@bücher.example", "Anna@xn--bcher-kva.example")
    assert found.key == "anna@xn--bcher-kva.example"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "anna",
        "anna@",
        "@example.org",
        "a b@example.org",
        "anna@nodot",
        "a@b@example.org",
        "Anna <a@b.org>",
        '"a\r\nb"@x.example',
        "a@x.example\r\nRCPT TO:<evil@x.example>",
        "a@x.example\n",
        "\ud800@x.example",
    ],
)
def test_names_what_is_no_address_on_one_printable_line(text: str) -> None:
    with pytest.raises(ValueError, match="is not an email address") as caught:
        parse_address(text)
    assert repr(text) in str(caught.value)
    assert str(caught.value).isprintable()


@pytest.mark.parametrize(
    ("text", "name", "email"),
    [
        ("news@example.org", "", "news@example.org"),
        (" <news@example.org> ", "", "news@example.org"),
        ("The Daily <news@example.org>", "The Daily", "news@example.org"),
        ("Zürich, Tag & Nacht <news@example.org>", "Zürich, Tag & Nacht", "news@example.org"),
        ('"The \\"Daily\\", Inc." <news@example.org>', 'The "Daily", Inc.', "news@example.org"),
        ("1 < 2 <news@example.org>", "1 < 2", "news@example.org"),
    ],
)
def test_reads_a_name_before_an_address(text: str, name: str, email: str) -> None:
    found, address = parse_named_address(text)
    assert (found, address.email) == (name, email)


@pytest.mark.parametrize("text", ["The Daily", "The Daily <news>", "a\nb <news@example.org>", ">", "news@example.org>"])
def test_refuses_what_is_no_named_address(text: str) -> None:
    with pytest.raises(ValueError, match=r"not an email address|control characters"):
        parse_named_address(text)


@pytest.mark.parametrize(
    ("text", "domain"),
    [
        ("Bounces.Example.ORG", "bounces.example.org"),
        ("bücher.example", "xn--bcher-kva.example"),
        ("a.local", "a.local"),
    ],
)
def test_reads_a_domain_as_ascii(text: str, domain: str) -> None:
    assert parse_domain(text) == domain


@pytest.mark.parametrize(
    "text", ["", "gmail", "a..b", "a b.org", "-a.org", "a.org\n", f"{'a' * 64}.org", "a." * 130 + "org"]
)
def test_refuses_what_is_no_domain(text: str) -> None:
    with pytest.raises(ValueError, match="is not a mail domain"):
        parse_domain(text)


@pytest.mark.parametrize(
    ("text", "has"), [("Anna 👩‍🚀 “x”", False), ("a\tb", True), ("a\u2028b", True), ("\ud800", True)]
)
def test_finds_control_characters(text: str, has: bool) -> None:
    assert has_control_characters(text) is has


def test_a_reserved_domain_without_a_period_is_refused() -> None:
    with pytest.raises(ValueError, match="the domain should have a period"):
        parse_address("reader@test")
