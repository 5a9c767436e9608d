"""The lint of templates: what could go wrong in a branch that no try-out takes is found in the syntax tree.

An unknown variable, or a value that is printed without being escaped, is a TemplateError with file and line.
"""

from collections.abc import Container, Iterator, Mapping, Sequence, Set
from dataclasses import fields

from jinja2 import Environment, nodes
from jinja2.defaults import DEFAULT_NAMESPACE

from newsletter.core.errors import TemplateError
from newsletter.core.mails.chrome import STRINGS
from newsletter.core.mails.parts import Sender
from newsletter.core.mails.slots import EDITION_SLOTS, PERSON_SLOTS, REGIONS
from newsletter.core.mails.story_view import StoryView
from newsletter.core.mails.templates import FRAME, MAIL_TEXT, STORY, STORY_TEXT
from newsletter.core.mails.theme import Fonts, Footer, Logo, Palette, Theme

_PALETTE = set(Palette.model_fields)
_MEMBERS: Mapping[str, set[str]] = {
    "t": set(STRINGS),
    "slot": {*PERSON_SLOTS, *EDITION_SLOTS},
    "sender": {field.name for field in fields(Sender)},
    "story": {*(field.name for field in fields(StoryView)), "picture", "rest"},
    "theme": {*Theme.model_fields, "choose_font", "choose_line"},
    "theme.light": _PALETTE,
    "theme.dark": _PALETTE,
    "theme.logo": set(Logo.model_fields),
    "theme.fonts": set(Fonts.model_fields),
    "theme.footer": set(Footer.model_fields),
}
_ANYWHERE = {"t", "slot", "theme", "language", "direction", "loop", "caller", "varargs", "kwargs", *DEFAULT_NAMESPACE}
_OF_FRAMES = {"sender", "title", "archive", "region", "headline_list", "story_list"}
_OF_STORIES = {"story", "group"}
_VARIABLES: Mapping[str, set[str]] = {
    **dict.fromkeys((FRAME, MAIL_TEXT), _ANYWHERE | _OF_FRAMES),
    **dict.fromkeys((STORY, STORY_TEXT), _ANYWHERE | _OF_STORIES),
}
_FILLED_LATER = ("slot", "headline_list", "story_list")
_UNESCAPING = ("safe", "xmlattr")
_LOOKED_AT = (
    *(nodes.Name, nodes.Getattr, nodes.Getitem, nodes.Filter, nodes.Test, nodes.Compare, nodes.Call, nodes.Macro),
    *(nodes.Import, nodes.FromImport, nodes.Include, nodes.ScopedEvalContextModifier),
)


def lint_templates(trees: Mapping[str, nodes.Template], paths: Mapping[str, str], environment: Environment) -> None:
    """Look through templates, given by their names, with the paths under which errors name them.

    TemplateError for the first thing that is wrong.
    """
    sheets = {name: list(tree.find_all(_LOOKED_AT)) for name, tree in trees.items()}
    exported = {name: set(_list_own(sheet)) for name, sheet in sheets.items()}
    for name, sheet in sheets.items():
        variables = _VARIABLES.get(name, _ANYWHERE | _OF_FRAMES | _OF_STORIES)
        found = (
            *_find_unknown(sheet, exported, variables),
            *_find_unescaped(sheet),
            *_find_missing(sheet, environment, exported),
            *_find_touched(sheet),
        )
        for line, message in found:
            raise TemplateError(f"{paths[name]}, line {line}: {message}")


def _find_unknown(
    sheet: Sequence[nodes.Node], exported: Mapping[str, set[str]], variables: Set[str]
) -> Iterator[tuple[int, str]]:
    own = {*_list_own(sheet), *_list_imported(sheet)}
    imported = {
        node.target: exported[node.template.value]
        for node in sheet
        if isinstance(node, nodes.Import) and isinstance(node.template, nodes.Const) and node.template.value in exported
    }
    for node in sheet:
        if isinstance(node, nodes.Name) and node.name not in own and node.name not in variables:
            yield node.lineno, f"{node.name!r} is no variable of this template"
        elif (member := _read_member(node)) is not None:
            path, name = member
            known = imported.get(path) or (_MEMBERS.get(path) if path not in own else None)
            if known is not None and name not in known:
                yield node.lineno, f"{path!r} has no {name!r}"


def _read_member(node: nodes.Node) -> tuple[str, str] | None:
    """`a.b` or `a["b"]` as a path and a name."""
    if isinstance(node, nodes.Getattr):
        return _write_path(node.node), node.attr
    if isinstance(node, nodes.Getitem) and isinstance(node.arg, nodes.Const) and isinstance(node.arg.value, str):
        return _write_path(node.node), node.arg.value
    return None


def _find_missing(
    sheet: Sequence[nodes.Node], environment: Environment, templates: Container[str]
) -> Iterator[tuple[int, str]]:
    """Filters, tests, files and regions that there are not."""
    for node in sheet:
        if isinstance(node, nodes.Filter | nodes.Test):
            kind = "filter" if isinstance(node, nodes.Filter) else "test"
            if node.name not in (environment.filters if kind == "filter" else environment.tests):
                yield node.lineno, f"there is no {kind} {node.name!r}"
        elif isinstance(node, nodes.Import | nodes.FromImport | nodes.Include):
            if isinstance(node.template, nodes.Const) and node.template.value not in templates:
                yield node.lineno, f"there is no template {node.template.value!r}"
        elif isinstance(node, nodes.Call) and isinstance(node.node, nodes.Name) and node.node.name == "region":
            name = node.args[0].value if node.args and isinstance(node.args[0], nodes.Const) else None
            if name not in REGIONS:
                yield node.lineno, f"a region is one of {', '.join(map(repr, REGIONS))}"


def _find_touched(sheet: Sequence[nodes.Node]) -> Iterator[tuple[int, str]]:
    """What is put in after the templates have run, and cannot be looked at by them."""
    for node in sheet:
        if isinstance(node, nodes.Filter | nodes.Test | nodes.Getitem):
            looked_at = node.node
        elif isinstance(node, nodes.Compare):
            looked_at = node.expr
        else:
            continue
        path = _write_path(looked_at) if looked_at is not None else ""
        if path.partition(".")[0] in _FILLED_LATER and path != "slot":
            yield node.lineno, f"{path!r} is put in later, as it is: it can be printed, not filtered, compared or cut"


def _find_unescaped(sheet: Sequence[nodes.Node]) -> Iterator[tuple[int, str]]:
    for node in sheet:
        if isinstance(node, nodes.Filter) and node.name in _UNESCAPING and not _is_constant(node.node):
            yield node.lineno, f"what is filtered by {node.name!r} is not escaped: in a mail, every value is"
        elif isinstance(node, nodes.ScopedEvalContextModifier) and any(map(_switches_off, node.options)):
            yield node.lineno, "what stands in autoescape is not escaped: in a mail, every value is"


def _is_constant(node: nodes.Expr | None) -> bool:
    try:
        return node is not None and isinstance(node.as_const(), str)
    except nodes.Impossible:
        return False


def _switches_off(option: nodes.Keyword) -> bool:
    is_on = isinstance(option.value, nodes.Const) and option.value.value is True
    return option.key == "autoescape" and not is_on


def _list_own(sheet: Sequence[nodes.Node]) -> Iterator[str]:
    """What a template names itself: macros, their parameters, what it sets and loops over."""
    for node in sheet:
        if isinstance(node, nodes.Macro) or (isinstance(node, nodes.Name) and node.ctx != "load"):
            yield node.name


def _list_imported(sheet: Sequence[nodes.Node]) -> Iterator[str]:
    for node in sheet:
        if isinstance(node, nodes.Import):
            yield node.target
        elif isinstance(node, nodes.FromImport):
            yield from (name if isinstance(name, str) else name[1] for name in node.names)


def _write_path(node: nodes.Node) -> str:
    """`theme.light` of an expression made of names; empty for any other."""
    if isinstance(node, nodes.Name):
        return node.name
    if isinstance(node, nodes.Getattr) and (path := _write_path(node.node)):
        return f"{path}.{node.attr}"
    return ""
