"""A DNS server on loopback, by UDP and TCP, that answers from a zone and misbehaves on request.

    with DnsServer({("news.dev", "TXT"): ["v=spf1 -all"]}) as server:
        resolver = server.make_resolver()

A TXT longer than 255 octets goes out as several strings, an answer longer than 512 by UDP is cut (TC). `silent` names
are not answered, `failing` ones get SERVFAIL.
"""

import socketserver
import struct
import threading
from collections.abc import Collection, Mapping, Sequence
from typing import Any, Self

import dns.flags
import dns.message
import dns.rcode
import dns.rdatatype
import dns.rrset
from dns.resolver import Resolver

Zone = Mapping[tuple[str, str], Sequence[str]]
STRING_OCTETS = 255
UDP_OCTETS = 512


class DnsServer:
    """See the module. `asked` are the questions that came by TCP and UDP: (name, type, "udp" or "tcp")."""

    def __init__(self, zone: Zone, *, silent: Collection[str] = (), failing: Collection[str] = ()) -> None:
        self.asked: list[tuple[str, str, str]] = []
        self._zone, self._silent, self._failing = zone, silent, failing

    def __enter__(self) -> Self:
        answer = self.answer

        class OverUdp(socketserver.BaseRequestHandler):
            def handle(self) -> None:
                octets, socket = self.request
                if reply := answer(octets, "udp"):
                    socket.sendto(reply, self.client_address)

        class OverTcp(socketserver.StreamRequestHandler):
            def handle(self) -> None:
                (length,) = struct.unpack("!H", self.rfile.read(2))
                if reply := answer(self.rfile.read(length), "tcp"):
                    self.wfile.write(struct.pack("!H", len(reply)) + reply)

        self._servers: list[Any] = _listen(OverUdp, OverTcp)
        self.port: int = self._servers[0].server_address[1]
        for server in self._servers:
            server.daemon_threads = True
            threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        for server in self._servers:
            server.shutdown()
            server.server_close()

    def make_resolver(self) -> Resolver:
        """A resolver that asks this server alone."""
        resolver = Resolver(configure=False)
        resolver.nameservers, resolver.port, resolver.timeout = ["127.0.0.1"], self.port, 0.5
        return resolver

    def answer(self, octets: bytes, way: str) -> bytes | None:
        """The reply to a query, None for silence."""
        query = dns.message.from_wire(octets)
        question = query.question[0]
        name, kind = question.name.to_text(omit_final_dot=True).lower(), dns.rdatatype.to_text(question.rdtype)
        self.asked.append((name, kind, way))
        if name in self._silent:
            return None
        reply = dns.message.make_response(query)
        if name in self._failing:
            reply.set_rcode(dns.rcode.SERVFAIL)
            return reply.to_wire()
        known = any(name == other or other.endswith(f".{name}") for other, _ in self._zone)
        if not known:
            reply.set_rcode(dns.rcode.NXDOMAIN)
        if records := self._zone.get((name, kind)):
            texts = [_quote(record) if kind == "TXT" else record for record in records]
            reply.answer.append(dns.rrset.from_text_list(question.name, 60, "IN", kind, texts))
        wire = reply.to_wire()
        if way == "udp" and len(wire) > UDP_OCTETS:
            reply.answer.clear()
            reply.flags |= dns.flags.TC
            return reply.to_wire()
        return wire


def _listen(over_udp: Any, over_tcp: Any) -> list[Any]:
    """Servers on one port, which must be free for both: it is tried until one is."""
    while True:
        tcp = socketserver.ThreadingTCPServer(("127.0.0.1", 0), over_tcp)
        try:
            return [tcp, socketserver.ThreadingUDPServer(("127.0.0.1", tcp.server_address[1]), over_udp)]
        except OSError:
            tcp.server_close()


def _quote(text: str) -> str:
    parts = [text[start : start + STRING_OCTETS] for start in range(0, len(text), STRING_OCTETS)] or [""]
    return " ".join(f'"{part}"' for part in parts)
