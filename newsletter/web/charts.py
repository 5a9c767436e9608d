"""Charts as rectangles, for the macros of charts.html to draw as inline SVG. Pure: numbers in, places out."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

WIDE, HIGH = 1000.0, 100.0
"""The size of every drawing, in units of its own."""
LEAST_BARS, MOST_BARS = 30, 120
LEAST = 2.0
"""What is there at all is so wide or high at least, so that one of a million can be seen."""
STATES = ("accepted", "rejected", "uncertain", "sending", "deferred", "queued", "excluded")
OUTCOMES = ("accepted", "deferred", "rejected", "uncertain")
MINUTE = timedelta(minutes=1)


@dataclass(frozen=True, kw_only=True)
class Box:
    """A rectangle; `kind` is the class that colours it, `text` what it stands for, `number` an issue's."""

    x: float
    y: float
    width: float
    height: float
    kind: str
    text: str = ""
    number: int = 0


def stack_states(told: Mapping[str, Any]) -> list[Box]:
    """One bar of an issue's deliveries by state, the whole width being all that were selected."""
    counts = {state: sum(told[state].values()) if state == "excluded" else told[state] for state in STATES}
    total = sum(counts.values())
    shown = {state: max(LEAST, WIDE * n / total) for state, n in counts.items() if n}
    scale = WIDE / sum(shown.values()) if shown else 0
    boxes, x = [], 0.0
    for state, width in shown.items():
        boxes.append(Box(x=x, y=0, width=width * scale, height=HIGH, kind=state, text=f"{counts[state]:,} {state}"))
        x += width * scale
    return boxes


@dataclass(frozen=True, kw_only=True)
class Plot:
    """Attempts over time: the bars, the most in a bar, and how many minutes a bar is."""

    boxes: Sequence[Box]
    peak: int
    minutes: int
    first_at: datetime | None
    last_at: datetime | None


def plot_throughput(minutes: Sequence[Mapping[str, Any]]) -> Plot:
    """Attempts by outcome, one stacked bar a minute, or several minutes where it took long."""
    if not minutes:
        return Plot(boxes=(), peak=0, minutes=1, first_at=None, last_at=None)
    first, last = minutes[0]["at"], minutes[-1]["at"]
    span = int((last - first) / MINUTE) + 1
    each = -(-span // MOST_BARS)
    bars: dict[int, dict[str, int]] = {}
    for told in minutes:
        bar = bars.setdefault(int((told["at"] - first) / MINUTE) // each, dict.fromkeys(OUTCOMES, 0))
        for outcome in OUTCOMES:
            bar[outcome] += told[outcome]
    peak = max(sum(bar.values()) for bar in bars.values())
    places = max(LEAST_BARS, -(-span // each))
    width = WIDE / places
    boxes: list[Box] = []
    for place, bar in sorted(bars.items()):
        y = HIGH
        at = first + place * each * MINUTE
        for outcome in OUTCOMES:
            if bar[outcome]:
                height = max(LEAST, HIGH * bar[outcome] / peak)
                y = max(0.0, y - height)
                text = f"{at:%Y-%m-%d %H:%M}: {bar[outcome]:,} {outcome}"
                boxes.append(
                    Box(x=place * width, y=y, width=max(1.0, width * 0.9), height=height, kind=outcome, text=text)
                )
    return Plot(boxes=boxes, peak=peak, minutes=each, first_at=first, last_at=first + places * each * MINUTE)


def plot_days(days: Sequence[Mapping[str, Any]]) -> list[Box]:
    """What came back, a stacked bar a day, coloured as what it means for the mails."""
    kinds = {"hard": "rejected", "soft": "deferred", "complaint": "sending", "unsubscribe": "excluded"}
    most = max((sum(told[kind] for kind in kinds) for told in days), default=0)
    width = WIDE / max(LEAST_BARS, len(days))
    boxes = []
    for place, told in enumerate(days):
        y = HIGH
        for kind, colour in kinds.items():
            if told[kind]:
                height = max(LEAST, HIGH * told[kind] / most)
                y = max(0.0, y - height)
                text = f"{told['day']}: {told[kind]:,} {kind}"
                boxes.append(Box(x=place * width, y=y, width=width * 0.8, height=height, kind=colour, text=text))
    return boxes


def plot_strip(issues: Sequence[Mapping[str, Any]], places: int) -> list[Box]:
    """The last issues, the newest at the right: as high as many were selected, coloured by how it went."""
    most = max((told["selected"] for told in issues), default=0)
    width = WIDE / places
    return [
        Box(
            x=WIDE - (place + 1) * width,
            y=HIGH - _height(told["selected"], most),
            width=width * 0.8,
            height=_height(told["selected"], most),
            kind=_judge(told),
            text=f"issue {told['issue']} of {told['date']}, {told['state']}: {told['selected']:,} selected,"
            f" {told['accepted']:,} accepted, {told['rejected']:,} rejected",
            number=told["issue"],
        )
        for place, told in enumerate(issues)
    ]


def plot_spark(values: Sequence[int]) -> list[Box]:
    """A row of small bars."""
    most = max(values, default=0)
    width = WIDE / max(LEAST_BARS, len(values))
    return [
        Box(
            x=i * width,
            y=HIGH - _height(n, most),
            width=width * 0.8,
            height=_height(n, most),
            kind="accepted",
            text=f"{n}",
        )
        for i, n in enumerate(values)
        if n
    ]


def _height(n: int, most: int) -> float:
    return max(6.0, HIGH * n / most) if most else 6.0


def _judge(told: Mapping[str, Any]) -> str:
    """How an issue went, in one word that is a state."""
    if told["state"] in ("cancelled", "paused"):
        return "excluded" if told["state"] == "cancelled" else "uncertain"
    if told["owed"]:
        return "sending"
    return "rejected" if told["rejected"] * 20 > told["selected"] else "accepted"
