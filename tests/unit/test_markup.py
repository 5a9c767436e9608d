"""HTML into blocks: what passes, what becomes its text, what vanishes; and that nothing hostile breaks it."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from newsletter.core.briefs.markup import parse_html
from newsletter.core.briefs.text import allow_image, allow_link, clean_text, title_key
from newsletter.core.briefs.tree import MAX_DEPTH
from newsletter.core.model import Block, BlockKind, Span

MANY = 10_000


def texts(html: str, *, base: str = "") -> list[str]:
    """Every block's own text in reading order."""
    return [inner.text for block in parse_html(html, base=base) for inner in block.walk() if inner.text]


def links(html: str, *, base: str = "") -> list[str]:
    blocks = parse_html(html, base=base)
    return [span.href for block in blocks for inner in block.walk() for span in inner.spans if span.href]


def kinds(html: str) -> list[str]:
    return [inner.kind.value for block in parse_html(html) for inner in block.walk()]


def test_inline_styles_nest_and_end_where_their_tags_do() -> None:
    (block,) = parse_html("<p>a <b>b <i>c</i></b> <code>d</code> <strong>e</strong></p>")
    assert block.spans == (
        Span(text="a "),
        Span(text="b ", strong=True),
        Span(text="c", strong=True, emphasis=True),
        Span(text=" "),
        Span(text="d", code=True),
        Span(text=" "),
        Span(text="e", strong=True),
    )


def test_white_space_folds_as_in_a_browser() -> None:
    (block,) = parse_html("<p>\n  one <b> two</b>\t\n three <i> </i></p>")
    assert "".join(span.text for span in block.spans) == "one two three"


def test_a_line_break_is_a_line_feed_without_blanks_around_it() -> None:
    (block,) = parse_html("<p><br>one <br> two<br/><br/><br/>three<br></p>")
    assert "".join(span.text for span in block.spans) == "one\ntwo\n\nthree"


def test_non_breaking_blanks_stay_but_alone_are_no_paragraph() -> None:
    assert [span.text for block in parse_html("<p>10&nbsp;km</p><p>&nbsp;</p>") for span in block.spans] == ["10\xa0km"]


@pytest.mark.parametrize(
    ("href", "kept"),
    [
        ("http://a.example/x?y=1&amp;z=2#f", "http://a.example/x?y=1&z=2#f"),
        ("HTTPS://a.example", "HTTPS://a.example"),
        ("mailto:a@b.example?subject=x", "mailto:a@b.example?subject=x"),
        (" https://a.example/a b\n", "https://a.example/a%20b"),
        ("https://a.example/\u202f&quot;&lt;", "https://a.example/%E2%80%AF%22%3C"),
        ("https://a.example/Köln", "https://a.example/Köln"),
        ("", None),
        ("#", None),
        ("#top", None),
        ("/relative", None),
        ("//a.example/x", None),
        ("http://", None),
        ("http:a.example", None),
        ("http://[::1", None),
        ("mailto:", None),
        ("mailto:nobody", None),
        ("javascript:alert(1)", None),
        ("java\nscript:alert(1)", None),
        ("\x01javascript:alert(1)", None),
        ("JaVaScRiPt:alert(1)", None),
        ("data:text/html,x", None),
        ("vbscript:x", None),
        ("file:///etc/passwd", None),
        ("ftp://a.example/", None),
        ("tel:+1", None),
    ],
)
def test_only_http_https_and_mailto_stay_links(href: str, kept: str | None) -> None:
    html = f'<p>see <a href="{href}" onclick="x()" style="y">this</a>.</p>'
    assert links(html) == ([kept] if kept else [])
    assert texts(html) == ["see this."]


def test_relative_addresses_count_from_the_base() -> None:
    base = "https://a.example/news/1"
    assert links('<a href="2">x</a><a href="/y">y</a><a href="#z">z</a><a href="//b.example/">b</a>', base=base) == [
        "https://a.example/news/2",
        "https://a.example/y",
        "https://b.example/",
    ]
    (image,) = parse_html('<img src="p.png">', base=base)
    assert image.src == "https://a.example/news/p.png"
    assert allow_link("javascript:x", base) is None


def test_a_link_ends_at_the_next_link() -> None:
    assert [
        (span.text, span.href)
        for span in parse_html('<a href="http://a.example/">a<a href="http://b.example/">b</a>c')[0].spans
    ] == [("a", "http://a.example/"), ("b", "http://b.example/"), ("c", None)]


@pytest.mark.parametrize(
    "element",
    [
        "<script>gone < gone</script>",
        "<SCRIPT type=x>gone</ScRiPt >",
        "<style>gone{}</style>",
        "<iframe src=x>gone</iframe>",
        "<textarea>gone</textarea>",
        "<title>gone</title>",
        "<noembed>gone</noembed>",
        "<object>gone<object>gone</object>gone</object>",
        "<template><p>gone</p></template>",
        "<svg><title>gone</title><text>gone</text></svg>",
        "<select><option>gone</option></select>",
        "<button>gone</button>",
        "<head><meta><link>gone</head>",
        "<canvas>gone</canvas>",
        "<!-- gone > gone -->",
        "<!---->",
        "<!-->",
        "<!DOCTYPE gone>",
        "<![CDATA[gone > gone]]>",
        "<?gone?>",
        "<input value=gone>",
        "<embed src=gone><meta content=gone><base href=gone><link href=gone>",
    ],
)
def test_what_may_not_stand_in_a_mail_vanishes_with_its_content(element: str) -> None:
    assert texts(f"<p>before{element}after</p>") == ["beforeafter"]


def test_a_form_keeps_its_text_but_not_its_controls() -> None:
    html = "<form action=x><label>Name <input name=n></label><p>Text</p><button>Send</button></form>"
    assert texts(html) == ["Name", "Text"]


@pytest.mark.parametrize("tag", ["object", "template", "svg", "button", "select", "head"])
def test_an_element_that_is_never_closed_swallows_nothing(tag: str) -> None:
    assert texts(f"<p>one<{tag}> two</p><p>three</p>") == ["one two", "three"]
    assert texts(f"<{tag}>gone<{tag}>gone</{tag}>here") == ["here"]


def test_unknown_tags_become_their_text() -> None:
    assert texts("<p><blink>a</blink><x-y z=1>b</x-y><font color=red>c</font><noscript>d</noscript></p>") == ["abcd"]


def test_text_with_angle_brackets_is_kept() -> None:
    assert texts("<p>1 < 2, 3 <4, a<b</p>")[0].startswith("1 < 2, 3 <4")
    assert texts("no markup, but a <tag that never ends") == ["no markup, but a <tag that never ends"]


def test_character_references_are_resolved_and_hostile_ones_replaced() -> None:
    assert texts("<p>&lt;b&gt; &amp;amp; &#8217; &#x1F600;</p>") == ["<b> &amp; ’ 😀"]
    assert texts(f"<p>a&#{'9' * 5000};b</p>") == ["a\ufffdb"]
    assert texts("<p>a&#1;&#xFFFE;&#x2028;b</p>") == ["a b"]


def test_headings_keep_their_level() -> None:
    blocks = parse_html("<h1>a</h1><h6><div>b</div></h6>text<h2>c<p>d</p>")
    assert [(block.kind.value, block.level, block.text) for block in blocks] == [
        ("heading", 1, "a"),
        ("heading", 6, "b"),
        ("paragraph", 0, "text"),
        ("heading", 2, "c"),
        ("paragraph", 0, "d"),
    ]


def test_block_boundaries_make_paragraphs() -> None:
    assert texts("a<div>b</div>c<section>d</section><dl><dt>e<dd>f</dl>g") == ["a", "b", "c", "d", "e", "f", "g"]


def test_a_term_that_is_defined_is_bold() -> None:
    term, definition = parse_html("<dl><dt>term</dt><dd>what it means</dd></dl>")
    assert (term.spans[0].strong, definition.spans[0].strong) == (True, False)


def test_lists_nest_and_items_hold_their_first_paragraph() -> None:
    (block,) = parse_html("<ol><li>one<ul><li>in</li></ul></li><li><p>two</p><p>more</p></li></ol>")
    assert block == Block(
        kind=BlockKind.LIST,
        ordered=True,
        children=(
            Block(
                kind=BlockKind.ITEM,
                spans=(Span(text="one"),),
                children=(
                    Block(kind=BlockKind.LIST, children=(Block(kind=BlockKind.ITEM, spans=(Span(text="in"),)),)),
                ),
            ),
            Block(
                kind=BlockKind.ITEM,
                spans=(Span(text="two"),),
                children=(Block(kind=BlockKind.PARAGRAPH, spans=(Span(text="more"),)),),
            ),
        ),
    )


def test_end_tags_may_be_missing_or_too_many() -> None:
    assert kinds("<ul><li>a<li>b</ul></ul></li>c") == ["list", "item", "item", "paragraph"]
    assert kinds("<table><tr><td>a<td>b<tr><td>c</table></td></tr>d") == [
        *("table", "row", "cell", "cell", "row", "cell"),
        "paragraph",
    ]


def test_an_end_tag_in_a_cell_closes_nothing_around_the_table() -> None:
    assert kinds("<ul><li>a<table><tr><td>b</ul>c</td></tr></table>d</ul>") == [
        *("list", "item", "table", "row", "cell", "paragraph"),
        "paragraph",
    ]


def test_what_stands_in_the_wrong_place_is_wrapped() -> None:
    assert kinds("<ul>loose<li>a</ul>") == ["list", "item", "item"]
    assert kinds("<table>loose<tr>loose<td>a</table>") == ["table", "row", "cell", "row", "cell", "cell"]
    assert kinds("<table><td>a</table>") == ["table", "row", "cell"]
    assert kinds("<li>a<td>b<tr>c") == ["paragraph", "paragraph", "paragraph"]


def test_empty_containers_vanish_but_an_empty_cell_keeps_its_column() -> None:
    assert kinds("<ul><li></li></ul><blockquote> </blockquote><table><tr><td></td></tr></table>") == []
    assert kinds("<table><tr><td></td><td>a</td></tr></table>") == ["table", "row", "cell", "cell"]


def test_header_cells_are_bold_and_no_style_leaks_out_of_a_cell() -> None:
    (table, after) = parse_html("<table><tr><th>a<td>b<b><i><a href='http://a.example'>c</table>d")
    row = table.children[0]
    assert [cell.spans[0].strong for cell in row.children] == [True, False]
    assert after.spans == (Span(text="d"),)


def test_a_quote_holds_paragraphs() -> None:
    (quote,) = parse_html("<blockquote>a<p>b</blockquote>")
    assert [(child.kind.value, child.text) for child in quote.children] == [("paragraph", "a"), ("paragraph", "b")]


def test_code_keeps_its_white_space_and_its_links() -> None:
    (block,) = parse_html("<pre>\n<code>  a\n    <b>b</b>\r\n<a href='http://a.example/'>c</a></code>\n\n</pre>")
    assert block == Block(
        kind=BlockKind.CODE,
        spans=(Span(text="  a\n    b\n"), Span(text="c", href="http://a.example/")),
    )


def test_blocks_in_code_are_lines() -> None:
    assert [
        "".join(span.text for span in block.spans) for block in parse_html("<pre><div>a</div><div>b</div></pre>")
    ] == ["a\nb"]
    assert kinds("<pre> \n </pre>") == []


def test_rules_stand_between_paragraphs() -> None:
    assert kinds("a<hr>b") == ["paragraph", "rule", "paragraph"]


def test_images_are_absolute_http_or_their_alt_text() -> None:
    (image,) = parse_html('<img src="https://a.example/i.png" alt="A &#1;\n b" onerror=x>')
    assert image == Block(kind=BlockKind.IMAGE, src="https://a.example/i.png", alt="A b")
    assert texts('<p>a <img src="data:image/png;base64,x" alt="chart">, <img src=i.png alt=""> <img></p>') == [
        "a chart,"
    ]


def test_an_image_does_not_cut_a_paragraph_in_two() -> None:
    assert [(block.kind.value, block.text) for block in parse_html("<p>a <img src=http://a.example/i> b</p><p>c")] == [
        ("paragraph", "a b"),
        ("image", ""),
        ("paragraph", "c"),
    ]
    assert kinds("<p><img src=http://a.example/i> b</p>") == ["image", "paragraph"]


def test_a_linked_image_keeps_its_link() -> None:
    (image,) = parse_html('<a href="https://a.example/"><img src="https://a.example/i.png" alt="x"></a>')
    assert image.spans == (Span(text="", href="https://a.example/"),)


@pytest.mark.parametrize("size", ['width="1" height="1"', 'height="0"', 'width="1px"'])
def test_images_of_one_pixel_vanish(size: str) -> None:
    assert kinds(f'<p>a<img src="https://a.example/i.gif" {size}></p>') == ["paragraph"]


def test_only_the_first_of_two_equal_attributes_counts() -> None:
    assert links('<a href="http://a.example/" href="http://b.example/">x</a>') == ["http://a.example/"]


@pytest.mark.parametrize("tag", ["blockquote", "ul", "ul><li", "table><tr><td", "div", "b", "p", "pre"])
def test_depth_is_bounded_and_no_text_is_lost(tag: str) -> None:
    blocks = parse_html(f"<{tag}>" * MANY + "deep" + f"</{tag.rpartition('<')[2]}>" * MANY + "after")
    assert "".join(_walk_texts(blocks)) == "deepafter"
    assert _depth(blocks) <= 2 * MAX_DEPTH + 2, "each may have been wrapped once"


def test_twenty_thousand_nested_tags_recurse_nowhere() -> None:
    assert _walk_texts(parse_html("<div><blockquote>" * 20_000 + "deep")) == ["deep"]


def _walk_texts(blocks: tuple[Block, ...]) -> list[str]:
    return [inner.text for block in blocks for inner in block.walk() if inner.text]


def _depth(blocks: tuple[Block, ...]) -> int:
    return 1 + max((_depth(block.children) for block in blocks), default=0)


@pytest.mark.parametrize(
    "hostile",
    [
        *("<!--", "<!", "<![", "<![CDATA[", "</", "<", "<a ", "<a x='", '<a x="', "<?", "&", "&#", "&#x", "<script>"),
        *("<script ", "<title ", "<object>", "<svg/>", "<br>", "<li>", "<td>", "<hr>", "]]>", "-->", "<!-- --", "<a/"),
    ],
)
@pytest.mark.parametrize("end", ["", ">"])
def test_hostile_html_ends_in_blocks(hostile: str, end: str) -> None:
    # html.parser alone is quadratic over several of these.
    for block in parse_html("<p>start</p>" + hostile * MANY + end):
        assert block.kind in BlockKind


PIECES = st.sampled_from(
    re.findall(
        r"\S+",
        """word other < > </ /> " ' = ~ <a~href=" <a~href=http://a.example/> <b> </b> <table> <tr> <td> </td> </table>
        <ul> <li> </ul> <p> <br> <img~src=http://a.example/i~alt=x> <img~src=x~alt=y> <!-- --> <![CDATA[ <! <? &# &amp;
        &#0; <pre> </pre> <script </script> <object> </object> <h1> </h2> <blockquote> <th> <dt> <hr> <svg/> <select>
        </p> <caption> </blockquote> javascript:""",
    )
)


@given(st.lists(PIECES, max_size=60).map("\n".join) | st.lists(PIECES, max_size=60).map("".join))
def test_any_html_gives_a_well_formed_tree(html: str) -> None:
    html = html.replace("~", " ")
    children = {BlockKind.LIST: BlockKind.ITEM, BlockKind.TABLE: BlockKind.ROW, BlockKind.ROW: BlockKind.CELL}
    for block in (inner for top in parse_html(html) for inner in top.walk()):
        assert all(span.href is None or re.match("(https?://|mailto:)", span.href) for span in block.spans)
        assert block.kind is not BlockKind.IMAGE or block.src.startswith("http")
        assert {child.kind for child in block.children} <= {
            children.get(block.kind, child.kind) for child in block.children
        }
        assert block.spans or block.children or block.kind in {BlockKind.IMAGE, BlockKind.RULE, BlockKind.CELL}
        assert block.kind is BlockKind.QUOTE or block.kind not in children or not block.spans


@given(st.lists(st.text(st.characters(exclude_categories=["Cs", "Cc", "Cn"], exclude_characters="<>&"), min_size=1)))
def test_escaped_text_comes_back_as_it_was(paragraphs: list[str]) -> None:
    html = "".join(f"<p>{text}</p>" for text in paragraphs)
    wanted = [" ".join(clean_text(text).split()) for text in paragraphs]
    assert texts(html) == [text for text in wanted if text]


def test_clean_text_removes_what_no_mail_may_carry() -> None:
    assert clean_text("a\x00\x07\x1b\x7f\x80\ufeff\ufdd0\ufffe\U0010ffffb\n\tc") == "ab\n\tc"
    assert clean_text("a\x0b\x0c\r\x85\u2028\u2029b") == "a      b"
    assert clean_text("\ud800") == "\ufffd"
    assert clean_text("عربي ‏😀👩‍👩‍👧 新闻") == "عربي ‏😀👩‍👩‍👧 新闻"


@given(st.text())
def test_clean_text_keeps_the_number_of_lines(text: str) -> None:
    assert clean_text(text).count("\n") == text.count("\n")


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Who won?", "who  WON"),
        ("It’s “over”", "It's 'over'"),
        ('He said "go."', "He said “go”."),
        ("A – B", "A—B"),
        ("well-known", "well‑known"),
        ("« Bonjour »", '"Bonjour"'),
        ("Straße", "STRASSE"),
        ("Ende…", "Ende..."),
        ("zero\u200bwidth", "zerowidth"),
        ("新闻。", "新闻"),
        ("خبر؟", "خبر"),
    ],
)
def test_title_key_folds_what_the_contract_names(one: str, other: str) -> None:
    assert title_key(one) == title_key(other)


def test_title_key_keeps_what_tells_titles_apart() -> None:
    assert len({title_key(title) for title in ("a b", "ab", "a-b", "a'b", "a.b", "!?", "")}) == 7


def test_images_may_not_be_mail_addresses() -> None:
    assert allow_image("mailto:a@b.example") is None


def test_an_ordered_list_knows_its_first_number() -> None:
    starts = [parse_html(f"<ol{start}><li>x</li></ol>")[0].level for start in ("", " start=7", " start=1", " start=-3")]
    assert starts == [0, 7, 0, 0]
