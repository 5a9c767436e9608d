"""Signatures of real mails, judged by dkimpy: both algorithms hold, whatever changes breaks them, bytes come again."""

import base64
import hashlib
import re
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta, timezone
from types import SimpleNamespace

import dkim  # type: ignore[import-untyped]
import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1
from cryptography.hazmat.primitives.asymmetric.ec import generate_private_key as generate_ec_key
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)
from dkim_keys import DOMAIN, ED25519, RSA, make_ed25519_key, make_keys, make_rsa_key, write_pem, write_record
from hypothesis import given, settings
from hypothesis import strategies as st
from mail_samples import (
    LINKS,
    NOW,
    READER,
    SENDER,
    compile_frame,
    compile_story,
    compose,
    make_edition,
    make_story,
    read_mail,
    with_name,
)

from newsletter.core.dkim import (
    DkimSigner,
    Identity,
    SigningKey,
    parse_ed25519_key,
    parse_rsa_key,
    write_signatures,
)
from newsletter.core.errors import ConfigError
from newsletter.core.mails.editions import assemble_edition
from newsletter.core.mails.message import Recipient

SIGNER = DkimSigner(make_keys())
RECORDS = dict(map(write_record, make_keys()))
MAIL = compose(make_edition(make_story("One & two", "Text  with   spaces"), make_story("Zwölf", "Mehr")))


@pytest.fixture(scope="module", autouse=True)
def _ed25519_for_dkimpy() -> Iterator[None]:
    """dkimpy asks PyNaCl for Ed25519, which would be one more dependency; `cryptography` answers in its place."""

    class RefusedError(Exception):
        pass

    class VerifyKey:
        def __init__(self, key: bytes, encoder: Callable[[bytes], bytes]) -> None:
            self._key = Ed25519PublicKey.from_public_bytes(encoder(key))

        def verify(self, message: bytes, signature: bytes) -> None:
            try:
                self._key.verify(signature, message)
            except InvalidSignature:
                raise RefusedError from None

    signing, encoding = SimpleNamespace(VerifyKey=VerifyKey), SimpleNamespace(Base64Encoder=base64.b64decode)
    exceptions = SimpleNamespace(BadSignatureError=RefusedError, ValueError=ValueError)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(dkim, "nacl", SimpleNamespace(signing=signing, encoding=encoding, exceptions=exceptions), False)
        yield


def split(mail: bytes) -> tuple[bytes, bytes]:
    """The head, and the hash of the body."""
    head, _, body = mail.partition(b"\r\n\r\n")
    return head, hashlib.sha256(body).digest()


def sign(mail: bytes, signer: DkimSigner = SIGNER) -> bytes:
    return signer.write(*split(mail), NOW) + mail


def judge(signed: bytes) -> list[bool]:
    """What dkimpy says of the RSA and of the Ed25519 signature."""

    def find_record(name: bytes, timeout: int) -> bytes:
        return RECORDS[name.decode().rstrip(".")].encode()

    def verify(index: int) -> bool:
        try:
            return bool(dkim.DKIM(signed).verify(index, dnsfunc=find_record))
        except dkim.ValidationError:  # how it says that the body is another
            return False

    return [verify(index) for index in range(len(SIGNER.identities))]


def read_signatures(signed: bytes) -> list[dict[str, str]]:
    """The tags of each DKIM-Signature."""
    return [
        dict(tag.strip().split("=", 1) for tag in re.sub(r"\s", "", value).split(";"))
        for value in read_mail(signed).get_all("DKIM-Signature", [])
    ]


LONG = "A very long headline that goes on " * 5
WIDE = SENDER.from_name + " " + "of the Whole Wide World " * 2
MAILS = {
    "plain": MAIL,
    "name": compose(make_edition(make_story("T")), with_name("Jürgen „Jo“ Groß, 王小明" * 3)),
    "quoted name": compose(make_edition(make_story("T")), with_name('O\'Hara, "Jo" \\ <x>; a  b')),
    "subject": compose(make_edition(make_story(LONG), make_story(LONG + "ü"))),
    "encoded subject": compose(make_edition(make_story("漢字" * 40))),
    "no subject": compose(replace(make_edition(make_story("T")), head=b"From: n@ledger.example\r\nSubject:\r\n")),
    "address": compose(make_edition(make_story("T")), Recipient(email="jürgen@bücher.example", topics=("*",))),
    "reply": compose(
        assemble_edition(
            compile_frame(sender=replace(SENDER, from_name=WIDE, reply_to="desk@ledger.example")),
            [compile_story(make_story("T", "   \t indented", "end   "))],
        )
    ),
    "links": compose(
        make_edition(make_story("T")),
        READER,
        replace(LINKS, unsubscribe=f"https://x/{'u' * 200}", unsubscribe_mailto=None),
    ),
}


@pytest.mark.parametrize("name", MAILS)
def test_both_signatures_hold(name: str) -> None:
    signed = sign(MAILS[name])
    assert judge(signed) == [True, True]
    assert [tags["a"] for tags in read_signatures(signed)] == ["rsa-sha256", "ed25519-sha256"]


@given(st.text(max_size=100), st.text(max_size=300), st.text())
@settings(max_examples=25)
def test_both_signatures_hold_for_any_text(name: str, title: str, text: str) -> None:
    assert judge(sign(compose(make_edition(make_story(title, text)), with_name(name)))) == [True, True]


def test_the_signature_says_who_when_and_what() -> None:
    for tags, identity in zip(read_signatures(sign(MAILS["reply"])), (RSA, ED25519), strict=True):
        assert list(tags) == ["v", "a", "c", "d", "s", "h", "t", "bh", "b"]
        assert (tags["v"], tags["c"], tags["d"], tags["s"]) == ("1", "relaxed/relaxed", DOMAIN, identity.selector)
        assert tags["t"] == str(int(NOW.timestamp()))
        assert tags["bh"] == base64.b64encode(split(MAILS["reply"])[1]).decode()
        assert tags["h"].split(":") == [
            *("from", "from", "to", "to", "subject", "subject", "date", "message-id", "reply-to", "list-id"),
            *("list-unsubscribe", "list-unsubscribe-post", "feedback-id", "mime-version", "content-type"),
        ]
    assert "reply-to" not in read_signatures(sign(MAIL))[0]["h"]


@pytest.mark.parametrize("domain", [DOMAIN, "xn--bcher-kva.example", "a." * 20 + "example", f"{'a' * 63}.example"])
def test_the_header_is_folded_and_stands_first(domain: str) -> None:
    key = SigningKey(identity=replace(RSA, domain=domain, selector="s" * 40), private=make_rsa_key())
    written = sign(MAIL, DkimSigner([key])).removesuffix(MAIL)
    assert written.startswith(b"DKIM-Signature: v=1; ")
    assert written.endswith(b"\r\n")
    first, *lines = written.removesuffix(b"\r\n").split(b"\r\n")
    assert all(len(line) <= 78 and line == line.rstrip() for line in (first, *lines))
    assert all(line.startswith(b" ") and not line.startswith(b"  ") for line in lines)


@pytest.mark.parametrize("header", ["From: Eve <eve@x.example>", "To: eve@x.example", "subject: Win"])
def test_one_more_of_an_oversigned_header_breaks_it(header: str) -> None:
    signed = sign(MAIL)
    assert judge(f"{header}\r\n".encode() + signed) == [False, False]
    assert judge(signed.replace(b"\r\n\r\n", f"\r\n{header}\r\n\r\n".encode(), 1)) == [False, False]
    assert judge(b"Received: by x\r\n" + signed) == [True, True]


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b"unsubscribe/aaaa", b"unsubscribe/aaab"),
        (b"One-Click", b"One-Clack"),
        (b"issue12", b"issue13"),
        (b"06:00:00", b"06:00:01"),
        (b"<1-2@", b"<1-3@"),
        (b"multipart/alternative", b"multipart/mixed"),
        (b"Mehr", b"Wehr"),
        (b"--=_newsletter--\r\n", b"--=_newsletter--\r\nmore\r\n"),
        (b"c=relaxed/relaxed", b"c=relaxed/relaxed; l=10"),
    ],
)
def test_what_is_changed_breaks_it(old: bytes, new: bytes) -> None:
    signed = sign(MAIL)
    assert old in signed
    assert judge(signed.replace(old, new)) == [False, False]


def test_a_relay_may_fold_anew_and_add_empty_lines() -> None:
    signed = sign(MAIL).replace(b"List-Id: ", b"LIST-ID:\t ").replace(b"Post: ", b"Post:\r\n\t") + b"\r\n\r\n"
    assert judge(signed) == [True, True]
    head, body_hash = split(MAIL)
    folded = head.replace(b"Post: ", b"Post:\r\n\t ").replace(b"List-Id: ", b"LIST-ID :\t ")
    assert SIGNER.sign(folded, body_hash, NOW) == SIGNER.sign(head + b"\r\n", body_hash, NOW)


def test_a_header_that_is_there_twice_is_signed_twice() -> None:
    doubled = MAIL.replace(b"Date: ", b"Date: Mon, 02 Mar 2026 06:00:00 +0000\r\nDate: ", 1)
    signed = sign(doubled)
    assert judge(signed) == [True, True]
    assert read_signatures(signed)[0]["h"].count("date") == 2
    assert judge(signed.replace(b"Mon, 02", b"Mon, 03")) == [False, False]


def test_the_same_comes_out_again_and_without_a_key() -> None:
    head, body_hash = split(MAIL)
    signatures = SIGNER.sign(head, body_hash, NOW)
    again = DkimSigner(make_keys())
    assert [len(signature) for signature in signatures] == [256, 64]
    assert again.sign(head, body_hash, NOW.astimezone(timezone(timedelta(hours=2)))) == signatures
    assert write_signatures(SIGNER.identities, head, body_hash, NOW, signatures) + MAIL == sign(MAIL)
    assert SIGNER.write(head, body_hash, NOW.replace(microsecond=999_999)) + MAIL == sign(MAIL)
    assert SIGNER.sign(head, body_hash, NOW + timedelta(seconds=1)) != signatures
    with pytest.raises(ValueError, match="zip"):
        write_signatures(SIGNER.identities, head, body_hash, NOW, signatures[:1])


def test_a_signer_travels_to_another_process() -> None:
    signer = DkimSigner(make_keys())
    again = DkimSigner.from_exported(signer.export_keys())
    assert again.export_keys() == signer.export_keys()


def test_threads_share_a_signer() -> None:
    mails = [MAIL.replace(b"<1-2@", b"<1-%d@" % n) for n in range(60)]
    with ThreadPoolExecutor(4) as threads:
        assert list(threads.map(sign, mails)) == [sign(mail) for mail in mails]


@pytest.mark.parametrize("name", ["bücher.example", "a; d=evil.example", "a\r\nBcc: x@y.example", "", "a..b"])
def test_a_name_that_could_break_out_is_refused(name: str) -> None:
    for names in ({"domain": name, "selector": "s"}, {"domain": DOMAIN, "selector": name}):
        with pytest.raises(ValueError, match="is no name that a DKIM signature can carry"):
            Identity(**names, algorithm="rsa-sha256")


def test_a_key_of_another_algorithm_is_refused() -> None:
    with pytest.raises(ValueError, match="an Ed25519 key makes no rsa-sha256 signature"):
        DkimSigner([SigningKey(identity=RSA, private=make_ed25519_key())])
    with pytest.raises(ValueError, match="an RSA key makes no ed25519-sha256 signature"):
        DkimSigner([SigningKey(identity=ED25519, private=make_rsa_key())])


@pytest.mark.parametrize("style", [PrivateFormat.PKCS8, PrivateFormat.TraditionalOpenSSL])
def test_keys_are_read_and_never_shown(style: PrivateFormat) -> None:
    assert parse_rsa_key(write_pem(make_rsa_key(1024), style)).key_size == 1024
    rsa = parse_rsa_key(b"a comment before it\n" + write_pem(make_rsa_key(), style))
    ed25519 = parse_ed25519_key(write_pem(make_ed25519_key()))
    keys = [SigningKey(identity=RSA, private=rsa), SigningKey(identity=ED25519, private=ed25519)]
    assert sign(MAIL, DkimSigner(keys)) == sign(MAIL)
    assert repr(keys[0]) == f"SigningKey(identity={RSA!r})"


# `cryptography` reads so short a key but makes none.
SHORT = b"""\
-----BEGIN PRIVATE KEY-----
MIIBVQIBADANBgkqhkiG9w0BAQEFAASCAT8wggE7AgEAAkEA+MMSUCjEFPh+eEAW
tayxd3+m7ypIeC+4NnPBP7MqSWElwGtOGQ+DxHvK2XDHsWqROtfxPEvSS7oLOACB
cYKq+QIDAQABAkEA48ClqaJJM/H2yF3U7Ox5ZrEGw31w8CiwfZopWgrNMnPjIWhf
nd0MaIquPh3/fYIGGh3PWeSelL+W/CGVuQCAAQIhAP7WWVn1oNY87YN1P1XapKvW
jjM8audczQVuUjKaSoL5AiEA+eWgZDgP+hb7r6/7j2ZIrwtOSLbLC6SnSqrzcX/b
aAECIQDZ0btD0lisZh2ZvJDrQFx6aITZNG4n3cF8P+TQTeMceQIgS/2Y5YDq0tkU
VhuEutmWtqwQdSoo2nSKbrlHaDdCKAECIAOvLUcpW4G5nXH1NfYjlXYbFGpnweja
isvXUj0GpMPW
-----END PRIVATE KEY-----
"""
EC = generate_ec_key(SECP256R1()).private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
LOCKED = make_ed25519_key().private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"x"))
PUBLIC = make_rsa_key().public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
OPENSSH = write_pem(make_ed25519_key(), PrivateFormat.OpenSSH)
DAMAGED = write_pem(make_rsa_key()).replace(b"\nM", b"\nA", 1)


@pytest.mark.parametrize("pem", [b"", b"\x30\x82\xff", b"v=DKIM1; p=MII", PUBLIC])
def test_what_holds_no_private_key_is_refused(pem: bytes) -> None:
    for parse in (parse_rsa_key, parse_ed25519_key):
        with pytest.raises(ConfigError, match=r"^k\.pem holds no private key in PEM"):
            parse(pem, source="k.pem")


@pytest.mark.parametrize(
    ("pem", "reason"),
    [(LOCKED, "is encrypted"), (OPENSSH, "is damaged, or of a kind"), (DAMAGED, "is damaged, or of a kind")],
)
def test_a_key_that_cannot_be_used_is_refused(pem: bytes, reason: str) -> None:
    for parse in (parse_rsa_key, parse_ed25519_key):
        with pytest.raises(ConfigError, match=f"^the DKIM key .*{reason}"):
            parse(pem)


def test_a_key_of_the_wrong_kind_or_size_is_refused() -> None:
    with pytest.raises(ConfigError, match="holds an Ed25519 key where an RSA key should be"):
        parse_rsa_key(write_pem(make_ed25519_key()))
    with pytest.raises(ConfigError, match="holds an RSA key where an Ed25519 key should be"):
        parse_ed25519_key(write_pem(make_rsa_key()))
    with pytest.raises(ConfigError, match="holds an EC key where an RSA key should be"):
        parse_rsa_key(EC)
    with pytest.raises(ConfigError, match="an RSA key of 512 bits, which nobody accepts"):
        parse_rsa_key(SHORT)
