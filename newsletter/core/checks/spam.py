"""What a score of spamd comes to; asking for it is transport/spamd.py's."""

from typing import NamedTuple

from newsletter.core.checks.findings import Finding, find

SUSPICIOUS, REJECTED = 3.0, 5.0


class SpamReport(NamedTuple):
    """What spamd says of a mail: the score, and the rules that hit."""

    score: float
    rules: tuple[str, ...] = ()


def judge_spam(report: SpamReport) -> Finding:
    """The score as a finding."""
    code = (
        "spam.rejected"
        if report.score >= REJECTED
        else "spam.suspicious"
        if report.score >= SUSPICIOUS
        else "spam.score"
    )
    rules = f" ({', '.join(report.rules)})" if report.rules else ""
    remedy = "" if code == "spam.score" else ". Look the rules up at spamassassin.apache.org, and mend what they name"
    return find(code, "mail:1", f"spamd scores the mail {report.score:.1f}, where 5.0 is spam{rules}{remedy}")
