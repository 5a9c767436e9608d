"""How well and how fast bounces are read: over a folder of real ones with what each says, or over some of our own.

    .venv/bin/python benchmarks/bounces.py [FOLDER]

FOLDER holds messages (*.eml) and `truth.json`, rows of `{"file", "recipient", "hard", "reason", "feedback"}`. Printed:
the share of messages whose recipients are exactly those, the share of rows whose hard or soft is right, and the time
a message takes. `-v` names what is wrong.
"""

import argparse
import json
import time
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from newsletter.core.bounces.reading import read_reports
from newsletter.core.bounces.report import Kind, Report

OURS = {
    "status notification": b"""From: MAILER-DAEMON@mx.example\nContent-Type: multipart/report; boundary=b\n
--b\n\nIt did not work.\n--b\nContent-Type: message/delivery-status\n\nReporting-MTA: dns; mx.example\n
Final-Recipient: rfc822; ann@example.org\nAction: failed\nStatus: 5.1.1\nDiagnostic-Code: smtp; 550 unknown user\n
--b--\n""",
    "sentences": b"""From: MAILER-DAEMON@mx.example\nSubject: failure notice\n
I'm afraid I wasn't able to deliver your message.\n\n<ann@example.org>:\n550 no such user here\n""",
    "ordinary mail": b"From: Ann <ann@example.org>\nSubject: Thank you\n\n" + b"A line of an ordinary mail.\n" * 400,
}


def main() -> None:
    """Read and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", nargs="?", type=Path)
    parser.add_argument("-v", "--verbose", action="store_true")
    given = parser.parse_args()
    if given.folder is None:
        measure(OURS, repeat=200)
        return
    messages = {path.name: path.read_bytes() for path in sorted(given.folder.glob("*.eml"))}
    judge(measure(messages, repeat=3), json.loads((given.folder / "truth.json").read_text()), verbose=given.verbose)


def measure(messages: Mapping[str, bytes], *, repeat: int) -> dict[str, tuple[Report, ...]]:
    """Read all, several times, and print how long a message takes; the reports by name."""
    found: dict[str, tuple[Report, ...]] = {}
    best: dict[str, float] = {}
    for _ in range(repeat):
        for name, octets in messages.items():
            begun = time.perf_counter()
            found[name] = read_reports(octets)
            best[name] = min(best.get(name, 9e9), time.perf_counter() - begun)
    slowest = max(best, key=lambda name: best[name])
    mean = sum(best.values()) / len(best)
    print(f"{len(messages)} messages: {mean * 1e3:.2f} ms each, {best[slowest] * 1e3:.2f} ms the slowest ({slowest})")
    return found


def judge(found: Mapping[str, Sequence[Report]], truth: Sequence[Mapping[str, Any]], *, verbose: bool) -> None:
    """Print how much is right. A vacation is right as an auto-reply, feedback as a complaint or an unsubscribe."""
    rows = defaultdict(list)
    for row in truth:
        rows[row["file"]].append(row)
    named = told = hard = kinds = 0
    for file, wanted in rows.items():
        reports = found[file]
        if wanted[0]["reason"] == "vacation":
            kinds += reports[0].kind == Kind.AUTO_REPLY
            continue
        if wanted[0]["feedback"]:
            kinds += reports[0].kind in (Kind.COMPLAINT, Kind.UNSUBSCRIBE)
        by_email = {(report.email or "").lower(): report for report in reports}
        emails = {(row["recipient"] or "").lower() for row in wanted}
        named += by_email.keys() == emails
        if verbose and by_email.keys() != emails:
            print(f"{file}: names {sorted(by_email)}, wanted {sorted(emails)}")
        for row in wanted:
            report = by_email.get((row["recipient"] or "").lower(), reports[0])
            told += 1
            hard += (report.kind == Kind.HARD) == row["hard"]
            if verbose and (report.kind == Kind.HARD) != row["hard"]:
                print(f"{file}: {report.kind} {report.reason}, wanted {row['reason']}: {report.text[:100]}")
    vacations = sum(row["reason"] == "vacation" for row in truth)
    files = len(rows) - vacations
    print(f"recipients exactly right: {named} of {files} ({named / files:.1%})")
    print(f"hard or not right: {hard} of {told} ({hard / told:.1%})")
    others = vacations + len({row["file"] for row in truth if row["feedback"]})
    print(f"complaints and auto-replies told apart: {kinds} of {others}")


if __name__ == "__main__":
    main()
