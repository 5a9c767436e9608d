"""Whole mails, compared byte for byte with tests/golden/*.eml; after a change that is meant, write them anew with
`UPDATE_GOLDEN=1 .venv/bin/python -m pytest tests/unit/test_golden_mails.py` and review the difference.
"""

import os
from collections.abc import Sequence
from dataclasses import replace
from datetime import date, timedelta
from pathlib import Path

import pytest
from mail_samples import (
    DAY,
    READER,
    block,
    compile_frame,
    compile_story,
    compose,
    make_story,
    paragraph,
    read_mail,
    read_part,
)

from newsletter.core.mails.editions import assemble_edition
from newsletter.core.mails.message import Recipient
from newsletter.core.model import Block, BlockKind, Span, Story

FOLDER = Path(__file__).parents[1] / "golden"
K = BlockKind

BRIDGE = Story(
    title="Harbour bridge reopens to cyclists and walkers",
    url="https://paper.example/bridge",
    blocks=(
        paragraph("The old bridge opened again on Tuesday, with a lane for ", Span(text="bicycles", strong=True), "."),
        paragraph(
            "The repairs took seven months longer. ",
            Span(text="The report", href="https://city.example/r?a=1&b=2"),
            " says why.",
        ),
        block(
            K.LIST, block(K.ITEM, text="Open from six in the morning"), block(K.ITEM, text="Free until the end of May")
        ),
    ),
)
KINDS = Story(
    title="New release of the open map editor",
    url="https://maps.example/notes",
    blocks=(
        block(K.HEADING, text="What is new"),
        paragraph(
            "Run ",
            Span(text="mapedit --offline", code=True),
            " and it keeps the tiles ",
            Span(text="you", emphasis=True),
            " saw.",
        ),
        block(K.CODE, text="$ pip install mapedit\n$ mapedit harbour.osm"),
        block(K.QUOTE, paragraph("It works on a ferry."), paragraph("— A reader")),
        Block(kind=K.IMAGE, src="https://maps.example/shot.png", alt="A harbour in two colours"),
        block(K.RULE),
        block(
            K.TABLE,
            block(K.ROW, block(K.CELL, text="Year"), block(K.CELL, text="Users")),
            block(K.ROW, block(K.CELL, text="2025"), block(K.CELL, text="11,400")),
        ),
    ),
)
TEN = [BRIDGE, KINDS, *(make_story(f"Short story number {n}", f"Paragraph {n} of the day.") for n in range(3, 11))]
URDU = [
    make_story("شہر میں نئے کتب خانے کا افتتاح", "شہر کے مرکز میں ایک نیا کتب خانہ کھل گیا ہے۔"),
    make_story("Trams return in autumn", "Line 4 comes first."),
]
CHINESE = [
    make_story("港口大桥重新向骑行者和行人开放", "旧港口大桥于周二上午重新开放，设有自行车专用道和更宽的人行道。" * 3)
]
HOSTILE = [
    make_story("{{ 7*7 }} <script>alert(1)</script>", "{% include 'x' %} & <b>not bold</b>\n.\n..two dots\nFrom here"),
    make_story("=?utf-8?q?=41?=", "x" * 5_000, "." * 200),
    make_story('Quotes "and" commas, <angles> 😀 👩‍💻', "\u202eright to left?\u202c \x00\x1b[31m"),
]
OTHER = Recipient(email="jürgen@bücher.example", name='Jürgen "J" Groß', topics=("*",))


def write_mail(
    language: str, title: str, stories: Sequence[Story], days: Sequence[date] = (), reader: Recipient = READER
) -> bytes:
    days = days or [DAY] * len(stories)
    parts = [
        compile_story(story, "Science", "Business & Trade", day=day, language=language)
        for story, day in zip(stories, days, strict=True)
    ]
    return compose(assemble_edition(compile_frame(language, title), parts), reader)


MAILS = {
    "one-story": lambda: write_mail("en", "Tuesday brief", [BRIDGE]),
    "ten-stories": lambda: write_mail("de", "Die Lage am Dienstag", TEN, reader=OTHER),
    "right-to-left": lambda: write_mail("ur", "منگل کا خلاصہ", URDU),
    "chinese": lambda: write_mail("en", "周二简报", CHINESE, reader=replace(READER, name="王小明")),
    "hostile": lambda: write_mail("fr", "{{ title }} & <h1>", HOSTILE),
    "weekly": lambda: write_mail("es", "La semana", TEN[:4], [DAY, DAY, *[DAY - timedelta(days=2)] * 2]),
    "cut": lambda: write_mail("ar", "موجز", [replace(BRIDGE, blocks=BRIDGE.blocks * 40)] * 5),
}


@pytest.mark.parametrize("name", MAILS)
def test_the_mail_is_as_it_was(name: str) -> None:
    raw, path = MAILS[name](), FOLDER / f"{name}.eml"
    if os.environ.get("UPDATE_GOLDEN"):
        path.write_bytes(raw)
    assert raw == path.read_bytes()
    assert len(read_part(read_mail(raw), "html").encode()) < 90_000
