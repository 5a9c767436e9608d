"""Signed mails before opendkim: what the most common verifier of mail servers says of both signatures."""

import hashlib
import re
import shutil
import subprocess
from datetime import UTC, datetime
from pathlib import Path

import pytest
from dkim_keys import make_keys, write_record
from workshop import Workshop

from newsletter.core.dkim import DkimSigner

# Debian puts it in /usr/sbin, which is not in everybody's PATH.
OPENDKIM = shutil.which("opendkim") or shutil.which("opendkim", path="/usr/sbin")

pytestmark = pytest.mark.skipif(OPENDKIM is None, reason="needs opendkim: Debian's package opendkim")


def judge(folder: Path, mail: bytes) -> dict[str, str]:
    """The verdict on each signature, by its algorithm. The keys come from a file; no question goes to the DNS."""
    assert OPENDKIM is not None
    keys, config, file = folder / "keys", folder / "opendkim.conf", folder / "mail.eml"
    keys.write_text("".join(f"{name} {text}\n" for name, text in map(write_record, make_keys())))
    config.write_text(f"TestPublicKeys {keys}\nMode v\n")
    file.write_bytes(mail)
    ran = subprocess.run(
        [OPENDKIM, "-x", config, "-vv", "-t", file], check=True, capture_output=True, encoding="utf-8", timeout=60
    )
    return {algorithm: result for result, algorithm in re.findall(r"dkim=(\w+) [^;]*header\.a=([\w-]+)", ran.stdout)}


def test_opendkim_accepts_both_signatures_and_sees_every_change(workshop: Workshop) -> None:
    workshop.configure(FROM="Zürcher „Brief“ <brief@news.example.org>", BOUNCE_DOMAIN="bounce.example.org")
    mail = workshop.run_raw("render", "--topics", "*", "--format", "eml")
    head, _, body = mail.partition(b"\r\n\r\n")
    signed = DkimSigner(make_keys()).write(head, hashlib.sha256(body).digest(), datetime.now(UTC)) + mail
    for change, expected in (
        (signed, "pass"),
        (b"Received: by mx.example; Mon, 23 Nov 2026 06:00:00 +0000\r\n" + signed, "pass"),
        (b"Subject: Win\r\n" + signed, "fail"),
        (signed.replace(b"One-Click", b"One-Clack"), "fail"),
        (signed.replace(b"football", b"handball"), "fail"),
    ):
        assert judge(workshop.folder, change) == {"rsa-sha256": expected, "ed25519-sha256": expected}
