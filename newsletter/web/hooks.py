"""`POST /hooks/bounce/RELAY`: relays report by HTTP. One that has no secret in the settings is not there (404).

A call is read once it is proven to be the relay's; its secret in the settings vouches for what it says of readers.
"""

import hashlib
import json
import logging
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

from fastapi import APIRouter, Request
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import JSONResponse, Response
from pydantic import SecretStr

from newsletter.bootstrap import Service
from newsletter.core.bounces.other import as_mapping
from newsletter.core.errors import NewsletterError
from newsletter.core.hooks import signatures
from newsletter.core.hooks.events import Event, read_events
from newsletter.feedback import Feedback, Trust
from newsletter.sources.http import fetch
from newsletter.web.access import AccessError
from newsletter.web.api.problems import answer_problem, status_of
from newsletter.web.forms import read_body

log = logging.getLogger("newsletter.feedback")

_SENDGRID = "x-twilio-email-event-webhook"
MOST_OCTETS = 2_000_000
MOST_CERTIFICATES, MOST_TOKENS = 20, 100_000

Fetch: TypeAlias = Callable[[str], bytes]


class HookError(Exception):
    """A call that is not answered with 200: `status`, and one sentence that tells a stranger nothing."""

    def __init__(self, status: int, sentence: str) -> None:
        super().__init__(sentence)
        self.status = status


def fetch_octets(address: str) -> bytes:
    """What stands at an address of Amazon's; SourceError where nothing does."""
    return fetch(address).body or b""


def make_hooks(service: Service, *, fetch_from: Fetch = fetch_octets) -> APIRouter:
    """The routes; `fetch_from` gets certificates, and confirms subscriptions."""
    router = APIRouter(include_in_schema=False)
    hooks = Hooks(service, fetch_from)

    @router.post("/hooks/bounce/{relay}")
    async def report(relay: str, request: Request) -> Response:
        try:
            body = await read_body(request, MOST_OCTETS)
            taken = await run_in_threadpool(hooks.take, relay, body, request.headers)
        except (HookError, AccessError) as error:
            return answer_problem(error.status, str(error))
        except NewsletterError as error:
            log.error(f"a call of {relay} was not taken: {error}")
            return answer_problem(status_of(error), "this could not be taken now", {"Retry-After": "60"})
        return JSONResponse({"taken": taken})

    return router


@dataclass
class Hooks:
    """Proves calls and takes what they say."""

    service: Service
    fetch_from: Fetch

    def __post_init__(self) -> None:
        self._certificates: dict[str, bytes] = {}
        self._bodies: OrderedDict[str, bytes] = OrderedDict()

    def take(self, relay: str, body: bytes, headers: Mapping[str, str]) -> int:
        """How many reports a call brought; HookError where it is nobody's, or makes no sense."""
        try:
            told = json.loads(body)
        except (ValueError, RecursionError):
            told = None
        if not self._is_proven(relay, body, told, headers):
            raise HookError(401, "this call is not proven to be the relay's")
        if relay == "ses":
            told = self._read_sns(told)
        if not isinstance(told, dict | list):
            raise HookError(422, "this is not JSON")
        return sum(self._take_event(relay, event) for event in read_events(relay, told))

    def _take_event(self, relay: str, event: Event) -> int:
        feedback = Feedback(database=self.service.database, signer=self.service.signer)
        taken = feedback.take_reports(
            [event.report],
            event.traces,
            digest=event.digest,
            source=f"hook {relay}",
            now=self.service.now(),
            trust=Trust.READERS,
        )
        return sum(not one.was_taken for one in taken)

    def _is_proven(self, relay: str, body: bytes, told: Any, headers: Mapping[str, str]) -> bool:
        """Whether a call is the relay's; HookError 404 where this hook is not set up."""
        hooks, basic = self.service.settings.hooks, headers.get("authorization", "")
        match relay:
            case "generic" if secret := _show(hooks.generic_secret):
                return signatures.is_standard(body, headers, secret, self.service.now())
            case "mailgun" if key := _show(hooks.mailgun_key):
                signature = as_mapping(as_mapping(told).get("signature"))
                is_theirs = signatures.is_mailgun(signature, key, self.service.now())
                return is_theirs and self._is_of_token(str(signature.get("token")), body)
            case "sendgrid" if hooks.sendgrid_key:
                signed, moment = (headers.get(f"{_SENDGRID}-{name}", "") for name in ("signature", "timestamp"))
                return signatures.is_sendgrid(body, moment, signed, hooks.sendgrid_key)
            case "postmark" if password := _show(hooks.postmark_password):
                return signatures.is_basic(basic, password)
            case "sparkpost" if password := _show(hooks.sparkpost_password):
                return signatures.is_basic(basic, password)
            case "ses" if hooks.ses_topics:
                return self._is_sns(as_mapping(told))
            case _:
                raise HookError(404, "there is no such hook")

    def _is_of_token(self, token: str, body: bytes) -> bool:
        """Whether a token comes with the body that it came with first: Mailgun's signature does not cover the body."""
        digest = hashlib.sha256(body).digest()
        known = self._bodies.setdefault(token, digest)
        while len(self._bodies) > MOST_TOKENS:
            self._bodies.popitem(last=False)
        return known == digest

    def _is_sns(self, message: Mapping[str, Any]) -> bool:
        """Whether a message is of a topic of ours, and signed by Amazon SNS."""
        address = str(message.get("SigningCertURL"))
        if message.get("TopicArn") not in self.service.settings.hooks.ses_topics:
            return False
        if not signatures.is_sns_address(address):
            return False
        if address not in self._certificates:
            if len(self._certificates) >= MOST_CERTIFICATES:
                self._certificates.clear()
            self._certificates[address] = self.fetch_from(address)
        return signatures.is_sns(message, self._certificates[address])

    def _read_sns(self, told: Any) -> Any:
        """What a proven message of Amazon SNS brings; a subscription is confirmed."""
        message = as_mapping(told)
        if message.get("Type") == "SubscriptionConfirmation":
            address = str(message.get("SubscribeURL"))
            if not signatures.is_sns_address(address):
                raise HookError(422, "the confirmation leads elsewhere")
            self.fetch_from(address)
            log.info("a subscription is confirmed", extra={"fields": {"topic": message.get("TopicArn")}})
            return []
        try:
            return json.loads(str(message.get("Message")))
        except (ValueError, RecursionError):
            return []


def _show(secret: SecretStr | None) -> str | None:
    return secret.get_secret_value() if secret is not None else None
