"""What the tests of the checks share: a mail that is well, and the same with some of it put wrong."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace

from mail_samples import DAY, LINKS, RENDERER, SENDER, compile_story, compose, load_templates, make_story

from newsletter.core.checks.findings import Finding
from newsletter.core.checks.mail import CheckedMail
from newsletter.core.mails.editions import assemble_edition
from newsletter.core.mails.headers import BOUNDARY
from newsletter.core.mails.quoted import encode_quoted
from newsletter.core.mails.render import Renderer, Sender, StorySource
from newsletter.core.model import Brief, Story, Topic

CATALOGUE = {"sci": Topic(id="sci", name="Science"), "biz": Topic(id="biz", name="Business & Trade")}
STORIES = (
    make_story("A comet passes close by", "Look north after sunset, with a small telescope, and be patient with it."),
    make_story("The museum opens late", "On Thursdays the museum stays open until ten, and the soup is free."),
)

Check = Callable[[CheckedMail], Iterable[Finding]]


def make_mail(
    *stories: Story,
    sender: Sender = SENDER,
    templates: Mapping[str, str] | None = None,
    topics: tuple[str, ...] = ("Science",),
    brief: Brief | None = None,
) -> CheckedMail:
    """A mail of these stories, or of the two sample ones."""
    stories = stories or STORIES
    renderer = Renderer(load_templates(templates)) if templates else RENDERER
    frame = renderer.compile_frame(sender, issue=None, title="Tuesday brief", date=DAY, language="en")
    parts = tuple(
        renderer.compile_story(story, topics, day=DAY, language="en") if templates else compile_story(story, *topics)
        for story in stories
    )
    edition = assemble_edition(frame, parts)
    return CheckedMail(
        eml=compose(edition),
        brief=brief
        or Brief(id="day", title="Tuesday brief", date=DAY, language="en", stories=stories, source="day.md"),
        catalogue=CATALOGUE,
        edition=edition,
        sources=tuple(StorySource(story=story, topics=topics, day=DAY) for story in stories),
        parts=parts,
        links=LINKS,
    )


GOOD = make_mail()
HTML = GOOD.find_part("text/html").text


def with_html(html: str, mail: CheckedMail = GOOD) -> CheckedMail:
    """The mail with another HTML part."""
    head, _, _ = mail.eml.rpartition(b"\r\n\r\n")
    end = f"\r\n--{BOUNDARY}--\r\n".encode()
    return replace(mail, eml=head + b"\r\n\r\n" + encode_quoted(html) + end)


def with_body(body: str, head: str = "") -> CheckedMail:
    """The mail with a small page for its HTML part."""
    return with_html(f'<html lang="en" dir="ltr"><head>{head}</head><body>{body}</body></html>\n')


def with_head(old: bytes, new: bytes, mail: CheckedMail = GOOD) -> CheckedMail:
    """The mail with other octets in the place of some, which must be there."""
    assert old in mail.eml
    return replace(mail, eml=mail.eml.replace(old, new))


def codes(check: Check, mail: CheckedMail) -> list[str]:
    """The codes that a check finds."""
    return [finding.code for finding in check(mail)]
