"""Relays call: proven calls are taken once and count; others are turned away, and nothing is there by default."""

import asyncio
import base64
import hmac
import json
from typing import Any

import httpx2
import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from daemon_house import House
from fastapi import FastAPI
from hook_calls import make_certificate, postmark, ses, write_basic, write_standard
from test_feedback import house as feedback_house
from test_feedback import key_of, suppression_of
from web_house import open_client

from newsletter.compose import prove_name
from newsletter.core.errors import SourceError, StoreBusyError
from newsletter.core.model import name_delivery
from newsletter.web.hooks import make_hooks

pytestmark = pytest.mark.anyio
house = feedback_house

TOPIC = "arn:aws:sns:eu-west-1:123456789012:bounces"
BASIC = {"Authorization": write_basic("word")}
CERTIFICATES = "https://sns.eu-west-1.amazonaws.com/SimpleNotificationService-7.pem"


async def call(
    house: House, relay: str, told: Any, headers: dict[str, str] | None = None, **settings: str
) -> httpx2.Response:
    content = told if isinstance(told, bytes) else json.dumps(told).encode()
    async with open_client(house, peer="192.0.2.7", **settings) as client:
        return await client.post(f"/hooks/bounce/{relay}", content=content, headers=headers or {})


async def test_a_relay_reports_and_once_is_enough(house: House) -> None:
    told = postmark(Type="HardBounce", Details="smtp;550 5.1.1 no such user")
    for taken in (1, 0):
        answer = await call(house, "postmark", told, BASIC, HOOKS__POSTMARK_PASSWORD="word")
        assert (answer.status_code, answer.json()) == (200, {"taken": taken})
    person = house.service.find_person("ann@example.org")
    assert (person.reason, person.source) == ("unknown user", "hook postmark, delivery 1-1")


async def test_a_message_id_of_ours_names_the_delivery_and_a_stranger_is_left_alone(house: House) -> None:
    key = key_of(house)
    proof = prove_name(house.service.database.ledger_key, name_delivery(key))
    body = json.dumps(
        [
            {"kind": "hard", "email": "ann@example.org", "message_id": f"<{proof}@example.org>", "text": "550 unknown"},
            {"kind": "hard", "email": "stranger@example.net", "text": "550 user unknown"},
        ]
    ).encode()
    headers = write_standard(body, b"generic secret", house.now)
    answer = await call(house, "generic", body, headers, HOOKS__GENERIC_SECRET="generic secret")
    assert answer.json() == {"taken": 2}
    assert house.service.find_person("ann@example.org").source == f"hook generic, delivery {name_delivery(key)}"
    assert suppression_of(house, "stranger@example.net") is None


@pytest.mark.parametrize("relay", ["generic", "mailgun", "sendgrid", "postmark", "sparkpost", "ses", "nobody"])
async def test_what_is_not_set_up_is_not_there_and_what_is_not_proven_is_refused(house: House, relay: str) -> None:
    assert (await call(house, relay, {})).status_code == 404
    settings = {
        "HOOKS__GENERIC_SECRET": "x" * 20,
        "HOOKS__MAILGUN_KEY": "key",
        "HOOKS__SENDGRID_KEY": "AAAA",
        "HOOKS__POSTMARK_PASSWORD": "word",
        "HOOKS__SPARKPOST_PASSWORD": "word",
        "HOOKS__SES_TOPICS": TOPIC,
    }
    calls: list[Any] = [
        {},
        [],
        b"no json",
        b"[" * 50_000,
        {"TopicArn": TOPIC, "SigningCertURL": "https://evil.example/"},
    ]
    for told in calls:
        answer = await call(house, relay, told, None, **settings)
        assert answer.status_code == (404 if relay == "nobody" else 401)
        assert answer.headers["content-type"] == "application/problem+json"
    assert (await call(house, relay, b"x" * 2_000_001, None, **settings)).status_code == 413


async def test_a_token_of_mailgun_serves_one_body(house: House) -> None:
    def sign(recipient: str, token: str) -> dict[str, Any]:
        moment = str(int(house.now.timestamp()))
        mac = hmac.new(b"key", f"{moment}{token}".encode(), "sha256").hexdigest()
        signature = {"timestamp": moment, "token": token, "signature": mac}
        return {"signature": signature, "event-data": {"event": "complained", "recipient": recipient}}

    app = FastAPI()
    app.include_router(make_hooks(house.open(HOOKS__MAILGUN_KEY="key")))
    transport = httpx2.ASGITransport(app=app)
    async with httpx2.AsyncClient(transport=transport, base_url="http://127.0.0.1") as client:
        calls = [sign("ann@example.org", "a"), sign("ann@example.org", "a"), sign("ben@example.org", "a")]
        answers = [await client.post("/hooks/bounce/mailgun", json=told) for told in calls]
    assert [answer.status_code for answer in answers] == [200, 200, 401]
    assert [answer.json().get("taken") for answer in answers[:2]] == [1, 0]
    assert house.service.find_person("ben@example.org").state == "active"


async def test_proven_nonsense_is_told(house: House) -> None:
    assert (await call(house, "sparkpost", b"7", BASIC, HOOKS__SPARKPOST_PASSWORD="word")).status_code == 422
    assert (await call(house, "sparkpost", [], BASIC, HOOKS__SPARKPOST_PASSWORD="word")).json() == {"taken": 0}


async def test_a_busy_database_asks_the_relay_to_come_again(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise StoreBusyError("the database n.db is busy")

    monkeypatch.setattr("newsletter.feedback.Feedback.take_reports", fail)
    answer = await call(house, "postmark", postmark(Type="HardBounce"), BASIC, HOOKS__POSTMARK_PASSWORD="word")
    assert (answer.status_code, answer.headers["Retry-After"]) == (503, "60")
    assert "n.db" not in answer.text


# ── Amazon SNS ──────────────────────────────────────────────────────────────────────────────────────────────────────


class Sns:
    """Amazon's side: signs, and serves its certificate."""

    def __init__(self, house: House) -> None:
        self.key = rsa.generate_private_key(65537, 2048)
        self.fetched: list[str] = []
        self.app = FastAPI()
        self.app.include_router(make_hooks(house.open(HOOKS__SES_TOPICS=TOPIC), fetch_from=self.fetch))

    def fetch(self, address: str) -> bytes:
        self.fetched.append(address)
        if address.endswith("broken.pem"):
            raise SourceError(f"feed {address} cannot be fetched")
        return make_certificate(self.key)

    def sign(self, **fields: str) -> dict[str, str]:
        message = {"TopicArn": TOPIC, "MessageId": "1", "Timestamp": "2026-11-25T08:00:00Z", **fields}
        text = "".join(f"{name}\n{message[name]}\n" for name in sorted(message))
        signature = self.key.sign(text.encode(), padding.PKCS1v15(), hashes.SHA256())
        signed = {"SignatureVersion": "2", "Signature": base64.b64encode(signature).decode()}
        return {"SigningCertURL": CERTIFICATES, **message, **signed}

    async def post(self, message: dict[str, str]) -> httpx2.Response:
        transport = httpx2.ASGITransport(app=self.app)
        async with httpx2.AsyncClient(transport=transport, base_url="http://127.0.0.1") as client:
            return await client.post("/hooks/bounce/ses", content=json.dumps(message))


async def test_amazon_sns_is_believed_by_its_certificate(house: House) -> None:
    sns = Sns(house)
    message = sns.sign(Type="Notification", Message=json.dumps(ses(bounceType="Permanent")))
    assert (await sns.post(message)).json() == {"taken": 1}
    assert suppression_of(house, "ann@example.org") == "unknown user"
    assert (await sns.post({**message, "Message": "{}"})).status_code == 401
    assert (await sns.post({**message, "TopicArn": "arn:other"})).status_code == 401
    assert (await sns.post(sns.sign(Type="Notification", Message="no json"))).json() == {"taken": 0}
    assert sns.fetched == [CERTIFICATES]
    assert (await sns.post({**message, "SigningCertURL": CERTIFICATES.replace("7", "broken")})).status_code == 422


async def test_a_subscription_is_confirmed_at_amazon_alone(house: House) -> None:
    sns = Sns(house)
    ours = "https://sns.eu-west-1.amazonaws.com/?Action=ConfirmSubscription&Token=t"
    fields = {"Type": "SubscriptionConfirmation", "Message": "Confirm", "Token": "t"}
    assert (await sns.post(sns.sign(**fields, SubscribeURL=ours))).status_code == 200
    assert sns.fetched == [CERTIFICATES, ours]
    assert (await sns.post(sns.sign(**fields, SubscribeURL="https://evil.example/"))).status_code == 422
    assert sns.fetched == [CERTIFICATES, ours]


async def test_one_event_that_comes_many_times_at_once_is_taken_once(house: House) -> None:
    told = postmark("SpamComplaint")
    answers = await asyncio.gather(
        *(call(house, "postmark", told, BASIC, HOOKS__POSTMARK_PASSWORD="word") for _ in range(8))
    )
    assert sorted(answer.json()["taken"] for answer in answers) == [0] * 7 + [1]
    assert house.service.find_person("ann@example.org").state == "unsubscribed"
