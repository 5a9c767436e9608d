"""Pictures that travel within mails: fetched once as an issue is published, and linked where that cannot be."""

import email
import email.policy
from base64 import b64decode
from email.message import EmailMessage
from unittest.mock import DEFAULT, Mock

import pytest
from feed_server import FeedServer
from smtp_server import SmtpServer, run_in_thread
from workshop import Workshop

from newsletter.core.model import Block, BlockKind, Story
from newsletter.sources.pictures import ISSUE_OCTETS, PICTURE_OCTETS, PictureFetcher, find_kind
from newsletter.store import issues

PNG = b64decode("iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg==")


def test_a_picture_travels_with_the_mails_that_show_it(workshop: Workshop, caplog: pytest.LogCaptureFixture) -> None:
    workshop.run("subscribers", "add", "ada@example.org", "--topics", "*")
    workshop.configure(EMBED_IMAGES="true", ALLOW_PRIVATE_FEEDS="true")
    with FeedServer().running() as pages, run_in_thread(SmtpServer()) as server:
        here = pages.offer("/a.png?x=1&y=2", PNG)
        gone = pages.url("/gone.png")
        pictures = f"![A comet over the mole]({here})\n\n![No longer there]({gone})\n\n- ![again]({here})\n"
        text = f"# One\n\n## A comet\n\n{pictures}"
        workshop.write("briefs/2026-11-25-one.md", text)
        workshop.use(server)
        workshop.run("send")
        (asked,) = [page for page in pages.asked if page.path.startswith("/a.png")]
        assert asked.headers["user-agent"].startswith("newsletter/")
    assert "gone.png cannot be fetched: it answers 404 (Not Found); mails link to it" in caplog.text
    (sent,) = server.mails
    mail = email.message_from_bytes(sent.data, policy=email.policy.default)
    kinds = [part.get_content_type() for part in mail.walk()]
    assert kinds == ["multipart/alternative", "text/plain", "multipart/related", "text/html", "image/png"]
    *_, html, picture = mail.walk()
    assert isinstance(html, EmailMessage)
    assert picture.get_payload(decode=True) == PNG
    assert html.get_content().count(f'src="cid:{picture["Content-ID"].strip("<>")}"') == 2
    assert "No longer there" in html.get_content()
    assert here.replace("&", "&amp;") not in html.get_content()
    body = sent.data.partition(b"\r\n\r\n")[2]
    assert max(map(len, body.split(b"\r\n"))) <= 76
    assert workshop.run_raw("mail", "1-1") == sent.data


def test_a_publication_that_was_killed_goes_on_without_the_pictures_server(
    workshop: Workshop, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("ada", "ben"):
        workshop.run("subscribers", "add", f"{name}@example.org", "--topics", "*")
    workshop.configure(EMBED_IMAGES="true", ALLOW_PRIVATE_FEEDS="true")
    with FeedServer().running() as pages:
        workshop.write("briefs/2026-11-25-one.md", f"# One\n\n## A comet\n\n![x]({pages.offer('/a.png', PNG)})\n")
        with monkeypatch.context() as patch:
            patch.setattr("newsletter.store.subscribers.PAGE", 1)
            patch.setattr(
                issues, "insert_page", Mock(wraps=issues.insert_page, side_effect=[DEFAULT, KeyboardInterrupt])
            )
            workshop.run("send", code=3)
    with run_in_thread(SmtpServer()) as server:
        workshop.use(server)
        workshop.run("deliver")
    assert sorted(mail.recipient for mail in server.mails) == ["ada@example.org", "ben@example.org"]
    assert all(b"Content-Type: image/png" in mail.data for mail in server.mails)


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        (PNG, "image/png"),
        (b"\xff\xd8\xff\xe0", "image/jpeg"),
        (b"GIF89a", "image/gif"),
        (b"RIFF\0\0\0\0WEBPVP8 ", "image/webp"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", None),
        (b"<html>", None),
        (b"", None),
    ],
)
def test_a_picture_is_what_its_first_octets_say(body: bytes, kind: str | None) -> None:
    assert find_kind(body) == kind


def test_what_is_large_or_no_picture_stays_where_it_is() -> None:
    told: list[str] = []
    with FeedServer().running() as pages:
        small = [pages.offer(f"/{n}.png", PNG + bytes([n]) * (PICTURE_OCTETS - 100)) for n in range(5)]
        others = [pages.offer("/large.png", PNG + bytes(PICTURE_OCTETS)), pages.offer("/page.png", b"<html>")]
        stories = [
            Story(title="T", blocks=(Block(kind=BlockKind.IMAGE, src=address),)) for address in [*others, *small]
        ]
        embedded = PictureFetcher(allow_private=True, tell=told.append).embed(stories)
        private = PictureFetcher(allow_private=False, tell=told.append).embed([stories[2]])
    assert [len(story.pictures) for story in embedded] == [0, 0, 1, 1, 1, 0, 0]
    assert private[0].pictures == ()
    assert "127.0.0.1 is not a public address" in told[-1]  # a story may come from anywhere
    assert 3 * PICTURE_OCTETS < ISSUE_OCTETS < 4 * PICTURE_OCTETS
    assert {sentence.split(" ", 2)[2] for sentence in told[:3]} == {
        "is larger than 300 KB; mails link to it",
        "is no PNG, JPEG, GIF or WebP; mails link to it",
        "would make mails too large; they link to it",
    }
