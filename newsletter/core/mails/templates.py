"""The template engine: Jinja2 in front of MJML, with errors that name the template's own file and line.

Uses jinja2 and mjml-python; the files come in as values. Text from outside is only ever a variable of a template,
never a template; what a mail cannot hold is cleaned out of every variable as it is printed.
"""

import difflib
import re
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from xml.parsers import expat

import jinja2
from jinja2 import Environment, FunctionLoader, StrictUndefined, select_autoescape
from jinja2 import Template as Compiled
from markupsafe import Markup
from mjml import mjml2html

from newsletter.core.errors import TemplateError
from newsletter.core.mails.quoted import clean_text

LANGUAGES = "languages.toml"
FRAME = "frame.mjml.j2"
STORY = "story.mjml.j2"
BODY = "body.mjml.j2"
MAIL_TEXT = "mail.txt.j2"
STORY_TEXT = "story.txt.j2"
STORY_BLOCKS = ("headline", "day", "story")

_LINKS = ("https://", "http://", "mailto:")
# What a wrong template raises when it runs.
_MISTAKES = (
    *(jinja2.TemplateError, TypeError, ValueError, LookupError, AttributeError, ArithmeticError),
    RecursionError,  # a template that includes itself
)
_UNKNOWN_ELEMENT = re.compile(r"<(mj-[a-z-]+)")


@dataclass(frozen=True, kw_only=True)
class TemplateFile:
    """A template's text, and the path under which errors name it."""

    path: str
    text: str


Templates = Mapping[str, TemplateFile]
"""The mail templates by their names within the templates folder."""


def find_template(templates: Templates, name: str) -> TemplateFile:
    """The template of that name; TemplateError when there is none."""
    if name not in templates:
        raise TemplateError(f"the templates hold no {name}")
    return templates[name]


class TemplateEngine:
    """Renders the mail's templates; all are compiled at once, so that a syntax error shows at once."""

    def __init__(self, templates: Templates) -> None:
        """TemplateError when a template or one of its blocks is missing, or a template has a syntax error."""
        self._templates = {name: file for name, file in templates.items() if name.endswith((".mjml.j2", ".txt.j2"))}
        self._environment = _make_environment(self._load)
        for name in (FRAME, STORY, BODY, MAIL_TEXT, STORY_TEXT):
            self._compile(name)
        for name in (STORY, STORY_TEXT):
            for block in STORY_BLOCKS:
                if block not in self._compile(name).blocks:
                    raise TemplateError(f"{self._templates[name].path} has no block {block!r}")

    def render(self, name: str, variables: Mapping[str, object]) -> str:
        """Render a whole template."""
        return self._run(lambda: self._compile(name).render(variables))

    def render_block(self, name: str, block: str, variables: Mapping[str, object]) -> str:
        """Render one `{% block %}` of a template; of an .mjml.j2, as Markup, for use in another."""
        template = self._compile(name)
        rendered = self._run(lambda: "".join(template.blocks[block](template.new_context(dict(variables)))))
        return Markup(rendered) if _is_markup(name) else rendered  # noqa: S704 - the template escapes what it prints

    def compile_mjml(self, mjml: str) -> str:
        """MJML to HTML. TemplateError with the template's line, as near as can be told, when it is not well-formed."""
        try:
            html = mjml2html(mjml, fonts={})
        except ValueError as error:
            raise self._explain_mjml(mjml, str(error)) from None
        if unknown := _UNKNOWN_ELEMENT.search(html):
            line = next(number for number, text in enumerate(mjml.splitlines()) if unknown[0] in text)
            raise TemplateError(f"{self._place(mjml, line)}: <{unknown[1]}> is not known to MJML, or not in this place")
        return html

    def _load(self, name: str) -> tuple[str, str, Callable[[], bool]]:
        file = find_template(self._templates, name)
        return file.text, file.path, lambda: True

    def _compile(self, name: str) -> Compiled:
        try:
            return self._environment.get_template(name)
        except jinja2.TemplateSyntaxError as error:
            raise TemplateError(f"{error.filename}, line {error.lineno}: {error.message}") from None

    def _run(self, render: Callable[[], str]) -> str:
        try:
            return render()
        except _MISTAKES:
            try:
                self._environment.handle_exception()  # puts the template's lines for those of its compiled code
            except _MISTAKES as error:
                raise self._explain_jinja(error) from error

    def _explain_jinja(self, error: Exception) -> TemplateError:
        paths = {file.path for file in self._templates.values()}
        places = [place for place in traceback.extract_tb(error.__traceback__) if place.filename in paths]
        reason = str(error) if isinstance(error, jinja2.TemplateError) else f"{type(error).__name__}: {error}"
        where = "".join(f"{place.filename}, line {place.lineno}: " for place in places[-1:])
        return TemplateError(where + reason)

    def _explain_mjml(self, mjml: str, message: str) -> TemplateError:
        """MJML gives at most an offset (measured, mjml-python 1.4.2); expat reads the same text and knows the line."""
        if not mjml.strip():
            return TemplateError(f"{self._templates[FRAME].path}, line 1: it prints nothing")
        parser = expat.ParserCreate()
        parser.UseForeignDTD(True)  # HTML's named entities are none of XML's
        try:
            parser.Parse(mjml, True)
        except expat.ExpatError as error:
            place = self._place(mjml, error.lineno - 1)
            return TemplateError(f"{place}: MJML is not well-formed: {expat.ErrorString(error.code)}")
        return TemplateError(f"{self._templates[FRAME].path}: MJML cannot read it: {message}")

    def _place(self, mjml: str, line: int) -> str:
        """The line of a template that looks most like a line of what was rendered from it."""
        rendered = "".join(mjml.splitlines()[line : line + 1]).strip()
        lines = {
            text.strip(): (file.path, number)
            for name, file in reversed(self._templates.items())
            if _is_markup(name)
            for number, text in reversed(list(enumerate(file.text.splitlines(), 1)))
        }
        nearest = difflib.get_close_matches(rendered[:500], lines, n=1, cutoff=0.0)
        path, number = lines[nearest[0]]
        return f"{path}, about line {number}"


def is_link(address: str | None) -> bool:
    """Whether an address may stand behind a link in a mail (http, https, mailto)."""
    return address is not None and address.lower().startswith(_LINKS)


def is_image(address: str) -> bool:
    """Whether an image may be loaded from there: https only, so that no client warns of mixed content."""
    return address.lower().startswith("https://")


def break_lines(text: str) -> Markup:
    """Escape text for HTML, with `<br>` for its line breaks."""
    return Markup("<br />").join(clean_text(text).split("\n"))


def _make_environment(load: Callable[[str], tuple[str, str, Callable[[], bool]]]) -> Environment:
    environment = Environment(
        loader=FunctionLoader(load),
        autoescape=select_autoescape(enabled_extensions=("mjml.j2",), default=False),
        undefined=StrictUndefined,
        finalize=_clean_printed,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        auto_reload=False,
    )
    environment.tests.update(link=is_link, image=is_image)
    environment.filters.update(break_lines=break_lines)
    return environment


def _is_markup(name: str) -> bool:
    return name.endswith(".mjml.j2")


def _clean_printed(value: object) -> object:
    if isinstance(value, Markup):
        return value
    return clean_text(value) if isinstance(value, str) else value
