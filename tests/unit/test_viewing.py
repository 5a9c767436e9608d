"""A mail's HTML as other eyes see it."""

from hypothesis import given
from hypothesis import strategies as st

from newsletter.core.mails.viewing import Scheme, light_html

HTML = (
    "<style>@media (prefers-color-scheme: dark) { p { color: #ffffff } }</style>"
    '<td bgcolor="#FFFFFF"><p style="color:#22262b;background:#fff">#22262b</p></td>'
)


def test_dark_rules_are_always_on_or_off_whatever_the_browser_is_set_to() -> None:
    assert "@media all {" in light_html(HTML, Scheme.DARK)
    assert light_html(HTML, Scheme.LIGHT) == HTML.replace("(prefers-color-scheme: dark)", "not all")


def test_forced_dark_turns_the_colours_of_attributes_over_and_no_text() -> None:
    forced = light_html(HTML, Scheme.FORCED)
    assert 'bgcolor="#000000"' in forced
    assert "color:#d4d8dd;background:#fff" in forced
    assert ">#22262b</p>" in forced
    assert "color: #ffffff" in forced


@given(st.integers(0, 0xFFFFFF))
def test_turned_over_twice_a_colour_is_nearly_itself(number: int) -> None:
    html = f'<p style="color:#{number:06x}">'
    twice = light_html(light_html(html, Scheme.FORCED), Scheme.FORCED)
    again = int(twice.partition("#")[2][:6], 16)
    for shift in (0, 8, 16):
        assert abs((number >> shift & 255) - (again >> shift & 255)) <= 3
