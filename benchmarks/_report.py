"""Writes what was measured into docs/performance.md, and draws docs/pictures/performance.svg.

    python benchmarks/_report.py

Reads results.json, which the benchmarks leave behind; only the parts of the page between its marks are replaced.
"""

import re
import sys
from collections.abc import Callable, Iterator, Sequence
from html import escape
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from _results import read_results

DOCS = Path(__file__).parents[1] / "docs"
PAGE = DOCS / "performance.md"
PLOT = DOCS / "pictures" / "performance.svg"
WIDTH, LEFT, BAR, TOP = 760, 360, 24, 40
OURS, OTHERS, INK = "#1f6feb", "#9aa4b2", "#57606a"
PANEL_HEIGHT = 170
ASKED = 7


def make_sending(told: dict[str, Any]) -> str:
    """The table of senders."""
    lines = [
        f"{told['machine']}. {told['mails']:,} mails of {told['octets']:,} octets, {told['connections']} connections,",
        f"medians of {told['runs']} interleaved runs, into Postfix's `smtp-sink`.",
        "",
        "| sender | mails a second | share of `smtp-source -d` | CPU a mail |",
        "| --- | ---: | ---: | ---: |",
    ]
    for row in told["senders"]:
        ratio = f"{row['ratio']:.2f}" if row["ratio"] is not None else "–"
        lines.append(f"| {row['name']} | {row['rate']:,} | {ratio} | {row['cpu_us']:,} µs |")
    if told["openssl_signs"]:
        lines += ["", f"`openssl speed rsa2048` on two cores: {told['openssl_signs']:,.0f} signatures a second."]
    if not told["signed"]:
        lines += ["", "The mails of the runs with DKIM set carried no signature: the service did not sign then."]
    return "\n".join(lines)


def make_scale(told: dict[str, Any]) -> str:
    """The table of sizes."""
    lines = [
        f"{told['machine']}. Twenty topics, each reader with one to six of them.",
        "",
        "| readers | editions | import | publish | its peak memory | a mail | peak memory of delivery |",
        "| ---: | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    lines += [
        f"| {row['readers']:,} | {row['editions']:,} | {row['importing']:.1f} s | {row['publishing']:.1f} s "
        f"| {row['publishing_mb']:.0f} MB | {row['us_a_mail']:,.0f} µs | {row['delivering_mb']:.0f} MB |"
        for row in told["rows"]
    ]
    return "\n".join(lines)


def draw_text(x: float, y: float, text: str, *, anchor: str = "start", weight: str = "normal") -> str:
    """A piece of text."""
    place = f'x="{x:.0f}" y="{y:.0f}" text-anchor="{anchor}" font-weight="{weight}"'
    return f'<text {place} fill="{INK}">{escape(text)}</text>'


def draw_bars(rows: Sequence[dict[str, Any]], top: int) -> Iterator[str]:
    """A bar a sender, ours in colour."""
    longest = max(row["rate"] for row in rows)
    yield draw_text(10, top - 16, "Mails a second", weight="bold")
    for number, row in enumerate(rows):
        y, length = top + number * BAR, max(1.0, row["rate"] / longest * (WIDTH - LEFT - 80))
        colour = OURS if "newsletter" in row["name"] else OTHERS
        yield draw_text(LEFT - 8, y + 13, row["name"], anchor="end")
        yield f'<rect x="{LEFT}" y="{y}" width="{length:.0f}" height="{BAR - 8}" fill="{colour}"/>'
        yield draw_text(LEFT + length + 6, y + 13, f"{row['rate']:,}")


def draw_line(rows: Sequence[dict[str, Any]], key: str, title: str, left: int, top: int) -> Iterator[str]:
    """A value against the number of readers, from zero up: a level line is what is wanted."""
    width, height = WIDTH // 2 - 80, PANEL_HEIGHT - 60
    highest = max(row[key] for row in rows) * 1.25 or 1.0
    steps = max(1, len(rows) - 1)
    points = [(left + 30 + width * n / steps, top + height * (1 - row[key] / highest)) for n, row in enumerate(rows)]
    yield draw_text(left + 10, top - 16, title, weight="bold")
    yield f'<path d="M{left + 20} {top + height}h{width + 20}" stroke="{OTHERS}"/>'
    path = " ".join(f"{x:.0f},{y:.0f}" for x, y in points)
    yield f'<polyline points="{path}" fill="none" stroke="{OURS}" stroke-width="2"/>'
    for row, (x, y) in zip(rows, points, strict=True):
        yield f'<circle cx="{x:.0f}" cy="{y:.0f}" r="3" fill="{OURS}"/>'
        yield draw_text(x, y - 8, f"{row[key]:,.0f}", anchor="middle")
        yield draw_text(x, top + height + 16, f"{row['readers']:,}", anchor="middle")


def draw_plot(results: dict[str, Any]) -> str:
    """The whole picture."""
    parts: list[str] = []
    bottom = TOP
    if "sending" in results:
        rows = [row for row in results["sending"]["senders"] if row["ratio"] is not None]
        parts += draw_bars(rows, bottom)
        bottom += len(rows) * BAR + 50
    if "scale" in results:
        rows = results["scale"]["rows"]
        parts += draw_line(rows, "us_a_mail", "µs a mail, by readers", 0, bottom)
        parts += draw_line(rows, "delivering_mb", "Peak memory in MB, by readers", WIDTH // 2, bottom)
        bottom += PANEL_HEIGHT - 30
    head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {bottom}" font-family="sans-serif"'
    ground = f'<rect width="{WIDTH}" height="{bottom}" fill="#ffffff"/>'
    return "\n".join([f'{head} font-size="12">', ground, *parts, "</svg>"]) + "\n"


def make_health(results: dict[str, Any]) -> str:
    """What the pages took, at rest and in a send."""
    lines = [
        f"{results['machine']}. A daemon with {results['readers']:,} readers, 50 connections into `smtp-sink`.",
        "",
        "| page | median | 95th percentile | most |",
        "| --- | ---: | ---: | ---: |",
    ]
    lines += [f"| {n} | {r['median']} ms | {r['p95']} ms | {r['most']} ms |" for n, r in results["rows"].items()]
    return "\n".join(lines)


def make_console(results: dict[str, Any]) -> str:
    """What the console's pages took, the slowest first."""
    pages = sorted(results["pages"].items(), key=lambda page: -page[1]["median"])
    lines = [
        f"{results['machine']}. {results['readers']:,} deliveries in the database; each page asked for {ASKED} times.",
        "",
        "| page | median | most | the first time |",
        "| --- | ---: | ---: | ---: |",
    ]
    lines += [f"| `{unquote(n)}` | {r['median']} ms | {r['most']} ms | {r['first']} ms |" for n, r in pages]
    return "\n".join(lines)


def make_reload(results: dict[str, Any]) -> str:
    """How long after a file was saved the browser showed it."""
    lines = [
        f"{results['machine']}. {results['times']} times each, in Chromium; the page kept its place.",
        "",
        "| saved | median | 95th percentile | most |",
        "| --- | ---: | ---: | ---: |",
    ]
    lines += [f"| {n} | {r['median']} ms | {r['p95']} ms | {r['most']} ms |" for n, r in results["rows"].items()]
    return "\n".join(lines)


def main() -> None:
    """Replace the tables and the plot."""
    results, page = read_results(), PAGE.read_text(encoding="utf-8")
    makers: dict[str, Callable[[dict[str, Any]], str]] = {
        "sending": make_sending,
        "scale": make_scale,
        "health": make_health,
        "console": make_console,
        "reload": make_reload,
    }
    for section, make in makers.items():
        if section in results:
            made = f"<!-- made: {section} -->\n{make(results[section])}\n<!-- end -->"
            marks = rf"<!-- made: {section} -->\n.*?<!-- end -->"
            page = re.sub(marks, lambda _, made=made: made, page, flags=re.DOTALL)  # type: ignore[misc]
    PAGE.write_text(page, encoding="utf-8")
    PLOT.write_text(draw_plot(results), encoding="utf-8")
    sys.stdout.write(f"{PAGE.name} and {PLOT.name} say what was measured\n")


if __name__ == "__main__":
    main()
