"""The address of a look, and the look of an address."""

from urllib.parse import parse_qsl, unquote, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from newsletter.core.errors import ConfigError
from newsletter.core.mails.viewing import Scheme
from newsletter.web.look import PARTS, WIDTHS, Look, read_look


def test_what_is_as_usual_stands_in_no_address() -> None:
    look = read_look("2026-11-23-monday", {})
    assert look.address == "/preview/2026-11-23-monday"
    assert look.change(part="html", scheme=Scheme.DARK, images=False, width=375) == (
        "/preview/2026-11-23-monday?width=375&scheme=dark&images=off&part=html"
    )
    assert look.compare_address == "/preview/2026-11-23-monday/compare"


@given(
    st.builds(
        Look,
        brief=st.text(min_size=1),
        email=st.emails() | st.just(""),
        topics=st.sampled_from(["", "*", "sport,science"]),
        width=st.integers(240, 2400),
        scheme=st.sampled_from(Scheme),
        images=st.booleans(),
        part=st.sampled_from(["", *PARTS]),
        gathered=st.booleans(),
        without_held=st.booleans(),
    )
)
def test_a_look_comes_back_from_its_address(look: Look) -> None:
    parts = urlsplit(look.address)
    assert read_look(unquote(parts.path.removeprefix("/preview/")), dict(parse_qsl(parts.query))) == look


def test_widths_have_names() -> None:
    assert read_look("b", {"width": "phone"}).width == WIDTHS["phone"]
    assert read_look("b", {"topics": " sport , ,science"}).topics == "sport,science"


@pytest.mark.parametrize(
    ("name", "text"),
    [("part", "pdf"), ("scheme", "sepia"), ("width", "9"), ("width", "99999"), ("width", "²"), ("width", "wide")],
)
def test_names_what_cannot_be(name: str, text: str) -> None:
    with pytest.raises(ConfigError, match=text):
        read_look("b", {name: text})
