"""Other senders, to measure ours beside: smtplib in threads, aiosmtplib.sendmail, nodemailer's pool, smtp-source.

    python benchmarks/_rivals.py smtplib|aiosmtplib PORT MAILS OCTETS CONNECTIONS

runs one of the two Python ones. Each of these sends ready bytes; nodemailer composes every mail, as ours does.
"""

import asyncio
import shutil
import smtplib
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import aiosmtplib

FROM, TO = "brief@news.example.org", "reader@example.org"
LINE = "<p>The river and the bridge stood in the market of the harbour.</p>\r\n"

NODEMAILER = """
const [port, mails, octets, connections] = process.argv.slice(2).map(Number);
const line = "<p>The river and the bridge stood in the market of the harbour.</p>\\n";
const html = line.repeat(octets * 0.65 / line.length);
const text = line.repeat(octets * 0.35 / line.length);
const pool = require("nodemailer").createTransport({
  pool: true, host: "127.0.0.1", port, ignoreTLS: true, maxConnections: connections, maxMessages: Infinity });
const send = n => pool.sendMail({
  from: "The Brief <brief@news.example.org>", to: `reader${n}@example.org`, subject: "The Monday brief",
  list: { unsubscribe: { url: `https://news.example.org/unsubscribe/${n}` } }, text, html });
Promise.all([...Array(mails).keys()].map(send)).then(() => pool.close());
"""


def make_mail(octets: int) -> bytes:
    """A mail of so many octets, ready for the wire."""
    head = f"From: {FROM}\r\nTo: {TO}\r\nSubject: The Monday brief\r\nMessage-ID: <1@news.example.org>\r\n\r\n"
    return (head + LINE * ((octets - len(head)) // len(LINE))).encode()


def send_by_smtplib(port: int, mails: int, octets: int, connections: int) -> None:
    """The standard library, a connection a thread."""
    mail, numbers, lock = make_mail(octets), iter(range(mails)), threading.Lock()

    def send() -> None:
        with smtplib.SMTP("127.0.0.1", port) as smtp:
            while _has_next(numbers, lock):
                smtp.sendmail(FROM, [TO], mail)

    threads = [threading.Thread(target=send) for _ in range(min(connections, mails))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def _has_next(numbers: Iterator[int], lock: threading.Lock) -> bool:
    with lock:
        return next(numbers, None) is not None


async def send_by_aiosmtplib(port: int, mails: int, octets: int, connections: int) -> None:
    """aiosmtplib's own sendmail, a connection a task."""
    mail, numbers = make_mail(octets), iter(range(mails))

    async def send() -> None:
        async with aiosmtplib.SMTP(hostname="127.0.0.1", port=port, start_tls=False) as smtp:
            for _ in numbers:
                await smtp.sendmail(FROM, [TO], mail)

    await asyncio.gather(*(send() for _ in range(min(connections, mails))))


def list_commands(folder: Path, port: int, octets: int, connections: int) -> dict[str, list[str]]:
    """The senders that are here, as commands that lack the number of mails: `MAILS` stands for it."""
    here, numbers = [sys.executable, __file__], [str(port), "MAILS", str(octets), str(connections)]
    commands = {
        "aiosmtplib.sendmail, ready bytes": [*here, "aiosmtplib", *numbers],
        "smtplib in threads, ready bytes": [*here, "smtplib", *numbers],
    }
    if source := shutil.which("smtp-source"):
        base = [source, "-s", str(connections), "-m", "MAILS", "-l", str(octets), f"inet:127.0.0.1:{port}"]
        commands["smtp-source -d, connections kept"] = [base[0], "-d", *base[1:]]
        commands["smtp-source, a connection a mail"] = base
    if install_nodemailer(folder):
        commands["nodemailer's pool, composing"] = ["node", str(folder / "send.js"), *numbers]
    return commands


def install_nodemailer(folder: Path) -> bool:
    """Install it in a folder; a line says why where that cannot be."""
    npm = shutil.which("npm")
    if npm is None or shutil.which("node") is None:
        sys.stdout.write("nodemailer is skipped: node and npm are not here (Debian packages nodejs, npm)\n")
        return False
    ran = subprocess.run(
        [npm, "install", "--no-audit", "--no-fund", "--silent", "nodemailer"],
        cwd=folder,
        capture_output=True,
        timeout=120,
        check=False,
    )
    if ran.returncode:
        sys.stdout.write("nodemailer is skipped: npm could not install it\n")
        return False
    (folder / "send.js").write_text(NODEMAILER, encoding="utf-8")
    return True


if __name__ == "__main__":
    who, (given_port, given_mails, given_octets, given_connections) = sys.argv[1], map(int, sys.argv[2:6])
    if who == "smtplib":
        send_by_smtplib(given_port, given_mails, given_octets, given_connections)
    else:
        asyncio.run(send_by_aiosmtplib(given_port, given_mails, given_octets, given_connections))
