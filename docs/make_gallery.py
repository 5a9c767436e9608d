"""Makes docs/gallery: each golden mail in every theme as readers see it, four widths side by side on one sheet.

Nothing is loaded from the network: a drawn harbour stands for every picture. The same mails, browser and fonts give
the same bytes. Needs the package chromium of Debian. Run: .venv/bin/python docs/make_gallery.py [NAME…]
"""

import argparse
import base64
import re
import shutil
import sys
from collections.abc import Sequence
from html import escape
from itertools import groupby
from pathlib import Path
from typing import NamedTuple

from playwright.sync_api import Browser, Route, sync_playwright

from newsletter.core.mails.viewing import Scheme, light_html

ROOT = Path(__file__).parent.parent
WIDTHS, BARE_WIDTHS = (320, 375, 640, 1024), (375, 1024)
GAP, HEIGHT, QUALITY = 24, 1600, 25  # in lower quality the text begins to blur
STYLE_ELEMENT = re.compile(r"<style\b.*?</style>", re.DOTALL | re.IGNORECASE)
SHEET_STYLE = (
    f"body{{margin:0;padding:{GAP}px;display:flex;gap:{GAP}px;align-items:flex-start;width:max-content;background:#bbb}}"
    "figure{margin:0}figcaption{font:15px/24px sans-serif;color:#222}iframe{display:block;border:0;height:1px}"
)
FIT_FRAMES = """limit => {  // all are measured before any caption is written
  const frames = [...document.querySelectorAll("iframe")];
  const roots = frames.map(frame => frame.contentDocument.documentElement);
  const heights = roots.map(root => root.scrollHeight), beyond = roots.map(root => root.scrollWidth - root.clientWidth);
  frames.forEach((frame, i) => {
    frame.style.height = Math.min(heights[i], limit) + "px";
    frame.previousSibling.append(heights[i] > limit ? `, the first ${limit} of ${heights[i]} px` : "");
    frame.previousSibling.append(beyond[i] > 0 ? `, ${beyond[i]} px too wide` : "");
  });
  return [document.body.offsetWidth, document.body.offsetHeight, Math.max(...beyond)];
}"""
HARBOUR = """<svg xmlns="http://www.w3.org/2000/svg" width="1200" height="675" viewBox="0 0 1200 675"
  preserveAspectRatio="xMidYMid slice"><path fill="#d8dde0" d="M0 0h1200v675H0z"/>
  <circle fill="#ecd9b8" cx="860" cy="270" r="90"/><path fill="#8ba1ab" d="M0 395h1200v280H0z"/>
  <path fill="#a9b4b3" d="M0 400V330L190 250 400 350 560 300 740 390 1200 340V400z"/>
  <path fill="#5c6b73" d="M250 470h200l-40 50H290zM345 455V270l95 185zM335 455V320l-65 135z
    M720 430h90l-18 24h-54zM764 424V340l44 84zM960 395V300h26v95zM954 300h38l-19-26z"/></svg>"""


class Look(NamedTuple):
    """One way in which a mail comes before a reader's eyes."""

    name: str
    meaning: str
    scheme: Scheme = Scheme.LIGHT
    pictures: bool = True
    bare: bool = False


LOOKS = (
    Look("light", "as it is sent"),
    Look("dark", "the mail's own dark colours", Scheme.DARK),
    Look("forced", "darkened by a client that asks nobody", Scheme.FORCED),
    Look("images-off", "in a client that loads no pictures", pictures=False),
    Look("bare", "without its `<style>` elements, as in Gmail for foreign accounts (375 and 1024 px)", bare=True),
)


def answer(route: Route, look: Look) -> None:
    """The drawn picture for each https picture; any other request fails."""
    if look.pictures and route.request.resource_type == "image" and route.request.url.startswith("https:"):
        route.fulfill(body=HARBOUR, content_type="image/svg+xml")
    else:
        route.abort()


def write_sheet(html: str, look: Look) -> str:
    """The page with the mail in frames side by side; no script runs in them."""
    lit = light_html(html, look.scheme)
    mail = escape(STYLE_ELEMENT.sub("", lit) if look.bare else lit)
    colours = "dark" if look.scheme is Scheme.DARK else "light"
    frames = "".join(
        f'<figure style="width:{width}px"><figcaption>{width} px</figcaption><iframe sandbox="allow-same-origin" '
        f'width="{width}" style="color-scheme:{colours}" srcdoc="{mail}"></iframe></figure>'
        for width in (BARE_WIDTHS if look.bare else WIDTHS)
    )
    return f'<!doctype html><html lang="en"><meta charset="utf-8"><style>{SHEET_STYLE}</style><body>{frames}'


def make_sheet(browser: Browser, mail: Path, look: Look, target: Path) -> None:
    """One sheet as WebP; tells its size, and by how much the mail is too wide for a frame."""
    with browser.new_page(viewport={"width": sum(WIDTHS) + (len(WIDTHS) + 1) * GAP, "height": 1000}) as page:
        page.route("**/*", lambda route: answer(route, look))
        page.set_content(write_sheet(mail.read_text(encoding="utf-8"), look), wait_until="load")
        width, height, beyond = page.evaluate(FIT_FRAMES, HEIGHT)
        clip = {"x": 0, "y": 0, "width": width, "height": height, "scale": 1}
        options = {"format": "webp", "quality": QUALITY, "clip": clip, "captureBeyondViewport": True}
        taken = page.context.new_cdp_session(page).send("Page.captureScreenshot", options)
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_bytes(base64.b64decode(taken["data"]))
    print(f"{target}: {target.stat().st_size} bytes{f', {beyond} px too wide' if beyond > 0 else ''}")


def address_sheet(mail: Path, look: Look) -> str:
    """Where a sheet lies in the gallery."""
    return f"{mail.parent.name}/{mail.stem}-{look.name}.webp"


def list_looks(mail: Path) -> list[Look]:
    """The looks of a mail: without pictures it looks as ever where it has none."""
    has_pictures = "<img" in mail.read_text(encoding="utf-8")
    return [look for look in LOOKS if look.pictures or has_pictures]


def write_readme(mails: Sequence[Path]) -> str:
    """The page that shows all sheets, small and linked."""
    text = (
        "# Gallery\n\nThe golden mails of the tests in each theme. A sheet shows the upper "
        f"{HEIGHT:,} px of one mail in one look, in frames of {', '.join(map(str, WIDTHS))} px:\n\n"
        + "".join(f"- **{look.name}**: {look.meaning}\n" for look in LOOKS)
        + "\nThe pictures in the mails are stand-ins. All is made by `.venv/bin/python docs/make_gallery.py`.\n"
    )
    for theme, group in groupby(mails, lambda mail: mail.parent.name):
        text += f"\n## {theme}\n"
        for mail in group:
            text += f"\n### {mail.stem}, {theme}\n\n" + "".join(_show(mail, look) for look in list_looks(mail))
    return text


def _show(mail: Path, look: Look) -> str:
    address, alt = address_sheet(mail, look), f"{mail.stem} in the theme {mail.parent.name}, {look.name}"
    return f'<a href="{address}"><img src="{address}" width="240" alt="{alt}"></a>\n'


def main() -> None:
    """Make the sheets of the named mails, or of all, and the page that shows them."""
    parser = argparse.ArgumentParser()
    parser.add_argument("names", nargs="*", metavar="NAME", help="a mail's name; without any: all")
    parser.add_argument("--golden", type=Path, default=ROOT / "tests" / "golden", metavar="FOLDER")
    parser.add_argument("--to", type=Path, default=ROOT / "docs" / "gallery", metavar="FOLDER")
    options = parser.parse_args()
    mails = sorted(options.golden.glob("*/*.html"))
    names = {mail.stem for mail in mails}
    if not names or not names.issuperset(options.names):
        parser.error(f"the mails in {options.golden} are: {', '.join(sorted(names)) or 'none'}")
    chromium = shutil.which("chromium") or sys.exit("error: there is no chromium here: apt-get install chromium")
    with (
        sync_playwright() as playwright,
        playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"]) as browser,
    ):
        for mail in (mail for mail in mails if not options.names or mail.stem in options.names):
            for look in list_looks(mail):
                make_sheet(browser, mail, look, options.to / address_sheet(mail, look))
    (options.to / "README.md").write_text(write_readme(mails), encoding="utf-8")


if __name__ == "__main__":
    main()
