"""What the checks of a mail come to: findings, and the one table of their codes.

A code is stable: scripts and the web pages may rely on it. Its severity stands here and nowhere else.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum


class Severity(StrEnum):
    """How much a finding matters; an error ends `newsletter check` with exit code 1."""

    ERROR = "error"
    WARNING = "warning"
    INFO = "info"


@dataclass(frozen=True, kw_only=True, slots=True)
class Finding:
    """What a check came to. `place` is a file's `path:line`, `html:LINE`, `text:LINE`, `mail:LINE` or `header NAME`."""

    code: str
    severity: Severity
    place: str
    message: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Code:
    """What a code stands for."""

    severity: Severity
    meaning: str


def _list_codes(severity: Severity, meanings: dict[str, str]) -> dict[str, Code]:
    return {code: Code(severity=severity, meaning=meaning) for code, meaning in meanings.items()}


CODES = {
    **_list_codes(
        Severity.ERROR,
        {
            "template.broken": "a template cannot be rendered: there is no mail to check",
            "size.clipped": "the HTML part is over 100 KB: Gmail clips it, the way out with it",
            "link.empty": "a link leads nowhere",
            "link.relative": "a link's address has no scheme and host: a mail is no place to be relative to",
            "link.scheme": "a link's scheme is none of http, https and mailto",
            "link.syntax": "a link's address cannot be read as one",
            "link.silent": "a link has neither text nor an image with alt text",
            "link.dead": "`--online`: the other side says that the page is not there",
            "image.alt": "an image has no alt attribute",
            "image.source": "an image is not loaded over https",
            "html.lang": "the HTML does not say its language",
            "html.dir": "the HTML does not say its direction",
            "heading.h1": "the HTML has no h1, or several",
            "contrast.light": "text is too pale on its background in the light scheme",
            "contrast.dark": "text is too pale on its background in the mail's own dark scheme",
            "subject.empty": "the mail has no subject",
            "header.missing": "a header that every mail needs is not there",
            "header.repeated": "a header that may stand once stands several times",
            "header.encoded": "List-Unsubscribe holds an encoded word: the one click is lost",
            "unsubscribe.address": "List-Unsubscribe does not hold exactly one http or https address",
            "unsubscribe.one-click": "List-Unsubscribe-Post is not what RFC 8058 demands",
            "line.long": "a line in quoted-printable is over 76 octets",
            "line.overlong": "a line is over 998 octets",
            "footer.unsubscribe": "a part lacks the unsubscribe link",
            "footer.preferences": "a part lacks the link to the preferences",
            "footer.address": "POSTAL_ADDRESS is set, and a part lacks it",
            "story.missing": "a part lacks a story's title, or has it altered",
            "spam.rejected": "spamd scores 5.0 or more: most filters call that spam",
        },
    ),
    **_list_codes(
        Severity.WARNING,
        {
            "brief.read": "something in the brief was perhaps meant differently",
            "topic.unknown": "the author set a topic that the catalogue does not know",
            "size.large": "the HTML part is over 90 KB, the budget",
            "size.cut": "stories are left out of the mail, or one is shortened, so that it keeps within the budget",
            "link.vague": "a link's text does not say where it leads",
            "link.mismatch": "a link's text is an address of another host than it leads to",
            "link.unanswered": "`--online`: whether the page is there cannot be told",
            "image.address": "a linked image's alt text is only the address that it leads to",
            "image.silent": "an image of a story has no alt text",
            "heading.skipped": "a heading's level is more than one below the heading before it",
            "heading.empty": "a heading has no text",
            "contrast.forced": "text is too pale on its background where a client darkens the mail as it likes",
            "contrast.unread": "a colour is written in a way that the checks cannot read",
            "subject.long": "the first story's title is too long for the subject: it is cut, or over 60 characters",
            "preheader.missing": "the HTML has no preheader",
            "preheader.short": "the preheader is under 40 characters",
            "preheader.long": "the preheader is over 130 characters",
            "preheader.repeats": "the preheader says the subject again",
            "unsubscribe.insecure": "List-Unsubscribe leads to http, and RFC 8058 demands https",
            "footer.view": "a part lacks the link to the web copy",
            "footer.no-address": "POSTAL_ADDRESS is not set",
            "story.uneven": "a story's title stands more often in one part than in the other",
            "client.unknown": "the mail uses a feature that the table of client support does not have",
            "spam.suspicious": "spamd scores 3.0 or more",
        },
    ),
    **_list_codes(
        Severity.INFO,
        {
            "topic.none": "no topic took the story: only readers of every story get it",
            "size.room": "how large the HTML part is, and how many more stories would fit",
            "subject.tail": "the subject is over 60 characters, and only the count of further stories stands beyond",
            "link.insecure": "a link leads to http where https is usual",
            "link.private": "`--online`: a link leads to a private address, which is not asked",
            "unsubscribe.local": "List-Unsubscribe leads to this machine: BASE_URL is not set",
            "client.lacking": "a great mail client lacks a feature that the mail uses",
            "spam.score": "spamd's score, where it is low",
        },
    ),
}


def find(code: str, place: str, message: str) -> Finding:
    """A finding with the severity of its code; the message on one line, without what a terminal would obey."""
    said = "".join(c if c.isprintable() else "�" for c in " ".join(message.split()))
    return Finding(code=code, severity=CODES[code].severity, place=place, message=said)


def sort_findings(findings: Iterable[Finding]) -> list[Finding]:
    """Errors first, then warnings, then the rest; each as it was found, none twice."""
    return sorted(dict.fromkeys(findings), key=lambda finding: list(Severity).index(finding.severity))
