"""The two command lines that carry an envelope, MAIL and RCPT, with the parameters that a relay offers.

Nothing reaches the wire that is not an address: aiosmtplib itself would send `a@x\\r\\nRCPT TO:<evil>` to `a@x`. Pure.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass

from newsletter.core.address import parse_address

_NO_ESCAPE = re.compile("[!-*,-<>-~]*")


@dataclass(frozen=True, kw_only=True, slots=True)
class Envelope:
    """MAIL FROM and RCPT TO (RFC 5321). `return_path` may be empty; `envid` names the mail in DSNs (RFC 3461)."""

    return_path: str
    recipient: str
    envid: str | None = None


class UnsendableError(Exception):
    """The mail is refused here, before any command; `enhanced` says why, as a relay would."""

    def __init__(self, enhanced: str, reason: str) -> None:
        super().__init__(reason)
        self.enhanced = enhanced


def write_commands(envelope: Envelope, size: int, offers: Mapping[str, str]) -> tuple[bytes, bytes]:
    """The MAIL and RCPT lines for a mail of `size` octets. `offers` are the EHLO keywords, in lower case, and values.

    Raises UnsendableError: 5.1.3 and 5.1.7 bad address, 5.3.4 too large (RFC 1870), 5.6.7 needs SMTPUTF8 (RFC 6531).
    """
    recipient = _read_address(envelope.recipient, "5.1.3")
    return_path = _read_address(envelope.return_path, "5.1.7") if envelope.return_path else ""
    most = int(offers["size"]) if offers.get("size", "").isdecimal() else 0
    if 0 < most < size:
        raise UnsendableError("5.3.4", f"not sent: the mail has {size} octets, the relay takes at most {most}")
    mail, rcpt = [f"MAIL FROM:<{return_path}>"], [f"RCPT TO:<{recipient}>"]
    if "size" in offers:
        mail.append(f"SIZE={size}")
    if not (recipient + return_path).isascii():
        if "smtputf8" not in offers:
            raise UnsendableError("5.6.7", f"not sent: {recipient} needs SMTPUTF8, which the relay does not offer")
        mail += ["SMTPUTF8", "BODY=8BITMIME"] if "8bitmime" in offers else ["SMTPUTF8"]
    if "dsn" in offers:
        mail += ["RET=HDRS", *([f"ENVID={_write_xtext(envelope.envid)}"] if envelope.envid else [])]
        rcpt.append("NOTIFY=FAILURE,DELAY")
        # An address that is not ASCII would need the other form of RFC 6533; the parameter is optional.
        rcpt += [f"ORCPT=rfc822;{_write_xtext(recipient)}"] if recipient.isascii() else []
    return " ".join(mail).encode(), " ".join(rcpt).encode()


def _read_address(text: str, enhanced: str) -> str:
    try:
        return parse_address(text).wire
    except ValueError as error:
        raise UnsendableError(enhanced, f"not sent: {error}") from None


def _write_xtext(text: str) -> str:
    """RFC 3461 4: printable ASCII, but `+` and `=` as `+HH`."""
    if _NO_ESCAPE.fullmatch(text):
        return text
    return "".join(chr(b) if 33 <= b <= 126 and b not in b"+=" else f"+{b:02X}" for b in text.encode())
