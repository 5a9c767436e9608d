"""Dovecot and Postfix as Debian has them, each with a configuration, a folder and ports of its own, on loopback.

Both begin as root and give it up. `needs_dovecot` and `needs_postfix` skip where they cannot run.
"""

import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from smtp_server import CERTIFICATE_FILE

NOBODY = 65534
USER, PASSWORD = "bounces", "p@ss:word"
_HAS_DOVECOT, _HAS_POSTFIX = Path("/usr/lib/dovecot/imap").exists(), Path("/usr/lib/postfix/sbin/master").exists()
needs_dovecot = pytest.mark.skipif(
    not _HAS_DOVECOT or os.getuid() != 0, reason="dovecot-imapd is missing (Debian: dovecot-imapd), or we are not root"
)
needs_postfix = pytest.mark.skipif(
    not _HAS_POSTFIX or os.getuid() != 0, reason="postfix is missing (Debian: postfix), or we are not root"
)

DOVECOT = """
base_dir = {folder}/run
state_dir = {folder}/state
log_path = {folder}/log
protocols = imap
listen = 127.0.0.1
ssl = required
auth_failure_delay = 0
ssl_cert = <{certificate}
ssl_key = <{certificate}
mail_location = maildir:{mail}
first_valid_uid = 1
passdb {{
  driver = static
  args = password={password}
}}
userdb {{
  driver = static
  args = uid={nobody} gid={nobody} home={mail}
}}
service imap-login {{
  inet_listener imap {{
    port = 0
  }}
  inet_listener imaps {{
    port = {port}
    ssl = yes
  }}
}}
service anvil {{
  chroot =
}}
service imap-login {{
  chroot =
}}
{more}
"""

MAIN = """
compatibility_level = 3.6
queue_directory = {folder}/queue
data_directory = {folder}/data
mail_owner = postfix
command_directory = /usr/sbin
daemon_directory = /usr/lib/postfix/sbin
maillog_file = {folder}/maillog
maillog_file_prefixes = /tmp
myhostname = mx.example.net
mydestination =
mynetworks = 127.0.0.0/8
inet_interfaces = 127.0.0.1
inet_protocols = ipv4
relayhost = [127.0.0.1]:{sink}
smtp_tls_security_level = none
smtpd_relay_restrictions = permit_mynetworks, reject
smtp_host_lookup = native
disable_dns_lookups = yes
alias_maps =
virtual_mailbox_domains = {domain}
virtual_mailbox_maps = static:new-mail/
virtual_mailbox_base = {mail}
virtual_uid_maps = static:{nobody}
virtual_gid_maps = static:{nobody}
virtual_minimum_uid = 1
"""
MASTER = """
127.0.0.1:{port} inet n - n - - smtpd
pickup unix n - n 60 1 pickup
cleanup unix n - n - 0 cleanup
qmgr unix n - n 300 1 qmgr
rewrite unix - - n - - trivial-rewrite
bounce unix - - n - 0 bounce
defer unix - - n - 0 bounce
trace unix - - n - 0 bounce
verify unix - - n - 1 verify
proxymap unix - - n - - proxymap
smtp unix - - n - - smtp
error unix - - n - - error
retry unix - - n - - error
virtual unix - n n - - virtual
anvil unix - - n - 1 anvil
scache unix - - n - 1 scache
tlsmgr unix - - n 1000? 1 tlsmgr
postlog unix-dgram n - n - 1 postlogd
"""


@dataclass(frozen=True)
class MailHost:
    """A server's port, and the maildir that it reads or writes."""

    port: int
    maildir: Path
    conf: Path


@contextmanager
def open_folder() -> Iterator[Path]:
    """A folder that others than root may enter, unlike those of pytest."""
    folder = Path(tempfile.mkdtemp(prefix="mail-"))
    folder.chmod(0o755)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def make_maildir(path: Path) -> Path:
    """An empty maildir that the mail server may write."""
    for part in ("new", "cur", "tmp"):
        (path / part).mkdir(parents=True, exist_ok=True)
        os.chown(path / part, NOBODY, NOBODY)
    os.chown(path, NOBODY, NOBODY)
    return path


@contextmanager
def run_dovecot(folder: Path, maildir: Path, *, more: str = "") -> Iterator[MailHost]:
    """An IMAP server over TLS on a maildir, for USER and PASSWORD; `more` is added to its configuration."""
    port = _find_port()
    conf = folder / "dovecot.conf"
    values = {"folder": folder, "mail": maildir, "port": port, "certificate": CERTIFICATE_FILE, "nobody": NOBODY}
    conf.write_text(DOVECOT.format(**values, password=PASSWORD, more=more))
    process = subprocess.Popen(
        ["/usr/sbin/dovecot", "-F", "-c", conf], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
    )
    try:
        _wait_for(port, process, folder / "log")
        yield MailHost(port, maildir, conf)
    finally:
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=30)


def kick(host: MailHost) -> None:
    """Let an IMAP server end the connections that it has."""
    subprocess.run(["/usr/bin/doveadm", "-c", host.conf, "kick", USER], check=True, capture_output=True)


@contextmanager
def run_postfix(folder: Path, maildir: Path, *, sink: int, domain: str) -> Iterator[MailHost]:
    """A mail server that relays to the port `sink`, and puts mail for `domain` into a maildir, whomever it is to."""
    port = _find_port()
    conf = folder / "postfix"
    for name in (conf, folder / "queue", folder / "data"):
        name.mkdir()
    shutil.chown(folder / "data", "postfix")
    (maildir.parent / "new-mail").symlink_to(maildir)
    values = {"folder": folder, "mail": maildir.parent, "sink": sink, "domain": domain, "nobody": NOBODY}
    (conf / "main.cf").write_text(MAIN.format(**values))
    (conf / "master.cf").write_text(MASTER.format(port=port))
    with _run(["/usr/sbin/postfix", "-c", conf, "start-fg"], port, folder / "maillog"):
        yield MailHost(port, maildir, conf)


@contextmanager
def _run(command: Sequence[str | Path], port: int, log: Path) -> Iterator[None]:
    """A server in the foreground, from when it listens on a port."""
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    try:
        _wait_for(port, process, log)
        yield
    finally:
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=30)


def _find_port() -> int:
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        return int(listening.getsockname()[1])


def _wait_for(port: int, process: "subprocess.Popen[bytes]", log: Path) -> None:
    until = time.monotonic() + 30
    while time.monotonic() < until and process.poll() is None:
        with socket.socket() as trying:
            if trying.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.05)
    raise AssertionError(log.read_text() if log.exists() else process.communicate()[1].decode())
