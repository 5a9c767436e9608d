"""Settings: every name of the contract, its default, and one sentence for whatever does not fit."""

from datetime import timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from pydantic import ValidationError

from newsletter.core.cron import parse_cron
from newsletter.core.errors import ConfigError
from newsletter.settings import DomainLimit, From, Settings, describe_settings, load_settings
from newsletter.settings.shown import show_settings
from newsletter.settings.values import mask_credentials

ROOT = Path(__file__).parents[2]
KEY = "0123456789abcdef0123456789abcdef"
CONTRACT = {
    "NAME": "", "FROM": "", "REPLY_TO": "", "POSTAL_ADDRESS": "", "LANGUAGE": "en", "TIMEZONE": "UTC",
    "BASE_URL": "http://127.0.0.1:8000", "SECRET_KEY": "", "DATABASE_URL": "sqlite:///newsletter.db",
    "BRIEFS": "briefs", "ALLOW_PRIVATE_FEEDS": "false", "TOPICS": "subscribers/topics.toml", "TEMPLATES": "",
    "THEME": "brief", "EMBED_IMAGES": "false", "SUBJECT": "",
    "SMTP__HOST": "localhost", "SMTP__PORT": "25", "SMTP__USERNAME": "", "SMTP__PASSWORD": "",
    "SMTP__TLS": "opportunistic", "SMTP__CA_FILE": "", "SMTP__CONNECTIONS": "10", "SMTP__RATE": "0",
    "SMTP__TIMEOUT": "60", "RELAYS": "", "SCHEDULE": "", "LOCAL_TIME": "false", "MISFIRE_GRACE": "21600",
    "RETRY_DELAYS": "[300,900,1800,3600,7200,14400]", "EXPIRE_AFTER": "86400", "ON_UNCERTAIN": "resend",
    "WORKER_LEASE": "60", "BOUNCE_DOMAIN": "", "BOUNCE_MAILBOX": "",
    "HOOKS__SES_TOPICS": "", "HOOKS__POSTMARK_PASSWORD": "",
    "HOOKS__MAILGUN_KEY": "", "HOOKS__SENDGRID_KEY": "", "HOOKS__SPARKPOST_PASSWORD": "", "HOOKS__GENERIC_SECRET": "",
    "DKIM__DOMAIN": "", "DKIM__SELECTOR": "", "DKIM__KEY_FILE": "",
    "DKIM__ED25519_SELECTOR": "", "DKIM__ED25519_KEY_FILE": "", "ARCHIVE": "true", "ALERT_TO": "",
    "RETAIN_DAYS": "400", "TEST_TO": "",
    "WEB__HOST": "127.0.0.1", "WEB__PORT": "8000", "WEB__OPERATOR_PASSWORD": "",
    "LOG_FORMAT": "text", "LOG_LEVEL": "info", "LOG_ADDRESSES": "false",
}  # fmt: skip


@pytest.fixture(autouse=True)
def _empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def load(**texts: str) -> Settings:
    return load_settings(environ={f"NEWSLETTER_{name}": text for name, text in texts.items()})


def refuse(**texts: str) -> str:
    with pytest.raises(ConfigError) as caught:
        load(**texts)
    message = str(caught.value)
    assert message.isprintable()
    assert caught.value.__context__ is None or caught.value.__suppress_context__
    return message


def test_knows_exactly_the_names_and_defaults_of_the_contract() -> None:
    rows = {row.name.removeprefix("NEWSLETTER_"): row for row in describe_settings()}
    limits = rows.pop("DOMAIN_LIMITS")
    assert {name: row.default for name, row in rows.items()} == CONTRACT
    assert '"gmail.com":{"connections":5}' in limits.default
    assert all(row.meaning.endswith(".") for row in rows.values())


def test_the_example_file_holds_every_setting_with_its_default_and_loads() -> None:
    example = ROOT / ".env.example"
    lines = example.read_text("utf-8").splitlines()
    written = [line for line in lines if line.removeprefix("# ").startswith("NEWSLETTER_")]
    described = [f"{row.name}={row.default}" if row.default else f"# {row.name}=" for row in describe_settings()]
    assert sorted(written) == sorted(described)
    for index, line in enumerate(lines):
        if line in written:
            assert lines[index - 1].startswith("# ") or lines[index - 1] in written
    assert load_settings(example, environ={}) == load()


def test_types_of_the_defaults() -> None:
    settings = load()
    assert settings.timezone == ZoneInfo("UTC")
    assert settings.briefs == ("briefs",)
    assert settings.topics == Path("subscribers/topics.toml")
    assert settings.retry_delays[:2] == (timedelta(minutes=5), timedelta(minutes=15))
    assert (settings.expire_after, settings.retain) == (timedelta(days=1), timedelta(days=400))
    assert settings.smtp.timeout == timedelta(seconds=60)
    assert (settings.smtp.port, settings.smtp.rate, settings.local_time) == (25, 0.0, False)
    assert (settings.relays, settings.secret_key) == ((), ())
    assert (settings.from_, settings.schedule, settings.dkim.domain, settings.smtp.password) == (None,) * 4


def test_reads_every_setting() -> None:
    settings = load(
        NAME="The Daily", FROM='"Daily, Zürich" <news@bücher.example>', REPLY_TO="desk@example.org",
        POSTAL_ADDRESS="1 Main Street\nTown", LANGUAGE="pt-BR", TIMEZONE="Asia/Kathmandu",
        BASE_URL="https://example.org/news/", SECRET_KEY=f'["{KEY}","{KEY[::-1]}"]',
        DATABASE_URL="postgresql://me:word@db/news", BRIEFS='["briefs","https://example.org/feed.xml"]',
        TOPICS="t.toml", TEMPLATES="mine", SMTP__HOST="mail.example.org", SMTP__PORT="587", SMTP__USERNAME="me",
        SMTP__PASSWORD="word", SMTP__TLS="starttls", SMTP__CA_FILE="ca.pem", SMTP__CONNECTIONS="2", SMTP__RATE="1.5",
        SMTP__TIMEOUT="0.5", RELAYS='[{"HOST":"one.example","PASSWORD":"word"},{"host":"two.example","weight":3}]',
        DOMAIN_LIMITS='{"Bücher.example":{"rate":20}}', SCHEDULE="0 7 * * mon-fri", LOCAL_TIME="true",
        MISFIRE_GRACE="60", RETRY_DELAYS="[]", EXPIRE_AFTER="90", ON_UNCERTAIN="hold",
        BOUNCE_DOMAIN="Bounces.example.org", BOUNCE_MAILBOX="imaps://me:word@imap.example.org/INBOX",
        HOOKS__SES_TOPICS='["arn:one","arn:two"]', HOOKS__POSTMARK_PASSWORD="word", HOOKS__MAILGUN_KEY="word",
        HOOKS__SENDGRID_KEY="MFkw", HOOKS__SPARKPOST_PASSWORD="word", HOOKS__GENERIC_SECRET="whsec_d29yZA==",
        DKIM__DOMAIN="example.org", DKIM__SELECTOR="news", DKIM__KEY_FILE="rsa.pem",
        DKIM__ED25519_SELECTOR="news2", DKIM__ED25519_KEY_FILE="ed.pem", ALERT_TO="ops@example.org",
        RETAIN_DAYS="30", WEB__HOST="::1", WEB__PORT="0", WEB__OPERATOR_PASSWORD="word", LOG_FORMAT="json",
        LOG_LEVEL="DEBUG", TEST_TO='["me@example.org","you@example.org"]',
    )  # fmt: skip
    assert settings.hooks.ses_topics == ("arn:one", "arn:two")
    assert settings.test_to == ("me@example.org", "you@example.org")
    assert settings.from_ == From("Daily, Zürich", "news@xn--bcher-kva.example")
    assert (settings.name, settings.language, settings.postal_address) == ("The Daily", "pt-BR", "1 Main Street\nTown")
    assert settings.base_url == "https://example.org/news"
    assert settings.require_secret_key() == (KEY, KEY[::-1])
    assert settings.briefs == ("briefs", "https://example.org/feed.xml")
    assert settings.smtp.password is not None
    assert settings.smtp.password.get_secret_value() == "word"
    assert [(relay.host, relay.weight, relay.port) for relay in settings.relays] == [
        ("one.example", 1, 25),
        ("two.example", 3, 25),
    ]
    assert settings.domain_limits == {"xn--bcher-kva.example": DomainLimit(connections=0, rate=20)}
    assert settings.schedule == parse_cron("0 7 * * mon-fri")
    assert (settings.local_time, settings.retry_delays, settings.on_uncertain) == (True, (), "hold")
    assert (settings.bounce_domain, settings.alert_to) == ("bounces.example.org", "ops@example.org")
    assert (settings.retain, settings.web.port, settings.log_level) == (timedelta(days=30), 0, "debug")
    assert "word" not in f"{settings!r} {settings}"
    assert KEY not in repr(settings)


@pytest.mark.parametrize("text", ["maildir:/var/mail/bounces", "imaps://me:word@imap.example.org:993/INBOX"])
def test_reads_both_kinds_of_mailbox(text: str) -> None:
    assert load(BOUNCE_MAILBOX=text).bounce_mailbox == text


def test_one_key_may_stand_bare() -> None:
    assert load(SECRET_KEY=KEY).require_secret_key() == (KEY,)


def test_settings_do_not_change() -> None:
    settings = load()
    with pytest.raises(ValidationError, match="frozen"):
        settings.name = "other"
    with pytest.raises(ValidationError, match="frozen"):
        settings.smtp.port = 26


def test_from_and_secret_key_are_demanded_only_when_asked_for() -> None:
    settings = load()
    with pytest.raises(ConfigError, match="setting NEWSLETTER_FROM is not set and is needed here"):
        settings.require_from()
    with pytest.raises(ConfigError, match="setting NEWSLETTER_SECRET_KEY is not set and is needed here"):
        settings.require_secret_key()
    assert load(FROM="news@example.org").require_from() == From("", "news@example.org")


@pytest.mark.parametrize(
    ("name", "text", "reason"),
    [
        ("NAME", "a\nb", " is 'a\\nb': it has control characters"),
        ("POSTAL_ADDRESS", "a\tb", " is 'a\\tb': it has control characters"),
        ("FROM", "The Daily", ": 'The Daily' is not an email address: an email address must have an @-sign"),
        ("FROM", "a\rb <news@example.org>", ": the name 'a\\rb' has control characters"),
        ("REPLY_TO", "desk@", ": 'desk@' is not an email address: there must be something after the @-sign"),
        ("ALERT_TO", "Ops <ops@example.org>", "'Ops <ops@example.org>' is not an email address"),
        ("LANGUAGE", "english please", " is 'english please': it is not a language tag such as en or pt-BR"),
        ("TIMEZONE", "Mars/Olympus", ": 'Mars/Olympus' is not a time zone such as Europe/Berlin"),
        ("BASE_URL", "example.org", ": 'example.org' is not an address such as https://news.example.org"),
        ("BASE_URL", "ftp://example.org", "is not an address such as"),
        ("BASE_URL", "https://example.org:99999", "is not an address such as"),
        ("BASE_URL", "https://example.org/a b", "is not an address such as"),
        ("BASE_URL", "https://bücher.example", "is not an address such as"),
        ("BASE_URL", "https://[::1", "is not an address such as"),
        ("BASE_URL", "https://example.org/?a", "has more than a scheme, a host and a path"),
        ("BRIEFS", "ftp://example.org/feed", "is neither a folder nor the http or https address of a feed"),
        ("BRIEFS", "a\nb", ": it is not the name of a folder"),
        ("BRIEFS", "[]", ": the list is empty"),
        ("BRIEFS", '["briefs",3]', ": item 2: input should be a valid string"),
        ("SMTP__HOST", "mail example", " is 'mail example': it is not the name of a host"),
        ("SMTP__PORT", "smtp", " is 'smtp': input should be a valid integer"),
        ("SMTP__PORT", "0", " is '0': input should be greater than or equal to 1"),
        ("SMTP__TLS", "ssl", " is 'ssl': input should be 'none', 'opportunistic', 'starttls' or 'implicit'"),
        ("SMTP__RATE", "-1", "greater than or equal to 0"),
        ("SMTP__RATE", "inf", "finite number"),
        ("SMTP__TIMEOUT", "soon", " is 'soon': it is not a number of seconds"),
        ("MISFIRE_GRACE", "-1", "it is not a number of seconds"),
        ("EXPIRE_AFTER", "1e300", "it is not a number of seconds"),
        ("EXPIRE_AFTER", "nan", "it is not a number of seconds"),
        ("RETRY_DELAYS", "300", " is '300': it is not a JSON list"),
        ("RETRY_DELAYS", "[300,", "it is not a JSON list (Expecting value, character 6)"),
        ("RETRY_DELAYS", "[" * 100_000, "it is not a JSON list"),
        ("RETRY_DELAYS", "[300,true]", " is '[300,true]': item 2: it is not a number of seconds"),
        ("DOMAIN_LIMITS", "[]", "it is not a JSON object"),
        ("DOMAIN_LIMITS", '{"gmail":{}}', "gmail: 'gmail' is not a mail domain such as example.org"),
        ("DOMAIN_LIMITS", '{"a.org":{"speed":1}}', "a.org, speed: extra inputs are not permitted"),
        ("SCHEDULE", "0 25 * * *", " is '0 25 * * *': '25' does not fit the hour, which goes from 0 to 23"),
        ("SCHEDULE", "@daily", "has 1 fields, but a cron line has five"),
        ("LOCAL_TIME", "perhaps", " is 'perhaps': input should be a valid boolean"),
        ("ON_UNCERTAIN", "drop", "input should be 'resend' or 'hold'"),
        ("BOUNCE_DOMAIN", "example", ": 'example' is not a mail domain"),
        ("DKIM__SELECTOR", "a b", "it is not a DKIM selector"),
        ("RETAIN_DAYS", "0", "it is not a whole number of days, 1 or more"),
        ("RETAIN_DAYS", "forever", "it is not a whole number of days, 1 or more"),
        ("RELAYS", '["mail.example"]', ": item 1: input should be a valid dictionary"),
        ("LOG_LEVEL", "loud", " is 'loud': input should be 'debug', 'info', 'warning' or 'error'"),
    ],
)
def test_names_a_value_that_does_not_fit(name: str, text: str, reason: str) -> None:
    message = refuse(**{name: text})
    assert message.startswith(f"setting NEWSLETTER_{name} (environment)")
    assert reason in message
    assert len(message) < 300


@pytest.mark.parametrize(
    ("name", "text", "reason"),
    [
        ("SECRET_KEY", "hunter2", ": a key has 32 characters at least, this one 7"),
        ("SECRET_KEY", f'["{KEY}","hunter2"]', ": item 2: a key has 32 characters at least, this one 7"),
        ("SECRET_KEY", '["hunter2"', ": it is not a JSON list"),
        ("DATABASE_URL", "mysql://me:hunter2@db/news", ": 'mysql://***@db/news' is neither sqlite:///FILE nor"),
        ("DATABASE_URL", "sqlite:///", "is neither sqlite:///FILE nor"),
        ("BASE_URL", "https://me:hunter2@example.org", "has more than a scheme, a host and a path"),
        ("BRIEFS", "ftp://me:hunter2@example.org", "'ftp://***@example.org' is neither a folder nor"),
        ("BOUNCE_MAILBOX", "imap://me:hunter2@example.org/INBOX", "it is neither"),
        ("BOUNCE_MAILBOX", "imaps://me:hunter2", "it is neither"),
        ("BOUNCE_MAILBOX", "imaps://me:hunter2@[example.org/INBOX", "it is neither"),
        ("SMTP__TIMEOUT", "0", "must be more than 0 seconds"),
        ("BOUNCE_MAILBOX", "maildir:", "is neither"),
        ("RELAYS", '[{"password":"hunter2","port":"x"}]', ": item 1, port: input should be a valid integer"),
        ("RELAYS", '[{"passwort":"hunter2"}]', ": item 1, passwort: extra inputs are not permitted"),
        ("RELAYS", '[{"password":["hunter2"]}]', ": item 1, password: input should be a valid string"),
    ],
)  # fmt: skip
def test_no_message_tells_a_secret(name: str, text: str, reason: str) -> None:
    message = refuse(**{name: text})
    assert message.startswith(f"setting NEWSLETTER_{name} (environment)")
    assert reason in message
    assert "hunter2" not in message


@pytest.mark.parametrize(
    ("address", "masked"),
    [
        ("postgresql://me:p@ss/word@db/news", "postgresql://***@db/news"),
        ("postgresql:/me:word@db", "postgresql:/***@db"),
        ("me:word@db", "me:***@db"),
        ("sqlite:///a.db", "sqlite:///a.db"),
    ],
)
def test_masks_names_and_passwords(address: str, masked: str) -> None:
    assert mask_credentials(address) == masked


@pytest.mark.parametrize(
    ("texts", "missing"),
    [
        ({"DKIM__DOMAIN": "example.org", "DKIM__SELECTOR": "news"}, "DKIM__KEY_FILE"),
        ({"DKIM__KEY_FILE": "rsa.pem"}, "DKIM__DOMAIN"),
        ({"DKIM__ED25519_SELECTOR": "news"}, "DKIM__DOMAIN"),
        (
            {"DKIM__DOMAIN": "a.org", "DKIM__SELECTOR": "s", "DKIM__KEY_FILE": "k", "DKIM__ED25519_KEY_FILE": "e"},
            "DKIM__ED25519_SELECTOR",
        ),
    ],
)
def test_settings_of_a_signature_go_together(texts: dict[str, str], missing: str) -> None:
    assert refuse(**texts).startswith(f"setting NEWSLETTER_{missing} is not set, but NEWSLETTER_DKIM__")


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("FRM", "; did you mean NEWSLETTER_FROM?"),
        ("SMTP__PASWORD", "; did you mean NEWSLETTER_SMTP__PASSWORD?"),
        ("smtp__host", "; did you mean NEWSLETTER_SMTP__HOST?"),
        ("XYZZY_PLUGH", ""),
    ],
)
@pytest.mark.parametrize("text", ["hunter2", ""])
def test_names_an_unknown_setting_but_not_its_value(name: str, hint: str, text: str) -> None:
    assert refuse(**{name: text}) == f"setting NEWSLETTER_{name} (environment) is unknown{hint}"


@pytest.mark.parametrize("name", ["SMTP", "RETAIN", "FROM_", "DKIM__", ""])
def test_only_the_names_of_the_contract_are_settings(name: str) -> None:
    assert f"setting NEWSLETTER_{name} (environment) is unknown" in refuse(**{name: "{}"})


def test_other_names_are_ignored() -> None:
    assert load_settings(environ={"PATH": "/bin", "newsletter_from": "x", "NEWSLETTER": "x"}) == load()


def test_an_empty_text_is_not_set() -> None:
    assert load(TIMEZONE="", SMTP__PORT=" ", SECRET_KEY="", FROM="") == load()


def test_reads_the_file_of_the_folder_and_the_environment_wins(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("NEWSLETTER_LANGUAGE=de\nNEWSLETTER_TIMEZONE=Europe/Berlin\nOTHER=${HOME}\n")
    settings = load(LANGUAGE="fr", TIMEZONE="")
    assert (settings.language, settings.timezone.key) == ("fr", "Europe/Berlin")


def test_the_real_environment_is_read_where_none_is_given(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NEWSLETTER_SMTP__HOST", "mail.example.org")
    assert load_settings().smtp.host == "mail.example.org"


def test_a_named_file_takes_the_place_of_the_one_in_the_folder(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("NEWSLETTER_LANGUAGE=de\n")
    other = tmp_path / "other.env"
    other.write_text("NEWSLETTER_NAME=Other\n")
    settings = load_settings(other, environ={})
    assert (settings.name, settings.language) == ("Other", "en")


def test_reads_a_file_as_people_write_it(tmp_path: Path) -> None:
    (tmp_path / ".env").write_bytes(
        b"\xef\xbb\xbf# a comment\r\n\r\nexport NEWSLETTER_NAME='${HOME} $x'  # the name\r\n"
        b'NEWSLETTER_POSTAL_ADDRESS="1 Main Street\\nTown"\r\n'
        b"NEWSLETTER_FROM=Z\xc3\xbcri Post <news@example.org>\r\n"
        b'NEWSLETTER_DOMAIN_LIMITS={"a.org":{"rate":1}}\r\n'
        b"NEWSLETTER_LANGUAGE=de\r\nNEWSLETTER_LANGUAGE=\r\nNEWSLETTER_TOPICS\r\nnot a line\r\n"
    )
    settings = load()
    assert settings.name == "${HOME} $x"
    assert settings.postal_address == "1 Main Street\nTown"
    assert settings.require_from() == From("Züri Post", "news@example.org")
    assert list(settings.domain_limits) == ["a.org"]
    assert settings.language == "en"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("\n# x\n\nNEWSLETTER_FRM=x\n", "setting NEWSLETTER_FRM (file .env, line 4) is unknown; did you mean"),
        ('A="1\n2"\n\n\nNEWSLETTER_WEB__PORT=x\n', "setting NEWSLETTER_WEB__PORT (file .env, line 5) is 'x': input"),
        ("\r\n\r\nNEWSLETTER_TIMEZONE=X\r\n", "setting NEWSLETTER_TIMEZONE (file .env, line 3): 'X' is not a"),
        ('\nNEWSLETTER_FROM="News" <a@b.org>\n', "file .env, line 2 is not NAME=value; quotes go around the whole"),
        ("NEWSLETTER_SECRET_KEY=hunter2", "setting NEWSLETTER_SECRET_KEY (file .env, line 1): a key has 32 characters"),
    ],
)  # fmt: skip
def test_names_the_line_of_the_file(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / ".env").write_text(text, newline="")
    assert refuse().startswith(message)


def test_names_a_file_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"file gone\.env, which should hold the settings, cannot be read: No such"):
        load_settings(Path("gone.env"), environ={})
    (tmp_path / ".env").mkdir()
    assert refuse().startswith("file .env, which should hold the settings, cannot be read: Is a directory")


def test_names_an_octet_that_is_not_utf8(tmp_path: Path) -> None:
    (tmp_path / ".env").write_bytes(b"NEWSLETTER_NAME=Z\xfcrich\n")
    assert refuse() == "file .env is not UTF-8: octet 18 is 0xfc"


def test_what_is_shown_of_the_settings_is_what_one_would_write_and_no_secret() -> None:
    given = {
        "FROM": '"Daily, X" <news@example.org>',
        "SECRET_KEY": f'["{KEY}"]', "DATABASE_URL": "postgresql://me:h1dden@db/news",
        "BRIEFS": '["briefs","https://user:h1dden@example.org/feed.xml"]',
        "SMTP__PASSWORD": "h1dden", "SMTP__TIMEOUT": "0.5",
        "RELAYS": '[{"HOST":"one.example","PASSWORD":"h1dden","TIMEOUT":"7","weight":3}]',
        "SCHEDULE": "0 7 * * mon-fri",
        "BOUNCE_MAILBOX": "imaps://me:h1dden@imap.example.org/INBOX", "RETAIN_DAYS": "30", "LOCAL_TIME": "true",
        "WEB__OPERATOR_PASSWORD": "h1dden", "SMTP__RATE": "1.5", "TIMEZONE": "Asia/Kathmandu",
    }  # fmt: skip
    rows = {row["name"].removeprefix("NEWSLETTER_"): row for row in show_settings(load(**given))}
    assert list(rows) == [row.name.removeprefix("NEWSLETTER_") for row in describe_settings()]
    assert not any("h1dden" in row["value"] or KEY in row["value"] for row in rows.values())
    told = {name: rows[name]["value"] for name in given}
    assert told == {
        **given,
        "FROM": "Daily, X <news@example.org>",
        "SECRET_KEY": '["••••••"]',
        "DATABASE_URL": "postgresql://***@db/news",
        "BRIEFS": '["briefs","https://***@example.org/feed.xml"]',
        "SMTP__PASSWORD": "••••••",
        "RELAYS": '[{"host":"one.example","password":"••••••","timeout":7,"weight":3}]',
        "BOUNCE_MAILBOX": "imaps://***@imap.example.org/INBOX",
        "WEB__OPERATOR_PASSWORD": "••••••",
    }
    assert [name for name, row in rows.items() if not row["is_default"]] == [name for name in rows if name in given]
