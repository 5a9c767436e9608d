"""The mail as Chromium shows it: nothing sticks out sideways, and every text can be read in light and in dark."""

import html
import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from workshop import Workshop

CHROMIUM = shutil.which("chromium")
FLAGS = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--disable-quic", "--no-first-run"),
    *(
        "--disable-background-networking",
        "--disable-component-update",
        "--disable-sync",
        "--allow-file-access-from-files",
    ),
)
DARK = "--blink-settings=preferredColorScheme=0"
# Contrast as WCAG 2.2 (1.4.3) computes it, of each text against the nearest background that is painted.
PROBE = """
function luminance(rgb) {
  const part = rgb.map(v => v / 255).map(v => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
  return 0.2126 * part[0] + 0.7152 * part[1] + 0.0722 * part[2];
}
function numbers(colour) { return colour.match(/[\\d.]+/g).map(Number); }
function background(node) {
  for (let at = node; at; at = at.parentElement) {
    const colour = numbers(getComputedStyle(at).backgroundColor);
    if (colour.length === 3 || colour[3] > 0.99) return colour.slice(0, 3);
  }
  return [255, 255, 255];
}
addEventListener("load", () => {
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  const texts = [];
  while (walker.nextNode()) {
    const parent = walker.currentNode.parentElement;
    const box = parent.getBoundingClientRect();
    const style = getComputedStyle(parent);
    if (!walker.currentNode.data.trim() || !box.width || !box.height || style.opacity === "0") continue;
    const [a, b] = [luminance(numbers(style.color)), luminance(background(parent))].sort((x, y) => y - x);
    texts.push({text: walker.currentNode.data.trim().slice(0, 40), contrast: (a + 0.05) / (b + 0.05),
                size: parseFloat(style.fontSize), right: Math.round(box.right)});
  }
  const told = {texts, width: innerWidth, scroll: document.documentElement.scrollWidth,
                h1: document.querySelectorAll("h1").length, paper: background(document.querySelector("h1")),
                loads: performance.getEntriesByType("resource").length};
  const out = document.createElement("pre");
  out.id = "told";
  out.textContent = JSON.stringify(told);
  document.body.append(out);
});
"""
LONG = "an-address-like-word-that-no-phone-could-ever-show-on-a-single-line-without-breaking-it-somewhere"

BRIEF = f"""\
Headlines:

- **A comet passes close by**
- **{LONG} in a comet's title**

Details:

A comet passes close by

Look *north* after sunset, with a small [telescope](https://example.org/telescopes) and `{LONG}`.

> Nobody had seen it before.

| when | where |
|---|---|
| {LONG} | north |

* one
* two

{LONG} in a comet's title

Text.
"""

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium: Debian's package chromium")


def look(workshop: Workshop, width: int, *flags: str) -> dict[str, Any]:
    """What the page says of itself. Chromium's own window is never under 500 pixels wide, so it stands in a frame."""
    assert CHROMIUM is not None
    mail = workshop.run("render", "--topics", "*", "--format", "html").out
    page = workshop.write("mail.html", mail.replace("</head>", f"<script>{PROBE}</script></head>"))
    frame = workshop.write(
        "frame.html",
        f'<iframe src="{page.name}" style="width:{width}px;height:3000px;border:0" onload="setTimeout(() => '
        "document.title = this.contentDocument.getElementById('told').textContent)\"></iframe>",
    )
    ran = subprocess.run(
        [
            *(CHROMIUM, *FLAGS, *flags, f"--user-data-dir={workshop.folder / 'profile'}"),
            *("--virtual-time-budget=5000", "--dump-dom", frame.as_uri()),
        ],
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    title = re.search("<title>(.*)</title>", ran.stdout)
    assert title, ran.stdout
    told: dict[str, Any] = json.loads(html.unescape(title[1]))
    return told


@pytest.mark.parametrize("theme", ["brief", "cards"])
@pytest.mark.parametrize("width", [320, 640, 1024])
def test_nothing_sticks_out_sideways_and_nothing_is_loaded(workshop: Workshop, width: int, theme: str) -> None:
    workshop.configure(THEME=theme)
    workshop.write("briefs/2026-11-24-long.md", BRIEF)
    told = look(workshop, width)
    assert told["width"] == width
    assert told["scroll"] <= width
    assert told["h1"] == 1
    assert told["loads"] == 0
    assert all(text["right"] <= width for text in told["texts"])
    assert min(text["size"] for text in told["texts"]) >= 16


@pytest.mark.parametrize("theme", ["brief", "cards"])
@pytest.mark.parametrize("flags", [(), (DARK,)], ids=["light", "dark"])
def test_every_text_stands_out_from_its_background(workshop: Workshop, flags: tuple[str, ...], theme: str) -> None:
    workshop.configure(THEME=theme)
    workshop.write("briefs/2026-11-24-long.md", BRIEF)
    told = look(workshop, 640, *flags)
    assert len(told["texts"]) > 20
    assert [text for text in told["texts"] if text["contrast"] < 4.5] == []
    assert (sum(told["paper"]) < 3 * 64) is (flags == (DARK,))


def test_a_mail_from_right_to_left_is_mirrored(workshop: Workshop, tmp_path: Path) -> None:
    workshop.write("briefs/2026-11-24-long.md", BRIEF)
    workshop.configure(LANGUAGE="ar")
    told = look(workshop, 375)
    assert told["scroll"] <= 375
    mail = (tmp_path / "mail.html").read_text(encoding="utf-8")
    assert 'lang="ar" dir="rtl"' in mail
