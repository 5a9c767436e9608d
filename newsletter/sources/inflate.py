"""Undoes the Content-Encoding of an answer in small pieces, so that a bomb is noticed before it goes off.

httpx2 decodes as much as a chunk holds at once, and several encodings one inside the other: 64 KB may become gigabytes.
Refuses encodings that were not asked for, and more than one.
"""

import zlib
from collections.abc import Iterable, Iterator
from itertools import chain

ACCEPTED = "gzip, deflate"
"""The Accept-Encoding to ask with."""

PIECE = 65536
_GZIP, _ZLIB, _RAW = 16 + zlib.MAX_WBITS, zlib.MAX_WBITS, -zlib.MAX_WBITS


class EncodingError(Exception):
    """An answer whose encoding cannot be undone; the text is the reason."""


def undo_encoding(chunks: Iterable[bytes], encoding: str) -> Iterator[bytes]:
    """The octets of an answer, in pieces of PIECE at most where they are decoded.

    `encoding` is the Content-Encoding header, empty where there is none. Raises EncodingError for one that is not
    known, and for content that is broken or breaks off.
    """
    match encoding.strip().lower():
        case "" | "identity":
            yield from chunks
        case "gzip" | "x-gzip":
            yield from _inflate(chunks, _GZIP)
        case "deflate":
            yield from _inflate(*_look_ahead(chunks))
        case other:
            raise EncodingError(f"its Content-Encoding is {other[:40]!a}, which was not asked for")


def _look_ahead(chunks: Iterable[bytes]) -> tuple[Iterable[bytes], int]:
    """The chunks, and whether they are of zlib or, as some servers mean `deflate`, bare (RFC 9110 8.4.1.2)."""
    left, head = iter(chunks), b""
    for chunk in left:
        head += chunk
        if len(head) > 1:
            break
    has_header = len(head) > 1 and head[0] & 15 == zlib.DEFLATED and int.from_bytes(head[:2], "big") % 31 == 0
    return chain([head], left), _ZLIB if has_header else _RAW


def _inflate(chunks: Iterable[bytes], bits: int) -> Iterator[bytes]:
    decoder = zlib.decompressobj(bits)
    try:
        for chunk in chunks:
            rest = chunk
            while rest and not decoder.eof:
                yield decoder.decompress(rest, PIECE)
                rest = decoder.unconsumed_tail
            if decoder.eof:
                return
        yield decoder.flush()
    except zlib.error as error:
        raise EncodingError(f"its compressed content is broken ({error})") from error
    if not decoder.eof:
        raise EncodingError("its compressed content breaks off")
