"""What the doctor finds in the DNS, asked of a server of the tests' own; and whether it reaches our pages."""

import http.server
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from daemon_house import House
from dkim_keys import make_ed25519_key, make_rsa_key, write_pem, write_record
from dns.resolver import NoResolverConfiguration
from dns_server import DnsServer, Zone
from smtp_server import CERTIFICATE_FILE

from newsletter.bootstrap import Service
from newsletter.core.dkim import Identity, SigningKey
from newsletter.doctor.dns import check_dns
from newsletter.doctor.findings import Finding
from newsletter.doctor.spf import covers
from newsletter.doctor.surroundings import visit

FROM = {"FROM": "News <news@ledger.dev>"}
KEY = SigningKey(
    identity=Identity(domain="ledger.dev", selector="news", algorithm="rsa-sha256"), private=make_rsa_key()
)
GOOD: Zone = {
    ("ledger.dev", "MX"): ["10 mx.ledger.dev."],
    ("ledger.dev", "TXT"): ["some other record", "v=spf1 ip4:192.0.2.0/24 include:spf.relay.dev -all"],
    ("spf.relay.dev", "TXT"): ["v=spf1 ip4:198.51.100.7 a:out.relay.dev mx:relay.dev ~all"],
    ("_dmarc.ledger.dev", "TXT"): ["v=DMARC1; p=quarantine; rua=mailto:d@ledger.dev"],
    ("bounces.ledger.dev", "MX"): ["10 mx.ledger.dev."],
    ("bounces.ledger.dev", "TXT"): ["v=spf1 a -all"],
}


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    house = House(tmp_path / "house", settings=FROM)
    yield house
    house.service.database.close()


def add_keys(house: House) -> dict[str, str]:
    for name, key in (("rsa.pem", make_rsa_key()), ("ed.pem", make_ed25519_key())):
        (house.folder / name).write_bytes(write_pem(key))
    return {
        "DKIM__DOMAIN": "ledger.dev",
        "DKIM__SELECTOR": "news",
        "DKIM__KEY_FILE": str(house.folder / "rsa.pem"),
        "DKIM__ED25519_SELECTOR": "news-ed",
        "DKIM__ED25519_KEY_FILE": str(house.folder / "ed.pem"),
    }


def list_keys(house: House) -> Zone:
    keys = house.open(**add_keys(house)).make_dkim_keys()
    return {(name, "TXT"): [text] for name, text in map(write_record, keys)}


def ask(service: Service, server: DnsServer) -> dict[str, Finding]:
    """The findings by check; of several of one check, the worst."""
    service.__dict__["resolver"] = server.make_resolver()
    order = ("ok", "warn", "fail")
    found: dict[str, Finding] = {}
    for finding in check_dns(service):
        assert (finding.remedy is None) == (finding.state == "ok")
        if finding.check not in found or order.index(finding.state) > order.index(found[finding.check].state):
            found[finding.check] = finding
    return found


def judge(house: House, changes: Zone, check: str, **settings: str) -> Finding:
    with DnsServer({**GOOD, **changes}) as server:
        return ask(house.open(**settings), server)[check]


def test_a_domain_that_is_well(house: House) -> None:
    settings = {**add_keys(house), "BOUNCE_DOMAIN": "bounces.ledger.dev"}
    with DnsServer({**GOOD, **list_keys(house)}) as server:
        found = ask(house.open(**settings), server)
    assert {check: finding.state for check, finding in found.items()} == dict.fromkeys(
        ("dns.from", "dns.spf", "dns.dkim", "dns.dmarc", "dns.bounce_mx", "dns.bounce_spf"), "ok"
    )
    assert found["dns.dmarc"].found == "p=quarantine, reports to mailto:d@ledger.dev"
    assert found["dns.spf"].found == "one record, 3 of 10 lookups"
    ways = {way for name, kind, way in server.asked if name == "news._domainkey.ledger.dev"}
    assert ways == {"udp"}, "two strings in one record"


def test_an_answer_too_long_for_udp_comes_by_tcp(house: House) -> None:
    with DnsServer({**GOOD, ("ledger.dev", "TXT"): ["x" * 600, "v=spf1 -all"]}) as server:
        found = ask(house.open(), server)
    assert found["dns.spf"].state == "ok"
    assert ("ledger.dev", "TXT", "tcp") in server.asked


def test_a_domain_that_the_dns_does_not_know(house: House) -> None:
    with DnsServer({}) as server:
        found = ask(house.open(BOUNCE_DOMAIN="bounces.ledger.dev"), server)
    states = {check: finding.state for check, finding in found.items()}
    assert states == {
        "dns.from": "fail",
        "dns.spf": "warn",
        "dns.dmarc": "warn",
        "dns.bounce_mx": "fail",
        "dns.bounce_spf": "warn",
    }


def test_a_reserved_domain_is_one_line(house: House) -> None:
    (finding,) = check_dns(house.open(FROM="News <news@news.example.org>"))
    assert (finding.check, finding.state, finding.about) == ("dns", "warn", "news.example.org")
    assert list(check_dns(house.open(FROM=""))) == []


@pytest.mark.long
@pytest.mark.parametrize("silent", [True, False])
def test_a_resolver_that_does_not_answer_ends_the_asking(house: House, silent: bool) -> None:
    names = ("ledger.dev",)
    with DnsServer(GOOD, silent=names if silent else (), failing=() if silent else names) as server:
        found = ask(house.open(), server)
    assert list(found) == ["dns"]
    assert found["dns"].state == "warn"
    assert "ledger.dev" in found["dns"].found
    assert "resolv.conf" in str(found["dns"].remedy)


def test_a_machine_without_a_resolver(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail() -> None:
        raise NoResolverConfiguration

    monkeypatch.setattr("dns.resolver.Resolver", fail)
    (finding,) = check_dns(house.open())
    assert (finding.check, finding.state) == ("dns", "warn")


@pytest.mark.parametrize(
    ("texts", "state", "words"),
    [
        ([], "warn", "there is no SPF record"),
        (["v=spf1 -all", "v=spf1 ~all"], "fail", "2 SPF records"),
        (["v=spf1 +all"], "warn", "+all"),
        (["v=spf1 include:nowhere.dev -all"], "fail", "nowhere.dev has no SPF record"),
        (["v=spf1 include:ledger.dev -all"], "fail", "ledger.dev includes itself"),
        (["v=spf1 redirect=spf.relay.dev"], "ok", "one record"),
        (["v=spf1 include:%{i}.spf.relay.dev exists:%{i}.x.dev -all"], "ok", "2 of 10"),
        (["v=spf1 " + "mx " * 11 + "-all"], "fail", "11 times"),
        (["v=spf1 " + " ".join(["include:spf.relay.dev"] * 12) + " -all"], "fail", "of 10 allowed"),
    ],
)
def test_spf(house: House, texts: list[str], state: str, words: str) -> None:
    finding = judge(house, {("ledger.dev", "TXT"): texts}, "dns.spf")
    assert finding.state == state
    assert words in finding.found


@pytest.mark.parametrize(
    ("host", "covered"),
    [
        ("9.9.9.1", True),
        ("8.8.8.8", True),
        ("8.8.4.4", True),
        ("8.8.5.4", True),
        ("2001:4860::1", True),
        ("1.1.1.1", False),
        ("2606:4700::1", False),
        ("relay.ledger.dev", False),
        ("10.0.0.1", True),
        ("127.0.0.1", True),
    ],
)
def test_spf_names_the_relay_or_not(house: House, host: str, covered: bool) -> None:
    zone: Zone = {
        ("ledger.dev", "TXT"): [
            "v=spf1 ip4:9.9.9.0/24 ip4:nonsense a:out.relay.dev mx:relay.dev/24 ip6:2001:4860::/32 -all"
        ],
        ("out.relay.dev", "A"): ["8.8.8.8"],
        ("relay.dev", "MX"): ["10 mx.relay.dev."],
        ("mx.relay.dev", "A"): ["8.8.5.9"],
        ("relay.ledger.dev", "A"): ["1.1.1.1"],
    }
    if host == "8.8.4.4":
        zone = {**zone, ("out.relay.dev", "A"): ["8.8.4.4"]}
    finding = judge(house, zone, "dns.spf", SMTP__HOST=host)
    assert finding.state == ("ok" if covered else "warn"), finding
    assert covered or "does not name" in finding.found


def test_spf_that_lets_only_softly_pass_names_nobody() -> None:
    zone = {("a.dev", "TXT"): ["v=spf1 ~ip4:8.8.8.8 -all"]}
    assert covers(lambda name, kind: zone.get((name, kind), []), "a.dev", "8.8.8.8") == "8.8.8.8"


@pytest.mark.parametrize(
    ("record", "state", "words"),
    [
        ([], "fail", "there is no such record"),
        (["v=DKIM1; p=AAAA", "v=DKIM1; p=BBBB"], "fail", "2 records"),
        (["v=DKIM1; k=rsa; p="], "fail", "revoked"),
        (["v=DKIM1; k=ed25519; p=AAAA"], "fail", "for ed25519, our key is rsa"),
        (["v=DKIM1; p=!!"], "fail", "not base64"),
        (["v=DKIM1; p=AAAA"], "fail", "no RSA key"),
        (["v=DKIM2; p=AAAA"], "fail", "no DKIM key"),
        (["other"], "fail", "another key"),
        (["test"], "warn", "t=y"),
    ],
)
def test_dkim(house: House, record: list[str], state: str, words: str) -> None:
    settings = {name: value for name, value in add_keys(house).items() if "ED25519" not in name}
    if record == ["other"]:
        other = SigningKey(identity=KEY.identity, private=make_rsa_key(1024))
        record = [write_record(other)[1]]
    elif record == ["test"]:
        record = ["t=y; " + write_record(KEY)[1].replace("v=DKIM1; ", "")]
    finding = judge(house, {("news._domainkey.ledger.dev", "TXT"): record}, "dns.dkim", **settings)
    assert finding.state == state
    assert words in finding.found


def test_an_ed25519_record_of_another_key(house: House) -> None:
    changes = {**list_keys(house), ("news-ed._domainkey.ledger.dev", "TXT"): ["v=DKIM1; k=ed25519; p=AAAA"]}
    assert "another key" in judge(house, changes, "dns.dkim", **add_keys(house)).found


@pytest.mark.parametrize(
    ("zone", "state", "about", "words"),
    [
        ({"_dmarc.ledger.dev": []}, "warn", "_dmarc.ledger.dev", "no DMARC record"),
        ({"_dmarc.ledger.dev": [], "_dmarc.dev": ["v=DMARC1; p=reject"]}, "ok", "_dmarc.dev", "p=reject, no reports"),
        ({"_dmarc.ledger.dev": ["v=DMARC1; p=none", "v=DMARC1; p=reject"]}, "fail", "_dmarc.ledger.dev", "2 records"),
        ({"_dmarc.ledger.dev": ["v=DMARC1; p=everything"]}, "fail", "_dmarc.ledger.dev", "everything"),
        ({"_dmarc.ledger.dev": ["v=DMARC1; rua=mailto:a@b.dev"]}, "ok", "_dmarc.ledger.dev", "p=none"),
    ],
)
def test_dmarc(house: House, zone: dict[str, list[str]], state: str, about: str, words: str) -> None:
    finding = judge(house, {(name, "TXT"): texts for name, texts in zone.items()}, "dns.dmarc")
    assert (finding.state, finding.about) == (state, about)
    assert words in finding.found


def test_a_bounce_domain_that_takes_no_mail(house: House) -> None:
    finding = judge(house, {("b.ledger.dev", "MX"): ["0 ."]}, "dns.bounce_mx", BOUNCE_DOMAIN="b.ledger.dev")
    assert finding.state == "fail"
    assert "RFC 7505" in finding.found


@contextmanager
def serve(content: bytes, *, tls: bool = False) -> Iterator[str]:
    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_: object) -> None:
            """Nobody reads it."""

    with http.server.HTTPServer(("127.0.0.1", 0), Handler) as server:
        if tls:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(CERTIFICATE_FILE)
            server.socket = context.wrap_socket(server.socket, server_side=True)
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        yield f"http{'s' if tls else ''}://127.0.0.1:{server.server_address[1]}"
        server.shutdown()


@pytest.mark.parametrize(
    ("content", "state", "words"),
    [
        (b'{"status":"ok"}', "ok", "which say: ok"),
        (b"<h1>Welcome to the web server", "warn", "is not ours"),
        (b"[]", "warn", "is not ours"),
    ],
)
def test_who_answers_at_our_address(content: bytes, state: str, words: str) -> None:
    with serve(content) as address:
        finding = visit(address)
    assert finding.state == state
    assert words in finding.found


def test_nobody_answers_at_our_address_or_with_a_wrong_certificate() -> None:
    assert visit("http://127.0.0.1:1").state == "warn"
    with serve(b"", tls=True) as address:
        finding = visit(address)
    assert finding.state == "fail"
    assert "certificate" in finding.found
