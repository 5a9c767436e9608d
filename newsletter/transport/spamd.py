"""Asks spamd what it thinks of a mail (SPAMC, the verb SYMBOLS): one connection to this machine, within two seconds.

Nobody there, no answer in time, or an answer that cannot be read is all the same: there is no score.
"""

import re
import socket
import time

from newsletter.core.checks.spam import SpamReport

HOST, PORT = "127.0.0.1", 783
SECONDS = 2.0
MAX_OCTETS = 64_000
_SCORE = re.compile(rb"^Spam:\s*\w+\s*;\s*(-?\d+(?:\.\d+)?)\s*/", re.MULTILINE | re.IGNORECASE)


def ask_spamd(mail: bytes, *, host: str = HOST, port: int = PORT, seconds: float = SECONDS) -> SpamReport | None:
    """The score and the rules that hit, or None."""
    end = time.monotonic() + seconds
    try:
        with socket.create_connection((host, port), timeout=seconds) as connection:
            connection.sendall(b"SYMBOLS SPAMC/1.2\r\nContent-length: %d\r\n\r\n%b" % (len(mail), mail))
            connection.shutdown(socket.SHUT_WR)
            answer = bytearray()
            while (left := end - time.monotonic()) > 0 and len(answer) < MAX_OCTETS:
                connection.settimeout(left)
                if not (piece := connection.recv(4096)):
                    return _parse(bytes(answer))
                answer += piece
    except OSError:
        pass
    return None


def _parse(answer: bytes) -> SpamReport | None:
    head, _, body = answer.partition(b"\r\n\r\n")
    score = _SCORE.search(head)
    if not head.startswith(b"SPAMD/") or score is None:
        return None
    rules = re.split(r"[\s,]+", body.decode("ascii", "replace"))
    return SpamReport(float(score[1]), tuple(rule for rule in rules if rule))
