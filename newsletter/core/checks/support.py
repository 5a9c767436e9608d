"""Which HTML and CSS the great mail clients lack, as far as our templates use it.

Source: caniemail.com (MIT licence), read in autumn 2026, its latest test of each client; the consequences are told in
our own words. “Outlook for Windows” is the classic one, 2007 to 2019, that draws with Word; Yahoo counts for AOL too.
What that source has not tested, and our templates use, stands in UNTESTED.
"""

from typing import NamedTuple

GMAIL, OUTLOOK, OUTLOOK_COM, APPLE, YAHOO = "Gmail", "Outlook for Windows", "Outlook.com", "Apple Mail", "Yahoo"


class Lack(NamedTuple):
    """Who lacks a feature, at least in part, and what their readers see instead."""

    clients: tuple[str, ...]
    instead: str


LACKING = {
    "@media": Lack((OUTLOOK,), "the narrow layout is shown, and in Gmail too where the account is another provider's"),
    "prefers-color-scheme": Lack((GMAIL, OUTLOOK, YAHOO), "the light scheme is shown, or darkened as the client likes"),
    "color-scheme": Lack((GMAIL, OUTLOOK, OUTLOOK_COM, YAHOO), "the client darkens the light scheme as it likes"),
    "[attribute]": Lack((GMAIL, OUTLOOK, YAHOO), "these rules are left out; [data-ogsc] is meant for Outlook.com only"),
    "role=": Lack((YAHOO,), "a screen reader counts rows and columns of layout tables"),
    "<main>": Lack((GMAIL, OUTLOOK, OUTLOOK_COM, YAHOO), "a screen reader has no landmark to go to"),
    "border-radius": Lack((OUTLOOK,), "corners are square"),
    "display": Lack((OUTLOOK,), "links keep no height of their own, and images stand in the line"),
    "display:none": Lack((OUTLOOK,), "the preheader is hidden by mso-hide instead"),
    "height": Lack((OUTLOOK, YAHOO), "a height holds for tables and images only, or is a least height"),
    "width": Lack((OUTLOOK,), "a width holds for tables only, and an image takes that of its attribute"),
    "margin": Lack((OUTLOOK,), "auto is not known: the mail is centred by a table instead"),
    "max-height": Lack((OUTLOOK,), "the preheader is hidden by mso-hide instead"),
    "max-width": Lack((OUTLOOK,), "the mail has its width from a table instead, and images from their attribute"),
    "opacity": Lack((OUTLOOK, YAHOO), "the preheader is hidden by display:none or mso-hide instead"),
    "overflow": Lack((OUTLOOK,), "the preheader is hidden by mso-hide instead"),
    "overflow-wrap": Lack(
        (APPLE, GMAIL, OUTLOOK, OUTLOOK_COM, YAHOO), "a very long word is broken by word-break instead"
    ),
    "padding": Lack((OUTLOOK,), "it holds for table cells only: links stand closer"),
    "text-align:start": Lack((OUTLOOK, YAHOO), "the alignment around it holds, which is that of the mail's language"),
    "white-space": Lack((OUTLOOK,), "lines of code run on as text does"),
    "word-break": Lack((YAHOO,), "a very long word makes the mail wider"),
}

SUPPORTED = frozenset(
    (
        *("background", "background-color", "border-collapse", "color", "direction", "list-style"),
        *("border", "border-bottom", "border-bottom-width", "border-color", "border-left", "border-left-width"),
        *("border-right", "border-right-width", "border-top", "border-top-width"),
        *("font-family", "font-size", "font-weight", "line-height", "text-align", "text-decoration", "vertical-align"),
        *("margin-bottom", "margin-left", "margin-right", "margin-top"),
        *("padding-bottom", "padding-left", "padding-right", "padding-top"),
        *(
            "<a>",
            "<b>",
            "<blockquote>",
            "<body>",
            "<br>",
            "<code>",
            "<div>",
            "<em>",
            "<head>",
            "<hr>",
            "<html>",
            "<i>",
            "<img>",
        ),
        *(
            "<h1>",
            "<h2>",
            "<h3>",
            "<h4>",
            "<h5>",
            "<h6>",
            "<li>",
            "<meta>",
            "<ol>",
            "<p>",
            "<pre>",
            "<span>",
            "<strong>",
            "<style>",
        ),
        *("<table>", "<tbody>", "<td>", "<th>", "<thead>", "<title>", "<tr>", "<u>", "<ul>"),
    )
)

UNTESTED = frozenset(
    (
        ":root",  # carries color-scheme only
        "outline",  # takes Outlook's frame from linked images; nothing is lost without it
        "supported-color-schemes",  # what Apple called color-scheme before it was a standard
        "unicode-bidi",  # beside dir=auto, which does the same
        "word-spacing",  # MJML writes its default
    )
)
"""What caniemail.com has no test of; the reason why a mail may use it."""
