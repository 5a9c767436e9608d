"""Compiles frames and stories from the templates: Jinja2 and MJML run here, once a frame and once a story.

A story's rows are the same wherever they stand: they are cut from a document built with the frame's own head. A story
that would not fit a mail is shortened at a paragraph.
"""

from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from functools import lru_cache

from markupsafe import Markup, escape

from newsletter.core.errors import TemplateError
from newsletter.core.mails.chrome import Chrome, choose_chrome, chrome_languages, load_chrome
from newsletter.core.mails.columns import shorten_text
from newsletter.core.mails.editions import Edition, begins_day
from newsletter.core.mails.headers import check_sender, write_head, write_tail
from newsletter.core.mails.message import Links, Recipient, find_values
from newsletter.core.mails.parts import Frame, Sender, StoryParts, Words
from newsletter.core.mails.quoted import Passage, Segments, clean_line, measure_octets
from newsletter.core.mails.slots import MAIN, SLOT_OCTETS, Marker
from newsletter.core.mails.story_view import StoryView, shorten_view, view_story
from newsletter.core.mails.templates import (
    FRAME,
    MAIL_TEXT,
    STORY,
    STORY_BLOCKS,
    STORY_TEXT,
    TemplateEngine,
    TemplateFile,
    Templates,
)
from newsletter.core.model import Story

__all__ = [
    "Frame",
    "Renderer",
    "Sender",
    "StoryParts",
    "StorySource",
    "TemplateFile",
    "Templates",
    "chrome_languages",
]

STORY_OCTETS = 50_000
TEASER_COLUMNS = 200

_SHELL = Sender(name="", from_name="", from_address="", base_url="", key_id="")
_NOTHING = Segments()


@dataclass(frozen=True, kw_only=True)
class StorySource:
    """A story before it is compiled, with the names of its topics and the day of its brief."""

    story: Story
    topics: tuple[str, ...]
    day: date


STORIES_IN_MEMORY = 1_000


class Renderer:
    """Compiles with one set of templates; the same input gives the same bytes."""

    def __init__(self, templates: Templates) -> None:
        """TemplateError with file and line when a template cannot be compiled, or a language lacks a string."""
        self._templates = templates
        self._engine = TemplateEngine(templates)
        self._chromes = load_chrome(templates)
        self._compile = lru_cache(maxsize=STORIES_IN_MEMORY)(self._compile_story)

    def compile_frame(self, sender: Sender, *, issue: int | None, title: str, date: date, language: str) -> Frame:
        """Compile what stands around the stories. `issue` is None in a preview.

        TemplateError when a template fails, or prints no stories or no unsubscribe link; ConfigError when an address of
        the sender cannot stand in a header.
        """
        check_sender(sender)
        chrome = choose_chrome(self._chromes, language)
        marker = Marker("frame", sender, issue, title, date, chrome)
        variables = {
            **_name_frame(chrome, sender, title, date),
            "slot": marker.mark_slots(),
            "headline_list": marker.mark_slot("headline_list"),
        }
        html, text = (
            self._engine.render(
                template,
                {**variables, "region": marker.region(raw=raw), "story_list": marker.mark_slot("story_list", raw=raw)},
            )
            for template, raw in ((FRAME, True), (MAIL_TEXT, False))
        )
        passages = _cut_both(
            marker,
            text=text.rstrip() + "\n",
            html=self._engine.compile_mjml(html) + "\n",
            regions=(MAIN, "headlines", "more"),
            slot_octets={**SLOT_OCTETS, "topics": _measure_topics(sender, chrome)},
        )
        _demand_slots(passages[MAIN], self._templates)
        return Frame(
            sender=sender,
            issue=issue,
            title=title,
            date=date,
            words=_choose_words(chrome),
            head=write_head(sender),
            tail=write_tail(sender, issue, chrome.language),
            mail=passages[MAIN],
            headlines=passages["headlines"],
            more=passages["more"],
        )

    def compile_story(self, story: Story, topics: Sequence[str], *, day: date, language: str) -> StoryParts:
        """Compile a story. `topics` are names. TemplateError when a template fails.

        Publishing compiles all before it writes; what it compiled is kept, so that the ledger is not held meanwhile.
        """
        return self._compile(story, tuple(topics), day, language)

    def _compile_story(self, story: Story, topics: tuple[str, ...], day: date, language: str) -> StoryParts:
        chrome = choose_chrome(self._chromes, language)
        view = view_story(story, topics, chrome)
        fitted = self._fit_view(view, chrome)
        passages = self._compile_view(fitted, day, chrome)
        return StoryParts(
            title=view.title,
            teaser=shorten_text(clean_line(next(iter(story.paragraphs), "")), TEASER_COLUMNS),
            day=day,
            headline=passages["headline"],
            day_heading=passages["day"],
            story=passages["story"],
            whole=None if fitted is view else self._compile_view(view, day, chrome)["story"],
        )

    def render_mjml(self, edition: Edition, sources: Sequence[StorySource], recipient: Recipient, links: Links) -> str:
        """The MJML of an edition filled for a person, to look at. `sources` are the edition's stories, in its order."""
        frame = edition.frame
        chrome = choose_chrome(self._chromes, frame.language)
        slots = find_values(frame, recipient, links)
        slots |= {"preheader": edition.preheader, "more_stories": edition.more_stories}
        headlines, rows = Markup(), Markup()
        for index, source in enumerate(sources):
            view = view_story(source.story, source.topics, chrome)
            view = self._fit_view(view, chrome) if edition.shortened else view
            blocks = self._render_blocks(STORY, view, source.day, chrome, slots)
            headlines += blocks["headline"] if index < edition.listed else ""
            if index < edition.shown:
                rows += blocks["day"] if begins_day([s.day for s in sources], index) else ""
                rows += blocks["story"]
        printed = {"headlines": len(sources) > 1, "more": edition.shown < len(sources)}
        return self._engine.render(
            FRAME,
            {
                **_name_frame(chrome, frame.sender, frame.title, frame.date),
                "slot": slots,
                "region": lambda name, caller: caller() if printed[name] else "",
                "headline_list": headlines,
                "story_list": rows,
            },
        )

    def _fit_view(self, view: StoryView, chrome: Chrome) -> StoryView:
        """As many of the story's blocks as STORY_OCTETS hold, or the beginning of a first block that is too long."""

        def measure(story: StoryView) -> int:
            return measure_octets(self._render_blocks(STORY, story, date.min, chrome, Marker().mark_slots())["story"])

        if measure(view) <= STORY_OCTETS:
            return view
        counts = range(1, len(view.blocks))
        kept = bisect_right(counts, STORY_OCTETS, key=lambda count: measure(shorten_view(view, count, chrome)))
        return shorten_view(view, kept, chrome)

    def _compile_view(self, view: StoryView, day: date, chrome: Chrome) -> dict[str, Passage]:
        """The three blocks of a story, cut from a document that has the frame around them."""
        marker = Marker("story", view, day, chrome)
        html = self._render_blocks(STORY, view, day, chrome, marker.mark_slots())
        text = self._render_blocks(STORY_TEXT, view, day, chrome, marker.mark_slots())
        shell = {
            **_name_frame(chrome, _SHELL, "", day),
            "slot": marker.mark_slots(),
            "region": lambda name, caller: caller(),
            "headline_list": marker.mark_region("headline", html["headline"]),
            "story_list": marker.mark_region("day", html["day"], raw=True)
            + marker.mark_region("story", html["story"], raw=True),
        }
        return _cut_both(
            marker,
            text="".join(marker.mark_region(block, text[block]) for block in STORY_BLOCKS),
            html=self._engine.compile_mjml(self._engine.render(FRAME, shell)),
            regions=STORY_BLOCKS,
            slot_octets=SLOT_OCTETS,
        )

    def _render_blocks(
        self, template: str, view: StoryView, day: date, chrome: Chrome, slots: Mapping[str, str]
    ) -> dict[str, str]:
        variables = {**_name_language(chrome), "slot": slots, "story": view, "day": chrome.format_day(day)}
        return {block: self._engine.render_block(template, block, variables) for block in STORY_BLOCKS}


def _name_language(chrome: Chrome) -> dict[str, object]:
    return {"language": chrome.language, "direction": chrome.direction, "t": chrome.strings}


def _name_frame(chrome: Chrome, sender: Sender, title: str, day: date) -> dict[str, object]:
    """What frame.mjml.j2 and mail.txt.j2 may print, beside slots, regions and the two lists."""
    return {
        **_name_language(chrome),
        "sender": sender,
        "title": clean_line(title),
        "date": chrome.format_day(day),
        "archive": f"{sender.base_url.rstrip('/')}/archive" if sender.archive else "",
    }


def _cut_both(
    marker: Marker, *, text: str, html: str, regions: Sequence[str], slot_octets: Mapping[str, int]
) -> dict[str, Passage]:
    texts, htmls = marker.cut(text, regions, slot_octets), marker.cut(html, regions, slot_octets)
    return {name: Passage(text=texts.get(name, _NOTHING), html=htmls.get(name, _NOTHING)) for name in regions}


def _demand_slots(mail: Passage, templates: Templates) -> None:
    """A template of the operator's may leave out much, but not the stories, nor the way out."""
    for name, segments in ((FRAME, mail.html), (MAIL_TEXT, mail.text)):
        for slot, spelling in (("story_list", "story_list"), ("unsubscribe", "slot.unsubscribe")):
            if slot not in segments.pieces:
                raise TemplateError(
                    f"{templates[name].path} does not print {{{{ {spelling} }}}}, which every mail needs"
                )


def _measure_topics(sender: Sender, chrome: Chrome) -> int:
    """The octets of the longest list of topics in a footer: all of them."""
    names = chrome.strings["separator"].join([*sender.topic_names.values(), chrome.strings["all_topics"]])
    return len(escape(names).encode())


def _choose_words(chrome: Chrome) -> Words:
    return Words(
        language=chrome.language,
        subject=chrome.plurals["subject"],
        more=chrome.plurals["more"],
        all_topics=chrome.strings["all_topics"],
        separator=chrome.strings["separator"],
        preheader=chrome.strings["preheader"],
    )
