"""The operator's sessions: a signed cookie that expires, the secret of its forms, and a limit on wrong tries.

Nothing is kept of a session: any process that has the same keys knows it. Signing out ends all that were begun before.
"""

import base64
import hashlib
import hmac
import secrets
from collections import OrderedDict, deque
from collections.abc import Callable
from dataclasses import dataclass, field
from ipaddress import IPv6Address, ip_address, ip_network

COOKIE = "newsletter_session"
LIFETIME_SECONDS = 12 * 3600
MOST_TRIES = 5
TRIES_SECONDS = 300.0
MOST_NETWORKS = 10_000
_NONCE_OCTETS = 12


class Sessions:
    """Makes and knows session tokens `BEGUN.NONCE.SEAL`; `key` is as secret as the operator's password."""

    def __init__(self, key: bytes) -> None:
        self._key = key

    def begin(self, now: float) -> str:
        """A new session's token."""
        nonce = base64.urlsafe_b64encode(secrets.token_bytes(_NONCE_OCTETS)).decode()
        begun = f"{now:.6f}".replace(".", "_")
        return f"{begun}.{nonce}.{self._seal('session', f'{begun}.{nonce}')}"

    def is_valid(self, token: str, now: float, since: float) -> bool:
        """Whether a token is ours, not too old, and of a session that was begun after `since`."""
        payload, _, seal = token.rpartition(".")
        if not hmac.compare_digest(seal.encode(), self._seal("session", payload).encode()):
            return False
        begun = float(payload.partition(".")[0].replace("_", "."))
        return since < begun and begun <= now < begun + LIFETIME_SECONDS

    def make_csrf(self, session: str) -> str:
        """What a form of this session must bring back ("" where no cookie authorises)."""
        return self._seal("form", session)

    def _seal(self, purpose: str, text: str) -> str:
        return hmac.new(self._key, f"{purpose}\0{text}".encode(), hashlib.sha256).hexdigest()


@dataclass
class Tries:
    """So many tries, wrong passwords or sign-ups, by network (an IPv4 address, an IPv6 /64); `clock` counts seconds."""

    clock: Callable[[], float]
    most: int = MOST_TRIES
    seconds: float = TRIES_SECONDS
    _wrong: OrderedDict[str, deque[float]] = field(default_factory=OrderedDict)

    def wait(self, peer: str) -> float:
        """Seconds until this network may try again; 0 where it may now."""
        wrong = self._wrong.get(network_of(peer), deque())
        while wrong and wrong[0] <= self.clock() - self.seconds:
            wrong.popleft()
        return max(0.0, wrong[0] + self.seconds - self.clock()) if len(wrong) >= self.most else 0.0

    def note(self, peer: str) -> None:
        """Count a try."""
        network = network_of(peer)
        self._wrong.setdefault(network, deque(maxlen=self.most)).append(self.clock())
        self._wrong.move_to_end(network)
        while len(self._wrong) > MOST_NETWORKS:
            self._wrong.popitem(last=False)


def network_of(peer: str) -> str:
    """What one party can hold many addresses of: an IPv4 address, the /64 of an IPv6 one; else the text itself."""
    try:
        address = ip_address(peer)
    except ValueError:
        return peer
    if isinstance(address, IPv6Address):
        mapped = address.ipv4_mapped
        return str(mapped or ip_network((address, 64), strict=False))
    return str(address)
