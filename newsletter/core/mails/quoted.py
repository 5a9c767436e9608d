"""Quoted-printable text ready for the wire (RFC 2045 6.7), in segments that may be joined in any order.

Every segment begins at a line's start and ends with a line's end, hard or soft. No line is over 76 octets, begins
with a dot (so SMTP needs no dot-stuffing) or with `From `, ends in white space, or has two spaces in a row: so the
text is its own relaxed form (RFC 6376 3.4.4), and DKIM has only to hash it. Between segments stand slots, which are
filled, never evaluated.
"""

import binascii
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from newsletter.core.errors import StoreError

LINE_OCTETS = 76
# An octet as it is written; line breaks are cut before, tabs escaped wherever they stand.
_WRITTEN = [chr(octet) if 32 <= octet <= 126 and octet != ord("=") else f"={octet:02X}" for octet in range(256)]
_WRITTEN[ord("\n")] = "\n"
_PLAIN = re.compile("[ -~\n]*")
# One line as it is: no escape, no dot or `From ` at its start, no two spaces, none at its end.
_SHORT = re.compile(r"(?=.{1,75}\Z)(?!\.|From )[!-<>-~]+(?: [!-<>-~]+)*")
_CLEAN = re.compile("[!-~]+(?: [!-~]+)*")
_TWO_SPACES = re.compile("  ")  # 0.6 µs a kilobyte, where str.replace takes 1.8
# What HTML and XML 1.0 cannot hold, and what would break a line: controls, lone surrogates, two noncharacters.
_UNPRINTABLE = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff\ufffe\uffff]")

Piece = bytes | str
"""Octets ready for the wire, or the name of a slot."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Segments:
    """A run of pieces. `size` is the octets of the decoded text, with room for what the slots will hold."""

    pieces: tuple[Piece, ...] = ()
    size: int = 0

    def to_json(self) -> list[object]:
        """Text for a segment, `{"slot": name}` for a slot, after the size."""
        return [self.size, *(p.decode("ascii") if isinstance(p, bytes) else {"slot": p} for p in self.pieces)]

    @classmethod
    def from_json(cls, value: Sequence[object]) -> "Segments":
        """Read what `to_json` wrote. StoreError when it is something else."""
        size, *pieces = value
        if not isinstance(size, int):
            raise StoreError(f"a stored segment begins with {size!r} where its size should stand")
        return cls(size=size, pieces=tuple(_read_piece(piece) for piece in pieces))


@dataclass(frozen=True, kw_only=True, slots=True)
class Passage:
    """A passage of a mail as it stands in both parts."""

    text: Segments = Segments()
    html: Segments = Segments()

    def to_json(self) -> dict[str, list[object]]:
        """Both parts by name."""
        return {"text": self.text.to_json(), "html": self.html.to_json()}

    @classmethod
    def from_json(cls, value: Mapping[str, Sequence[object]]) -> "Passage":
        """Read what `to_json` wrote."""
        return cls(text=Segments.from_json(value["text"]), html=Segments.from_json(value["html"]))


def clean_text(text: str) -> str:
    """Put a space for every character that a mail cannot hold; line breaks become `\\n`."""
    return _UNPRINTABLE.sub(" ", text.replace("\r\n", "\n").replace("\r", "\n"))


def clean_line(text: str) -> str:
    """The text on one line, white space folded, without characters that a header or a line cannot hold."""
    if _CLEAN.fullmatch(text):
        return text
    return " ".join(_UNPRINTABLE.sub(" ", text).split())


def encode_quoted(text: str) -> bytes:
    """Encode text as a segment: `\\n` becomes CRLF, and a text that ends without one ends in a soft break."""
    if _SHORT.fullmatch(text):  # what stands in a person's slots mostly is
        return text.encode("ascii") + b"=\r\n"
    if _PLAIN.fullmatch(text):  # most HTML is: 4 µs a kilobyte instead of 30
        escaped = text.replace("=", "=3D")
    else:
        escaped = "".join(map(_WRITTEN.__getitem__, text.encode("utf-8", "replace")))
    escaped = _TWO_SPACES.sub(" =20", escaped)
    *lines, last = escaped.split("\n")
    wire: list[str] = []
    for line in lines:
        _cut_line(line, wire)
        wire.append(_guard_end(wire.pop()) + "\r\n")
    if last:
        _cut_line(last, wire)
        wire.append(wire.pop() + "=\r\n")
    return "".join(wire).encode("ascii")


def measure_octets(text: str) -> int:
    """The octets of the text once it is decoded from the wire, where a line break is CRLF."""
    return len(text.encode("utf-8", "replace")) + text.count("\n")


def decode_quoted(wire: bytes) -> str:
    """The text of joined segments."""
    return binascii.a2b_qp(wire).decode("utf-8").replace("\r\n", "\n")


def fill_slots(pieces: Iterable[Piece], values: Mapping[str, bytes]) -> list[bytes]:
    """Put the values, themselves segments, where the slots are. KeyError when a slot has none."""
    return [piece if piece.__class__ is bytes else values[piece] for piece in pieces]  # type: ignore[index]


def _cut_line(line: str, wire: list[str]) -> None:
    """Append the line to `wire`, in pieces of at most 75 octets; all but the last end in a soft break."""
    line = _guard_start(line)
    while len(line) > LINE_OCTETS - 1:
        end = LINE_OCTETS - 1
        # An escape such as =E2 stays whole.
        end -= 1 if line[end - 1] == "=" else 2 if line[end - 2] == "=" else 0
        wire.append(line[:end] + "=\r\n")
        line = _guard_start(line[end:])
    wire.append(line)


def _guard_start(line: str) -> str:
    """A dot at a line's start is doubled by SMTP (RFC 5321 4.5.2), and `From ` quoted by mailboxes (RFC 4155)."""
    if line.startswith("."):
        return "=2E" + line[1:]
    return "=46" + line[1:] if line.startswith("From ") else line


def _guard_end(line: str) -> str:
    """White space before a hard line break is lost on the way (RFC 2045 6.7 (3)); tabs are escaped everywhere."""
    if not line.endswith(" "):
        return line
    return line[:-1] + "=20" if len(line) <= LINE_OCTETS - 2 else f"{line[:-1]}=\r\n=20"


def _read_piece(piece: object) -> Piece:
    match piece:
        case str(text):
            return text.encode("ascii")
        case {"slot": str(slot)}:
            return slot
    raise StoreError(f"a stored segment holds {piece!r}, which is neither text nor a slot")
