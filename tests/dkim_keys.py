"""Keys for the tests that sign mails, made anew in every process, and the DNS records of their public halves."""

import base64
from functools import cache

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, generate_private_key
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from newsletter.core.dkim import Identity, SigningKey

DOMAIN = "ledger.example"
RSA = Identity(domain=DOMAIN, selector="news2026", algorithm="rsa-sha256")
ED25519 = Identity(domain=DOMAIN, selector="news2026-ed", algorithm="ed25519-sha256")


@cache
def make_rsa_key(bits: int = 2048) -> RSAPrivateKey:
    return generate_private_key(public_exponent=65537, key_size=bits)


@cache
def make_ed25519_key() -> Ed25519PrivateKey:
    return Ed25519PrivateKey.generate()


def make_keys() -> list[SigningKey]:
    return [
        SigningKey(identity=RSA, private=make_rsa_key()),
        SigningKey(identity=ED25519, private=make_ed25519_key()),
    ]


def write_pem(key: RSAPrivateKey | Ed25519PrivateKey, style: PrivateFormat = PrivateFormat.PKCS8) -> bytes:
    return key.private_bytes(Encoding.PEM, style, NoEncryption())


def write_record(key: SigningKey) -> tuple[str, str]:
    """The DNS name of the public key, without a dot at its end, and its TXT (RFC 6376 3.6.1, RFC 8463 4.2)."""
    public = key.private.public_key()
    name = f"{key.identity.selector}._domainkey.{key.identity.domain}"
    if isinstance(key.private, RSAPrivateKey):
        shown = base64.b64encode(public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo))
        return name, f"v=DKIM1; k=rsa; p={shown.decode()}"
    shown = base64.b64encode(public.public_bytes(Encoding.Raw, PublicFormat.Raw))
    return name, f"v=DKIM1; k=ed25519; p={shown.decode()}"
