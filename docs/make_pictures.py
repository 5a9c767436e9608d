"""Makes docs/pictures: a mail of the sample brief on a phone and on a desktop, its preview, the demo in the console.

Needs the package chromium of Debian. Run: .venv/bin/python docs/make_pictures.py
"""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

PICTURES = Path(__file__).parent / "pictures"
SETTINGS = {
    "NEWSLETTER_NAME": "The Morning Brief",
    "NEWSLETTER_FROM": "The Morning Brief <brief@news.example.org>",
    "NEWSLETTER_POSTAL_ADDRESS": "The Morning Brief, 1 Market Square, Sampleton",
}
MAIL = ("--brief", "2026-11-23-monday", "--topics", "culture,science")

PHONE_WIDTH, DESKTOP_WIDTH, HEIGHT, GAP = 375, 1280, 780, 30
STYLE = (
    f"body{{margin:0;display:flex;gap:{GAP}px}}"
    f"iframe{{height:{HEIGHT}px;border:0;outline:1px solid #8886;outline-offset:-1px;border-radius:14px}}"
)


def run(folder: Path, *command: str) -> str:
    """What a command prints, with the settings above; an error where it fails."""
    done = subprocess.run(  # noqa: S603 - every word of it is this file's own
        command, cwd=folder, env=os.environ | SETTINGS, check=True, capture_output=True, encoding="utf-8"
    )
    return done.stdout


def render_mail(folder: Path) -> str:
    """The HTML of the mail, made by the command line in a working folder of its own."""
    newsletter = (sys.executable, "-m", "newsletter")
    run(folder, *newsletter, "init")
    return run(folder, *newsletter, "render", *MAIL)


def write_page(folder: Path, name: str, frames: list[tuple[int, str]]) -> Path:
    """A page with the mail in frames side by side, each of a width and a colour scheme."""
    shown = "".join(
        f'<iframe src="mail.html" style="width:{width}px;color-scheme:{s}"></iframe>' for width, s in frames
    )
    page = folder / f"{name}.html"
    page.write_text(f'<!doctype html><meta charset="utf-8"><style>{STYLE}</style>{shown}', encoding="utf-8")
    return page


def take_picture(name: str, address: str, folder: Path, width: int) -> None:
    """A PNG of a page, on a transparent ground."""
    chromium = shutil.which("chromium") or sys.exit("error: there is no chromium here: apt-get install chromium")
    flags = ["--headless=new", "--hide-scrollbars", "--disable-gpu", "--default-background-color=00000000"]
    if os.geteuid() == 0:
        flags.append("--no-sandbox")  # Chromium refuses to run its sandbox as root; the page is our own
    target = PICTURES / f"{name}.png"
    flags.append("--timeout=4000")  # the preview waits for changes without end
    run(folder, chromium, *flags, f"--window-size={width},{HEIGHT}", f"--screenshot={target}", address)
    print(f"{target}: {target.stat().st_size} bytes")


def picture_preview(folder: Path) -> None:
    """The preview of the same brief for a reader of science."""
    command = (sys.executable, "-m", "newsletter", "preview", "--port", "0")
    with subprocess.Popen(  # noqa: S603 - as above
        command, cwd=folder, env=os.environ | SETTINGS, stderr=subprocess.PIPE, encoding="utf-8"
    ) as preview:
        told = preview.stderr.readline() if preview.stderr else ""
        address = re.search(r"http://\S+/preview", told)
        if address is None:
            sys.exit(f"error: the preview did not begin: {told}")
        take_picture("preview", f"{address[0]}/2026-11-23-monday?topics=science&width=600", folder, DESKTOP_WIDTH)
        preview.terminate()


def picture_console(folder: Path) -> None:
    """The console over the demo, which has just sent an issue."""
    newsletter = (sys.executable, "-m", "newsletter")
    run(folder, *newsletter, "demo", "--dir", "demo")
    demo = folder / "demo"
    with (demo / ".env").open("a", encoding="utf-8") as file:
        file.write("\nNEWSLETTER_WEB__PORT=0\nNEWSLETTER_SCHEDULE=0 7 * * 1-5\nNEWSLETTER_TIMEZONE=Europe/Berlin\n")
    command = (*newsletter, "run", "--no-delivery")
    with subprocess.Popen(  # noqa: S603 - as above
        command, cwd=demo, stderr=subprocess.PIPE, encoding="utf-8"
    ) as daemon:
        address = ""
        for line in daemon.stderr or ():
            if found := re.search(r"web=(http://\S+)", line):
                address = found[1]
            if "the pages are served" in line:
                break
        take_picture("console", f"{address}/console", folder, DESKTOP_WIDTH)
        take_picture("console-issue", f"{address}/console/issues/1", folder, DESKTOP_WIDTH)
        take_picture("console-deliveries", f"{address}/console/deliveries?q=issue:1", folder, DESKTOP_WIDTH)
        daemon.terminate()


def main() -> None:
    """Make all pictures anew."""
    with TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "mail.html").write_text(render_mail(folder), encoding="utf-8")
        phones = write_page(folder, "mail-phone", [(PHONE_WIDTH, "light"), (PHONE_WIDTH, "dark")])
        take_picture(phones.stem, phones.as_uri(), folder, 2 * PHONE_WIDTH + GAP)
        desktop = write_page(folder, "mail-desktop", [(DESKTOP_WIDTH, "light")])
        take_picture(desktop.stem, desktop.as_uri(), folder, DESKTOP_WIDTH)
        picture_preview(folder)
        picture_console(folder)


if __name__ == "__main__":
    main()
