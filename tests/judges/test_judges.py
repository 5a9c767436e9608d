"""The golden mails before judges from outside: html-validate, caniemail, axe-core, SpamAssassin, and npm's MJML."""

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from difflib import unified_diff
from email import message_from_bytes, policy
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from mjml import mjml2html
from playwright.sync_api import Browser, sync_playwright

HERE = Path(__file__).parent
NODE, CHROMIUM, SPAMASSASSIN = (shutil.which(program) for program in ("node", "chromium", "spamassassin"))
NPM = NODE and (HERE / "node_modules").is_dir()
needs_npm = pytest.mark.skipif(not NPM, reason="needs Node.js, and `npm ci` in tests/judges")
needs_chromium = pytest.mark.skipif(CHROMIUM is None, reason="needs Debian's package chromium")
needs_spamassassin = pytest.mark.skipif(SPAMASSASSIN is None, reason="needs Debian's package spamassassin")
pytestmark = pytest.mark.judge

GOLDEN = HERE.parent / "golden"
MAILS = {str(path.relative_to(GOLDEN).with_suffix("")): path.read_bytes() for path in sorted(GOLDEN.rglob("*.eml"))}
PARTS = {name: message_from_bytes(mail, policy=policy.default).get_body(("html",)) for name, mail in MAILS.items()}
HTML = {name: str(part.get_content()) for name, part in PARTS.items() if part is not None}
assert MAILS.keys() == HTML.keys() != set()


def ask(judge: str, texts: dict[str, str], *clients: str) -> dict[str, Any]:
    """What one of npm's judges says of each text."""
    command = [str(NODE), str(HERE / "judge.mjs"), judge, *clients]
    said = subprocess.run(command, input=json.dumps(texts), capture_output=True, text=True, timeout=120, check=True)
    return dict(json.loads(said.stdout))


@needs_npm
def test_html_validate_finds_nothing() -> None:
    found = ask("html-validate", {**HTML, "planted": "<p><b>not closed</p>"})
    assert found.pop("planted")
    assert not any(found.values()), "\n".join(f"{mail}: {one}" for mail, said in found.items() for one in said)


CLIENTS = ("gmail.*", "apple-mail.*", "outlook.outlook-com", "yahoo.*")  # not outlook.windows, which has Word's engine
# Why nothing that is read changes where a client lacks these features, or has them in part.
REASONS = {
    "what is read is styled by attributes; the sheet only adds the dark, and room on wide screens": (
        "!important keyword; <style> element; @media; Class selector; Descendant combinator; Type selector"
    ),
    "only [data-ogsc] and [data-ogsb], which Outlook's own dark mode writes": "Attribute selector",
    "caniemail takes two classes of a rule for those of one element, which ours never are": "Chaining selectors",
    "MJML's own rules, against other clients' habits": "ID selector; text-decoration; word-spacing",
    "becomes a <div>; the one inside has the background too": "<body> element",
    "who does not ask darkens by other rules, or not at all": "color-scheme CSS property; color-scheme meta tag",
    "only how a screen reader names the wrapper, and that it skips tables": "aria-label attribute; role attribute",
    "Gmail on the mobile web turns a mail with a text from right to left; the letters stay": "dir attribute; direction",
    "of the preheader, which is hidden in several ways, with letters of one pixel": "display:none; opacity; overflow",
    "of pictures, and there it is auto": "height property",
    "a word longer than a line, or a line of code, widens the mail": (
        "overflow-wrap; white-space; word-break; table-layout"
    ),
    "the next font of the list is taken": "system-ui, ui-serif, ui-sans-serif, ui-rounded, ui-monospace",
    "`start` then is the left or right of the cell around, which MJML writes for the mail's language": "text-align",
    "what is missing is not used (reversed, `/`, ellipses, flex, rem, 650, in a cell, pictures, -1px, of a table)": (
        "<ul>, <ol> and <dl>; background; border-radius; display; font-size; font-weight; lang attribute; "
        "margin; max-width"
    ),
}
ALLOWED = {feature for features in REASONS.values() for feature in features.split("; ")}


@needs_npm
def test_caniemail_finds_nothing_that_changes_what_is_read() -> None:
    found = ask("caniemail", {**HTML, "planted": '<p style="position:fixed">'}, *CLIENTS)
    assert found.pop("planted").keys() - ALLOWED
    new = [f"{mail}: {feature}: {found[mail][feature]}" for mail in found for feature in found[mail].keys() - ALLOWED]
    assert not new, "\n".join(new)
    assert not ALLOWED.difference(*found.values()), "these are found no more: take them off the list"


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


@needs_chromium
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("name", MAILS)
def test_axe_finds_nothing(browser: Browser, name: str, scheme: Any) -> None:
    page = browser.new_page(viewport={"width": 375, "height": 812}, color_scheme=scheme)
    page.route("**/*", lambda route: route.abort())  # no picture is fetched
    page.set_content(HTML[name])
    violations = Axe().run(page).response["violations"]
    page.close()
    found = {rule["id"]: [node["html"][:200] for node in rule["nodes"]] for rule in violations}
    assert not found, "\n".join(f"{rule}: {html}" for rule, html in found.items())


def fold(text: str) -> str:
    return re.sub(r"[ \t\r\n\f]+", " ", text)  # not the no-break spaces


def fold_css(css: str) -> str:
    """Without white space at {};, and colons, the last semicolon, and `word-spacing: normal`, which nothing changes."""
    css = re.sub(r" ?([{};,]) ?|(:) ", r"\1\2", fold(css).strip())
    return re.sub(r";(?=}|$)", "", re.sub("word-spacing:normal;?", "", css))


class Reader(HTMLParser):
    """A document as its tags and texts in order."""

    INLINE = re.compile("[^<]|</?(a|code|em|span|strong)[ >]")  # beside all others, white space is not drawn

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tokens = ["<!---->"]
        self.inside = self.class_of_body = ""
        self.feed(html)
        self.close()

    def add(self, token: str) -> None:
        if self.tokens[-1] == " " and not self.INLINE.match(token):
            self.tokens.pop()
        if token != " " or self.INLINE.match(self.tokens[-1]):
            self.tokens.append(token)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Attributes and classes have no order, and an empty class or style is none."""
        found = {name: value or "" for name, value in attrs}
        if tag == "body":  # npm's MJML 5 gives mj-body's css-class to <body>, the other to the <div> that fills it
            self.class_of_body = found.pop("class", "")
        elif self.inside == "body":
            found.setdefault("class", self.class_of_body)
        found |= {"class": " ".join(sorted(found.get("class", "").split())), "style": fold_css(found.get("style", ""))}
        shown = [f' {name}="{text}"' for name, text in sorted(found.items()) if text or name not in {"class", "style"}]
        self.inside = tag
        self.add(f"<{tag}{''.join(shown)}>")

    def handle_endtag(self, tag: str) -> None:
        """`<br>` and `<br />` are the same."""
        self.inside = ""
        if tag not in {"br", "hr", "img", "meta"}:
            self.add(f"</{tag}>")

    def handle_data(self, data: str) -> None:
        self.add({"style": fold_css, "pre": repr}.get(self.inside, fold)(data))

    def handle_comment(self, data: str) -> None:
        """What stands in a comment for Outlook is read as the rest. Two of them in a row are one."""
        if (found := re.fullmatch(r"\[if ([^]]+)]>(.*)<!\[endif]", data, re.DOTALL)) is None:
            self.add(f"<!--{fold(data)}-->")
            return
        start, end = f"<!--if {found[1]}-->", f"<!--end of {found[1]}-->"
        before = self.tokens[:-1] if self.tokens[-1] == end else [*self.tokens, start]
        self.tokens = [*before, *Reader(found[2]).tokens[1:], end]


EVERY_KIND = """# Every kind

## A picture

![A harbour](https://photos.example/a.png)

> A quote, and `code`

```
a  b
```

| one | two |
|---|---|
| 1 | 2 |

1. first
   - *inner*
"""


@needs_npm
def test_both_mjmls_make_the_same_mail(tmp_path: Path) -> None:
    def run(*arguments: str, theme: str = "brief") -> str:  # Playwright has an event loop in this process
        command = [sys.executable, "-m", "newsletter", *arguments]
        env = {**os.environ, "NEWSLETTER_THEME": theme}
        ran = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=60, check=True, env=env)
        return ran.stdout

    run("init", ".")
    (tmp_path / "briefs" / "2026-03-03-all.md").write_text(EVERY_KIND, encoding="utf-8")
    asked = [(theme, path.name) for theme in ("brief", "cards") for path in sorted(tmp_path.glob("briefs/*.md"))]
    mjmls = {
        f"{theme}: {name}": run("render", "--brief", f"briefs/{name}", "--topics", "*", "--format", "mjml", theme=theme)
        for theme, name in asked
    }
    assert mjmls
    for name, html in ask("mjml", mjmls).items():
        ours, theirs = Reader(mjml2html(mjmls[name], fonts={})).tokens, Reader(html).tokens
        assert "\n".join(unified_diff(ours, theirs, "mjml-python", "npm's mjml", lineterm="", n=1)) == "", name


OF_THE_TEST = "RCVD_ILLEGAL_IP"  # an address of the documentation's, in the line that says who sent it
RECEIVED = """From - Tue Mar  3 06:00:01 2026
Received: from a.example (a.example [203.0.113.7]) by b.example; Tue, 03 Mar 2026 06:00:01 +0000
X-Name: """
SPAM = b"Subject: Win\n\nXJS*C4JDBQADN1.NSBN3*2IDNEN*GTUBE-STANDARD-ANTI-UBE-TEST-EMAIL*C.34X"


@needs_spamassassin
def test_spamassassin_takes_no_mail_for_spam(tmp_path: Path) -> None:
    """As a server far away would receive them, and without what it would ask of the network."""
    mails = {**MAILS, "spam": SPAM}.items()
    mbox = b"".join(f"{RECEIVED}{name}\n".encode() + mail + b"\n\n" for name, mail in mails)
    settings = ("--cf=use_bayes 0", "--cf=add_header all Judged _HEADER(X-Name)_ _TESTSSCORES(,)_")
    command = [str(SPAMASSASSIN), "--local", "--mbox", *settings]
    home = {**os.environ, "HOME": str(tmp_path)}
    said = subprocess.run(command, input=mbox, capture_output=True, timeout=300, check=True, env=home).stdout.decode()
    judged = re.findall(r"(?m)^X-Spam-Judged: (\S+)(.*(?:\n\s.*)*)", said)  # in any order
    rules = {name: re.findall(r"(\w+)=([\d.-]+)", scores) for name, scores in judged}
    points = {name: sum(float(score) for rule, score in rules[name] if rule != OF_THE_TEST) for name in rules}
    assert points.pop("spam") > 900
    assert points.keys() == MAILS.keys()
    assert all(OF_THE_TEST in dict(found) for found in rules.values())
    assert max(points.values()) <= 0.5, rules
