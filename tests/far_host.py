"""Another host, as far as the network goes: a network namespace at the end of a link that can be cut (Linux, root).

What listens on loopback or on a Unix socket here is reached from there through a forwarder on the near end of the link.
"""

import os
import shutil
import socket
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from itertools import count

CAN_BE_MADE = os.name == "posix" and os.geteuid() == 0 and shutil.which("ip") is not None
_numbers = count(os.getpid() % 200)


class FarHost:
    """`prefix` is put before a command that shall run there; `near` is our own address on the link."""

    def __init__(self) -> None:
        number = next(_numbers) % 250
        self.name, self._link = f"far{number}", f"near{number}"
        self.near, self._far = f"10.231.{number}.1", f"10.231.{number}.2"
        self.prefix = ("ip", "netns", "exec", self.name)
        self._listening: list[socket.socket] = []

    def make(self) -> None:
        """Make the namespace and the link."""
        _ip("netns", "add", self.name)
        _ip("link", "add", self._link, "type", "veth", "peer", "name", "eth0", "netns", self.name)
        _ip("addr", "add", f"{self.near}/30", "dev", self._link)
        _ip("link", "set", self._link, "up")
        for words in (("addr", "add", f"{self._far}/30", "dev", "eth0"), ("link", "set", "eth0", "up")):
            _ip("-n", self.name, *words)

    def unmake(self) -> None:
        """Take everything away."""
        for listening in self._listening:
            listening.close()
        _ip("netns", "del", self.name)

    def cut(self) -> None:
        """Let nothing through any more; nobody is told."""
        _ip("link", "set", self._link, "down")

    def mend(self) -> None:
        """Let everything through again."""
        _ip("link", "set", self._link, "up")

    def forward(self, target: "str | tuple[str, int]") -> int:
        """The port of `near` that leads to a Unix socket or to an address of this host."""
        listening = socket.create_server((self.near, 0))
        self._listening.append(listening)
        threading.Thread(target=_accept, args=(listening, target), daemon=True).start()
        return int(listening.getsockname()[1])


@contextmanager
def make_far_host() -> Iterator[FarHost]:
    """A far host while the block lasts."""
    host = FarHost()
    host.make()
    try:
        yield host
    finally:
        host.unmake()


def _ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True, capture_output=True)


def _accept(listening: socket.socket, target: "str | tuple[str, int]") -> None:
    with suppress(OSError):
        while True:
            near, _ = listening.accept()
            for option, seconds in (("KEEPIDLE", 2), ("KEEPINTVL", 1), ("KEEPCNT", 2)):  # as a server asks for it
                near.setsockopt(socket.IPPROTO_TCP, getattr(socket, f"TCP_{option}"), seconds)
            near.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
            there = socket.socket(socket.AF_UNIX if isinstance(target, str) else socket.AF_INET)
            there.connect(target)
            for one, other in ((near, there), (there, near)):
                threading.Thread(target=_pass_on, args=(one, other), daemon=True).start()


def _pass_on(one: socket.socket, other: socket.socket) -> None:
    with suppress(OSError):
        while octets := one.recv(65536):
            other.sendall(octets)
    for end in (one, other):
        with suppress(OSError):
            end.shutdown(socket.SHUT_RDWR)
        end.close()
