"""The tree of a page, style sheets and the cascade, colours and contrast, against what a browser would make of them."""

import pytest
from checked_mails import GOOD, HTML, codes, make_mail, with_body, with_html
from hypothesis import example, given
from hypothesis import strategies as st
from mail_samples import FOLDER

from newsletter.core.checks.cascade import DARK, LIGHT, Look, walk_looks
from newsletter.core.checks.colours import Colour, measure_contrast, parse_colour
from newsletter.core.checks.contrast import check_contrast
from newsletter.core.checks.css import applies, match_selector, parse_declarations, parse_sheets
from newsletter.core.checks.page import Element, list_lines, parse_page

# The page


def test_the_tree_closes_what_is_void_and_ignores_what_is_not_open() -> None:
    page = parse_page('<p class="a b" class="c">one<br>two<img src=x /></i></p>\n<p id>three')
    first, second = page.find_all("p")
    assert first.classes == ["a", "b"]
    assert [element.tag for element in first.walk()] == ["p", "br", "img"]
    assert (second.place, second.attributes, second.text) == ("html:2", {"id": ""}, "three")
    assert [above.tag for above in first.find_all("img")[0].ancestors()] == ["p", ""]


def test_text_folds_white_space_and_parts_blocks() -> None:
    page = parse_page("<style>p{}</style><div>one\n <b>two</b><p>three\u00a0</p> </div><!-- not --><td>four</td>")
    assert page.text == "one two three\u00a0 four"
    assert list_lines(page) == ["one two", "three\u00a0", "four"]


@example("<![a;")
@example("<![;")
@given(st.text(alphabet="<>/ap \"'=!-[]i&;#x", max_size=80))
def test_no_html_breaks_the_parser(html: str) -> None:
    assert isinstance(parse_page(html).text, str)


# Style sheets


def test_declarations() -> None:
    found = parse_declarations("Color : RED ; margin:0 !important; x; :y; z:; /* a:b; */ background:url(a;b) red")
    assert [tuple(declaration) for declaration in found] == [
        ("color", "RED", False),
        ("margin", "0", True),
        ("background", "url(a;b) red", False),
    ]


def test_sheets_with_media_comments_and_lines() -> None:
    page = parse_page(
        "<style>\na, b > c { color: red } /* p {\n} */\n"
        "@media screen { @media (min-width:480px) { i { color: blue } } }\n"
        "@import url(x); u { }</style>\n<style media='print'>s { color: red } broken { color: blue</style>"
    )
    found = [(rule.selector, rule.media, rule.line) for rule in parse_sheets(page)]
    assert found == [
        ("a", (), 2),
        ("b > c", (), 2),
        ("i", ("screen", "(min-width:480px)"), 4),
        ("u", (), 5),
        ("s", ("print",), 6),
        ("broken", ("print",), 6),
    ]


@pytest.mark.parametrize(
    ("media", "light", "dark"),
    [
        ((), True, True),
        (("screen",), True, True),
        (("print",), False, False),
        (("print, screen",), True, True),
        (("only screen and (min-width:480px)",), True, True),
        (("(min-width: 2000px)",), False, False),
        (("(max-width: 480px)",), False, False),
        (("(max-width: 2000px)",), True, True),
        (("(prefers-color-scheme: dark)",), False, True),
        (("screen", "(PREFERS-color-scheme: light)"), True, False),
        (("(hover)",), False, False),
    ],
)
def test_media(media: tuple[str, ...], light: bool, dark: bool) -> None:
    assert (applies(media, "light"), applies(media, "dark")) == (light, dark)


PAGE = parse_page('<html><body><div class="cell soft" id="d"><p title="t"><a href="x">y</a></p></div></body></html>')
LINK = PAGE.find_all("a")[0]


@pytest.mark.parametrize(
    ("selector", "specificity"),
    [
        ("a", (0, 0, 1)),
        ("A", (0, 0, 1)),
        ("*", (0, 0, 0)),
        (".cell a", (0, 1, 1)),
        ("#d.soft a[href]", (1, 2, 1)),
        ("p[title=t] > a", (0, 1, 2)),
        ('body div.cell p[title="t"]>a', (0, 2, 4)),
        (":root a", (0, 1, 1)),
        ("div > a", None),
        ("body > div a", (0, 0, 3)),
        ("p > div a", None),
        ("p", None),
        (".other a", None),
        ("#e a", None),
        ("p[title=u] a", None),
        ("[lang] a", None),
        ("a:hover", None),
        ("p + a", None),
        ("> a", None),
        ("a >", None),
        ("", None),
        ("@font-face", None),
    ],
)
def test_selectors(selector: str, specificity: tuple[int, int, int] | None) -> None:
    assert match_selector(selector, LINK) == specificity


def test_the_page_itself_is_no_element() -> None:
    assert match_selector("*", PAGE) is None
    assert match_selector("html > *", PAGE) is None
    assert match_selector("div > *", PAGE) is None


# Colours


@pytest.mark.parametrize(
    ("text", "colour"),
    [
        ("#fff", Colour(1, 1, 1)),
        ("#FF0000", Colour(1, 0, 0)),
        ("#0f08", Colour(0, 1, 0, 0x88 / 255)),
        ("#0000ff00", Colour(0, 0, 1, 0)),
        ("rgb(255, 0, 51)", Colour(1, 0, 0.2)),
        ("rgba(0 0 0 / 50%)", Colour(0, 0, 0, 0.5)),
        ("rgb(100%, 0%, 300)", Colour(1, 0, 1)),
        ("rgba(0,0,0,.25)", Colour(0, 0, 0, 0.25)),
        (" Black ", Colour(0, 0, 0)),
        ("transparent", Colour(0, 0, 0, 0)),
        ("rgb(1,2)", None),
        ("rgb(a,b,c)", None),
        ("rgb(nan,0,0)", None),
        ("#12", None),
        ("hsl(0,0%,0%)", None),
        ("rebeccapurple", None),
    ],
)
def test_colours(text: str, colour: Colour | None) -> None:
    assert parse_colour(text) == colour


def test_contrast_is_that_of_wcag() -> None:
    black, white, grey = Colour(0, 0, 0), Colour(1, 1, 1), parse_colour("#777777")
    assert grey is not None
    assert measure_contrast(black, white) == pytest.approx(21)
    assert measure_contrast(white, grey) == pytest.approx(4.48, abs=0.01)
    assert str(grey) == "#777777"


PARTS = st.floats(0, 1)


@given(st.builds(Colour, PARTS, PARTS, PARTS), st.builds(Colour, PARTS, PARTS, PARTS))
def test_contrast_is_symmetric_and_bounded(one: Colour, other: Colour) -> None:
    ratio = measure_contrast(one, other)
    assert 1 <= ratio <= 21.0001
    assert measure_contrast(other, one) == ratio
    assert measure_contrast(one, one) == 1


@given(st.text(max_size=30))
def test_no_text_breaks_the_colours(text: str) -> None:
    colour = parse_colour(text)
    assert colour is None or all(0 <= part <= 1 for part in colour)


# The cascade


def look_at(body: str, sheet: str = "", scheme: str = "light") -> Look:
    """The look of the element with the id `x`."""
    page = parse_page(f"<html><head><style>{sheet}</style></head><body>{body}</body></html>")
    return next(look for element, look in walk_looks(page, parse_sheets(page), scheme) if is_marked(element))


def is_marked(element: Element) -> bool:
    return element.attributes.get("id") == "x"


RED, BLUE = Colour(1, 0, 0), Colour(0, 0, 1)


@pytest.mark.parametrize(
    ("sheet", "style", "colour"),
    [
        ("", "", LIGHT.colour),
        ("p { color: red }", "", RED),
        ("p { color: red } p { color: blue }", "", BLUE),
        (".c { color: red } p { color: blue }", "", RED),
        ("p { color: red }", "color:blue", BLUE),
        ("p { color: red !important }", "color:blue", RED),
        ("p { color: red !important }", "color:blue !important", BLUE),
        ("body { color: red }", "", RED),
        ("body { color: red } p { color: blue }", "color:inherit", RED),
        ("@media print { p { color: red } }", "", LIGHT.colour),
    ],
)
def test_the_strongest_declaration_wins(sheet: str, style: str, colour: Colour) -> None:
    assert look_at(f'<p class="c" id="x" style="{style}">t</p>', sheet).colour == colour


def test_backgrounds_lie_on_each_other() -> None:
    assert look_at('<div style="background:red"><p id="x">t</p></div>').background == RED
    assert look_at('<div style="background:red"><p id="x" style="background:none">t</p></div>').background == RED
    assert look_at('<p id="x" style="background:blue no-repeat 0 0/50%">t</p>').background == BLUE
    half = look_at('<div style="background:red"><p id="x" style="background-color:#0000ff80">t</p></div>').background
    assert str(half) == "#7f0080"
    inherited = look_at('<div style="background:red"><p id="x" style="background:inherit">t</p></div>')
    assert inherited.background == RED


def test_what_cannot_be_read_is_noted_until_something_readable_covers_it() -> None:
    assert look_at('<p id="x" style="color:hsl(0,0%,0%)">t</p>').unread == "hsl(0,0%,0%)"
    assert look_at('<p id="x" style="background:url(a.png) red">t</p>').unread == "url(a.png) red"
    assert look_at('<p id="x" style="color:hsl(0,0%,0%);color:red">t</p>').unread == ""
    assert look_at('<p id="x" style="background:var(--b);background:#fff">t</p>').unread == ""


@pytest.mark.parametrize(
    ("element", "style", "pixels", "bold"),
    [
        ("p", "", 20, False),
        ("h1", "", 40, True),
        ("h1", "font-size:24px;font-weight:400", 24, False),
        ("p", "font-size:1.5em;font-weight:600", 30, True),
        ("p", "font-size:2rem;font-weight:bold", 32, True),
        ("p", "font-size:150%;font-weight:inherit", 30, False),
        ("p", "font-size:12pt;font-weight:normal", 16, False),
        ("p", "font-size:larger", 20, False),
        ("p", "font-size:1.2.3px", 20, False),
    ],
)
def test_sizes_and_weights(element: str, style: str, pixels: float, bold: bool) -> None:
    look = look_at(f'<div style="font-size:20px"><{element} id="x" style="{style}">t</{element}></div>')
    assert look.pixels == pytest.approx(pixels)
    assert look.bold is bold


def test_large_text() -> None:
    assert not look_at('<p id="x" style="font-size:23px">t</p>').is_large
    assert look_at('<p id="x" style="font-size:24px">t</p>').is_large
    assert look_at('<b id="x" style="font-size:14pt">t</b>').is_large


@pytest.mark.parametrize("style", ["display:none", "visibility:hidden", "opacity:0"])
def test_what_is_hidden_has_no_look(style: str) -> None:
    page = parse_page(f'<body><div style="{style}"><p>t</p></div><p hidden>t</p><p style="display:block">u</p></body>')
    shown = [element.text for element, _ in walk_looks(page, [], "light") if element.tag == "p"]
    assert shown == ["u"]


def test_links_and_dark_pages_begin_with_the_browsers_colours() -> None:
    assert str(look_at('<a id="x" href="y">t</a>').colour) == "#0000ee"
    assert look_at('<a id="x">t</a>').colour == LIGHT.colour
    assert look_at('<p id="x">t</p>', scheme="dark") == DARK


# Contrast


@pytest.mark.parametrize(
    ("body", "found"),
    [
        ('<p style="color:#767676">t</p>', []),
        ('<p style="color:#777777">t</p>', ["contrast.light"]),
        ('<p style="color:#777777"> </p>', []),
        ('<h1 style="color:#777777">t</h1>', []),
        ('<h1 style="color:#999999">t</h1>', ["contrast.light"]),
        ('<p style="color:#00000080">t</p>', ["contrast.light"]),
        ('<p style="color:#777777;font-size:0">t</p>', []),
        ('<p style="color:#777777">t</p><p style="color:#777777">u</p>', ["contrast.light"]),
        ('<div style="color:#777777"><img alt="a bridge"></div>', ["contrast.light"]),
        ('<img alt="a bridge" style="color:#777777">', ["contrast.light"]),
        ('<img alt="" style="color:#777777">', []),
        ('<p style="color:hsl(0,0%,50%)">t</p>', ["contrast.unread"]),
    ],
)
def test_text_that_is_too_pale(body: str, found: list[str]) -> None:
    assert codes(check_contrast, with_body(body)) == found


def test_the_finding_says_which_text_and_how_much() -> None:
    (finding,) = check_contrast(with_body(f'\n<p style="color:#777777">{"word " * 20}</p>'))
    assert finding.place == "html:2"
    assert "…” is #777777 on #ffffff in the light scheme: the contrast is 4.48, and 4.5 is demanded" in finding.message


def test_the_dark_scheme_of_our_templates_is_looked_at() -> None:
    shared = (FOLDER / "parts.mjml.j2").read_text(encoding="utf-8")
    link, paper = ".cell a{color:{{ theme.dark.link }}!important}", "{{ scope }}.paper,{{ scope }}.paper table,"
    assert link in shared
    assert paper in shared
    pale = shared.replace(link, ".cell a{color:#3a4047!important}")
    assert codes(check_contrast, make_mail(templates={"parts.mjml.j2": pale})) == ["contrast.dark"]
    unset = shared.replace(paper, "")
    assert set(codes(check_contrast, make_mail(templates={"parts.mjml.j2": unset}))) == {"contrast.dark"}


def test_a_mail_that_a_client_darkens_is_looked_at() -> None:
    pale = with_body('<div style="background-color:#ffffff;color:#000000"><p style="color:#767676">t</p></div>')
    assert codes(check_contrast, pale) == []
    unturned = '<div style="background-color:white;color:#333333"><p>t</p></div>'
    assert codes(check_contrast, with_body(unturned)) == ["contrast.forced"]


def test_the_light_scheme_of_our_templates_is_looked_at() -> None:
    assert codes(check_contrast, GOOD) == []
    assert codes(check_contrast, with_html(HTML.replace("color:#59616b", "color:#b0b5bb"))) == [
        "contrast.light",
        "contrast.forced",
    ]
