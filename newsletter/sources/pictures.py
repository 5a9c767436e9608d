"""Fetches the images of stories so that they may travel within mails. One that cannot be had stays where it is.

Believes no name and no header: an image is what its first octets say. Refuses what is large, and takes of an issue no
more than mails can carry.
"""

import base64
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace

from newsletter.core.errors import SourceError
from newsletter.core.model import Picture, Story
from newsletter.sources.http import fetch

PICTURE_OCTETS = 300_000
ISSUE_OCTETS = 1_000_000
"""What all pictures of an issue may come to, the first stories' first: a weekly mail holds several issues."""

FETCH_SECONDS = 10.0
AT_ONCE = 8
_KINDS = ((b"\x89PNG\r\n\x1a\n", "image/png"), (b"\xff\xd8\xff", "image/jpeg"), (b"GIF8", "image/gif"))


@dataclass(frozen=True, kw_only=True)
class PictureFetcher:
    """Fetches pictures; `tell` is called with a sentence for each that stays where it is."""

    allow_private: bool
    tell: Callable[[str], None]

    def embed(self, stories: Sequence[Story]) -> list[Story]:
        """The stories with their pictures, as far as these can be had."""
        addresses = dict.fromkeys(address for story in stories for address in story.images)
        with ThreadPoolExecutor(AT_ONCE) as pool:
            found = dict(zip(addresses, pool.map(self._fetch, addresses), strict=True))
        kept = self._bound(picture for picture in found.values() if picture is not None)
        return [replace(s, pictures=tuple(kept[a] for a in s.images if a in kept)) for s in stories]

    def _fetch(self, address: str) -> Picture | None:
        try:
            body = self._ask(address)
        except SourceError as error:
            self.tell(f"{error}; mails link to it")
            return None
        kind = find_kind(body)
        if kind is None or len(body) > PICTURE_OCTETS:
            why = f"is larger than {PICTURE_OCTETS // 1_000} KB" if kind else "is no PNG, JPEG, GIF or WebP"
            self.tell(f"picture {address} {why}; mails link to it")
            return None
        return Picture(address=address, kind=kind, data=base64.b64encode(body).decode())

    def _ask(self, address: str) -> bytes:
        """The address is whoever wrote the story's, so it may not lead into our own network."""
        allowed = self.allow_private
        return fetch(address, allow_private=allowed, seconds=FETCH_SECONDS, what="picture", is_ours=False).body or b""

    def _bound(self, pictures: Iterable[Picture]) -> dict[str, Picture]:
        kept: dict[str, Picture] = {}
        left = ISSUE_OCTETS
        for picture in pictures:
            left -= len(picture.data) * 3 // 4
            if left < 0:
                self.tell(f"picture {picture.address} would make mails too large; they link to it")
                break
            kept[picture.address] = picture
        return kept


def find_kind(body: bytes) -> str | None:
    """The media type of an image by its first octets; None where mail clients could not show it."""
    if body[:4] == b"RIFF" and body[8:12] == b"WEBP":
        return "image/webp"
    return next((kind for start, kind in _KINDS if body.startswith(start)), None)
