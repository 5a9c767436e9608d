"""Quoted-printable segments: they join in any order, decode to what went in, and are ready for the wire."""

import quopri
import re

import pytest
from dkim.canonicalization import Relaxed  # type: ignore[import-untyped]
from hypothesis import given
from hypothesis import strategies as st

from newsletter.core.errors import StoreError
from newsletter.core.mails.quoted import (
    Passage,
    Segments,
    clean_line,
    clean_text,
    decode_quoted,
    encode_quoted,
    fill_slots,
    measure_octets,
)

SPACED = [" ", "  ", "   ", " \t ", "\n", "\n\n", ".", "From ", "=", "é", "x" * 73]
texts = st.lists(st.text(st.characters(codec="utf-8", exclude_characters="\r") | st.sampled_from(" .=\n\tFrom"))).map(
    "".join
)


def assert_ready_for_the_wire(wire: bytes) -> None:
    assert wire == b"" or wire.endswith(b"\r\n")
    for line in wire.split(b"\r\n"):
        assert len(line) <= 76
        assert not line.startswith((b".", b"From "))
        assert not line.endswith((b" ", b"\t"))
        assert b"  " not in line
        assert b"\t" not in line
        assert line.isascii()
        assert b"\n" not in line
        assert b"\r" not in line


def canonicalize_relaxed(body: bytes) -> bytes:
    """RFC 6376 3.4.4, word for word."""
    lines = [re.sub(rb"[ \t]+", b" ", line.rstrip(b" \t")) for line in body.removesuffix(b"\r\n").split(b"\r\n")]
    while lines and not lines[-1]:
        lines.pop()
    return b"".join(line + b"\r\n" for line in lines)


@given(st.lists(texts | st.lists(st.sampled_from(SPACED)).map("".join), max_size=5))
def test_what_is_written_is_its_own_relaxed_form(parts: list[str]) -> None:
    wire = [encode_quoted(part) for part in parts]
    assert decode_quoted(b"".join(wire)) == "".join(parts)
    for body in (*wire, b"".join(wire)):
        assert_ready_for_the_wire(body)
        closed = body + b"--end--\r\n"  # in a mail, the boundary follows
        assert canonicalize_relaxed(closed) == closed
        assert Relaxed.canonicalize_body(closed) == closed


@given(st.lists(st.sampled_from([" ", "  ", "\t", "x", "\r\n"])).map("".join))
def test_the_reference_agrees_with_another_implementation(text: str) -> None:
    body = text.encode() + b"x\r\n"
    assert canonicalize_relaxed(body) == Relaxed.canonicalize_body(body)


@given(st.lists(texts, max_size=5))
def test_joined_segments_decode_to_the_joined_texts(parts: list[str]) -> None:
    wire = b"".join(encode_quoted(part) for part in parts)
    assert_ready_for_the_wire(wire)
    assert decode_quoted(wire) == "".join(parts)
    assert quopri.decodestring(wire).decode().replace("\r\n", "\n") == "".join(parts)


@given(st.integers(60, 90), st.sampled_from([".", " ", "=", "é", "From ", "漢"]), st.sampled_from(["", "\n", "\nx"]))
def test_lines_of_every_length_are_cut_well(length: int, odd: str, end: str) -> None:
    for text in (odd + "x" * length, "x" * length + odd, "x" * 74 + odd * length, odd * length):
        wire = encode_quoted(text + end)
        assert_ready_for_the_wire(wire)
        assert decode_quoted(wire) == text + end


def test_what_the_wire_would_alter_is_escaped() -> None:
    assert encode_quoted(".\n") == b"=2E\r\n"
    assert encode_quoted("From here\n") == b"=46rom here\r\n"
    assert encode_quoted("end \n") == b"end=20\r\n"
    assert encode_quoted("x" * 75 + " \n") == b"x" * 75 + b"=\r\n=20\r\n"
    assert encode_quoted("a=b") == b"a=3Db=\r\n"
    assert encode_quoted("1  2   3    4\n") == b"1 =202 =20 3 =20 =204\r\n"
    assert encode_quoted("é  \t  \n") == b"=C3=A9 =20=09 =20\r\n"
    assert encode_quoted("end   \n") == b"end =20=20\r\n"
    assert encode_quoted("") == b""


def test_a_lone_surrogate_does_not_stop_a_mail() -> None:
    assert decode_quoted(encode_quoted("a\ud800b")) == "a?b"


@given(st.text())
def test_cleaning_leaves_nothing_that_breaks_a_line_or_an_encoder(text: str) -> None:
    clean_text(text).encode()
    assert "\r" not in clean_text(text)
    assert not any(ord(c) < 32 for c in clean_line(text))
    assert clean_line(clean_line(text)) == clean_line(text)


def test_cleaning_keeps_line_breaks_and_what_scripts_need() -> None:
    assert clean_text("a\r\nb\rc\nd\x00e\u200df\u202eg") == "a\nb\nc\nd e\u200df\u202eg"
    assert clean_line(" a\r\n b\x1b ") == "a b"


def test_slots_are_filled_never_evaluated() -> None:
    pieces = (b"a=\r\n", "slot", b"b\r\n")
    assert fill_slots(pieces, {"slot": encode_quoted("{slot}")}) == [b"a=\r\n", b"{slot}=\r\n", b"b\r\n"]
    with pytest.raises(KeyError):
        fill_slots(pieces, {})


def test_octets_count_a_line_break_twice() -> None:
    assert measure_octets("é\n") == 4


def test_passages_are_stored_and_read_back() -> None:
    segments = Segments(pieces=(encode_quoted("x"), "view", encode_quoted("{y}\n")), size=12)
    passage = Passage(text=Segments(), html=segments)
    assert Passage.from_json(passage.to_json()) == passage


@pytest.mark.parametrize("stored", [[1, 2], [1, {"other": "x"}], [1, None], ["x"]])
def test_what_is_no_stored_segment_is_refused(stored: list[object]) -> None:
    with pytest.raises(StoreError, match="stored segment"):
        Segments.from_json(stored)
