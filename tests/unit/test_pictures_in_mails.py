"""Pictures that travel within a mail: called by their Content-ID there, and by their address on the web."""

import base64
from dataclasses import replace

from mail_samples import LINKS, READER, block, compile_frame, compile_story, compose, paragraph, read_mail

from newsletter.core.mails.editions import assemble_edition
from newsletter.core.mails.message import render_copy, render_html, render_text
from newsletter.core.mails.parts import StoryParts
from newsletter.core.model import Block, BlockKind, Brief, Picture, Story

ADDRESS = "https://x.example/a.png?b=1&c=2"
PICTURE = Picture(address=ADDRESS, kind="image/png", data=base64.b64encode(bytes(range(256))).decode())
IMAGE = Block(kind=BlockKind.IMAGE, src=ADDRESS, alt="A comet")
STORY = Story(
    title="A comet",
    blocks=(paragraph("Look north."), block(BlockKind.QUOTE, IMAGE), replace(IMAGE, src="https://x.example/b.png")),
    pictures=(PICTURE,),
)


def test_the_mail_carries_each_picture_once() -> None:
    parts = compile_story(STORY)
    assert StoryParts.from_bytes(parts.to_bytes()) == parts
    mail = read_mail(compose(assemble_edition(compile_frame(), [parts, parts])))
    kinds = [part.get_content_type() for part in mail.walk()]
    assert kinds == ["multipart/alternative", "text/plain", "multipart/related", "text/html", "image/png"]
    picture = list(mail.walk())[-1]
    assert picture["Content-ID"] == f"<{PICTURE.content_id}>"
    assert picture.get_payload(decode=True) == bytes(range(256))
    html = str(list(mail.walk())[-2].get_payload(decode=True))
    assert html.count(f"cid:{PICTURE.content_id}") == 2
    assert html.count("https://x.example/b.png") == 2
    assert "a.png" not in html


def test_the_web_copy_and_the_text_name_the_picture_by_its_address() -> None:
    edition = assemble_edition(compile_frame(), [compile_story(STORY)])
    assert "cid:" in render_html(edition, READER, LINKS)
    copy = render_copy(edition, READER, LINKS)
    assert "cid:" not in copy
    assert 'src="https://x.example/a.png?b=1&amp;c=2"' in copy
    assert ADDRESS in render_text(edition, READER, LINKS)


def test_a_picture_makes_no_brief_another() -> None:
    day = compile_story(STORY).day
    briefs = [
        Brief(id="a", title="A", date=day, language="en", stories=(story,))
        for story in (STORY, replace(STORY, pictures=()))
    ]
    assert briefs[0].stories[0].images == (ADDRESS, "https://x.example/b.png")
    assert briefs[0].stories[0].identity == briefs[1].stories[0].identity
