"""The lint of templates: what could go wrong in a branch that no try-out takes is found in the syntax tree.

An unknown variable, or a value that is printed without being escaped, is a TemplateError with file and line.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import fields

from jinja2 import nodes
from jinja2.defaults import DEFAULT_NAMESPACE

from newsletter.core.errors import TemplateError
from newsletter.core.mails.chrome import STRINGS
from newsletter.core.mails.parts import Sender
from newsletter.core.mails.slots import EDITION_SLOTS, PERSON_SLOTS
from newsletter.core.mails.story_view import StoryView
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
_VARIABLES = {
    *(name for name in _MEMBERS if "." not in name),
    *("language", "direction", "title", "archive", "region", "headline_list", "story_list", "group"),
    *("loop", "caller", "varargs", "kwargs"),
    *DEFAULT_NAMESPACE,
}
_UNESCAPING = ("safe", "xmlattr")
_LOOKED_AT = (
    *(nodes.Name, nodes.Getattr, nodes.Filter, nodes.Macro),
    *(nodes.Import, nodes.FromImport, nodes.ScopedEvalContextModifier),
)


def lint_templates(trees: Mapping[str, nodes.Template], paths: Mapping[str, str]) -> None:
    """Look through templates, given by their names, with the paths under which errors name them.

    TemplateError for the first thing that is wrong.
    """
    sheets = {name: list(tree.find_all(_LOOKED_AT)) for name, tree in trees.items()}
    exported = {name: set(_list_own(sheet)) for name, sheet in sheets.items()}
    for name, sheet in sheets.items():
        for line, message in (*_find_unknown(sheet, exported), *_find_unescaped(sheet)):
            raise TemplateError(f"{paths[name]}, line {line}: {message}")


def _find_unknown(sheet: Sequence[nodes.Node], exported: Mapping[str, set[str]]) -> Iterator[tuple[int, str]]:
    own = {*_list_own(sheet), *_list_imported(sheet)}
    imported = {
        node.target: exported[node.template.value]
        for node in sheet
        if isinstance(node, nodes.Import) and isinstance(node.template, nodes.Const) and node.template.value in exported
    }
    for node in sheet:
        if isinstance(node, nodes.Name) and node.name not in own and node.name not in _VARIABLES:
            yield node.lineno, f"{node.name!r} is no variable of a template"
        elif isinstance(node, nodes.Getattr):
            path = _write_path(node.node)
            known = imported.get(path) or (_MEMBERS.get(path) if path not in own else None)
            if known is not None and node.attr not in known:
                yield node.lineno, f"{path!r} has no {node.attr!r}"


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
