"""Briefs from real files: Markdown and feeds by their suffix, folders newest first, and errors that name the place."""

import hashlib
import json
import os
import re
from collections.abc import Callable
from datetime import UTC, date, datetime
from pathlib import Path

import pytest

from newsletter.core.errors import BriefError, SourceError
from newsletter.core.model import Brief
from newsletter.sources.feed import TITLE_LENGTH, is_json_feed, parse_feed
from newsletter.sources.folder import find_brief, list_briefs, read_brief

MODIFIED_AT = datetime(2026, 3, 4, tzinfo=UTC)
SHARED = Path(__file__).parents[3] / "shared" / "data"

RSS = """\
<?xml version="1.0" encoding="{charset}"?>
<rss version="2.0" xmlns:content="http://purl.org/rss/1.0/modules/content/"><channel>
<title>Town &amp;amp; country</title><link>https://news.example/</link><language>de-at</language>
<item><title>Caf&#233; &amp; <![CDATA[<b>bar</b>]]></title><link>/one</link><guid isPermaLink="false">g-1</guid>
<pubDate>Tue, 06 Oct 2026 23:30:00 +0200</pubDate><category>Food</category><category> Local
news </category><category>Food</category>
<description>short</description><content:encoded><![CDATA[<p>Long <a href="more">text</a><script>x</script></p>
<p>Ünïcode</p>]]></content:encoded></item>
<item><title>Later</title><link>https://news.example/two</link><pubDate>Wed, 07 Oct 2026 00:30:00 +0200</pubDate>
<description>Only &lt;i&gt;this&lt;/i&gt;</description></item>
</channel></rss>
"""

ATOM = """\
<feed xmlns="http://www.w3.org/2005/Atom" xml:lang="fr-CA"><title type="html">A &lt;i&gt;feed&lt;/i&gt;</title>
<link href="https://news.example/"/><updated>2026-10-01T00:00:00Z</updated>
<entry><id>tag:1</id><title>1 &lt; 2 and &lt;b></title><link href="https://news.example/1"/>
<updated>2026-10-01T00:00:00Z</updated>
<summary>short</summary><content type="xhtml">
<div xmlns="http://www.w3.org/1999/xhtml"><p>One <em>two</em></p></div></content>
<category term="sport" label="Sport"/></entry>
<entry><id>tag:2</id><title type="html">&lt;b&gt;Bold&lt;/b&gt; &amp;amp; not</title>
<content type="text">Plain &lt;b&gt; text.

Second.</content></entry>
</feed>
"""

RDF = """\
<rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#" xmlns="http://purl.org/rss/1.0/"
 xmlns:dc="http://purl.org/dc/elements/1.1/"><channel><title>Old</title><link>https://old.example/</link></channel>
<item rdf:about="https://old.example/1"><title>One</title><link>https://old.example/1</link>
<description>Text</description><dc:date>2026-05-06T07:08:09Z</dc:date><dc:subject>science</dc:subject></item></rdf:RDF>
"""

JSON_FEED = {
    "version": "https://jsonfeed.org/version/1.1",
    "title": "Notes <3",
    "home_page_url": "https://notes.example/",
    "language": "en-GB",
    "items": [
        {"id": 7, "title": "A & B", "url": "/7", "content_html": "x <a href='/y'>y</a>", "tags": ["a", 1, " ", "b"]},
        {"id": "8", "content_text": "Plain <b>.\n\nMore.", "external_url": "https://else.example/"},
        {"id": "9", "summary": "Summed up.", "date_published": "2026-10-08T01:00:00+02:00", "tags": "x"},
        {"id": "10", "date_modified": "2026-10-06T12:00:00"},
        {"id": True, "title": ["no"], "date_published": "soon", "url": "https://notes.example/11"},
        "no item",
    ],
}  # fmt: skip


def feed(data: str | bytes, *, brief_id: str = "feed", language: str = "en") -> Brief:
    octets = data if isinstance(data, bytes) else data.encode()
    return parse_feed(octets, brief_id=brief_id, source="f.xml", modified_at=MODIFIED_AT, language=language)


def rss(*items: str) -> str:
    inner = "".join(f"<item>{item}</item>" for item in items)
    return f'<rss version="2.0"><channel><title>F</title>{inner}</channel></rss>'


# Feeds


@pytest.mark.parametrize("charset", ["utf-8", "iso-8859-1", "windows-1252", "utf-16"])
def test_rss_in_any_charset(charset: str) -> None:
    brief = feed(RSS.format(charset=charset).encode(charset))
    assert (brief.title, brief.language, brief.date) == ("Town & country", "de", MODIFIED_AT.date())
    one, two = brief.stories
    assert (one.title, one.url, one.guid) == ("Café & bar", "https://news.example/one", "g-1")
    assert one.categories == ("Food", "Local news")
    assert one.paragraphs == ("Long text", "Ünïcode")
    assert one.links == ("https://news.example/one", "https://news.example/more")
    assert (two.title, two.paragraphs, two.line) == ("Later", ("Only this",), None)
    assert two.guid == "made:" + hashlib.sha256(b"https://news.example/two\nlater").hexdigest()
    assert brief.warnings == ()


def test_atom() -> None:
    brief = feed(ATOM)
    assert (brief.title, brief.language, brief.date) == ("A feed", "fr", MODIFIED_AT.date())
    one, two = brief.stories
    assert (one.title, one.guid, one.paragraphs) == ("1 < 2 and <b>", "tag:1", ("One two",))
    assert (one.categories, one.url) == (("sport",), "https://news.example/1")
    assert (two.title, two.paragraphs, two.url) == ("Bold & not", ("Plain <b> text.", "Second."), None)


@pytest.mark.parametrize(
    ("body", "by_hand", "paragraphs"),
    [
        ("Topics: tech, Sport\nfootball text", ("tech", "sport"), ("football text",)),
        ("<p>Topics: tech</p><p>football text</p>", ("tech",), ("football text",)),
        ("<p>Topics: tech<br/>football text</p>", ("tech",), ("football text",)),
        ("Topics: tech", ("tech",), ()),
        ("Topics:\nfootball text", None, ("Topics: football text",)),
        ("Many topics: tech", None, ("Many topics: tech",)),
    ],
)
def test_a_first_line_of_topics_sets_them_by_hand(
    body: str, by_hand: tuple[str, ...] | None, paragraphs: tuple[str, ...]
) -> None:
    (story,) = feed(rss(f"<title>T</title><description><![CDATA[{body}]]></description>")).stories
    assert (story.by_hand, story.paragraphs) == (by_hand, paragraphs)


def test_rss_1_0() -> None:
    brief = feed(RDF)
    (story,) = brief.stories
    assert (brief.title, brief.date) == ("Old", MODIFIED_AT.date())
    assert (story.title, story.guid, story.categories) == ("One", "https://old.example/1", ("science",))


def test_json_feed() -> None:
    brief = feed(json.dumps(JSON_FEED))
    assert (brief.title, brief.language, brief.date) == ("Notes <3", "en", MODIFIED_AT.date())
    *others, last = brief.stories
    assert [(story.title, story.guid, story.url, story.paragraphs) for story in others] == [
        ("A & B", "7", "https://notes.example/7", ("x y",)),
        ("Plain <b>.", "8", "https://else.example/", ("Plain <b>.", "More.")),
        ("Summed up.", "9", None, ("Summed up.",)),
    ]
    assert (last.title, last.url, last.paragraphs) == ("https://notes.example/11", "https://notes.example/11", ())
    assert str(last.guid).startswith("made:")
    assert brief.stories[0].links == ("https://notes.example/7", "https://notes.example/y")
    assert brief.stories[0].categories == ("a", "b")
    assert [warning.message for warning in brief.warnings] == ["item 4 has neither title nor text and is left out"]


def test_json_feed_may_begin_with_a_byte_order_mark() -> None:
    assert feed(b"\xef\xbb\xbf" + json.dumps(JSON_FEED).encode()).title == "Notes <3"


@pytest.mark.parametrize(
    ("text", "title"),
    [
        ("One sentence. Another one.", "One sentence."),
        ("Really?! Yes.", "Really?!"),
        ("“Quoted.” He said.", "“Quoted.”"),
        ("The U.S. team won. More.", "The U.S. team won."),
        ("Version 2.0 is out. More.", "Version 2.0 is out."),
        ("第一句。第二句。", "第一句。"),
        ("کیا ہوا؟ یہ ہوا۔", "کیا ہوا؟"),
        ("no end", "no end"),
        ("word " * 40, "word " * 18 + "word…"),
        ("x" * 200, "x" * 99 + "…"),
        ("a" * 95 + "." * 20, "a" * 95 + "...." + "…"),
    ],
)
def test_an_item_without_title_gets_its_first_sentence(text: str, title: str) -> None:
    (story,) = feed(rss(f"<description>{text}</description>")).stories
    assert story.title == title
    assert len(story.title) <= TITLE_LENGTH
    assert story.paragraphs == (text.strip(),)


def test_an_item_of_an_image_gets_its_alt_text_as_title() -> None:
    html = "&lt;img src='https://a.example/i.png' alt='A heron'&gt;"
    assert feed(rss(f"<description>{html}</description>")).stories[0].title == "A heron"


@pytest.mark.parametrize(
    ("more", "image"),
    [
        ('<enclosure url="https://a.example/e.png" type="image/png" length="3"/>', "https://a.example/e.png"),
        ('<enclosure url="https://a.example/e.mp3" type="audio/mpeg" length="3"/>', None),
        ('<media:content url="https://a.example/m.jpg" medium="image"/>', "https://a.example/m.jpg"),
        ('<media:content url="https://a.example/m.mp4" medium="video"/>', None),
        ('<enclosure url="javascript:alert(1)" type="image/png" length="3"/>', None),
    ],
)
def test_a_picture_beside_the_text_comes_first(more: str, image: str | None) -> None:
    items = f"<title>A heron</title><description>It stands.</description>{more}"
    text = rss(items).replace("<rss ", '<rss xmlns:media="http://search.yahoo.com/mrss/" ')
    (story,) = feed(text).stories
    assert [block.src for block in story.blocks if block.src] == ([image] if image else [])
    shown = feed(text.replace("It stands.", "&lt;img src='https://a.example/own.png'&gt; It stands.")).stories[0]
    assert [block.src for block in shown.blocks if block.src] == ["https://a.example/own.png"]


def test_an_item_may_have_a_picture_and_a_language_of_its_own() -> None:
    item = {"id": "1", "title": "Ein Reiher", "content_text": "Er steht.", "image": "/r.jpg", "language": "de-AT"}
    brief = feed(json.dumps({**JSON_FEED, "items": [item, {"id": "2", "title": "A heron"}]}))
    assert [story.language for story in brief.stories] == ["de", "en"]
    assert brief.stories[0].blocks[0].src == "https://notes.example/r.jpg"
    atom = '<feed xmlns="http://www.w3.org/2005/Atom" xml:lang="fr"><title>x</title>'
    atom += "<entry><id>a:1</id><title>Un</title></entry>"
    last = '<entry><id>a:2</id><title xml:lang="it">Due</title></entry></feed>'
    assert [story.language for story in feed(atom + last).stories] == ["fr", "it"]


def test_links_that_are_no_web_addresses_are_dropped() -> None:
    (story,) = feed(rss("<title>T</title><link>javascript:x</link>")).stories
    assert (story.url, story.links) == (None, ())


def test_the_date_of_a_feed_without_dates() -> None:
    assert feed(rss("<title>T</title>"), brief_id="x-2026-01-02").date == date(2026, 1, 2)
    assert feed(rss("<title>T</title>")).date == MODIFIED_AT.date()
    assert feed(rss("<title>T</title><pubDate>soon</pubDate>")).date == MODIFIED_AT.date()
    assert (
        feed(rss("<title>T</title>"), language="ur").title,
        feed(rss("<title>T</title>"), language="ur").language,
    ) == (
        "F",
        "ur",
    )


def test_a_broken_feed_keeps_what_can_be_read_and_says_so() -> None:
    brief = feed(rss("<title>One</title>", "<title>Two</title>").removesuffix("</item></channel></rss>"))
    assert [story.title for story in brief.stories] == ["One", "Two"]
    (warning,) = brief.warnings
    assert warning.message.startswith("the feed is not well-formed XML: ")


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "f.xml is not a feed: neither RSS nor Atom nor JSON Feed"),
        (b"just text", "f.xml is not a feed: neither"),
        (b"<html><body><p>x</p></body></html>", "f.xml is not a feed: neither"),
        (b"/etc/passwd", "f.xml is not a feed: neither"),
        (b"https://a.example/feed", "f.xml is not a feed: neither"),
        (rss().encode(), "f.xml holds no story: it is a feed without items"),
        (rss("<link>x</link>").encode(), "f.xml holds no story"),
        (b"{", "f.xml is not a feed: it is not JSON"),
        (b'{"a": 1}', "f.xml is not a feed: it is JSON, but names no version of JSON Feed"),
        (b'{"version": "https://jsonfeed.org/version/1", "items": {}}', "f.xml holds no story"),
        (b'{"a":' + b"[" * 100_000, "f.xml is not a feed: it is not JSON"),
    ],
)
def test_what_is_no_feed_is_an_error_that_names_the_file(data: bytes, message: str) -> None:
    with pytest.raises(BriefError, match="^" + re.escape(message)):
        feed(data)


def test_hostile_xml() -> None:
    bomb = '<!DOCTYPE x [<!ENTITY a "ha"><!ENTITY b "' + "&a;" * 50 + '"><!ENTITY c "' + "&b;" * 50 + '">]>'
    assert len(feed(bomb + rss("<title>T &c;</title>")).stories[0].title) < 1000
    external = '<!DOCTYPE x [<!ENTITY e SYSTEM "file:///etc/passwd">]>'
    assert "root" not in feed(external + rss("<title>T &e;</title>")).stories[0].title


@pytest.mark.parametrize("reference", ["&#99999999999999999999;", "&#x110000;", "&#xD800;", "&#x00000000000fffff00;"])
def test_references_to_no_character(reference: str) -> None:
    assert feed(rss(f"<title>a{reference}b&#x00000041;&#66;</title>")).stories[0].title == "a\ufffdbAB"
    with pytest.raises(BriefError, match=r"^f\.xml is a feed that cannot be read: "):
        feed(('<?xml version="1.0" encoding="utf-16"?>' + rss(f"<title>a{reference}b</title>")).encode("utf-16"))


def test_is_json_feed() -> None:
    assert is_json_feed(json.dumps(JSON_FEED).encode())
    assert not any(is_json_feed(data) for data in (b"{", b"[]", b"{}", b'{"version": 1}', b"[" * 100_000, b"\xff"))


# Files and folders


@pytest.fixture
def write(tmp_path: Path) -> Callable[..., Path]:
    """Writes a file below the test's folder and sets its time, in days after 2026-01-01."""

    def write_file(name: str, content: str | bytes = "## Story\n\nText.\n", *, day: int = 0) -> Path:
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        at = datetime(2026, 1, 1, tzinfo=UTC).timestamp() + day * 86400
        os.utime(path, (at, at))
        return path

    return write_file


@pytest.mark.parametrize("suffix", [".md", ".markdown", ".txt", ".MD"])
def test_markdown_files(write: Callable[..., Path], suffix: str) -> None:
    path = write(f"2026-05-06-x{suffix}", day=3)
    brief = read_brief(path, language="fr")
    assert (brief.id, brief.source, brief.language) == ("2026-05-06-x", str(path), "fr")
    assert brief.modified_at == datetime(2026, 1, 4, tzinfo=UTC)
    assert [story.title for story in brief.stories] == ["Story"]


@pytest.mark.parametrize("suffix", [".xml", ".rss", ".atom", ".rdf", ".json", ".XML"])
def test_feed_files(write: Callable[..., Path], suffix: str) -> None:
    content = json.dumps(JSON_FEED) if suffix == ".json" else ATOM
    assert read_brief(write(f"f.x{suffix}", content), language="en").id == "f.x"


def test_files_that_cannot_be_read(write: Callable[..., Path], tmp_path: Path) -> None:
    with pytest.raises(BriefError, match=r"none\.md cannot be read: No such file"):
        read_brief(tmp_path / "none.md", language="en")
    (tmp_path / "dir.md").mkdir()
    with pytest.raises(BriefError, match=r"dir\.md cannot be read: Is a directory"):
        read_brief(tmp_path / "dir.md", language="en")
    other = write("x.doc")
    with pytest.raises(BriefError, match=r"x\.doc is no brief: its suffix is none of \.atom \.json \.markdown"):
        read_brief(other, language="en")
    with pytest.raises(BriefError, match=r"x\.doc is no brief: its suffix"):
        find_brief([], str(other), language="en")
    with pytest.raises(BriefError, match=r"x\.json is not a feed"):
        read_brief(write("x.json", "[]"), language="en")


def test_an_undecodable_byte_is_an_error_with_its_place(write: Callable[..., Path]) -> None:
    with pytest.raises(BriefError, match=r"x\.md, line 2: byte 0xe9 at offset 10 is not UTF-8"):
        read_brief(write("x.md", b"## Caf\nCaf\xe9\n"), language="en")
    with pytest.raises(BriefError, match=r"y\.md, line 1: byte 0xff at offset 0 is not UTF-8"):
        read_brief(write("y.md", "## x\n".encode("utf-16")), language="en")


def test_a_folder_lists_its_briefs_newest_first(write: Callable[..., Path], tmp_path: Path) -> None:
    write("2026-05-01-old.md", day=9)
    write("2026-05-02-b.md", day=2)
    write("2026-05-02-a.md", day=3)
    write("plain.txt", day=1)
    write("feed.json", json.dumps(JSON_FEED))
    for left_out in ("labels.gold.json", "list.json"):
        write(left_out, '{"stories": []}')
    write("bad.json", "{")
    write(".hidden.md")
    write("notes.doc")
    (tmp_path / "sub.md").mkdir()
    write("broken.md", "no story")
    write("latin.md", b"## \xe9")
    briefs, errors = list_briefs(str(tmp_path), language="en")
    assert [brief.id for brief in briefs] == ["2026-05-02-a", "2026-05-02-b", "2026-05-01-old", "plain", "feed"]
    assert [re.sub(r".*/", "", str(error)).split()[0] for error in errors] == ["broken.md", "latin.md,"]


def test_a_folder_that_cannot_be_read_is_an_error(write: Callable[..., Path], tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=r"the folder of briefs .*/none cannot be read: No such file"):
        list_briefs(str(tmp_path / "none"), language="en")
    with pytest.raises(SourceError, match="cannot be read: Not a directory"):
        list_briefs(str(write("x.md")), language="en")


def test_a_brief_is_found_by_path_id_or_name(write: Callable[..., Path], tmp_path: Path) -> None:
    path = write("one/a.md")
    write("two/a.md", "## Other\n")
    write("two/v1.2.txt")
    sources = ["http://a.example/feed", str(tmp_path / "one"), str(tmp_path / "two"), "HTTPS://a.example/"]
    assert find_brief(sources, str(path), language="en").source == str(path)
    assert find_brief(sources, "a", language="en").source == str(path)
    assert find_brief(sources, "a.md", language="en").source == str(path)
    assert find_brief(sources, "v1.2", language="en").id == "v1.2"
    assert find_brief([], str(path), language="en").id == "a"


@pytest.mark.parametrize("reference", ["b", "one/b.md", "", "a\x00b", "x" * 5000, "../one", "."])
def test_a_brief_that_is_not_there_is_named(write: Callable[..., Path], tmp_path: Path, reference: str) -> None:
    write("one/a.md")
    with pytest.raises(BriefError, match=re.escape(f"there is no brief {reference}: ")):
        find_brief([str(tmp_path / "one")], reference, language="en")


def test_a_brief_that_is_not_there_shows_no_credentials() -> None:
    with pytest.raises(BriefError) as caught:
        find_brief(["https://u:p@a.example/"], "https://v:p@b.example/", language="en")
    assert str(caught.value) == (
        "there is no brief https://***@b.example/: neither a file of that name nor a brief in https://***@a.example/"
    )


# Real material, where it is at hand

real = pytest.mark.skipif(not SHARED.is_dir(), reason="the shared briefs and feeds are not here")


@real
@pytest.mark.parametrize("folder", ["briefs", "topics"])
def test_real_briefs_lose_no_word(folder: str) -> None:
    briefs, errors = list_briefs(str(SHARED / folder), language="en")
    assert errors == []
    assert len(briefs) == len(list((SHARED / folder).glob("*.md")))
    for brief in briefs:
        headlines, details = re.split(r"^Details:$", Path(brief.source).read_text(), maxsplit=1, flags=re.MULTILINE)
        assert len(brief.stories) == len(set(re.findall(r"^- .*$", headlines, re.MULTILINE))), brief.id
        # Addresses, tags, references and the marks of emphasis are not words.
        words = re.sub(r"\]\((?:[^()\s]|\([^()]*\))*\)|</?\w[^>]*>|&#?\w+;", " ", details)
        told = " ".join(part for story in brief.stories for part in (story.title, story.text))
        missing = set(re.findall(r"[^\W_]{4,}", words)) - set(re.findall(r"[^\W_]{4,}", told))
        assert {word for word in missing if word not in told} == set(), brief.id


@real
def test_real_feeds() -> None:
    briefs, errors = list_briefs(str(SHARED / "feeds"), language="en")
    assert errors == []
    assert {brief.id: len(brief.stories) for brief in briefs} == {
        "daringfireball.atom": 48,
        "daringfireball.feed": 48,
        "rdf.rss1": 60,
        "techcrunch.rss": 20,
        "urdu.rss": 26,
        "windows-1251.rss": 50,
    }
    assert {brief.id: brief.language for brief in briefs if brief.language != "en"} == {
        "urdu.rss": "ur",
        "windows-1251.rss": "ru",
    }
