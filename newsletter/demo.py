"""The main job on embedded parts: SQLite, the samples, and an SMTP server of our own on loopback, in one folder."""

import os
import shutil
from dataclasses import dataclass
from email import message_from_bytes, policy
from functools import partial
from html import escape
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING, Any

from newsletter.bootstrap import Service, open_service
from newsletter.core.errors import ConfigError
from newsletter.publish import Published, audit
from newsletter.report import explain_delivery
from newsletter.settings import load_settings
from newsletter.sources.workfolder import write_working_folder
from newsletter.store import subscribers
from newsletter.store.ledger import Audit
from newsletter.transfer import ImportResult, import_file
from newsletter.transport.catcher import Catcher

if TYPE_CHECKING:
    from collections.abc import Callable

    from newsletter.deliver import Progress

PAGES_PORT = 8000
MARKER = ".newsletter-demo"
SETTINGS = """\
NEWSLETTER_NAME=The Morning Brief
NEWSLETTER_FROM=The Morning Brief <brief@news.example.org>
NEWSLETTER_POSTAL_ADDRESS=The Morning Brief, 1 Market Square, Sampleton
NEWSLETTER_SMTP__HOST=127.0.0.1
NEWSLETTER_SMTP__TLS=none
NEWSLETTER_SMTP__CONNECTIONS=2
"""


@dataclass(frozen=True, kw_only=True)
class DemoResult:
    """What a demo came to, and where its files lie (absolute)."""

    folder: Path
    imported: ImportResult
    published: Published
    audit: Audit
    told: list[dict[str, Any]]


def run_demo(folder: Path, deliver: "Callable[[Service, int], Progress]") -> DemoResult:
    """Run it in a folder of its own: new, empty, or of an earlier demo (which is replaced).

    ConfigError where the folder holds anything else. `deliver` runs the delivery of an issue.
    """
    folder = folder.resolve()
    _prepare_folder(folder)
    before = Path.cwd()
    os.chdir(folder)  # the settings' paths are relative to the working folder
    try:
        with Catcher(folder / "mails") as catcher:
            environment = {"NEWSLETTER_SMTP__PORT": str(catcher.port)}
            with open_service(load_settings(Path(".env"), environ=environment)) as service:
                result = _run(service, folder, deliver)
    finally:
        os.chdir(before)
    _write_pages(folder)
    return result


def _prepare_folder(folder: Path) -> None:
    if folder.exists() and any(folder.iterdir()) and not (folder / MARKER).exists():
        raise ConfigError(f"{folder} holds other files: name an empty or a new folder with --dir")
    if (folder / MARKER).exists():
        shutil.rmtree(folder)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / MARKER).write_text("A demo; the next one replaces this folder.\n", encoding="utf-8")
    write_working_folder(folder)
    with (folder / ".env").open("a", encoding="utf-8") as file:
        file.write(f"\n# The demo's own\n{SETTINGS}")


def _run(service: Service, folder: Path, deliver: "Callable[[Service, int], Progress]") -> DemoResult:
    imported = import_file(
        service.database,
        Path("subscribers") / "sample.csv",
        topics=service.catalogue,
        languages=service.languages,
        now=service.now(),
    )
    published = service.make_publisher().publish(service.find_brief("latest"), now=service.now())
    number = published.issue or 0
    deliver(service, number)
    with service.database.read() as conn:
        people = list(subscribers.list_subscribers(conn))
    told = [explain_delivery(service.database, service.catalogue, person, number) for person in people]
    books = audit(service.database, number)
    return DemoResult(folder=folder, imported=imported, published=published, audit=books, told=told)


def _write_pages(folder: Path) -> None:
    """Each mail as a page, and an index of them: to be opened as files, or served."""
    pages = folder / "pages"
    pages.mkdir(exist_ok=True)
    rows = []
    for path in sorted((folder / "mails").glob("*.eml")):
        message = message_from_bytes(path.read_bytes(), policy=policy.default)
        body = message.get_body(("html",))
        if body is None:
            continue
        (pages / f"{path.stem}.html").write_text(body.get_content(), encoding="utf-8")
        rows.append(f'<li><a href="{escape(path.stem)}.html">{escape(message["To"])}</a>: {escape(message["Subject"])}')
    head = '<!doctype html><html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">'
    style = "<style>:root{color-scheme:light dark}body{font:17px/1.6 system-ui;max-width:44em;margin:2em auto}</style>"
    text = f"{head}<title>The demo's mails</title>{style}<h1>The demo's mails</h1><ul>{''.join(rows)}</ul>"
    (pages / "index.html").write_text(text, encoding="utf-8")


def serve_pages(folder: Path) -> ThreadingHTTPServer:
    """A server of the demo's pages on loopback, at PAGES_PORT or any free port; the caller runs and closes it."""
    handler = partial(SimpleHTTPRequestHandler, directory=str(folder / "pages"))
    try:
        return ThreadingHTTPServer(("127.0.0.1", PAGES_PORT), handler)
    except OSError:
        return ThreadingHTTPServer(("127.0.0.1", 0), handler)
