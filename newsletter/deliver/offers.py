"""Batches that jobs offer to a run: each is taken up, or not, and whoever offered it learns when it is through."""

import asyncio
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import Enum


class Ending(Enum):
    """What became of an offered batch."""

    THROUGH = "each of its deliveries was started, or waits by itself"
    NOT_FREE = "it is another's, or nothing of it may go now"
    LATER = "enough of its lane is in hand: others may have it meanwhile"
    GIVEN_BACK = "the run ended before it was through"


@dataclass
class Offers:
    """The batches that were offered and not taken up yet, and those that are under way. `arrived`: there are more."""

    arrived: asyncio.Event = field(default_factory=asyncio.Event)
    _waiting: deque[int] = field(default_factory=deque)
    _endings: "dict[int, asyncio.Future[Ending]]" = field(default_factory=dict)

    async def offer(self, batch_id: int) -> Ending:
        """Offer a batch, and wait for what becomes of it."""
        ending = self._endings.setdefault(batch_id, asyncio.get_running_loop().create_future())
        self._waiting.append(batch_id)
        self.arrived.set()
        return await asyncio.shield(ending)

    def __len__(self) -> int:
        return len(self._waiting)

    def take_all(self) -> Iterator[int]:
        """The batches that wait, one after another, the first offered first."""
        self.arrived.clear()
        while self._waiting:
            yield self._waiting.popleft()

    def put_back(self, batch_id: int) -> None:
        """It could not be looked at: it waits again, the first of all."""
        self._waiting.appendleft(batch_id)
        self.arrived.set()

    def end(self, batch_id: int, ending: Ending) -> None:
        """Tell who offered a batch what became of it; a batch that nobody offered is nobody's concern."""
        future = self._endings.pop(batch_id, None)
        if future is not None and not future.done():
            future.set_result(ending)

    def give_back(self) -> None:
        """The run is over: what was taken up and is not through, and what waits, is given back."""
        self._waiting.clear()
        self.arrived.clear()
        for batch_id in list(self._endings):
            self.end(batch_id, Ending.GIVEN_BACK)
