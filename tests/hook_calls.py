"""Calls of relays as they make them: signed, and in their own words."""

import base64
import hashlib
import hmac
from datetime import UTC, datetime, timedelta
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.x509.oid import NameOID

NOW = datetime(2026, 11, 25, 8, 0, tzinfo=UTC)


def write_basic(password: str) -> str:
    return f"Basic {base64.b64encode(f'relay:{password}'.encode()).decode()}"


def write_standard(body: bytes, secret: bytes, at: datetime, name: str = "msg_1") -> dict[str, str]:
    moment = str(int(at.timestamp()))
    mac = hmac.new(secret, f"{name}.{moment}.".encode() + body, hashlib.sha256).digest()
    signed = f"v1,AAAA v1,{base64.b64encode(mac).decode()}"
    return {"webhook-id": name, "webhook-timestamp": moment, "webhook-signature": signed}


def make_certificate(key: Any) -> bytes:
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "sns.example")])
    builder = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
    builder = builder.serial_number(7).not_valid_before(NOW).not_valid_after(NOW + timedelta(days=1))
    return builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)


def postmark(kind: str = "Bounce", **fields: Any) -> dict[str, Any]:
    return {"RecordType": kind, "ID": 7, "Email": "ann@example.org", **fields}


def mailgun(event: str, **fields: Any) -> dict[str, Any]:
    return {"signature": {}, "event-data": {"event": event, "recipient": "ann@example.org", **fields}}


def sendgrid(event: str, **fields: Any) -> dict[str, Any]:
    return {"event": event, "email": "ann@example.org", **fields}


def sparkpost(kind: str, **fields: Any) -> dict[str, Any]:
    return {"msys": {"message_event": {"type": kind, "rcpt_to": "ann@example.org", **fields}}}


def ses(**fields: Any) -> dict[str, Any]:
    recipient = {"emailAddress": "ann@example.org", "diagnosticCode": "smtp; 550 5.1.1 user unknown"}
    return {"notificationType": "Bounce", "bounce": {"bouncedRecipients": [recipient], **fields}}
