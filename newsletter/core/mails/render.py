"""Compiles frames and stories from the templates: Jinja2 and MJML run here, once a frame and once a story.

A story's rows are the same wherever they stand, but for the first of a mail where the theme shows that one otherwise.
They are cut from a document built with the frame's own head, many stories from one.
"""

from collections.abc import Container, Iterable, Mapping, Sequence
from datetime import date, datetime
from functools import lru_cache

from markupsafe import Markup, escape

from newsletter.core.errors import TemplateError
from newsletter.core.mails.chrome import Chrome, choose_chrome, chrome_languages, load_chrome
from newsletter.core.mails.editions import Edition
from newsletter.core.mails.headers import check_sender, write_head, write_tail
from newsletter.core.mails.lint import lint_templates
from newsletter.core.mails.message import Links, Recipient, find_values
from newsletter.core.mails.order import OTHER
from newsletter.core.mails.parts import Frame, Sender, StoryParts, Words
from newsletter.core.mails.quoted import Passage, clean_line, measure_octets
from newsletter.core.mails.sheet import Sheet, StorySource, cut_both, put_together
from newsletter.core.mails.shortening import shorten_view
from newsletter.core.mails.slots import MAIN, PERSON_SLOTS, REGIONS, SLOT_OCTETS, Marker
from newsletter.core.mails.story_view import StoryView, view_story
from newsletter.core.mails.templates import (
    FRAME,
    GROUP,
    HEADLINE,
    LEAD,
    MAIL_TEXT,
    STORY,
    STORY_BLOCK,
    STORY_TEXT,
    TemplateEngine,
    TemplateFile,
    Templates,
    place_end,
)
from newsletter.core.mails.texts import ISOLATE_OCTETS
from newsletter.core.mails.theme import FIRST_THEME, gather_theme, load_theme
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

LONG_OCTETS = 20_000
"""A story over this goes on in the web copy where a mail would be too large."""
STORIES_IN_MEMORY = 1_000

_SHELL = Sender(name="", from_name="", from_address="", base_url="", key_id="")


class Renderer:
    """Compiles with one theme of the templates; the same input gives the same bytes."""

    def __init__(self, templates: Templates, theme: str = FIRST_THEME, *, subject: str | None = None) -> None:
        """`subject` is the operator's pattern.

        TemplateError with file and line when there is no such theme, a template cannot be compiled or prints what it
        should not, or a language lacks a string.
        """
        self.theme = load_theme(templates, theme)
        self._templates = gather_theme(templates, self.theme)
        self._engine = _load_engine(tuple(self._templates.items()))
        self._chromes = load_chrome(templates)
        self._subject = subject
        self._compiled: dict[tuple[StorySource, str], StoryParts] = {}

    def compile_frame(
        self,
        sender: Sender,
        *,
        issue: int | None,
        title: str,
        date: date,
        language: str,
        due_at: datetime | None = None,
        timezone: str = "UTC",
    ) -> Frame:
        """Compile what stands around the stories. `issue` is None in a preview; the rest as in `Frame`.

        TemplateError when a template fails, or prints no stories or no unsubscribe link; ConfigError when an address of
        the sender cannot stand in a header.
        """
        check_sender(sender)
        chrome = choose_chrome(self._chromes, language)
        marker = Marker("frame", sender, issue, title, date, chrome)
        variables = {
            **self._name_frame(chrome, sender, title),
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
        passages = cut_both(
            marker,
            text=text.rstrip() + "\n",
            html=self._engine.compile_mjml(html) + "\n",
            regions=(MAIN, *REGIONS),
            slot_octets={**SLOT_OCTETS, "topics": _measure_topics(sender, chrome)},
        )
        _demand_slots(passages[MAIN], self._templates)
        _refuse_slots(
            passages.values(), {*SLOT_OCTETS, *REGIONS, "headline_list", "story_list"}, self._templates, FRAME
        )
        names = {"title": title, "name": sender.name, "date": chrome.format_day(date)}
        return Frame(
            sender=sender,
            issue=issue,
            title=title,
            date=date,
            words=_choose_words(chrome, self._subject, names),
            head=write_head(sender),
            tail=write_tail(sender, issue, chrome.language),
            due_at=due_at,
            timezone=timezone,
            mail=passages[MAIN],
            headlines=passages["headlines"],
            more=passages["more"],
        )

    def compile_stories(self, sources: Iterable[StorySource], language: str) -> list[StoryParts]:
        """Compile stories, all in one document. TemplateError when a template fails.

        Publishing compiles all before it writes; what it compiled is kept, so that the ledger is not held meanwhile.
        """
        keys = [(source, language) for source in sources]
        missing = list(dict.fromkeys(key for key in keys if key not in self._compiled))
        fresh = dict(zip(missing, self._compile_batch([source for source, _ in missing], language), strict=True))
        found = [fresh[key] if key in fresh else self._compiled[key] for key in keys]
        self._compiled |= fresh
        while len(self._compiled) > STORIES_IN_MEMORY:
            del self._compiled[next(iter(self._compiled))]
        return found

    def compile_story(self, story: Story, topics: Sequence[str], *, day: date, language: str) -> StoryParts:
        """Compile one story. `topics` are names."""
        return self.compile_stories([StorySource(story=story, topics=tuple(topics), day=day)], language)[0]

    def _compile_batch(self, sources: Sequence[StorySource], language: str) -> list[StoryParts]:
        if not sources:
            return []
        chrome = choose_chrome(self._chromes, language)
        views = [view_story(source.story, source.topics, chrome) for source in sources]
        marker = Marker("stories", views, [source.day for source in sources], chrome)
        sheet = Sheet(marker)
        for index, (source, view) in enumerate(zip(sources, views, strict=True)):
            slots = marker.mark_slots()
            html = self._render_story(STORY, view, chrome, slots)
            sheet.add(index, html, self._render_story(STORY_TEXT, view, chrome, slots))
            if measure_octets(html[STORY_BLOCK]) > LONG_OCTETS:
                short = self._shorten(view, chrome)
                texts = self._render_story(STORY_TEXT, short, chrome, slots)
                sheet.add(index, self._render_story(STORY, short, chrome, slots), texts, short=True)
            for group in (chrome.format_day(source.day), *(source.topics or (OTHER,))):
                if group not in sheet.groups:
                    sheet.add_group(group, *(self._render_group(t, group, chrome) for t in (STORY, STORY_TEXT)))
        passages = self._cut_sheet(sheet, chrome)
        return [
            put_together(index, source, view, passages, sheet.groups, chrome.format_day(source.day))
            for index, (source, view) in enumerate(zip(sources, views, strict=True))
        ]

    def _cut_sheet(self, sheet: Sheet, chrome: Chrome) -> dict[str, Passage]:
        """Everything on the sheet by its name, cut from a document that has the frame around it."""
        shell = {
            **self._name_frame(chrome, _SHELL, ""),
            "slot": sheet.marker.mark_slots(),
            "region": lambda name, caller: caller(),
            "headline_list": sheet.headlines,
            "story_list": sheet.rows,
        }
        html = self._engine.compile_mjml(self._engine.render(FRAME, shell))
        passages = cut_both(sheet.marker, text=sheet.text, html=html, regions=sheet.names, slot_octets=SLOT_OCTETS)
        _refuse_slots(passages.values(), PERSON_SLOTS, self._templates, STORY)
        return passages

    def render_mjml(self, edition: Edition, sources: Sequence[StorySource], recipient: Recipient, links: Links) -> str:
        """The MJML of an edition filled for a person, to look at. `sources` are the edition's stories, in its order."""
        frame = edition.frame
        chrome = choose_chrome(self._chromes, frame.language)
        slots = {**find_values(frame, recipient, links), **edition.said}
        headlines, rows = Markup(), Markup()
        for place, source in enumerate(sources):
            view = view_story(source.story, source.topics, chrome)
            view = self._shorten(view, chrome) if place in edition.shortened else view
            blocks = self._render_story(STORY, view, chrome, slots)
            headlines += blocks[HEADLINE] if place < edition.listed else ""
            if place < edition.shown:
                if edition.places[place].begins:
                    topic = edition.places[place].topic
                    rows += self._render_group(STORY, chrome.format_day(source.day) if topic is None else topic, chrome)
                rows += blocks[LEAD if place == 0 and LEAD in blocks else STORY_BLOCK]
        printed = {"headlines": len(sources) > 1, "more": edition.shown < len(sources)}
        return self._engine.render(
            FRAME,
            {
                **self._name_frame(chrome, frame.sender, frame.title),
                "slot": slots,
                "region": lambda name, caller: caller() if printed[name] else "",
                "headline_list": headlines,
                "story_list": rows,
            },
        )

    def _shorten(self, view: StoryView, chrome: Chrome) -> StoryView:
        slots = Marker().mark_slots()
        return shorten_view(
            view, chrome, lambda cut: measure_octets(self._render_story(STORY, cut, chrome, slots)[STORY_BLOCK])
        )

    def _render_story(self, template: str, view: StoryView, chrome: Chrome, slots: Mapping[str, str]) -> dict[str, str]:
        """The blocks of a story by name; `lead` only where the theme has it."""
        variables = {**self._name_common(chrome), "slot": slots, "story": view}
        blocks = [block for block in (HEADLINE, STORY_BLOCK, LEAD) if self._engine.has_block(template, block)]
        return self._engine.render_blocks(template, blocks, variables)

    def _render_group(self, template: str, group: str, chrome: Chrome) -> str:
        variables = {**self._name_common(chrome), "group": group or chrome.strings["other"]}
        return self._engine.render_blocks(template, (GROUP,), variables)[GROUP]

    def _name_common(self, chrome: Chrome) -> dict[str, object]:
        return {
            "language": chrome.language,
            "direction": chrome.direction,
            "t": chrome.strings,
            "theme": self.theme,
        }

    def _name_frame(self, chrome: Chrome, sender: Sender, title: str) -> dict[str, object]:
        """What frames may print, beside slots, regions and the two lists."""
        return {
            **self._name_common(chrome),
            "sender": sender,
            "title": clean_line(title),
            "archive": f"{sender.base_url.rstrip('/')}/archive" if sender.archive else "",
        }


@lru_cache(maxsize=8)
def _load_engine(files: tuple[tuple[str, TemplateFile], ...]) -> TemplateEngine:
    """Templates compiled and looked through; 60 ms, and so kept for who makes a renderer again."""
    engine = TemplateEngine(dict(files))
    lint_templates(engine.trees, {name: file.path for name, file in files}, engine.environment)
    return engine


def _demand_slots(mail: Passage, templates: Templates) -> None:
    """A template of the operator's may leave out much, but not the stories, nor the way out."""
    for name, segments in ((FRAME, mail.html), (MAIL_TEXT, mail.text)):
        for slot, spelling in (("story_list", "story_list"), ("unsubscribe", "slot.unsubscribe")):
            if slot not in segments.pieces:
                where = place_end(templates[name])
                raise TemplateError(f"{where}: up to here it prints no {{{{ {spelling} }}}}, which every mail needs")


def _refuse_slots(passages: Iterable[Passage], allowed: Container[str], templates: Templates, template: str) -> None:
    """A mail that could not be filled must not be published."""
    for passage in passages:
        for piece in (*passage.html.pieces, *passage.text.pieces):
            if isinstance(piece, str) and piece not in allowed:
                raise TemplateError(
                    f"{templates[template].path}, line 1: it prints {piece!r}, which cannot stand there"
                )


def _measure_topics(sender: Sender, chrome: Chrome) -> int:
    """The octets of the longest list of topics in a footer: all of them."""
    names = [*sender.topic_names.values(), chrome.strings["all_topics"]]
    return len(escape(chrome.strings["separator"].join(names)).encode()) + ISOLATE_OCTETS * len(names)


def _choose_words(chrome: Chrome, subject: str | None, names: Mapping[str, str]) -> Words:
    return Words(
        language=chrome.language,
        subject=chrome.plurals["subject"],
        more=chrome.plurals["more"],
        reading=chrome.plurals["reading"],
        all_topics=chrome.strings["all_topics"],
        separator=chrome.strings["separator"],
        preheader=chrome.strings["preheader"],
        short_subject=chrome.strings["short_subject"],
        subject_pattern=subject,
        subject_names={name: clean_line(text) for name, text in names.items()} if subject else {},
    )
