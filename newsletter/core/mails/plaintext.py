"""The text part of a story, written from its blocks: wrapped, its links as numbered notes. Nothing is left out.

Words stand as their author wrote them, without marks for bold or italics.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import groupby

from newsletter.core.mails.columns import TEXT_COLUMNS, wrap_text
from newsletter.core.mails.quoted import clean_text
from newsletter.core.mails.templates import is_image, is_link
from newsletter.core.model import Block, BlockKind, Span

NARROWEST = 24


@dataclass(frozen=True, kw_only=True)
class PlainText:
    """A story's body in lines, and the addresses that its `[1]`, `[2]` … stand for, in order."""

    body: str
    notes: tuple[str, ...]


def write_plain_text(blocks: Sequence[Block], *, image: str) -> PlainText:
    """Write the blocks. `image` is the language's `Image: %(alt)s`."""
    writer = _Writer(image=image)
    body = "\n\n".join("\n".join(lines) for block in blocks if (lines := writer.write_block(block, TEXT_COLUMNS)))
    return PlainText(body=body, notes=tuple(writer.notes))


@dataclass(kw_only=True)
class _Writer:
    image: str
    notes: dict[str, int] = field(default_factory=dict)

    def write_block(self, block: Block, columns: int) -> list[str]:
        """The block's lines, none where it says nothing."""
        match block.kind:
            case BlockKind.LIST:
                return self._write_list(block, columns)
            case BlockKind.QUOTE:
                return [f"> {line}".rstrip() for line in self._write_content(block, columns - 2)]
            case BlockKind.CODE:
                code = clean_text("".join(span.text for span in block.spans)).strip("\n")
                return [f"    {line}".rstrip() for line in code.split("\n")] if code.strip() else []
            case BlockKind.IMAGE:
                return wrap_text(self._write_image(block), columns) if block.alt or _is_shown(block) else []
            case BlockKind.RULE:
                return ["* * *"]
            case BlockKind.TABLE:
                return [line for row in block.children for line in self._write_row(row, columns)]
            case _:
                return self._write_content(block, columns)

    def _write_content(self, block: Block, columns: int) -> list[str]:
        """The block's own text, then its children, parted by empty lines; a list in a list follows at once."""
        columns = max(columns, NARROWEST)
        written = wrap_text(text, columns) if (text := "".join(self._write_spans(block.spans))).strip() else []
        for child in block.children:
            lines = self.write_block(child, columns)
            close = block.kind is BlockKind.ITEM and child.kind is BlockKind.LIST
            written += ["", *lines] if written and lines and not close else lines
        return written

    def _write_list(self, block: Block, columns: int) -> list[str]:
        written: list[str] = []
        for number, item in enumerate(block.children, block.level or 1):
            mark = f"{number}. " if block.ordered else "- "
            for index, line in enumerate(self._write_content(item, columns - len(mark)) or [""]):
                written.append(f"{' ' * len(mark) if index else mark}{line}".rstrip())
        return written

    def _write_row(self, row: Block, columns: int) -> list[str]:
        cells = (" ".join(line for line in self._write_content(cell, columns) if line) for cell in row.children)
        return wrap_text(" | ".join(cells), columns)

    def _write_image(self, block: Block) -> str:
        """Its alt text, with a note of where it links to (its one span says so) or else of where it lies."""
        address = block.spans[0].href if block.spans else block.src
        note = f" [{self._number(address)}]" if address and is_link(address) else ""
        return self.image % {"alt": f"{clean_text(block.alt)}{note}"}

    def _write_spans(self, spans: Sequence[Span]) -> Iterator[str]:
        """Spans next to each other that link to one place are one link, with one number after it."""
        for href, linked in groupby(spans, lambda span: span.href):
            text = clean_text("".join(span.text for span in linked))
            yield text
            if href and is_link(href) and text.strip() not in ("", href, href.removeprefix("mailto:")):
                yield f" [{self._number(href)}]"

    def _number(self, address: str) -> int:
        return self.notes.setdefault(address, len(self.notes) + 1)


def _is_shown(image: Block) -> bool:
    """Whether an image without words is more than decoration: it links somewhere, and the HTML shows it."""
    return bool(image.spans) and is_image(image.src)
