"""SPF, DKIM and DMARC records read, and the walk up the tree."""

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from newsletter.core.dns_records import (
    KeyRecord,
    Term,
    find_dmarc,
    find_spf,
    is_reserved,
    parse_key_record,
    parse_spf,
    parse_tags,
    walk_tree,
)


def test_finds_the_records_among_others() -> None:
    assert find_spf(["v=spf1", "V=SPF1 -all", "v=spf10 -all", "x"]) == ["v=spf1", "V=SPF1 -all"]
    assert find_dmarc(["v=DMARC1; p=none", "v = DMARC1;p=none", "v=dmarc1", "p=none; v=DMARC1"]) == [
        "v=DMARC1; p=none",
        "v = DMARC1;p=none",
    ]


def test_reads_the_terms_of_spf() -> None:
    terms = parse_spf("v=spf1 a/24 -MX:relay.dev/24 ?include:x.dev ip6:2001:db8::/32 redirect=y.dev ~all")
    assert terms == [
        Term(qualifier="+", name="a", value="/24"),
        Term(qualifier="-", name="mx", value="relay.dev/24"),
        Term(qualifier="?", name="include", value="x.dev"),
        Term(qualifier="+", name="ip6", value="2001:db8::/32"),
        Term(qualifier="+", name="redirect", value="y.dev"),
        Term(qualifier="~", name="all", value=""),
    ]


@given(st.text())
def test_anything_is_read_without_an_error(text: str) -> None:
    parse_spf(text)
    parse_tags(text)


def test_reads_tags() -> None:
    assert parse_tags(" V=DKIM1 ; p = AB CD; junk; p=EF;t=s:y") == {"v": "DKIM1", "p": "ABCD", "t": "s:y"}


@pytest.mark.parametrize(
    ("text", "record"),
    [
        ("p=AAAA", KeyRecord(kind="rsa", key=b"\0\0\0", testing=False)),
        ("v=DKIM1; k=ed25519; t=s:y; p=AAAA", KeyRecord(kind="ed25519", key=b"\0\0\0", testing=True)),
        ("v=DKIM1; p=", KeyRecord(kind="rsa", key=None, testing=False)),
    ],
)
def test_reads_a_key(text: str, record: KeyRecord) -> None:
    assert parse_key_record(text) == record


@given(st.binary(min_size=1))
def test_a_key_comes_back_as_it_was(key: bytes) -> None:
    assert parse_key_record(f"v=DKIM1; p={base64.b64encode(key).decode()}").key == key


@pytest.mark.parametrize("text", ["v=DKIM1", "v=DKIM9; p=AAAA", "p=?"])
def test_refuses_what_is_no_key(text: str) -> None:
    with pytest.raises(ValueError, match="record"):
        parse_key_record(text)


def test_walks_up_the_tree() -> None:
    assert walk_tree("news.example.dev") == ["news.example.dev", "example.dev", "dev"]
    deep = "a.b.c.d.e.f.g.h.i.example.dev"
    assert walk_tree(deep)[:3] == [deep, "e.f.g.h.i.example.dev", "f.g.h.i.example.dev"]
    assert len(walk_tree(deep)) == 8
    assert walk_tree("dev") == ["dev"]


def test_knows_what_is_reserved() -> None:
    assert is_reserved("example.org")
    assert is_reserved("news.example.org")
    assert is_reserved("a.test")
    assert not is_reserved("myexample.org")
