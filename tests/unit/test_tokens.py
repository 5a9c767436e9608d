"""Tokens: what was signed comes back, anything else is refused with the same words, and addresses stay short."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from newsletter.core.errors import TokenError
from newsletter.core.tokens import Claim, Purpose, Signer, hash_address

NOW = datetime(2026, 11, 23, 7, 0, tzinfo=UTC)
KEY = "first key, long enough for anybody"
OLD_KEY = "an older key, long enough as well!"
SIGNER = Signer([KEY])
IDS = st.integers(0, 10_000_000_000)
LASTING = st.sampled_from([purpose for purpose in Purpose if purpose is not Purpose.CONFIRM])


@given(LASTING, IDS, st.none() | st.integers(1, 10_000_000))
def test_brings_back_what_was_signed_in_either_case(purpose: Purpose, subscriber: int, issue: int | None) -> None:
    token = SIGNER.sign(purpose, subscriber, issue)
    assert token == token.lower()
    assert len(f"b+{token}") <= 64
    for spelling in (token, token.upper(), token.title()):
        assert SIGNER.verify(spelling, purpose, now=NOW) == Claim(subscriber=subscriber, issue=issue)


def test_keeps_the_unsubscribe_address_under_72_characters() -> None:
    token = SIGNER.sign(Purpose.UNSUBSCRIBE, 10_000_000, 10_000_000)
    assert len(f"https://news.example.org/unsubscribe/{token}") < 72


@given(LASTING, LASTING, IDS)
def test_serves_one_purpose_only(purpose: Purpose, other: Purpose, subscriber: int) -> None:
    token = SIGNER.sign(purpose, subscriber)
    if purpose is not other:
        assert refuse(SIGNER, token, other) == REFUSED


@given(IDS, st.integers(0, 200), st.sampled_from("abcdefghijklmnopqrstuvwxyz234567=1 é"))
def test_refuses_a_token_that_was_changed_anywhere(subscriber: int, place: int, letter: str) -> None:
    token = SIGNER.sign(Purpose.VIEW, subscriber, 7)
    place %= len(token)
    changed = token[:place] + letter + token[place + 1 :]
    if changed != token:
        assert refuse(SIGNER, changed, Purpose.VIEW) == REFUSED


@example("a" * 63)
@given(st.text(max_size=80) | st.text("abcdefgh234567", max_size=70))
def test_refuses_anything_else(text: str) -> None:
    assert refuse(SIGNER, text, Purpose.VIEW) == REFUSED


def test_refuses_a_second_spelling_of_the_bits_left_over() -> None:
    token = SIGNER.sign(Purpose.VIEW, 1)  # the payload's 4 octets are 32 bits, in 7 letters of 35
    letters = "abcdefghijklmnopqrstuvwxyz234567"
    sibling = token[:6] + letters[letters.index(token[6]) ^ 1] + token[7:]
    assert refuse(SIGNER, sibling, Purpose.VIEW) == REFUSED


def test_confirmations_expire() -> None:
    expires_at = NOW + timedelta(days=7)
    token = SIGNER.sign(Purpose.CONFIRM, 42, expires_at=expires_at)
    claim = SIGNER.verify(token, Purpose.CONFIRM, now=expires_at - timedelta(seconds=1))
    assert claim == Claim(subscriber=42, issue=None)
    with pytest.raises(TokenError, match=REFUSED):
        SIGNER.verify(token, Purpose.CONFIRM, now=expires_at)


def test_only_confirmations_expire() -> None:
    with pytest.raises(ValueError, match="confirm must expire"):
        SIGNER.sign(Purpose.CONFIRM, 42)
    with pytest.raises(ValueError, match="view must not expire"):
        SIGNER.sign(Purpose.VIEW, 42, expires_at=NOW)


def test_old_keys_still_verify_and_still_sign_when_asked_to() -> None:
    token = Signer([OLD_KEY]).sign(Purpose.VIEW, 5, 6)
    both = Signer([KEY, OLD_KEY])
    assert both.verify(token, Purpose.VIEW, now=NOW) == Claim(subscriber=5, issue=6)
    assert both.key_id == SIGNER.key_id
    assert both.sign(Purpose.VIEW, 5, 6) == SIGNER.sign(Purpose.VIEW, 5, 6)
    assert both.sign(Purpose.VIEW, 5, 6, key_id=Signer([OLD_KEY]).key_id) == token
    assert refuse(SIGNER, token, Purpose.VIEW) == REFUSED


def test_keys_whose_ids_collide_both_verify() -> None:
    key_ids: dict[str, str] = {}
    for number in range(100_000):
        key = f"key number {number} of very many keys"
        if (other := key_ids.setdefault(Signer([key]).key_id, key)) != key:
            break
    both = Signer([key, other])
    for single in (key, other):
        token = Signer([single]).sign(Purpose.BOUNCE, 9)
        assert both.verify(token, Purpose.BOUNCE, now=NOW).subscriber == 9


def test_names_a_key_that_is_gone() -> None:
    gone = Signer([OLD_KEY]).key_id
    with pytest.raises(TokenError, match=f"no secret key of the settings has the id {gone}"):
        SIGNER.sign(Purpose.VIEW, 5, key_id=gone)


def test_needs_a_key_and_ids_that_are_not_negative() -> None:
    with pytest.raises(ValueError, match="needs a key"):
        Signer([])
    with pytest.raises(ValueError, match="never negative"):
        SIGNER.sign(Purpose.VIEW, -1)


def test_the_address_hash_is_keyed_and_short() -> None:
    found = hash_address(b"key", "anna@example.org")
    assert len(found) == 16
    assert found == hash_address(b"key", "anna@example.org")
    assert found not in (hash_address(b"other", "anna@example.org"), hash_address(b"key", "ben@example.org"))


REFUSED = "the link is not valid, or not any more"


def refuse(signer: Signer, token: str, purpose: Purpose) -> str:
    with pytest.raises(TokenError) as caught:
        signer.verify(token, purpose, now=NOW)
    return str(caught.value)
