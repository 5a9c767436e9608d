"""The fields of a form's body, urlencoded (as browsers send it) or multipart (RFC 7578, as some mail programs do)."""

from collections.abc import Mapping, Sequence
from email.parser import BytesParser
from email.policy import HTTP
from urllib.parse import parse_qs

from fastapi import Request

from newsletter.web.access import AccessError

MOST_OCTETS = 16_384
Fields = Mapping[str, Sequence[str]]


async def read_fields(request: Request) -> Fields:
    """Every value of each field; AccessError 413 where the body is too long."""
    body = await read_body(request, MOST_OCTETS)
    kind = request.headers.get("content-type", "")
    if kind.lower().startswith("multipart/form-data"):
        return _read_multipart(kind, body)
    return parse_qs(body.decode("utf-8", "replace"), keep_blank_values=True)


async def read_body(request: Request, most: int) -> bytes:
    """A whole body; AccessError 413 where it is longer than so many octets."""
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > most:
            raise AccessError(413, f"the body is longer than {most} octets")
    return bytes(body)


async def read_form(request: Request) -> dict[str, str]:
    """The last value of each field."""
    return {name: values[-1] for name, values in (await read_fields(request)).items()}


def _read_multipart(kind: str, body: bytes) -> dict[str, list[str]]:
    head = f"Content-Type: {kind}\r\n\r\n".encode("latin-1", "replace")
    found: dict[str, list[str]] = {}
    for part in BytesParser(policy=HTTP).parsebytes(head + body).iter_parts():
        name = part.get_param("name", header="content-disposition")
        content = part.get_payload(decode=True)
        if isinstance(name, str) and isinstance(content, bytes):
            found.setdefault(name, []).append(content.decode("utf-8", "replace"))
    return found
