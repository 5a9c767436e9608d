"""The slots of a mail, and the marks that carry them through Jinja2 and MJML.

A mark is a word made from a digest of what is rendered, so that no text can contain it. It stands in text and in
attributes alike, is cut out after MJML, and what lies between the marks becomes quoted-printable segments.
"""

import hashlib
import re
from collections import defaultdict
from collections.abc import Callable, Container, Mapping

from markupsafe import Markup

from newsletter.core.errors import TemplateError
from newsletter.core.mails.quoted import Piece, Segments, encode_quoted, measure_octets

PERSON_SLOTS = ("address", "topics", "date", "unsubscribe", "unsubscribe_mailto", "preferences", "view")
EDITION_SLOTS = ("preheader", "more_stories", "reading_time")
# Octets a slot may need: four times what a link of ours takes; the longest address (254), all of it escaped.
SLOT_OCTETS: Mapping[str, int] = dict.fromkeys(PERSON_SLOTS, 600) | {
    "address": 1_270,
    "preheader": 2_600,
    "more_stories": 400,
    "reading_time": 200,
    "date": 200,
}
MAIN = "main"
REGIONS = ("headlines", "more")


SEEN_LETTERS = 10
"""So much of a mark shows that it was there, where a template has cut or changed it."""


class Marker:
    """Marks the slots and regions of a template, and cuts them out of what was rendered."""

    def __init__(self, *inputs: object) -> None:
        """`inputs` is all that is rendered; their digest makes the word."""
        self._word = "n" + hashlib.sha256(repr(inputs).encode("utf-8", "replace")).hexdigest()[:32]

    def mark_slots(self) -> dict[str, str]:
        """The marks of all slots that a template may print."""
        return {name: self.mark_slot(name) for name in (*PERSON_SLOTS, *EDITION_SLOTS)}

    def mark_slot(self, name: str, *, raw: bool = False) -> str:
        """The mark of a slot; `raw` where it stands among the rows of an mj-column, which MJML leaves as they are."""
        return self._mark("slot", name, raw)

    def mark_region(self, name: str, content: str, *, raw: bool = False) -> str:
        """Mark what is cut out by itself, and leaves a slot of that name in its place."""
        return self._mark("begin", name, raw) + (content.strip() if raw else content) + self._mark("end", name, raw)

    def region(self, *, raw: bool) -> Callable[[str, Callable[[], str]], str]:
        """`mark_region` as templates call it: `{% call region("more") %}…{% endcall %}`."""
        return lambda name, caller: self.mark_region(name, caller(), raw=raw)

    def cut(self, rendered: str, regions: Container[str], slot_octets: Mapping[str, int]) -> dict[str, Segments]:
        """The wanted regions by name, where they are; `main` is what stands in none."""
        whole = sum(rendered.count(f"{self._word}-{kind}-") for kind in ("slot", "begin", "end"))
        if whole != rendered.lower().count(self._word[:SEEN_LETTERS]):
            raise TemplateError("a template changes a slot, which is put in later, as it is")
        found = re.split(rf"{self._word}-(slot|begin|end)-([a-z0-9_]+)-", rendered)
        pieces: dict[str, list[Piece]] = defaultdict(list)
        sizes: dict[str, int] = defaultdict(int)
        place = MAIN
        for text, kind, name in zip(found[0::3], [*found[1::3], "end"], [*found[2::3], MAIN], strict=True):
            if text and place in regions:
                pieces[place].append(encode_quoted(text))
                sizes[place] += measure_octets(text)
            if kind != "end" and place in regions:
                pieces[place].append(name)
                sizes[place] += slot_octets.get(name, 0)
            place = {"slot": place, "begin": name, "end": MAIN}[kind]
        return {name: Segments(pieces=tuple(run), size=sizes[name]) for name, run in pieces.items()}

    def _mark(self, kind: str, name: str, raw: bool) -> str:
        mark = f"{self._word}-{kind}-{name}-"
        return Markup(f"<mj-raw>{mark}</mj-raw>") if raw else mark  # noqa: S704 - letters, digits and hyphens only
