"""Calls of relays: proven by each relay's own scheme, read for what they say, whatever else they bring."""

import base64
import hashlib
import hmac
import json
from datetime import timedelta
from typing import Any

import pytest
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from hook_calls import NOW, mailgun, make_certificate, postmark, sendgrid, ses, sparkpost, write_basic, write_standard
from hypothesis import given
from hypothesis import strategies as st

from newsletter.core.hooks import signatures
from newsletter.core.hooks.events import read_events

MOMENT = str(int(NOW.timestamp()))
NAME = "12-345.wftdyitzvt5n5wak"

# ── Signatures ──────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_password_of_http_basic() -> None:
    assert signatures.is_basic(write_basic("open sesame"), "open sesame")
    for wrong in (write_basic("open"), "Bearer open sesame", "Basic !!!", "", write_basic("")):
        assert not signatures.is_basic(wrong, "open sesame")


def test_mailguns_signature() -> None:
    mac = hmac.new(b"key", f"{MOMENT}abc".encode(), hashlib.sha256).hexdigest()
    signature = {"timestamp": MOMENT, "token": "abc", "signature": mac}
    assert signatures.is_mailgun(signature, "key", NOW)
    assert signatures.is_mailgun(signature, "key", NOW + timedelta(hours=8))
    assert not signatures.is_mailgun(signature, "key", NOW + timedelta(hours=10))
    assert not signatures.is_mailgun({**signature, "token": "abd"}, "key", NOW)
    assert not signatures.is_mailgun(signature, "other", NOW)
    assert not signatures.is_mailgun({}, "key", NOW)


def test_sendgrids_signature() -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    public = base64.b64encode(
        key.public_key().public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    ).decode()
    signed = base64.b64encode(key.sign(b"1700000000[]", ec.ECDSA(hashes.SHA256()))).decode()
    assert signatures.is_sendgrid(b"[]", "1700000000", signed, public)
    assert not signatures.is_sendgrid(b"[1]", "1700000000", signed, public)
    assert not signatures.is_sendgrid(b"[]", "1700000001", signed, public)
    assert not signatures.is_sendgrid(b"[]", "1700000000", "no base64", public)
    assert not signatures.is_sendgrid(b"[]", "1700000000", signed, "no key")
    other = rsa.generate_private_key(65537, 2048).public_key()
    der = other.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    assert not signatures.is_sendgrid(b"[]", "1700000000", signed, base64.b64encode(der).decode())


@pytest.mark.parametrize(
    ("written", "key"), [("whsec_c2VjcmV0", b"secret"), ("plain", b"plain"), ("whsec_!", b"whsec_!")]
)
def test_the_signature_of_standard_webhooks(written: str, key: bytes) -> None:
    headers = write_standard(b"{}", key, NOW)
    assert signatures.is_standard(b"{}", headers, written, NOW)
    assert signatures.is_standard(b"{}", headers, written, NOW + timedelta(minutes=5))
    assert not signatures.is_standard(b"{}", headers, written, NOW + timedelta(minutes=6))
    assert not signatures.is_standard(b"{}", headers, written, NOW - timedelta(minutes=6))
    assert not signatures.is_standard(b"[]", headers, written, NOW)
    assert not signatures.is_standard(b"{}", {**headers, "webhook-id": "msg_2"}, written, NOW)
    assert not signatures.is_standard(b"{}", {**headers, "webhook-timestamp": "soon"}, written, NOW)
    assert not signatures.is_standard(b"{}", {}, written, NOW)


@pytest.mark.parametrize(
    ("address", "is_ours"),
    [
        ("https://sns.eu-west-1.amazonaws.com/SimpleNotificationService-1.pem", True),
        ("https://sns.us-gov-west-1.amazonaws.com/x", True),
        ("https://sns.cn-north-1.amazonaws.com.cn/x", True),
        ("http://sns.eu-west-1.amazonaws.com/x", False),
        ("https://sns.eu-west-1.amazonaws.com.evil.example/x", False),
        ("https://evil.example/sns.eu-west-1.amazonaws.com", False),
        ("https://sns.eu-west-1.amazonaws.com@evil.example/", False),
        ("https://me@sns.eu-west-1.amazonaws.com/", False),
        ("https://sns.eu-west-1.amazonaws.com:8443/", False),
        ("https://sns.eu-west-1.amazonaws.com:x/", False),
        ("https://s3.eu-west-1.amazonaws.com/bucket/cert.pem", False),
        ("None", False),
    ],
)
def test_certificates_come_from_amazon_sns_alone(address: str, is_ours: bool) -> None:
    assert signatures.is_sns_address(address) is is_ours


@pytest.mark.parametrize(("version", "algorithm"), [("1", hashes.SHA1()), ("2", hashes.SHA256())])
def test_the_signature_of_amazon_sns(version: str, algorithm: hashes.HashAlgorithm) -> None:
    key = rsa.generate_private_key(65537, 2048)
    message = {"Type": "Notification", "Message": "{}", "MessageId": "1", "Timestamp": "t", "TopicArn": "arn"}
    text = "Message\n{}\nMessageId\n1\nTimestamp\nt\nTopicArn\narn\nType\nNotification\n"
    signed = base64.b64encode(key.sign(text.encode(), padding.PKCS1v15(), algorithm)).decode()
    message |= {"SignatureVersion": version, "Signature": signed}
    certificate = make_certificate(key)
    assert signatures.is_sns(message, certificate)
    assert not signatures.is_sns({**message, "Message": "{ }"}, certificate)
    assert not signatures.is_sns({**message, "Subject": "added"}, certificate)
    assert not signatures.is_sns({**message, "Type": "Other"}, certificate)
    assert not signatures.is_sns(message, make_certificate(rsa.generate_private_key(65537, 2048)))
    assert not signatures.is_sns(message, make_certificate(ec.generate_private_key(ec.SECP256R1())))
    assert not signatures.is_sns(message, b"no certificate")


# ── Events ──────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("provider", "event", "told"),
    [
        ("postmark", postmark(Type="HardBounce", Details="smtp;550 5.1.1 no such user"), ("hard", "unknown user")),
        ("postmark", postmark(Type="HardBounce"), ("hard", "unknown user")),
        ("postmark", postmark(Type="SoftBounce", Details="smtp;550 5.1.1 no such user"), ("soft", "unknown user")),
        ("postmark", postmark(Type="SpamComplaint"), ("complaint", "abuse")),
        ("postmark", postmark("SpamComplaint"), ("complaint", "abuse")),
        ("postmark", postmark(Type="AutoResponder"), ("auto-reply", "")),
        ("postmark", postmark(Type="Unsubscribe"), ("unsubscribe", "")),
        ("postmark", postmark("Bounce", Type="AutoResponder", Email="nobody"), None),
        (
            "postmark",
            postmark("SubscriptionChange", SuppressSending=True, SuppressionReason="ManualSuppression"),
            ("unsubscribe", ""),
        ),
        ("postmark", postmark("SubscriptionChange", SuppressSending=True, SuppressionReason="HardBounce"), None),
        ("postmark", postmark("SubscriptionChange", SuppressSending=False), None),
        ("postmark", postmark("Delivery"), None),
        (
            "mailgun",
            mailgun(
                "failed", severity="permanent", **{"delivery-status": {"code": 550, "message": "5.1.1 unknown user"}}
            ),
            ("hard", "unknown user"),
        ),
        ("mailgun", mailgun("failed", severity="temporary", **{"delivery-status": {"code": 450}}), ("soft", "delayed")),
        ("mailgun", mailgun("complained"), ("complaint", "abuse")),
        ("mailgun", mailgun("unsubscribed"), ("unsubscribe", "")),
        ("mailgun", mailgun("opened"), None),
        ("sendgrid", sendgrid("bounce", type="bounce", status="5.1.1", reason="550 unknown"), ("hard", "unknown user")),
        ("sendgrid", sendgrid("bounce", type="blocked", reason="550 5.7.1 spam"), ("soft", "spam")),
        ("sendgrid", sendgrid("dropped", reason="Bounced Address", status=5), ("soft", "none given")),
        ("sendgrid", sendgrid("deferred", response="450 later"), ("soft", "delayed")),
        ("sendgrid", sendgrid("spamreport"), ("complaint", "abuse")),
        ("sendgrid", sendgrid("group_unsubscribe"), ("unsubscribe", "")),
        ("sendgrid", sendgrid("delivered"), None),
        ("sparkpost", sparkpost("bounce", bounce_class="10", raw_reason="550 no such user"), ("hard", "unknown user")),
        ("sparkpost", sparkpost("bounce", bounce_class="21", raw_reason="451 timed out"), ("soft", "expired")),
        ("sparkpost", sparkpost("delay", reason="451 later"), ("soft", "delayed")),
        ("sparkpost", sparkpost("spam_complaint", fbtype="Abuse"), ("complaint", "abuse")),
        ("sparkpost", sparkpost("link_unsubscribe"), ("unsubscribe", "")),
        ("sparkpost", sparkpost("open"), None),
        ("sparkpost", {"msys": {}}, None),
        ("ses", ses(bounceType="Permanent"), ("hard", "unknown user")),
        ("ses", ses(bounceType="Transient"), ("soft", "unknown user")),
        (
            "ses",
            {
                "notificationType": "Complaint",
                "complaint": {"complainedRecipients": [{"emailAddress": "ann@example.org"}]},
            },
            ("complaint", "abuse"),
        ),
        ("generic", {"kind": "hard", "email": "ann@example.org", "text": "550 user unknown"}, ("hard", "unknown user")),
        ("generic", {"kind": "soft", "email": "ann@example.org", "status": "4.2.2"}, ("soft", "mailbox full")),
        ("generic", {"kind": "complaint", "email": "ann@example.org"}, ("complaint", "abuse")),
        ("generic", {"kind": "unsubscribe", "email": "ann@example.org"}, ("unsubscribe", "")),
        ("generic", {"kind": "hard"}, None),
        ("generic", {"kind": "complaint", "email": 7}, None),
        ("generic", {"kind": "unsubscribe", "email": []}, None),
        ("generic", {"kind": "party", "email": "ann@example.org"}, None),
    ],
)
def test_what_a_relay_says(provider: str, event: Any, told: tuple[str, str] | None) -> None:
    found = list(read_events(provider, event))
    assert [(one.report.kind, one.report.reason) for one in found] == ([told] if told else [])
    assert all(one.report.email == "ann@example.org" for one in found)


def test_what_of_ours_an_event_carries_is_found_anywhere_and_each_is_known_again() -> None:
    headers = {"message": {"headers": {"message-id": f"{NAME}@example.com"}}}
    (first,) = read_events("mailgun", mailgun("complained", **headers))
    assert first.traces.names == (NAME,)
    (again,) = read_events("mailgun", mailgun("complained", **headers))
    (other,) = read_events("mailgun", mailgun("complained", id="x", **headers))
    assert again.digest == first.digest != other.digest
    token = "f5s5saqme3vvkbaim7ydow5k"
    (spark,) = read_events("sparkpost", sparkpost("bounce", msg_from=f"b+{token}@bounces.example.com"))
    assert spark.traces.bounce == (token,)


def test_a_call_may_bring_many_and_what_is_none_is_passed_over() -> None:
    found = list(read_events("sendgrid", [sendgrid("spamreport"), "nonsense", None, sendgrid("unsubscribe")]))
    assert [one.report.kind for one in found] == ["complaint", "unsubscribe"]
    assert len(list(read_events("sendgrid", [sendgrid("spamreport")] * 1_001))) == 1_000


WORDS = "event email msys kind bounce event-data Email type Type RecordType recipient delivery-status bouncedRecipients"
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=9),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(WORDS.split()), inner, max_size=4),
    max_leaves=9,
)


@given(st.sampled_from(["ses", "postmark", "mailgun", "sendgrid", "sparkpost", "generic"]), JSON)
def test_any_json_is_read(provider: str, told: Any) -> None:
    assert json.dumps(told)
    for one in read_events(provider, told):
        assert one.report.email
