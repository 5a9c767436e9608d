"""Every check that needs nothing but the mail, in the order in which a reader would look."""

from collections.abc import Callable, Iterable, Iterator

from newsletter.core.checks.clients import check_clients
from newsletter.core.checks.contrast import check_contrast
from newsletter.core.checks.findings import Finding
from newsletter.core.checks.footer import check_footer
from newsletter.core.checks.inbox import check_preheader, check_subject
from newsletter.core.checks.links import check_links
from newsletter.core.checks.mail import CheckedMail
from newsletter.core.checks.raw import check_headers, check_lines, check_unsubscribe
from newsletter.core.checks.sizes import check_size
from newsletter.core.checks.stories import check_brief, check_titles, check_topics
from newsletter.core.checks.structure import check_headings, check_images, check_language

CHECKS: tuple[Callable[[CheckedMail], Iterable[Finding]], ...] = (
    *(
        check_topics,
        check_titles,
        check_subject,
        check_preheader,
        check_size,
        check_links,
        check_images,
        check_language,
    ),
    *(check_headings, check_contrast, check_footer, check_headers, check_unsubscribe, check_lines, check_clients),
)


def check_mail(mail: CheckedMail) -> Iterator[Finding]:
    """All findings about a mail and its brief."""
    yield from check_brief(mail.brief, mail.catalogue)
    for check in CHECKS:
        yield from check(mail)
