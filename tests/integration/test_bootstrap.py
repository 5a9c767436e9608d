"""The parts that bootstrap builds from files that the settings name."""

from pathlib import Path

import pytest
from dkim_keys import make_ed25519_key, make_rsa_key, write_pem
from workshop import Workshop

from newsletter.bootstrap import Service
from newsletter.core.dkim import Identity
from newsletter.core.errors import ConfigError
from newsletter.settings import load_settings


def load_service() -> Service:
    return Service(load_settings())


@pytest.fixture
def keys(workshop: Workshop) -> Path:
    """The folder with both keys, and settings that name them."""
    (workshop.folder / "rsa.pem").write_bytes(write_pem(make_rsa_key()))
    (workshop.folder / "ed.pem").write_bytes(write_pem(make_ed25519_key()))
    workshop.configure(DKIM__DOMAIN="Bücher.example", DKIM__SELECTOR="news", DKIM__KEY_FILE="rsa.pem")
    return workshop.folder


def test_without_a_key_nothing_signs(workshop: Workshop) -> None:
    assert load_service().make_dkim_signer() is None


def test_the_keys_of_the_settings_sign(keys: Path, workshop: Workshop) -> None:
    rsa = Identity(domain="xn--bcher-kva.example", selector="news", algorithm="rsa-sha256")
    ed25519 = Identity(domain="xn--bcher-kva.example", selector="news-ed", algorithm="ed25519-sha256")
    signer = load_service().make_dkim_signer()
    assert signer is not None
    assert signer.identities == (rsa,)
    workshop.configure(DKIM__ED25519_SELECTOR="news-ed", DKIM__ED25519_KEY_FILE="ed.pem")
    signer = load_service().make_dkim_signer()
    assert signer is not None
    assert signer.identities == (rsa, ed25519)


@pytest.mark.parametrize(
    ("setting", "file", "reason"),
    [
        ("KEY_FILE", "gone.pem", "gone.pem: cannot read the DKIM key (NEWSLETTER_DKIM__KEY_FILE): No such file"),
        ("KEY_FILE", ".", ".: cannot read the DKIM key (NEWSLETTER_DKIM__KEY_FILE): Is a directory"),
        ("KEY_FILE", ".env", ".env: the DKIM key (NEWSLETTER_DKIM__KEY_FILE) holds no private key in PEM"),
        (
            "KEY_FILE",
            "ed.pem",
            "ed.pem: the DKIM key (NEWSLETTER_DKIM__KEY_FILE) holds an Ed25519 key where an RSA key",
        ),
        ("ED25519_KEY_FILE", "gone.pem", "gone.pem: cannot read the DKIM key (NEWSLETTER_DKIM__ED25519_KEY_FILE)"),
        (
            "ED25519_KEY_FILE",
            "rsa.pem",
            "rsa.pem: the DKIM key (NEWSLETTER_DKIM__ED25519_KEY_FILE) holds an RSA key where an Ed25519 key",
        ),
    ],
)
def test_a_key_that_cannot_be_used_is_named(
    keys: Path, workshop: Workshop, setting: str, file: str, reason: str
) -> None:
    workshop.configure(DKIM__ED25519_SELECTOR="news-ed", DKIM__ED25519_KEY_FILE="ed.pem")
    workshop.configure(**{f"DKIM__{setting}": file})
    with pytest.raises(ConfigError) as refused:
        load_service().make_dkim_signer()
    assert str(refused.value).startswith(reason)
