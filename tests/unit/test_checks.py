"""Each check with a mail that passes it and mails that fail it."""

from collections.abc import Mapping
from dataclasses import replace

import pytest
from checked_mails import CATALOGUE, GOOD, HTML, STORIES, codes, make_mail, with_body, with_head, with_html
from hypothesis import given
from hypothesis import strategies as st
from mail_samples import DAY, FOLDER, SENDER, block, make_story, paragraph

from newsletter.core.checks.clients import check_clients
from newsletter.core.checks.contrast import check_contrast
from newsletter.core.checks.every import check_mail
from newsletter.core.checks.findings import CODES, Finding, Severity, find, sort_findings
from newsletter.core.checks.footer import check_footer
from newsletter.core.checks.inbox import check_preheader, check_subject
from newsletter.core.checks.links import Answer, State, check_links, judge_answers, list_web_links
from newsletter.core.checks.raw import HEADERS, check_headers, check_lines, check_unsubscribe
from newsletter.core.checks.sizes import check_size
from newsletter.core.checks.spam import SpamReport, judge_spam
from newsletter.core.checks.stories import check_brief, check_titles, check_topics
from newsletter.core.checks.structure import check_headings, check_images, check_language
from newsletter.core.checks.support import LACKING, SUPPORTED, UNTESTED
from newsletter.core.model import Block, BlockKind, Brief, BriefWarning, Span


def test_a_good_mail_has_no_errors_and_no_warnings() -> None:
    found = list(check_mail(GOOD))
    assert {finding.severity for finding in found} == {Severity.INFO}
    assert {finding.code for finding in found} == {"size.room", "client.lacking"}


def test_every_finding_has_a_code_of_the_table_and_its_severity() -> None:
    finding = find("link.dead", "day.md:3", "one\n two \x1b[31m")
    assert finding == Finding(code="link.dead", severity=Severity.ERROR, place="day.md:3", message="one two �[31m")
    with pytest.raises(KeyError):
        find("no.such", "html:1", "")


def test_findings_are_sorted_by_severity_and_told_once() -> None:
    info, warning, error = (find(code, "html:1", "") for code in ("size.room", "link.vague", "link.empty"))
    assert sort_findings([info, warning, info, error, warning]) == [error, warning, info]


# Size


def test_the_size_says_how_many_more_stories_fit() -> None:
    (finding,) = check_size(GOOD)
    assert finding.code == "size.room"
    assert "more stories of" in finding.message


def test_as_many_more_stories_fit_as_the_size_says() -> None:
    story = STORIES[0]
    told = next(iter(check_size(make_mail(story, story)))).message
    more = int(told.partition("; ")[2].split()[0])
    assert make_mail(*[story] * (2 + more)).edition.shown == 2 + more
    assert make_mail(*[story] * (3 + more)).edition.shown < 3 + more
    last = next(iter(check_size(make_mail(*[story] * (1 + more))))).message
    assert "; 1 more story of" in last


def test_stories_that_are_left_out_are_told_at_the_line_of_the_first() -> None:
    stories = [replace(make_story(f"Story {number}", "word " * 3000), line=number) for number in range(1, 8)]
    shown = make_mail(*stories).edition.shown
    (finding,) = (f for f in check_size(make_mail(*stories)) if f.code == "size.cut")
    assert finding.place == f"day.md:{shown + 1}"
    assert f"{7 - shown} stories, of which the story “Story {shown + 1}” is the first, are left out" in finding.message
    (finding,) = (f for f in check_size(make_mail(*stories[: shown + 1])) if f.code == "size.cut")
    assert finding.message.startswith(f"the story “Story {shown + 1}” is left out")


def test_a_story_that_is_shortened_is_told() -> None:
    found = codes(check_size, make_mail(make_story("Long", *["word " * 1000] * 40)))
    assert found == ["size.cut", "size.room"]


@pytest.mark.parametrize(("octets", "code"), [(90_001, "size.large"), (100_001, "size.clipped")])
def test_a_large_html_part(octets: int, code: str) -> None:
    assert code in codes(check_size, with_body("x" * octets))


# Links


@pytest.mark.parametrize(
    ("link", "code"),
    [
        ("<a>text</a>", "link.empty"),
        ('<a href=" ">text</a>', "link.empty"),
        ('<a href="#top">text</a>', "link.empty"),
        ('<a href="/page">text</a>', "link.relative"),
        ('<a href="www.example.org">text</a>', "link.relative"),
        ('<a href="javascript:alert(1)">text</a>', "link.scheme"),
        ('<a href="ftp://example.org/">text</a>', "link.scheme"),
        ('<a href="https://">text</a>', "link.syntax"),
        ('<a href="https://[::1">text</a>', "link.syntax"),
        ('<a href="https://example..org/">text</a>', "link.syntax"),
        ('<a href="https://example.org:port/">text</a>', "link.syntax"),
        ('<a href="https://example.org/a b">text</a>', "link.syntax"),
        ('<a href="mailto:nobody">text</a>', "link.syntax"),
        ('<a href="mailto:a b@example.org">text</a>', "link.syntax"),
        ('<a href="http://example.org/">text</a>', "link.insecure"),
        ('<a href="https://example.org/"></a>', "link.silent"),
        ('<a href="https://example.org/"><img src="https://example.org/i.png" alt=""></a>', "link.silent"),
        ('<a href="https://example.org/">Click here!</a>', "link.vague"),
        ('<a href="https://example.org/">→ <em>Mehr</em></a>', "link.vague"),
        ('<a href="https://example.org/">https://bank.example/login</a>', "link.mismatch"),
        ('<a href="https://example.org/">www.example.com</a>', "link.mismatch"),
    ],
)
def test_a_link_that_is_wrong(link: str, code: str) -> None:
    assert codes(check_links, with_body(link)) == [code]


@pytest.mark.parametrize(
    "link",
    [
        '<a href="https://example.org/a?b=c#d">the report</a>',
        '<a href="https://EXAMPLE.org./">the report</a>',
        '<a href="https://[2001:db8::1]:8443/">the report</a>',
        '<a href="https://münchen.example/straße">the report</a>',
        '<a href="mailto:desk@example.org?subject=hi">the desk</a>',
        '<a href="https://example.org/"><img src="https://example.org/i.png" alt="the bridge"></a>',
        '<a href="https://www.example.org/x">https://example.org/x</a>',
        '<a href="https://news.example.org/x">www.example.org</a>',
        '<a href="https://example.org/x">https://news.example.org</a>',
        '<a href="mailto:desk@example.org">www.example.org</a>',
        '<a href="https://example.org/x">https://[</a>',
        '<a name="top">the top</a>',
    ],
)
def test_a_link_that_is_right(link: str) -> None:
    assert codes(check_links, with_body(link)) == []


def test_own_links_over_http_are_not_the_editors_matter() -> None:
    mail = with_body('<a href="http://127.0.0.1:8000/archive">the archive</a>')
    local = replace(mail.edition.frame, sender=replace(SENDER, base_url="http://127.0.0.1:8000/"))
    mail = replace(mail, edition=replace(mail.edition, frame=local))
    assert codes(check_links, mail) == []
    assert list_web_links(mail) == {}


def test_a_storys_link_is_placed_at_the_story() -> None:
    story = replace(make_story("A", "B", url="https://example.org/a"), line=12)
    linked = replace(
        make_story("C"), line=20, blocks=(paragraph("see ", Span(text="here", href="https://example.org/b")),)
    )
    mail = make_mail(story, linked)
    assert list_web_links(mail) == {"https://example.org/a": "day.md:12", "https://example.org/b": "day.md:20"}
    (finding,) = check_links(mail)
    assert (finding.code, finding.place) == ("link.vague", "day.md:20")


def test_a_place_without_a_line_is_the_source_or_the_id() -> None:
    assert GOOD.place_in_brief(None) == "day.md"
    nameless = replace(GOOD, brief=replace(GOOD.brief, source=""))
    assert nameless.place_in_brief(3) == "day:3"


def test_answers_are_judged_at_their_places() -> None:
    answers = {
        "https://a.example": Answer(State.ALIVE),
        "https://b.example": Answer(State.DEAD, "it answers 404 (Not Found)"),
        f"https://c.example/{'x' * 200}": Answer(State.UNANSWERED, "it does not answer"),
    }
    dead, unanswered = judge_answers(dict.fromkeys(answers, "day.md:1"), answers)
    assert dead == find("link.dead", "day.md:1", "“https://b.example”: it answers 404 (Not Found)")
    assert unanswered.code == "link.unanswered"
    assert "x…”" in unanswered.message


@given(st.text(max_size=60))
def test_no_address_breaks_the_checks(address: str) -> None:
    quoted = address.replace("&", "&amp;").replace('"', "&quot;").encode("utf-8", "replace").decode()
    for finding in check_links(with_body(f'<a href="{quoted}">the report</a>')):
        assert finding.message.isprintable()


# Images, language, headings


@pytest.mark.parametrize(
    ("image", "found"),
    [
        ('<img src="https://example.org/i.png" alt="a bridge">', []),
        ('<img src="https://example.org/i.png" alt="">', []),
        ('<img src="https://example.org/i.png">', ["image.alt"]),
        ('<img src="http://example.org/i.png" alt="a bridge">', ["image.source"]),
        ('<img alt="a bridge">', ["image.source"]),
        ('<img src="https://example.org/i.png" alt="https://example.org/">', ["image.address"]),
    ],
)
def test_images(image: str, found: list[str]) -> None:
    assert codes(check_images, with_body(image)) == found


def test_an_image_of_a_story_is_placed_at_the_story() -> None:
    shown = Block(
        kind=BlockKind.IMAGE, src="https://example.org/i.png", spans=(Span(text="", href="https://example.org/"),)
    )
    mail = make_mail(replace(make_story("A"), line=7, blocks=(block(BlockKind.QUOTE, shown),)))
    (finding,) = check_images(mail)
    assert (finding.code, finding.place) == ("image.silent", "day.md:7")


@pytest.mark.parametrize(
    ("html", "found"),
    [
        ('<html lang="ur" dir="RTL">', []),
        ('<html dir="ltr">', ["html.lang"]),
        ('<html lang=" " dir="left">', ["html.lang", "html.dir"]),
        ('<html lang="und" dir="auto">', ["html.lang", "html.dir"]),
        ("<p>no html element</p>", ["html.lang", "html.dir"]),
    ],
)
def test_language_and_direction(html: str, found: list[str]) -> None:
    assert codes(check_language, with_html(html)) == found


@pytest.mark.parametrize(
    ("body", "found"),
    [
        ("<h1>a</h1><h2>b</h2><h3>c</h3><h2>d</h2>", []),
        ("<h2>b</h2>", ["heading.h1"]),
        ("<h1>a</h1><h1>b</h1>", ["heading.h1"]),
        ("<h1>a</h1><h3>b</h3>", ["heading.skipped"]),
        ("<h1>a</h1><h2> <br></h2>", ["heading.empty"]),
    ],
)
def test_headings(body: str, found: list[str]) -> None:
    assert codes(check_headings, with_body(body)) == found


# Inbox


@pytest.mark.parametrize(
    ("subject", "found"),
    [
        (b"A comet passes close by, and more", []),
        (b"", ["subject.empty"]),
        (b"=?utf-8?q?K=C3=B6ln?=", []),
        (b"x" * 61, ["subject.long"]),
        (b"A comet passes close by" + b", and another story" * 3, ["subject.tail"]),
    ],
)
def test_subject(subject: bytes, found: list[str]) -> None:
    old = GOOD.eml.partition(b"Subject: ")[2].partition(b"\r\nTo:")[0]
    assert codes(check_subject, with_head(b"Subject: " + old, b"Subject: " + subject)) == found


def test_a_title_that_is_cut_in_the_subject_is_told() -> None:
    assert codes(check_subject, make_mail(make_story("word " * 20), STORIES[0])) == ["subject.long"]


def test_a_mail_without_a_subject_header_has_none() -> None:
    assert with_head(b"Subject: ", b"X-Subject: ").subject == ""


HIDDEN = '<div style="display:none">{}</div><p>Story</p>'


@pytest.mark.parametrize(
    ("body", "found"),
    [
        (HIDDEN.format("m" * 40 + "&#847;&zwnj;&nbsp;" * 60), []),
        (HIDDEN.format("m" * 130), []),
        (HIDDEN.format("m" * 39), ["preheader.short"]),
        (HIDDEN.format("m" * 131), ["preheader.long"]),
        (HIDDEN.format("Today: a comet passes close by, and one more story, and soup"), ["preheader.repeats"]),
        (HIDDEN.format("A comet passes"), ["preheader.short", "preheader.repeats"]),
        (HIDDEN.format("A comet"), ["preheader.short"]),
        (HIDDEN.format("&#847;&zwnj;&nbsp;"), ["preheader.short"]),
        (HIDDEN.format(""), ["preheader.missing"]),
        ("<p>Story</p>" + HIDDEN.format("m" * 40), ["preheader.missing"]),
        ("", ["preheader.missing"]),
    ],
)
def test_preheader(body: str, found: list[str]) -> None:
    mail = with_body(body)
    assert codes(check_preheader, mail) == found, mail.subject


# Raw bytes


@pytest.mark.parametrize("name", HEADERS)
def test_a_header_that_lacks_or_comes_twice(name: str) -> None:
    line = f"\r\n{name}: ".encode()
    mail = replace(GOOD, eml=b"X-First: 1\r\n" + GOOD.eml)
    assert codes(check_headers, mail) == []
    assert codes(check_headers, with_head(line, b"\r\nX-Other: ", mail)) == ["header.missing"]
    (finding,) = check_headers(with_head(line, f"\r\n{name}: x{line.decode()}".encode(), mail))
    assert (finding.code, finding.place) == ("header.repeated", f"header {name}")


ONE = b"<https://news.ledger.example/unsubscribe/aaaa>"


@pytest.mark.parametrize(
    ("value", "found"),
    [
        (ONE, []),
        (b"<HTTPS://news.ledger.example/u>", []),
        (b"<http://news.ledger.example/u>", ["unsubscribe.insecure"]),
        (b"<http://127.0.0.1:8000/u>", ["unsubscribe.local"]),
        (b"<http://[::1]/u>", ["unsubscribe.local"]),
        (b"<http://localhost/u>", ["unsubscribe.local"]),
        (b"<https://news.localhost/u>", ["unsubscribe.local"]),
        (b"<mailto:u@example.org>", ["unsubscribe.address"]),
        (ONE + b", <https://other.example/u>", ["unsubscribe.address"]),
        (b"=?utf-8?q?=3Chttps=3A//news=2Eledger=2Eexample/u=3E?=", ["header.encoded", "unsubscribe.address"]),
    ],
)
def test_list_unsubscribe(value: bytes, found: list[str]) -> None:
    assert codes(check_unsubscribe, with_head(ONE, value)) == found


def test_the_one_click_twin() -> None:
    assert codes(check_unsubscribe, with_head(b"=One-Click", b"=one-click")) == ["unsubscribe.one-click"]


def test_long_lines() -> None:
    assert codes(check_lines, GOOD) == []
    (finding,) = check_lines(with_head(b"<!doctype", b"x" * 80 + b"<!doctype"))
    assert finding.code == "line.long"
    assert GOOD.eml.split(b"\r\n")[int(finding.place.removeprefix("mail:")) - 1].startswith(b"<!doctype")
    assert codes(check_lines, with_head(b"MIME-Version:", b"X-Long: " + b"x" * 991 + b"\r\nMIME-Version:")) == [
        "line.overlong"
    ]
    plain = with_head(b"quoted-printable", b"8bit")
    assert codes(check_lines, plain) == []
    assert codes(check_lines, with_head(b"<!doctype", b"x" * 999 + b"<!doctype", plain)) == ["line.overlong"]


# Footer


@pytest.mark.parametrize("name", ["unsubscribe", "preferences", "view"])
def test_a_footer_without_a_link(name: str) -> None:
    assert codes(check_footer, GOOD) == []
    found = list(check_footer(replace(GOOD, links=replace(GOOD.links, **{name: "https://news.ledger.example/x"}))))
    assert [(finding.code, finding.place) for finding in found] == [
        (f"footer.{name}", "html:1"),
        (f"footer.{name}", "text:1"),
    ]


def test_the_postal_address() -> None:
    assert codes(check_footer, make_mail(sender=replace(SENDER, postal_address=None))) == ["footer.no-address"]
    frame = replace(GOOD.edition.frame, sender=replace(SENDER, postal_address="Elsewhere"))
    mail = replace(GOOD, edition=replace(GOOD.edition, frame=frame))
    assert codes(check_footer, mail) == ["footer.address", "footer.address"]


def test_a_mail_without_parts_lacks_everything_and_breaks_nothing() -> None:
    mail = replace(GOOD, eml=b"From: a@b.example\r\n\r\ntext")
    found = {finding.code for finding in check_mail(mail)}
    assert {"header.missing", "footer.unsubscribe", "story.missing", "html.lang", "heading.h1"} <= found


# Stories


def test_the_briefs_warnings_and_unknown_topics() -> None:
    story = replace(STORIES[0], by_hand=("Astrology",), by_hand_place="line 4", line=3)
    unknown = BriefWarning(line=4, message="topic “Astrology” (line 4) is not in the catalogue")
    brief = Brief(
        id="day",
        title="Day",
        date=DAY,
        language="en",
        stories=(story,),
        source="day.md",
        warnings=(BriefWarning(line=None, message="a heading is empty"), unknown),
    )
    assert [(f.code, f.place) for f in check_brief(brief, CATALOGUE)] == [
        ("brief.read", "day.md"),
        ("topic.unknown", "day.md:4"),
    ]


def test_a_story_without_topic() -> None:
    assert codes(check_topics, GOOD) == []
    assert codes(check_topics, make_mail(topics=())) == ["topic.none", "topic.none"]


def test_a_title_that_lacks_in_a_part_or_is_altered() -> None:
    assert codes(check_titles, GOOD) == []
    assert codes(check_titles, with_html(HTML.replace("The museum opens late", "The Museum Opens Late"))) == [
        "story.missing"
    ]
    text = (
        (FOLDER / "story.txt.j2").read_text(encoding="utf-8").replace("{{ story.title }}", "{{ story.title | upper }}")
    )
    found = list(check_titles(make_mail(templates={"story.txt.j2": text})))
    assert [finding.code for finding in found] == ["story.missing", "story.missing"]
    assert "the text part lacks" in found[0].message


def test_a_story_that_one_part_only_lists() -> None:
    html = HTML.replace(">The museum opens late</h2>", ">Something else</h2>")
    assert html != HTML
    assert codes(check_titles, with_html(html)) == ["story.uneven"]


@given(st.text(st.characters(exclude_categories=("Cs", "Cc")), min_size=1, max_size=80).filter(str.strip))
def test_any_title_is_found_in_both_parts(title: str) -> None:
    assert codes(check_titles, make_mail(make_story(title, "text"))) == []


# Client support


def used(body: str, head: str = "") -> Mapping[str, str]:
    return {f.message: f.code for f in check_clients(with_body(body, head))}


def test_a_feature_that_a_client_lacks_and_one_that_the_table_does_not_have() -> None:
    found = used('<p style="border-radius:6px;position:sticky;-webkit-hyphens:auto;color:#000">x</p>')
    assert [code for message, code in found.items() if "border-radius" in message] == ["client.lacking"]
    assert [code for message, code in found.items() if "position" in message] == ["client.unknown"]
    assert len(found) == 2


def test_features_of_style_sheets() -> None:
    sheet = (
        "@import url(x.css); @font-face { font-family: x; } a:hover { color: #000; } [data-x] p { color: #000; }"
        "@media (hover: hover) and (min-width: 1px) { p { color: #000; } }"
    )
    found = list(check_clients(with_body("<video></video>", f"<style>{sheet}</style>")))
    unknown = [f.message.partition("does not have ")[2].partition(".")[0] for f in found if f.code == "client.unknown"]
    assert unknown == ["<video>", "@font-face", ":hover", "hover"]


def test_the_tables_of_features_do_not_overlap() -> None:
    assert not (LACKING.keys() & SUPPORTED) | (LACKING.keys() & UNTESTED) | (SUPPORTED & UNTESTED)


# Spam


@pytest.mark.parametrize(
    ("score", "code"), [(-1.0, "spam.score"), (2.9, "spam.score"), (3.0, "spam.suspicious"), (5.0, "spam.rejected")]
)
def test_a_spam_score(score: float, code: str) -> None:
    assert judge_spam(SpamReport(score, ("HTML_MESSAGE",))).code == code
    assert "(HTML_MESSAGE)" in judge_spam(SpamReport(score, ("HTML_MESSAGE",))).message
    assert "()" not in judge_spam(SpamReport(score)).message


def test_the_table_of_codes_is_sorted_by_severity_and_says_something() -> None:
    order = [list(Severity).index(code.severity) for code in CODES.values()]
    assert order == sorted(order)
    assert all(code.meaning for code in CODES.values())


def test_the_good_mail_reads_well_in_both_schemes() -> None:
    assert codes(check_contrast, GOOD) == []
