"""Whether a call comes from the relay that it says: each relay's own scheme, compared in constant time.

How old a call may be is decided where the scheme says so; an event is taken once, so a replay does nothing.
Sources: the relays' documentation, and Standard Webhooks 1.0 for the generic hook.
"""

import base64
import binascii
import hashlib
import hmac
import re
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import urlsplit

TOLERANCE = timedelta(minutes=5)
"""So far may the time of a call be from ours (Standard Webhooks)."""

MAILGUN_TOLERANCE = timedelta(hours=9)

_SNS_HOST = re.compile(r"sns\.[a-z]{2}(?:-[a-z]+)+-\d{1,2}\.amazonaws\.com(?:\.cn)?")
_SNS_FIELDS = {
    "Notification": ("Message", "MessageId", "Subject", "Timestamp", "TopicArn", "Type"),
    "SubscriptionConfirmation": ("Message", "MessageId", "SubscribeURL", "Timestamp", "Token", "TopicArn", "Type"),
}
_SNS_FIELDS["UnsubscribeConfirmation"] = _SNS_FIELDS["SubscriptionConfirmation"]


def is_basic(authorization: str, password: str) -> bool:
    """HTTP Basic (RFC 7617) with this password, whatever the name: what Postmark and SparkPost send."""
    scheme, _, credentials = authorization.partition(" ")
    try:
        given = base64.b64decode(credentials.strip(), validate=True).partition(b":")[2]
    except (binascii.Error, ValueError):
        return False
    return scheme.lower() == "basic" and hmac.compare_digest(given, password.encode())


def is_mailgun(signature: Mapping[str, Any], key: str, now: datetime) -> bool:
    """Mailgun's `signature` of a call: HMAC-SHA256 over its timestamp and token. It calls again for eight hours.

    The body is not covered: who takes a call must not take a token with another body again.
    """
    moment = str(signature.get("timestamp", ""))
    if not _is_near(moment, now, MAILGUN_TOLERANCE):
        return False
    text = f"{signature.get('timestamp', '')}{signature.get('token', '')}"
    wanted = hmac.new(key.encode(), text.encode(), hashlib.sha256).hexdigest()
    return hmac.compare_digest(str(signature.get("signature", "")).encode(), wanted.encode())


def is_sendgrid(body: bytes, timestamp: str, signature: str, public_key: str) -> bool:
    """SendGrid's ECDSA (P-256, SHA-256) over timestamp and body; the key is base64 of DER, as its pages show it."""
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives.asymmetric.ec import ECDSA, EllipticCurvePublicKey
    from cryptography.hazmat.primitives.hashes import SHA256
    from cryptography.hazmat.primitives.serialization import load_der_public_key

    try:
        key = load_der_public_key(base64.b64decode(public_key))
        if not isinstance(key, EllipticCurvePublicKey):
            return False
        key.verify(base64.b64decode(signature), timestamp.encode() + body, ECDSA(SHA256()))
    except (InvalidSignature, ValueError, UnicodeError):
        return False
    return True


def is_standard(body: bytes, headers: Mapping[str, str], secret: str, now: datetime) -> bool:
    """Standard Webhooks: `webhook-signature` holds `v1,` and base64 of HMAC-SHA256 over id, time and body.

    `secret` is as its sender shows it, `whsec_` and base64, or any text.
    """
    name, moment = headers.get("webhook-id", ""), headers.get("webhook-timestamp", "")
    if not _is_near(moment, now, TOLERANCE):
        return False
    mac = hmac.new(_read_secret(secret), f"{name}.{moment}.".encode() + body, hashlib.sha256).digest()
    wanted = b"v1," + base64.b64encode(mac)
    return any(hmac.compare_digest(given.encode(), wanted) for given in headers.get("webhook-signature", "").split())


def _is_near(moment: str, now: datetime, tolerance: timedelta) -> bool:
    """Whether a time in Unix seconds is as near to ours as it may be."""
    is_time = re.fullmatch(r"[0-9]{1,12}", moment) is not None
    return is_time and abs(now.timestamp() - int(moment)) <= tolerance.total_seconds()


def _read_secret(secret: str) -> bytes:
    try:
        return base64.b64decode(secret.removeprefix("whsec_"), validate=True) if "whsec_" in secret else secret.encode()
    except (binascii.Error, ValueError):
        return secret.encode()


def is_sns_address(address: str) -> bool:
    """Whether an address is Amazon SNS's own, over https: where its certificates are, and its confirmations go."""
    try:
        parts = urlsplit(address)
        host, port = parts.hostname or "", parts.port
    except ValueError:
        return False
    is_bare = parts.username is None and port in (None, 443)
    return parts.scheme == "https" and is_bare and bool(_SNS_HOST.fullmatch(host))


def is_sns(message: Mapping[str, Any], certificate: bytes) -> bool:
    """Amazon SNS's signature of a message by the certificate (PEM) of its SigningCertURL, version 1 (SHA-1) or 2."""
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
    from cryptography.hazmat.primitives.hashes import SHA1, SHA256, HashAlgorithm
    from cryptography.x509 import load_pem_x509_certificate

    fields = _SNS_FIELDS.get(str(message.get("Type")), ())
    text = "".join(f"{name}\n{message[name]}\n" for name in fields if message.get(name) is not None)
    # Amazon chooses the hash; SHA-1 stands only as long as topics are of version 1.
    algorithm: HashAlgorithm = SHA256() if str(message.get("SignatureVersion")) == "2" else SHA1()  # noqa: S303
    try:
        key = load_pem_x509_certificate(certificate).public_key()
        if not isinstance(key, RSAPublicKey) or not text:
            return False
        key.verify(base64.b64decode(str(message.get("Signature", ""))), text.encode(), PKCS1v15(), algorithm)
    except (InvalidSignature, ValueError):
        return False
    return True
