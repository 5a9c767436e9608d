"""The template engine: Jinja2 in front of MJML, with errors that name the template's own file and line.

Uses jinja2 and mjml-python; the files come in as values. Text from outside is only ever a variable of a template,
never a template; what a mail cannot hold is cleaned out of every variable as it is printed.
"""

import difflib
import re
import traceback
from collections.abc import Callable, Mapping, MutableMapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit
from xml.parsers import expat

import jinja2
from jinja2 import BaseLoader, Environment, StrictUndefined, nodes, select_autoescape
from jinja2 import Template as Compiled
from markupsafe import Markup
from mjml import mjml2html

from newsletter.core.errors import TemplateError
from newsletter.core.mails.columns import measure_columns
from newsletter.core.mails.quoted import clean_text
from newsletter.core.mails.texts import UNSPACED, find_base_direction, isolate_text
from newsletter.core.model import Block

LANGUAGES = "languages.toml"
FRAME = "frame.mjml.j2"
STORY = "story.mjml.j2"
MAIL_TEXT = "mail.txt.j2"
STORY_TEXT = "story.txt.j2"
HEADLINE, STORY_BLOCK, LEAD, GROUP = "headline", "story", "lead", "group"
"""The blocks of STORY and STORY_TEXT; `lead` may be missing."""

NARROW_PIXELS, CELL_PADDING, CHARACTER_PIXELS = 272, 8, 9
"""What a telephone of 320 pixels leaves for a table, and what its cells and the letters in them take."""
LONGEST_WORD = 14
CONTENT_ID = "cid:"
_LINKS = ("https://", "http://", "mailto:")
# What a wrong template raises when it runs.
_MISTAKES = (
    *(jinja2.TemplateError, TypeError, ValueError, LookupError, AttributeError, ArithmeticError),
    RecursionError,  # a template that includes itself
)
_BODY = re.compile("(<body[^>]*>)")
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
        """TemplateError when a template or one of its blocks is missing, or has a syntax error."""
        self._templates = {name: file for name, file in templates.items() if name.endswith((".mjml.j2", ".txt.j2"))}
        self._loader = _Loader(self._templates)
        self.environment = _make_environment(self._loader)
        for name in (FRAME, STORY, MAIL_TEXT, STORY_TEXT, *self._templates):
            self._compile(name)
        for name in (STORY, STORY_TEXT):
            for block in (HEADLINE, STORY_BLOCK, GROUP):
                if not self.has_block(name, block):
                    raise TemplateError(f"{self._templates[name].path}, line 1: it has no block {block!r}")

    def render(self, name: str, variables: Mapping[str, object]) -> str:
        """Render a whole template."""
        return self._run(lambda: self._compile(name).render(variables))

    @property
    def trees(self) -> Mapping[str, nodes.Template]:
        """The syntax trees of all templates by name."""
        return self._loader.trees

    def has_block(self, name: str, block: str) -> bool:
        """Whether a template has a `{% block %}` of this name."""
        return block in self._compile(name).blocks

    def render_blocks(self, name: str, blocks: Sequence[str], variables: Mapping[str, object]) -> dict[str, str]:
        """Render some `{% block %}`s of a template by name; of an .mjml.j2, as Markup, for use in another."""
        template = self._compile(name)
        context = template.new_context(dict(variables))
        kind = Markup if _is_markup(name) else str  # the template escapes what it prints
        return {block: kind(self._run(lambda b=block: "".join(template.blocks[b](context)))) for block in blocks}  # type: ignore[misc]

    def compile_mjml(self, mjml: str) -> str:
        """MJML to HTML. TemplateError with the template's line, as near as can be told, when it is not well-formed."""
        try:
            html = mjml2html(mjml, fonts={})
        except ValueError as error:
            raise self._explain_mjml(mjml, str(error)) from None
        if unknown := _UNKNOWN_ELEMENT.search(html):
            line = next(number for number, text in enumerate(mjml.splitlines()) if unknown[0] in text)
            raise TemplateError(f"{self._place(mjml, line)}: <{unknown[1]}> is not known to MJML, or not in this place")
        # MJML makes no landmark, and a screen reader goes by them.
        return _BODY.sub(r"\1<main>", html, count=1).replace("</body>", "</main></body>")

    def _compile(self, name: str) -> Compiled:
        try:
            return self.environment.get_template(name)
        except jinja2.TemplateSyntaxError as error:
            raise TemplateError(f"{error.filename}, line {error.lineno}: {error.message}") from None

    def _run(self, render: Callable[[], str]) -> str:
        try:
            return render()
        except _MISTAKES:
            try:
                self.environment.handle_exception()  # puts the template's lines for those of its compiled code
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


def place_end(file: TemplateFile) -> str:
    """The last line of a template that prints something, as errors say it."""
    lines = file.text.rstrip().splitlines()
    body = [number for number, line in enumerate(lines, 1) if "</mj-body>" in line]
    return f"{file.path}, line {body[-1] if body else len(lines)}"


def is_link(address: str | None) -> bool:
    """Whether an address may stand behind a link in a mail (http, https, mailto)."""
    return address is not None and address.lower().startswith(_LINKS)


def is_image(address: str) -> bool:
    """Whether a mail may show an image of that address: https, so that no client warns of mixed content, or its own."""
    return address.lower().startswith(("https://", CONTENT_ID))


def find_host(address: str | None) -> str:
    """The host of an http or https address; empty where it is none that could be linked."""
    try:
        return urlsplit(address).hostname or "" if address and is_link(address) else ""
    except ValueError:  # such as http://[
        return ""


def break_lines(text: str) -> Markup:
    """Escape text for HTML, with `<br>` for its line breaks."""
    return Markup("<br />").join(clean_text(text).split("\n"))


def write_dir(text: str, around: str) -> Markup:
    """The attribute `dir` of a text whose direction is not that around it; nothing where it is."""
    own = find_base_direction(text, around)
    return Markup(f' dir="{own}"') if own != around else Markup()  # noqa: S704 - ltr or rtl


def is_long_worded(cell: Block) -> bool:
    """Whether a table's cell has a word that would make the table too wide; then it may break."""
    return _measure_words(cell) > LONGEST_WORD


def is_crowded(table: Block) -> bool:
    """Whether a table with long words has no room for these on a telephone, unless all its columns are equally wide."""
    widest: dict[int, int] = {}
    for row in table.children:
        for column, cell in enumerate(row.children):
            widest[column] = max(widest.get(column, 0), _measure_words(cell))
    least = sum(min(width, LONGEST_WORD) for width in widest.values()) * CHARACTER_PIXELS
    return max(widest.values(), default=0) > LONGEST_WORD and least + len(widest) * CELL_PADDING > NARROW_PIXELS


def _measure_words(cell: Block) -> int:
    """The columns of the longest run of text that no line break falls into: Chinese breaks anywhere."""
    runs = (run for inner in cell.walk() for word in inner.text.split() for run in UNSPACED.split(word))
    return max(map(measure_columns, runs), default=0)


class _Loader(BaseLoader):
    """Compiles templates, and keeps the syntax trees that it compiled: to parse takes as long."""

    def __init__(self, templates: Templates) -> None:
        self.trees: dict[str, nodes.Template] = {}
        self._templates = templates

    def load(self, environment: Environment, name: str, globals: MutableMapping[str, Any] | None = None) -> Compiled:  # noqa: A002 - Jinja2's name
        """TemplateError when there is none of that name."""
        file = find_template(self._templates, name)
        self.trees[name] = environment.parse(file.text, name, file.path)
        code = environment.compile(self.trees[name], name, file.path)
        return environment.template_class.from_code(environment, code, globals or {})


def _make_environment(loader: BaseLoader) -> Environment:
    environment = Environment(
        loader=loader,
        autoescape=select_autoescape(enabled_extensions=("mjml.j2",), default=False),
        undefined=StrictUndefined,
        finalize=_clean_printed,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        auto_reload=False,
    )
    environment.tests.update(link=is_link, image=is_image, long_worded=is_long_worded, crowded=is_crowded)
    environment.filters.update(break_lines=break_lines, dir=write_dir, host=find_host, isolate=isolate_text)
    return environment


def _is_markup(name: str) -> bool:
    return name.endswith(".mjml.j2")


def _clean_printed(value: object) -> object:
    if isinstance(value, Markup):
        return value
    return clean_text(value) if isinstance(value, str) else value
