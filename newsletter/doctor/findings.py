"""What the doctor's checks come to."""

import ipaddress
from dataclasses import dataclass
from typing import Literal, TypeAlias

State: TypeAlias = Literal["ok", "warn", "fail"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Finding:
    """What a check came to. `check` is its stable name, `about` the relay or key that it looked at, if any."""

    check: str
    state: State
    about: str | None = None
    found: str
    remedy: str | None = None


def is_loopback(host: str) -> bool:
    """Whether a name or a number is this machine's own."""
    try:
        return ipaddress.ip_address(host.partition("%")[0]).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")
