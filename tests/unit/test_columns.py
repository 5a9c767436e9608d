"""Text in columns, and a story's text part written from its blocks."""

import unicodedata

from hypothesis import given
from hypothesis import strategies as st
from mail_samples import block, paragraph

from newsletter.core.mails.columns import measure_columns, shorten_text, wrap_text
from newsletter.core.mails.plaintext import PlainText, write_plain_text
from newsletter.core.model import Block, BlockKind, Span

K = BlockKind


def write(*blocks: Block) -> PlainText:
    return write_plain_text(blocks, image="Image: %(alt)s")


@given(st.text(st.characters(codec="utf-8") | st.sampled_from("港口大桥，。（） a\n")), st.integers(8, 80))
def test_wrapping_loses_no_character_and_keeps_every_line_break(text: str, columns: int) -> None:
    lines = wrap_text(text, columns)
    assert "".join("".join(lines).split()) == "".join(text.split())
    assert len(lines) >= text.count("\n") + 1


@given(st.text(st.sampled_from("港口大桥，。 ab")), st.integers(12, 40))
def test_lines_fit_where_no_word_is_longer(text: str, columns: int) -> None:
    for line in wrap_text(text, columns):
        assert measure_columns(line) <= columns or " " not in line


def test_wrapping_never_breaks_an_address_or_at_a_hyphen() -> None:
    address = "https://example.org/" + "a-b/" * 40
    assert wrap_text(f"see {address} well-known", 20) == ["see", address, "well-known"]


def test_a_text_without_spaces_stays_whole() -> None:
    assert wrap_text("港口大桥重新，开放 （城市）", 12) == ["港口大桥重新，开放", "（城市）"]


@given(st.text(min_size=1), st.integers(5, 80))
def test_shortened_text_fits_and_says_that_it_is_shortened(text: str, columns: int) -> None:
    short, whole = shorten_text(text, columns), " ".join(text.split())
    assert short == whole or short.endswith("…")
    assert measure_columns(short) <= columns
    assert len(short) <= 4 * columns + 1


def test_shortening_cuts_at_a_word_and_never_within_a_character() -> None:
    assert shorten_text("One two three, four five", 16) == "One two three…"
    assert shorten_text("a" * 50, 10) == "a" * 9 + "…"
    assert shorten_text("short " + "a" * 50, 40) == "short " + "a" * 33 + "…"
    assert shorten_text("ab cafe\u0301s au lait", 8) == "ab…"
    assert shorten_text("x" * 8 + "\U0001f469\u200d\U0001f4bb" * 9, 12).rstrip("…")[-1] != "\u200d"
    assert shorten_text("e" + "\u0301" * 1000, 10) == "…"
    assert shorten_text("港口大桥重新开放", 9) == "港口大桥…"
    assert unicodedata.bidirectional("1") == "EN"


def test_links_become_numbered_notes() -> None:
    one, two = "https://one.example/", "https://two.example/"
    found = write(
        paragraph(
            "See ",
            Span(text="the ", href=one),
            Span(text="report", href=one, strong=True),
            ", not ",
            Span(text="that", href=two),
        ),
        paragraph(
            Span(text="Again", href=one),
            " or ",
            Span(text=two, href=two),
            " or ",
            Span(text="a@b.example", href="mailto:a@b.example"),
        ),
        paragraph(Span(text="odd", href="javascript:alert(1)"), Span(text=" ", href=two)),
    )
    assert found.body == ("See the report [1], not that [2]\n\nAgain [1] or https://two.example/ or a@b.example\n\nodd")
    assert found.notes == (one, two)


def test_every_kind_of_block_is_written() -> None:
    found = write(
        block(K.HEADING, text="Heading"),
        block(
            K.LIST,
            block(K.ITEM, block(K.LIST, block(K.ITEM, text="inner")), text="one"),
            block(K.ITEM, paragraph("a"), paragraph("b")),
        ),
        block(K.LIST, block(K.ITEM, text="first"), block(K.ITEM), ordered=True),
        block(K.QUOTE, paragraph("said"), paragraph("she")),
        block(K.CODE, text="\n$ run\n\n    it\n"),
        Block(kind=K.IMAGE, src="https://x.example/y.png", alt="A view"),
        Block(kind=K.IMAGE, src="data:x", alt="Inline"),
        Block(kind=K.IMAGE, src="https://x.example/pixel.png"),
        Block(kind=K.IMAGE, src="https://x.example/z.png", spans=(Span(text="", href="https://x.example/z"),)),
        block(K.RULE),
        block(K.TABLE, block(K.ROW, block(K.CELL, text="a"), block(K.CELL, paragraph("b"), paragraph("c")))),
        paragraph(" "),
        paragraph("line one\nline two"),
    )
    assert found.body.split("\n\n") == [
        "Heading",
        "- one\n  - inner\n- a",
        "  b",
        "1. first\n2.",
        "> said\n>\n> she",
        "    $ run",
        "        it",
        "Image: A view [1]",
        "Image: Inline",
        "Image: [2]",
        "* * *",
        "a | b c",
        "line one\nline two",
    ]
    assert found.notes == ("https://x.example/y.png", "https://x.example/z")


def test_deeply_nested_quotes_stay_readable() -> None:
    nested = paragraph("some words that have to be wrapped somewhere")
    for _ in range(40):
        nested = block(K.QUOTE, nested)
    assert "> some words that have" in write(nested).body
