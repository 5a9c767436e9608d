"""The checks of a mail put together: those of the core, and, where asked for, dead links and spamd's score.

A template that cannot be rendered is a finding, too. Publishes nothing, and writes nothing but what a proof does.
"""

import re
from collections.abc import Callable, Sequence
from datetime import datetime

from newsletter.core.checks.every import check_mail
from newsletter.core.checks.findings import Finding, Severity, find, sort_findings
from newsletter.core.checks.links import judge_answers, list_web_links
from newsletter.core.checks.mail import CheckedMail
from newsletter.core.checks.spam import judge_spam
from newsletter.core.checks.stories import check_brief as check_text
from newsletter.core.errors import TemplateError
from newsletter.core.model import Brief, Catalogue
from newsletter.core.tokens import Signer
from newsletter.proof import Proof, make_proof
from newsletter.publish.typesetter import Typesetter
from newsletter.sources.probe import probe_links
from newsletter.transport.spamd import PORT, ask_spamd

__all__ = ["Finding", "Severity", "check_brief", "check_proof"]

_PLACE = re.compile(r"(?P<file>.+?), (?:about )?line (?P<line>\d+)")


def check_brief(
    brief: Brief,
    wanted: Sequence[str],
    *,
    catalogue: Catalogue,
    make_typesetter: Callable[[], Typesetter],
    signer: Signer,
    now: datetime,
    online: bool = False,
) -> list[Finding]:
    """Make the mail of a brief for a reader who chose `wanted`, and check it; BriefError where no story matches."""
    try:
        proof = make_proof(brief, wanted, publisher=make_typesetter(), signer=signer, person=None, now=now)
    except TemplateError as error:
        return sort_findings([_tell(error), *check_text(brief, catalogue)])
    return check_proof(brief, proof, catalogue=catalogue, online=online)


def check_proof(
    brief: Brief, proof: Proof, *, catalogue: Catalogue, online: bool = False, spamd_port: int = PORT
) -> list[Finding]:
    """Check a mail that was made of a brief: errors first. `online` asks for every page that it links to."""
    mail = CheckedMail(
        eml=proof.eml,
        brief=brief,
        catalogue=catalogue,
        edition=proof.edition,
        sources=proof.sources,
        parts=proof.parts,
        links=proof.links,
    )
    found = list(check_mail(mail))
    if online:
        places = list_web_links(mail)
        found += judge_answers(places, probe_links(places))
    if report := ask_spamd(proof.eml, port=spamd_port):
        found.append(judge_spam(report))
    return sort_findings(found)


def _tell(error: TemplateError) -> Finding:
    """The error as a finding, at the template's file and line where it names them."""
    at = _PLACE.match(str(error))
    return find("template.broken", f"{at['file']}:{at['line']}" if at else "templates", str(error))
