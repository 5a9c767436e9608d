"""Style sheets and style attributes, as far as mails use them: rules, selectors, media queries, the cascade.

Selectors: type, class, id, attribute (present, or equal), `:root` and `*`, joined by descendant and child combinators;
a rule with any other never applies. Media: screen, widths of a window WINDOW_PIXELS wide, prefers-color-scheme; a query
with anything else never applies. Of at-rules only @media is read. No variables, no nesting, no layers.
"""

import re
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from newsletter.core.checks.page import Element

WINDOW_PIXELS = 1024
_COMMENT = re.compile(r"/\*.*?\*/|<!--|-->", re.DOTALL)
_COMPOUND = re.compile(r"(?:\*|[\w-]+)?(?:[.#][\w-]+|\[[\w-]+(?:=(?:\"[^\"]*\"|'[^']*'|[\w-]+))?\]|:root)*", re.ASCII)
_SIMPLE = re.compile(r"[.#]?[\w*-]+|\[[^\]]*\]|:root", re.ASCII)
_WIDTH = re.compile(r"\((min|max)-width:([\d.]+)px\)")


class Declaration(NamedTuple):
    """A property and its value, both in lower case but for what stands in quotes."""

    name: str
    value: str
    important: bool = False


class Rule(NamedTuple):
    """A rule of a style sheet, for one selector; `media` are the queries around it, outermost first."""

    selector: str
    declarations: tuple[Declaration, ...]
    media: tuple[str, ...]
    line: int


def parse_declarations(text: str) -> tuple[Declaration, ...]:
    """The declarations of a rule or a style attribute; what has no name or no value is left out."""
    found = []
    for part in re.split(r";(?![^(]*\))", _COMMENT.sub(" ", text)):
        name, _, value = part.partition(":")
        value, mark, _ = value.partition("!")
        if name.strip() and value.strip():
            important = bool(mark) and part.replace(" ", "").lower().endswith("!important")
            found.append(Declaration(name.strip().lower(), " ".join(value.split()), important))
    return tuple(found)


def parse_sheets(page: Element) -> list[Rule]:
    """The rules of all style elements of a page, in order."""
    rules: list[Rule] = []
    for element in page.find_all("style"):
        text = "".join(node for node in element.content if isinstance(node, str))
        text = _COMMENT.sub(lambda found: re.sub(r"[^\n]", " ", found[0]), text)
        media = (element.attributes["media"],) if element.attributes.get("media") else ()
        rules += _parse_rules(text, 0, len(text), media, element.line)
    return rules


def _parse_rules(text: str, start: int, end: int, media: tuple[str, ...], line: int) -> Iterator[Rule]:
    while (brace := text.find("{", start, end)) != -1:
        close = _find_close(text, brace, end)
        head = text[start:brace].rpartition(";")[2]  # after such as `@import …;`
        at = line + text.count("\n", 0, brace - len(head.lstrip()))
        head = " ".join(head.split())
        if head.lower().startswith("@media"):
            yield from _parse_rules(text, brace + 1, close, (*media, head[6:].strip()), line)
        else:
            declarations = parse_declarations(text[brace + 1 : close])
            selectors = [head] if head.startswith("@") else head.split(",")
            for selector in selectors:
                yield Rule(selector.strip(), declarations, media, at)
        start = close + 1


def _find_close(text: str, brace: int, end: int) -> int:
    """Where the block that begins at this brace ends."""
    depth = 0
    for found in re.finditer("[{}]", text[brace:end]):
        depth += 1 if found[0] == "{" else -1
        if not depth:
            return brace + found.start()
    return end


def applies(media: Sequence[str], scheme: str) -> bool:
    """Whether all the queries fit a window on a screen in that scheme, `light` or `dark`."""
    return all(any(_fits(query, scheme) for query in queries.lower().split(",")) for queries in media)


def _fits(query: str, scheme: str) -> bool:
    return all(_holds(re.sub(r"\s", "", part), scheme) for part in re.split(r"\band\b", query))


def _holds(feature: str, scheme: str) -> bool:
    if found := _WIDTH.fullmatch(feature):
        bound = float(found[2])
        return bound <= WINDOW_PIXELS if found[1] == "min" else bound >= WINDOW_PIXELS
    return feature in ("screen", "all", "onlyscreen", "onlyall", f"(prefers-color-scheme:{scheme})")


def match_selector(selector: str, element: Element) -> tuple[int, int, int] | None:
    """The selector's specificity where it fits the element, else None."""
    parts = re.sub(r"\s*>\s*", " > ", selector).split()
    if not parts or any(part != ">" and not (part and _COMPOUND.fullmatch(part)) for part in parts):
        return None
    if ">" in (parts[0], parts[-1]) or not _match_parts(parts, element):
        return None
    simple = [piece for part in parts if part != ">" for piece in _SIMPLE.findall(part)]
    ids = sum(piece.startswith("#") for piece in simple)
    classes = sum(piece[0] in ".[:" for piece in simple)
    return ids, classes, sum(piece[0] not in "#.[:*" for piece in simple)


def _match_parts(parts: Sequence[str], element: Element) -> bool:
    *before, last = parts
    if not _match_compound(last, element):
        return False
    if not before:
        return True
    if before[-1] == ">":
        return element.parent is not None and _match_parts(before[:-1], element.parent)
    return any(_match_parts(before, above) for above in element.ancestors())


def _match_compound(compound: str, element: Element) -> bool:
    return all(_match_simple(piece, element) for piece in _SIMPLE.findall(compound))


def _match_simple(piece: str, element: Element) -> bool:
    match piece[0]:
        case ".":
            return piece[1:] in element.classes
        case "#":
            return element.attributes.get("id") == piece[1:]
        case "[":
            name, equals, value = piece[1:-1].partition("=")
            found = element.attributes.get(name.lower())
            return found is not None and (not equals or found == value.strip("\"'"))
        case ":":
            return element.tag == "html"
        case "*":
            return bool(element.tag)
    return element.tag == piece.lower()
