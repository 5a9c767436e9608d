"""Finds the HTML and CSS that a mail uses, and says what of it the great mail clients lack, by support.py's table."""

import re
from collections.abc import Iterator

from newsletter.core.checks.css import Declaration, parse_declarations
from newsletter.core.checks.findings import Finding, find
from newsletter.core.checks.mail import CheckedMail
from newsletter.core.checks.support import LACKING, SUPPORTED, UNTESTED

_VENDOR = re.compile("-(?:webkit|ms|moz|o)-|mso-")  # meant for one client, and passed over by the others
_VALUES = ("display:none", "text-align:start")
_FEATURE = re.compile(r"\(\s*([a-z-]+)")
_SIZES = ("min-width", "max-width", "min-height", "max-height")


def check_clients(mail: CheckedMail) -> Iterator[Finding]:
    """One finding a feature, at its first use."""
    places: dict[str, str] = {}
    for feature, place in _list_features(mail):
        places.setdefault(feature, place)
    for feature, place in places.items():
        if lack := LACKING.get(feature):
            said = f"{feature} is lacking, at least in part, in {_join(lack.clients)}: {lack.instead}"
            yield find("client.lacking", place, said)
        elif feature not in SUPPORTED and feature not in UNTESTED:
            remedy = "See caniemail.com for who shows it, or do without it"
            yield find("client.unknown", place, f"the table of client support does not have {feature}. {remedy}")


def _join(clients: tuple[str, ...]) -> str:
    *others, last = clients
    return f"{', '.join(others)} and {last}" if others else last


def _list_features(mail: CheckedMail) -> Iterator[tuple[str, str]]:
    yield from _list_in_elements(mail)
    yield from _list_in_sheets(mail)


def _list_in_elements(mail: CheckedMail) -> Iterator[tuple[str, str]]:
    for element in mail.page.walk():
        if element.tag:
            yield f"<{element.tag}>", element.place
        if "role" in element.attributes:
            yield "role=", element.place
        for declaration in parse_declarations(element.attributes.get("style", "")):
            for feature in _name_declaration(declaration):
                yield feature, element.place


def _list_in_sheets(mail: CheckedMail) -> Iterator[tuple[str, str]]:
    for rule in mail.rules:
        place = f"html:{rule.line}"
        for feature in _name_selector(rule.selector):
            yield feature, place
        for query in rule.media:
            yield "@media", place
            for name in _FEATURE.findall(query.lower()):
                if name not in _SIZES:
                    yield name, place
        for declaration in rule.declarations:
            for feature in _name_declaration(declaration):
                yield feature, place


def _name_declaration(declaration: Declaration) -> Iterator[str]:
    pair = f"{declaration.name}:{declaration.value.lower()}"
    if pair in _VALUES:
        yield pair
    elif not _VENDOR.match(declaration.name):
        yield declaration.name


def _name_selector(selector: str) -> Iterator[str]:
    if selector.startswith("@"):
        yield selector.split()[0].lower()
        return
    if "[" in selector:
        yield "[attribute]"
    yield from re.findall(r"::?[a-z-]+", re.sub(r"\[[^\]]*\]", "", selector.lower()))
