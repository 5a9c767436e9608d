"""SPF as a receiver reads it (RFC 7208), as far as the doctor needs it: how much it asks, and whom it names.

Macros are not expanded: a term that has one counts as a lookup and names nobody.
"""

import ipaddress
from collections.abc import Callable, Iterator
from typing import TypeAlias

from newsletter.core.dns_records import ASKING, SPF_LOOKUPS, Term, find_spf, parse_spf

Ask: TypeAlias = Callable[[str, str], list[str]]
Network: TypeAlias = ipaddress.IPv4Network | ipaddress.IPv6Network
Address: TypeAlias = ipaddress.IPv4Address | ipaddress.IPv6Address


class SpfError(Exception):
    """The record is no valid one, or leads to none; the text is the reason."""


def count_lookups(ask: Ask, domain: str) -> tuple[int, bool]:
    """How many of its terms ask the DNS, those of its includes counted, and whether it lets everybody send.

    Stops counting soon after what is allowed. SpfError where an include leads nowhere, or round in a circle.
    """
    terms = list(_walk(ask, domain, (), []))
    open_to_all = any(term.name == "all" and term.qualifier == "+" for term, depth in terms if depth == 0)
    return sum(term.name in ASKING for term, _ in terms), open_to_all


def covers(ask: Ask, domain: str, host: str) -> str | None:
    """None where the record of a domain lets a host send, or where that cannot be told; else the host's address.

    It cannot be told of an address of a private network: the relay sends from another.
    """
    addresses = list(_addresses_of(ask, host))
    terms = [term for term, _ in _walk(ask, domain, (), []) if term.qualifier == "+"]
    for address in addresses:
        if address.is_global and not any(_names(ask, domain, term, address) for term in terms):
            return str(address)
    return None


def _walk(ask: Ask, domain: str, path: tuple[str, ...], asked: list[str]) -> Iterator[tuple[Term, int]]:
    """All terms of a record and of those that it includes, each with its depth; `asked` counts the includes."""
    if domain in path:
        raise SpfError(f"{domain} includes itself")
    records = find_spf(ask(domain, "TXT"))
    if len(records) != 1:
        raise SpfError(f"{domain} has {len(records) or 'no'} SPF record{'s' if len(records) > 1 else ''}")
    for term in parse_spf(records[0]):
        yield term, len(path)
        if term.name in ("include", "redirect") and "%" not in term.value and len(asked) <= SPF_LOOKUPS:
            asked.append(term.value)
            yield from _walk(ask, term.value.lower().rstrip("."), (*path, domain), asked)


def _names(ask: Ask, domain: str, term: Term, address: Address) -> bool:
    """Whether a term itself names an address; its includes are walked by who calls."""
    if term.name in ("ip4", "ip6"):
        network = _network(term.value)
        return network is not None and address.version == network.version and address in network
    if term.name in ("a", "mx") and "%" not in term.value:
        name, _, width = term.value.partition("/")
        hosts = ask(name or domain, "MX") if term.name == "mx" else [name or domain]
        found = (a for host in hosts if host for a in _addresses_of(ask, host))
        return any(_within(address, other, width) for other in found)
    return False


def _within(address: Address, other: Address, width: str) -> bool:
    network = _network(f"{other}/{width.partition('/')[0]}" if width and other.version == 4 else str(other))
    return network is not None and address.version == network.version and address in network


def _network(text: str) -> Network | None:
    try:
        return ipaddress.ip_network(text, strict=False)
    except ValueError:
        return None


def _addresses_of(ask: Ask, host: str) -> Iterator[Address]:
    network = _network(host)
    if network is not None:
        yield network.network_address
        return
    for kind in ("A", "AAAA"):
        yield from (ipaddress.ip_address(text) for text in ask(host, kind))
