"""Mails a second and CPU a mail of `newsletter send`, beside other senders: same size, same server, runs interleaved.

    python benchmarks/sending.py                              1,000 mails, 3 runs
    python benchmarks/sending.py --mails 20000 --runs 5       the figures of docs/performance.md
    python benchmarks/sending.py --no-dkim --no-tls           less of it

The server is Postfix's smtp-sink. It speaks no TLS: what TLS costs is measured against a server of the project's own.
"""

import argparse
import os
import re
import shutil
import ssl
import subprocess
import sys
import tempfile
from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

from _faulty_server import FaultyServer
from _results import save_results
from _rivals import list_commands
from _sink import SinkMissingError, run_sink
from _workfolder import COMMAND, Cost, WorkFolder, measure

REFERENCE = "smtp-source -d, connections kept"
SLOW_SHARE = 4
"""The slow ones get this much fewer mails; a rate needs no more."""
TLS_FOLDER = Path(__file__).parents[1] / "tests" / "tls"
SEND, DELIVER = "newsletter send, from start to exit", "newsletter deliver, less its start-up"


@dataclass(kw_only=True)
class Measured:
    """The runs of one sender."""

    rates: list[float] = field(default_factory=list)
    cpus: list[float] = field(default_factory=list)

    def add(self, mails: int, seconds: float, cpu: float) -> None:
        """Note a run."""
        self.rates.append(mails / seconds)
        self.cpus.append(cpu / mails * 1e6)


@dataclass(kw_only=True)
class Bench:
    """What is measured, and with what."""

    options: argparse.Namespace
    path: Path
    measured: dict[str, Measured] = field(default_factory=lambda: defaultdict(Measured))
    signed: bool = False
    size: int = 0
    copies: int = 0

    def prepare(self) -> None:
        """A folder with brief and readers, to be copied for every run."""
        folder = WorkFolder(path=self.path / "prepared")
        self.size = folder.fit_brief(self.options.octets)
        folder.write_readers(self.options.mails)

    def copy(self, port: int, settings: dict[str, str]) -> WorkFolder:
        """A fresh folder that sends to a port."""
        self.copies += 1
        path = self.path / f"run{self.copies}"
        shutil.copytree(self.path / "prepared", path)
        common = {"SMTP__PORT": str(port), "SMTP__CONNECTIONS": str(self.options.connections)}
        return WorkFolder(path=path, settings={**common, **settings})

    def measure_whole(self, name: str, port: int, settings: dict[str, str]) -> None:
        """`newsletter send`, from process start to exit."""
        folder = self.copy(port, settings)
        cost = folder.measure("send")
        self.measured[name].add(self.options.mails, cost.seconds, cost.cpu)
        self.check(folder)

    def measure_delivery(self, name: str, port: int, settings: dict[str, str]) -> None:
        """Publish while the service is paused, then `newsletter deliver`, less what it takes with nothing to do."""
        folder = self.copy(port, settings)
        folder.ask("pause")
        folder.ask("send", codes=(3,))
        folder.ask("resume")
        cost, empty = folder.measure("deliver"), folder.measure("deliver")
        self.measured[name].add(self.options.mails, cost.seconds - empty.seconds, cost.cpu - empty.cpu)
        self.check(folder)

    def check(self, folder: WorkFolder) -> None:
        """All of it was sent, and is it signed?"""
        books = folder.ask("audit")[0]
        if books["accepted"] != self.options.mails:
            raise SystemExit(f"not all was sent: {books}")
        if "DKIM__DOMAIN" in folder.settings:
            argv = [*COMMAND, "mail", "1-1"]
            mail = subprocess.run(argv, cwd=folder.path, env=folder.environment, capture_output=True, check=True).stdout
            self.signed = b"DKIM-Signature:" in mail.partition(b"\r\n\r\n")[0]
        shutil.rmtree(folder.path)

    def make_dkim_settings(self) -> dict[str, str]:
        """Settings that sign with a fresh RSA key of 2048 bits."""
        key = self.path / "dkim.pem"
        if not key.exists():
            argv = ["openssl", "genpkey", "-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048", "-out", str(key)]
            subprocess.run(argv, check=True, capture_output=True)
        return {"DKIM__DOMAIN": "news.example.org", "DKIM__SELECTOR": "s1", "DKIM__KEY_FILE": str(key)}

    def measure_rival(self, name: str, command: list[str]) -> None:
        """One run of another sender."""
        mails = self.options.mails if name.startswith("smtp-source") else max(1, self.options.mails // SLOW_SHARE)
        cost: Cost = measure([str(mails) if word == "MAILS" else word for word in command])
        self.measured[name].add(mails, cost.seconds, cost.cpu)

    def run_beside_others(self) -> None:
        """Everyone against smtp-sink, one after another, as many times as asked for."""
        with run_sink() as port:
            rivals = list_commands(self.path, port, self.size, self.options.connections)
            for _ in range(self.options.runs):
                for name, command in rivals.items():
                    self.measure_rival(name, command)
                self.measure_whole(SEND, port, {})
                self.measure_delivery(DELIVER, port, {})
                if self.options.dkim:
                    self.measure_whole(f"{SEND}, DKIM", port, self.make_dkim_settings())
                    self.measure_delivery(f"{DELIVER}, DKIM", port, self.make_dkim_settings())

    def run_over_tls(self) -> None:
        """With TLS and without, against the project's own server: smtp-sink has none."""
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(TLS_FOLDER / "server.pem")
        for _ in range(self.options.runs):
            with FaultyServer(faults={}, fates=False).run_in_thread() as server:
                self.measure_whole("own server, no TLS: newsletter send", server.port, {})
            with FaultyServer(faults={}, fates=False, tls=context).run_in_thread() as server:
                settings = {"SMTP__TLS": "implicit", "SMTP__CA_FILE": str(TLS_FOLDER / "ca.pem")}
                settings["SMTP__HOST"] = "localhost"
                self.measure_whole("own server, TLS: newsletter send", server.port, settings)


def measure_openssl() -> float | None:
    """RSA-2048 signatures a second that this machine makes on two cores, or None where there is no openssl."""
    if shutil.which("openssl") is None:
        return None
    argv = ["openssl", "speed", "-seconds", "3", "-multi", str(min(2, os.cpu_count() or 1)), "rsa2048"]
    told = subprocess.run(argv, capture_output=True, text=True, check=False).stdout
    found = re.search(r"rsa\s+2048 bits\s+\S+\s+\S+\s+([\d.]+)", told)
    return float(found[1]) if found else None


def report(bench: Bench, openssl: float | None) -> None:
    """Print the table and keep the results."""
    reference = median(bench.measured[REFERENCE].rates) if REFERENCE in bench.measured else None
    rows = []
    for name, runs in sorted(bench.measured.items(), key=lambda item: -median(item[1].rates)):
        told = name.replace("DKIM", "DKIM" if bench.signed else "DKIM set, unsigned")
        rate = median(runs.rates)
        ratio = rate / reference if reference and not name.startswith("own server") else None
        rows.append({"name": told, "rate": round(rate), "cpu_us": round(median(runs.cpus)), "ratio": ratio})
        shown = f"{ratio:>6.2f}" if ratio is not None else f"{'':>6}"
        sys.stdout.write(f"{told:<58}{rate:>7,.0f}/s {median(runs.cpus):>7,.0f} µs CPU {shown}\n")
    results = {
        "mails": bench.options.mails,
        "runs": bench.options.runs,
        "connections": bench.options.connections,
        "octets": bench.size,
        "openssl_signs": openssl,
        "signed": bench.signed,
        "senders": rows,
    }
    if openssl:
        sys.stdout.write(f"{'openssl speed rsa2048, two cores':<58}{openssl:>7,.0f}/s\n")
        if bench.signed:
            for name in (SEND, DELIVER):
                share = median(bench.measured[f"{name}, DKIM"].rates) / openssl
                sys.stdout.write(f"{name}, signed, against openssl: {share:.2f}\n")
    save_results("sending", results)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--mails", type=int, default=1_000)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--connections", type=int, default=50)
    parser.add_argument("--octets", type=int, default=40_000)
    parser.add_argument("--dkim", action=argparse.BooleanOptionalAction, default=True)
    parser.add_argument("--tls", action=argparse.BooleanOptionalAction, default=True)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        bench = Bench(options=options, path=Path(folder))
        bench.prepare()
        sys.stdout.write(f"{options.mails:,} mails of {bench.size:,} octets, {options.connections} connections, ")
        sys.stdout.write(f"medians of {options.runs} runs; the last column is the share of {REFERENCE}\n")
        try:
            bench.run_beside_others()
        except SinkMissingError as error:
            sys.stdout.write(f"only our own server is used: {error}\n")
        if options.tls or not bench.measured:
            bench.run_over_tls()
        report(bench, measure_openssl() if options.dkim else None)


if __name__ == "__main__":
    main()
