"""What the pages of the console have in common."""

from dataclasses import dataclass
from typing import Annotated, Any

from fastapi import Path
from fastapi.responses import Response

from newsletter.web.access import Access, Operator
from newsletter.web.desk import Desk
from newsletter.web.pages import PageTemplates

MOST_NUMBER = 2**31
Number = Annotated[int, Path(ge=1, lt=MOST_NUMBER)]


@dataclass(frozen=True, kw_only=True)
class Room:
    """The desk with the service, the templates, and who may come in."""

    desk: Desk
    pages: PageTemplates
    access: Access

    def answer(self, operator: Operator, name: str, *, here: str = "", **context: Any) -> Response:
        """The page `console/NAME.html`; `here` is what its menu calls it, its name unless given."""
        return self.pages.render(f"console/{name}.html", {"operator": operator, "here": here or name, **context})
