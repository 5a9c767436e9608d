"""Every setting with its type, its default as the text one would write, and its meaning.

A default goes through the same parser as a text of the operator's, so .env.example can hold it word for word. A field
that may carry a password is `repr=False`: no message and no repr shows its value.
"""

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple, Self
from zoneinfo import ZoneInfo

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainValidator,
    SecretStr,
    model_validator,
)
from pydantic.fields import FieldInfo
from pydantic_settings import BaseSettings, SettingsConfigDict

from newsletter.core.address import parse_domain
from newsletter.core.cron import Cron, parse_cron
from newsletter.core.errors import ConfigError
from newsletter.core.schedule import parse_zone
from newsletter.settings import values
from newsletter.settings.values import From

PREFIX = "NEWSLETTER_"
NESTING = "__"

Text = Annotated[str, AfterValidator(values.parse_line)]
Lines = Annotated[str, AfterValidator(values.parse_lines)]
Language = Annotated[str, AfterValidator(values.parse_language)]
Zone = Annotated[ZoneInfo, PlainValidator(parse_zone)]
CronLine = Annotated[Cron, PlainValidator(parse_cron)]
Sender = Annotated[From, PlainValidator(values.parse_from)]
Email = Annotated[str, AfterValidator(values.parse_email)]
Subject = Annotated[str, AfterValidator(values.parse_subject)]
Theme = Annotated[str, AfterValidator(values.parse_theme)]
Domain = Annotated[str, AfterValidator(parse_domain)]
Host = Annotated[str, AfterValidator(values.parse_host)]
Selector = Annotated[str, AfterValidator(values.parse_selector)]
BaseUrl = Annotated[str, AfterValidator(values.parse_base_url)]
DatabaseUrl = Annotated[str, AfterValidator(values.parse_database_url)]
Source = Annotated[str, AfterValidator(values.parse_source)]
Mailbox = Annotated[str, AfterValidator(values.parse_mailbox)]
SecretKey = Annotated[SecretStr, AfterValidator(values.check_secret)]
Seconds = Annotated[timedelta, PlainValidator(values.parse_seconds)]
Timeout = Annotated[timedelta, PlainValidator(values.parse_timeout)]
Lease = Annotated[timedelta, PlainValidator(values.parse_lease)]
Days = Annotated[timedelta, PlainValidator(values.parse_days)]
Limit = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Level = Annotated[Literal["debug", "info", "warning", "error"], BeforeValidator(str.lower)]
OneOrMore = BeforeValidator(values.parse_one_or_more)
JsonList = BeforeValidator(values.parse_json_list)
JsonObject = BeforeValidator(values.parse_json_object)

# Google and Outlook ask for 5 connections at most; the other great ones name no number, and none names a rate.
_PROVIDER_LIMITS = (
    '{"gmail.com":{"connections":5},"googlemail.com":{"connections":5},"outlook.com":{"connections":5},'
    '"hotmail.com":{"connections":5},"live.com":{"connections":5},"yahoo.com":{"connections":5},'
    '"aol.com":{"connections":5},"icloud.com":{"connections":5}}'
)


def _setting(default: object, meaning: str, **constraints: Any) -> Any:
    """A field whose default is written as the operator would write it; None or () is unset."""
    return Field(default=default, description=meaning, **constraints)


class _Part(BaseModel):
    """What the settings of one prefix have in common."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", validate_default=True, hide_input_in_errors=True, str_strip_whitespace=True
    )


class Smtp(_Part):
    """The SMTP server that takes our mail."""

    host: Host = _setting("localhost", "The SMTP server that takes our mail.")
    port: int = _setting("25", "Its port.", ge=1, le=65535)
    username: str | None = _setting(None, "The name to log in with; none: no login.")
    password: SecretStr | None = _setting(None, "The password of that name.", repr=False)
    tls: Literal["none", "opportunistic", "starttls", "implicit"] = _setting(
        "opportunistic", "none, opportunistic (where offered, unverified), starttls or implicit (both verified)."
    )
    ca_file: Path | None = _setting(None, "Certificates (PEM) to verify it by; none: the system's.")
    connections: int = _setting("10", "How many connections are open at a time, at most.", ge=1)
    rate: Limit = _setting("0", "How many mails a second go out, at most; 0: no limit.")
    timeout: Timeout = _setting("60", "Seconds to wait for a reply, the one to the final dot aside.")


class Relay(Smtp):
    """One of several SMTP servers: the names of SMTP__, in either case, and its share of the mails."""

    weight: int = _setting("1", "Its share of the mails.", ge=1)

    @model_validator(mode="before")
    @classmethod
    def _fold_names(cls, given: Any) -> Any:
        return {str(name).lower(): value for name, value in given.items()} if isinstance(given, dict) else given


class DomainLimit(_Part):
    """How fast mail may go to one domain; 0 is no limit. `rate` is mails a second."""

    connections: int = _setting("0", "How many connections at a time, at most.", ge=0)
    rate: Limit = _setting("0", "How many mails a second, at most.")


class Dkim(_Part):
    """The keys that sign the mails (RFC 6376, RFC 8463)."""

    domain: Domain | None = _setting(None, "The domain that signs; none: unsigned.")
    selector: Selector | None = _setting(None, "Where in the DNS its RSA key stands.")
    key_file: Path | None = _setting(None, "The RSA key (PEM).")
    ed25519_selector: Selector | None = _setting(None, "Where the key of a second signature stands.")
    ed25519_key_file: Path | None = _setting(None, "The Ed25519 key (PEM) of that signature.")

    @model_validator(mode="after")
    def _check_complete(self) -> Self:
        given = [name for name, value in self if value is not None]
        needed = {"domain", "selector", "key_file"} if given else set()
        if given and any(name.startswith("ed25519") for name in given):
            needed |= {"ed25519_selector", "ed25519_key_file"}
        if missing := sorted(needed.difference(given)):
            names = [f"{PREFIX}DKIM{NESTING}{name.upper()}" for name in (missing[0], given[0])]
            raise ValueError(f"setting {names[0]} is not set, but {names[1]} is, and they go together")
        return self


class Hooks(_Part):
    """What proves that a relay's call to /hooks/bounce/ is its; one that is not set is not there."""

    ses_topics: Annotated[tuple[str, ...], OneOrMore] = _setting(
        (), "The ARNs of the Amazon SNS topics that report of SES; several as a JSON list."
    )
    postmark_password: SecretStr | None = _setting(
        None, "The password in the address that Postmark calls (HTTP Basic).", repr=False
    )
    mailgun_key: SecretStr | None = _setting(None, "Mailgun's key for signing webhooks.", repr=False)
    sendgrid_key: str | None = _setting(None, "SendGrid's public key of its signed event webhook.")
    sparkpost_password: SecretStr | None = _setting(None, "The password that SparkPost sends (HTTP Basic).", repr=False)
    generic_secret: SecretStr | None = _setting(
        None, "The secret of the generic hook (Standard Webhooks: whsec_…, or any text).", repr=False
    )


class Web(_Part):
    """Where the web pages are served."""

    host: Host = _setting("127.0.0.1", "The address the web pages are served on.")
    port: int = _setting("8000", "Its port; 0: any that is free.", ge=0, le=65535)
    operator_password: SecretStr | None = _setting(
        None, "Opens the operator pages (or its hash, see `newsletter password`); none: this machine alone.", repr=False
    )


class Settings(BaseSettings):
    """The settings in force. Read them with `load_settings`; they never change while a command runs."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX,
        env_nested_delimiter=NESTING,
        enable_decoding=False,
        frozen=True,
        extra="forbid",
        validate_default=True,
        hide_input_in_errors=True,
        str_strip_whitespace=True,
    )

    name: Text | None = _setting(None, "What the newsletter is called; none: the name in FROM.")
    from_: Sender | None = _setting(
        None, "Who the mails are from: Name <news@example.org>.", validation_alias=f"{PREFIX}FROM"
    )
    reply_to: Email | None = _setting(None, "The address that answers go to; none: the one in FROM.")
    postal_address: Lines | None = _setting(None, "The sender's postal address, at the foot of every mail.")
    language: Language = _setting("en", "The language of mails and pages for readers who chose none.")
    timezone: Zone = _setting("UTC", "The time zone of SCHEDULE, and of readers who chose none.")
    base_url: BaseUrl = _setting("http://127.0.0.1:8000", "The public address of the web pages.")
    secret_key: Annotated[tuple[SecretKey, ...], OneOrMore] = _setting(
        (), "Signs links; 32 characters at least; several as a JSON list, newest first.", repr=False
    )
    database_url: DatabaseUrl = _setting(
        "sqlite:///newsletter.db",
        "Where everything is kept: sqlite:///FILE or postgresql://USER:PASSWORD@HOST/DATABASE.",
        repr=False,
    )
    briefs: Annotated[tuple[Source, ...], OneOrMore] = _setting(
        "briefs", "The folder or feed with the briefs; several as a JSON list.", repr=False
    )
    allow_private_feeds: bool = _setting(
        "false", "Whether feeds may lie at private addresses that BRIEFS does not name."
    )
    topics: Path = _setting("subscribers/topics.toml", "The catalogue of topics.")
    templates: Path | None = _setting(None, "A folder that overrides the built-in templates, file by file.")
    theme: Theme = _setting("brief", "How mails look: brief, cards, or the folder of a theme of your own in TEMPLATES.")
    embed_images: bool = _setting(
        "false", "Whether the pictures of stories travel within mails, instead of being linked."
    )
    subject: Subject | None = _setting(None, "A pattern for subjects, of {lead}, {count}, {title}, {name} and {date}.")
    smtp: Smtp = Field(default_factory=Smtp)
    relays: Annotated[tuple[Relay, ...], JsonList] = _setting(
        (), "Several SMTP servers: a JSON list of the SMTP__ names and a weight.", repr=False
    )
    domain_limits: Annotated[dict[Domain, DomainLimit], JsonObject] = _setting(
        _PROVIDER_LIMITS, "Limits a recipient domain: connections, and rate in mails a second."
    )
    schedule: CronLine | None = _setting(None, "When issues go out: five cron fields in TIMEZONE; none: only by hand.")
    local_time: bool = _setting("false", "Whether SCHEDULE counts in each reader's own time zone.")
    misfire_grace: Seconds = _setting("21600", "Seconds a missed run may be late and still go out.")
    retry_delays: Annotated[tuple[Seconds, ...], JsonList] = _setting(
        "[300,900,1800,3600,7200,14400]", "Seconds between the attempts of a delivery."
    )
    expire_after: Seconds = _setting("86400", "Seconds after which a delivery is given up.")
    on_uncertain: Literal["resend", "hold"] = _setting(
        "resend", "What follows when a reply got lost: resend, or hold for the operator."
    )
    worker_lease: Lease = _setting(
        "60", "Seconds after which others take over from a worker that is not heard of (PostgreSQL)."
    )
    bounce_domain: Domain | None = _setting(None, "The domain of return paths: b+TOKEN@ it.")
    bounce_mailbox: Mailbox | None = _setting(
        None, "Where bounces arrive: imaps://USER:PASSWORD@HOST/INBOX or maildir:PATH.", repr=False
    )
    hooks: Hooks = Field(default_factory=Hooks)
    dkim: Dkim = Field(default_factory=Dkim)
    archive: bool = _setting("true", "Whether past issues are shown to everybody (/archive, /feed.xml).")
    alert_to: Email | None = _setting(None, "An address that gets the alarms, beside the log.")
    retain: Days = _setting(
        "400",
        "Days after which attempts and rendered mails are pruned; the counts stay.",
        validation_alias=f"{PREFIX}RETAIN_DAYS",
    )
    test_to: Annotated[tuple[Email, ...], OneOrMore] = _setting(
        (), "The addresses that the preview may send a test to; several as a JSON list."
    )
    web: Web = Field(default_factory=Web)
    log_format: Literal["text", "json"] = _setting("text", "text or json.")
    log_level: Level = _setting("info", "debug, info, warning or error.")
    log_addresses: bool = _setting("false", "Whether the log shows readers' addresses whole; else they are masked.")

    def require_from(self) -> From:
        """Who the mails are from; ConfigError where it is not set."""
        if self.from_ is None:
            raise ConfigError(_describe_missing("FROM", "Name <news@your-domain>"))
        return self.from_

    def require_secret_key(self) -> tuple[str, ...]:
        """The keys that sign links, newest first, in the clear; ConfigError where none is set."""
        if not self.secret_key:
            raise ConfigError(_describe_missing("SECRET_KEY", "(32 random characters or more)"))
        return tuple(key.get_secret_value() for key in self.secret_key)


class SettingRow(NamedTuple):
    """A line of the reference: the full name, the default as one would write it (empty: unset), and the meaning."""

    name: str
    default: str
    meaning: str


def describe_settings() -> list[SettingRow]:
    """Every setting, in the order of the table."""
    return [
        SettingRow(name, field.default if isinstance(field.default, str) else "", str(field.description))
        for name, _, field in walk_fields()
    ]


def walk_fields() -> Iterator[tuple[str, tuple[str, ...], FieldInfo]]:
    """Each setting's full name, its place in a validation error, and its field."""
    for key, field in Settings.model_fields.items():
        if isinstance(field.annotation, type) and issubclass(field.annotation, _Part):
            for inner, inner_field in field.annotation.model_fields.items():
                yield f"{PREFIX}{key}{NESTING}{inner}".upper(), (key, inner), inner_field
        else:
            place = str(field.validation_alias or key)
            yield f"{PREFIX}{place.removeprefix(PREFIX)}".upper(), (place,), field


def _describe_missing(name: str, text: str) -> str:
    return f"setting {PREFIX}{name} is not set and is needed here: write {PREFIX}{name}={text} into .env"
