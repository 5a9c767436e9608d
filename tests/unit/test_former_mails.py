"""Mails that were published by an earlier version: what it stored is joined to the same bytes as then.

format_1.json was written by that version: a frame, three stories, and the SHA-256 of a mail of these three, and of one
that has each seventy times.
"""

import json
from hashlib import sha256
from pathlib import Path

import pytest
from mail_samples import READER, compose

from newsletter.core.mails.editions import assemble_edition
from newsletter.core.mails.parts import Frame, StoryParts

FORMER = json.loads((Path(__file__).parent / "format_1.json").read_text(encoding="utf-8"))


@pytest.mark.parametrize(("times", "name"), [(1, "few"), (70, "many")])
def test_a_mail_of_format_1_is_as_it_was(times: int, name: str) -> None:
    frame = Frame.from_bytes(json.dumps(FORMER["frame"]).encode())
    stories = [StoryParts.from_bytes(json.dumps(story).encode()) for story in FORMER["stories"]]
    assert sha256(compose(assemble_edition(frame, stories * times), READER)).hexdigest() == FORMER[name]
