"""Many workers on PostgreSQL, with DKIM: mails a second, claims among millions of deliveries, what they take on disk.

    python benchmarks/fleet.py                                   1 and 2 workers; claims at 100,000 deliveries
    python benchmarks/fleet.py --workers 1 2 4 --rows 1 5 10     and at 1, 5 and 10 million (make bench-scale)

The server is a PostgreSQL of its own that waits for the disk at each commit. Each number of workers is measured
twice: into a relay as fast as they are (Postfix's smtp-sink), where the processors are the limit, and into one that
takes 50 ms for each mail, where its connections are: there each worker has ten.
"""

import argparse
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

import psycopg
from _postgres import Cluster
from _results import save_results
from _sink import SinkMissingError, run_sink, run_slow_sink
from _workfolder import WorkFolder

SENTENCES = 200
CONNECTIONS = 10
FAST_MAILS, SLOW_MAILS = 20_000, 4_000
CLAIMS = 200
WARM_SHARE = 0.1
READY_SECONDS = 60.0


@dataclass(kw_only=True)
class Bench:
    """What is measured, in a folder of its own."""

    path: Path
    cluster: Cluster
    results: dict[str, Any] = field(default_factory=dict)

    def measure_workers(self, count: int, port: int, mails: int, *, slow: bool) -> float:
        """Mails a second of so many workers, from a tenth of the mails to the last."""
        name = f"{'slow' if slow else 'fast'}{count}"
        address = self.cluster.make_database(name)
        key = self.path / "dkim.pem"
        if not key.exists():
            subprocess.run(["openssl", "genrsa", "-out", key, "2048"], check=True, capture_output=True)
        settings = {
            "DATABASE_URL": address,
            "SMTP__PORT": str(port),
            "SMTP__CONNECTIONS": str(CONNECTIONS * count if slow else 50),
            "LOG_LEVEL": "warning",
            "DKIM__DOMAIN": "news.example.org",
            "DKIM__SELECTOR": "s1",
            "DKIM__KEY_FILE": str(key),
        }
        folder = WorkFolder(path=self.path / name, settings=settings)
        folder.write_brief(SENTENCES)
        folder.write_readers(mails)
        folder.ask("pause")
        folder.ask("send", codes=(3,))
        size, log, cpu = self.cluster.measure_size(name), self.cluster.measure_log(), self.cluster.measure_cpu()
        with psycopg.connect(address, autocommit=True) as conn, _running(folder, count):
            _wait_until(lambda: _ask(conn, "SELECT count(*) FROM workers") == count)
            folder.ask("resume")
            accepted = "SELECT coalesce(sum(n), 0)::int FROM tallies WHERE state = 'accepted'"
            _wait_until(lambda: _ask(conn, accepted) >= mails * WARM_SHARE)
            first, began = _ask(conn, accepted), time.perf_counter()
            _wait_until(lambda: _ask(conn, accepted) == mails)
            rate = (mails - first) / (time.perf_counter() - began)
        if not slow:  # where it goes slowly, most is heartbeats and our own questions
            self.results["a mail costs the server"] = {
                "log_octets": (self.cluster.measure_log() - log) / mails,
                "octets": (self.cluster.measure_size(name) - size) / mails,
                "cpu_us": (self.cluster.measure_cpu() - cpu) / mails * 1e6,
            }
        self.cluster.drop_database(name)
        return float(rate)

    def measure_claims(self, rows: int) -> dict[str, float]:
        """Claiming and reading a batch among so many deliveries, with a snapshot open that is older than the claims."""
        name = f"rows{rows}"
        address = self.cluster.make_database(name)
        folder = WorkFolder(path=self.path / name, settings={"DATABASE_URL": address})
        folder.ask("db", "upgrade")
        before = self.cluster.measure_size(name)
        with psycopg.connect(address, autocommit=True) as conn:
            began = time.perf_counter()
            _write_deliveries(conn, rows)
            written = time.perf_counter() - began
        size = (self.cluster.measure_size(name) - before) / rows
        claims = [sys.executable, str(Path(__file__).with_name("_claims.py")), address, str(CLAIMS)]
        told = subprocess.run(claims, check=True, capture_output=True, text=True).stdout.splitlines()
        self.cluster.drop_database(name)
        claiming, reading = zip(*(map(float, line.split()) for line in told), strict=True)
        return {
            "rows": rows,
            "claim_ms": median(claiming),
            "claim_p95_ms": sorted(claiming)[int(len(claiming) * 0.95)],
            "read_ms": median(reading),
            "octets_a_delivery": size,
            "written_s": written,
        }

    def measure_publishing(self, readers: int) -> dict[str, float]:
        """Importing so many readers and writing an issue's deliveries for them, seconds each; one topic."""
        name = f"publish{readers}"
        settings = {"DATABASE_URL": self.cluster.make_database(name)}
        folder = WorkFolder(path=self.path / name, topics=20, stories=20, settings=settings)
        folder.write_brief(SENTENCES)
        began = time.perf_counter()
        folder.write_readers(readers)
        imported = time.perf_counter() - began
        folder.ask("pause")
        cost = folder.measure("send", codes=(3,))
        self.cluster.drop_database(name)
        return {"readers": readers, "importing_s": imported, "publishing_s": cost.seconds, "peak_mb": cost.peak_mb}


def _write_deliveries(conn: "psycopg.Connection[Any]", rows: int) -> None:
    """Readers and their deliveries as publishing writes them, by the server itself: batches of 500, none begun."""
    for statement in (
        "SET synchronous_commit = off",
        "INSERT INTO topic_sets (topics) VALUES ('t0')",
        """INSERT INTO issues (id, period, title, date, language, domain, state, created_at, due_at, selected,
             audience_max_id, cursor) VALUES (1, 'x', 'x', now()::date, 'en', 'x.org', 'running', 0, 0, 0, 0, 0)""",
        "INSERT INTO editions (issue_id, language, frame, stories, digest) VALUES (1, 'en', 'x', '1', 'x')",
        f"""INSERT INTO subscribers (email, email_key, address_hash, name, state, topic_set_id, frequency, lane,
              created_at, signed_up_at, covered_issue_id, has_gap)
            SELECT e, e, sha256(e::bytea), '', 'active', 1, 'each', '', 0, 0, 0, false
            FROM (SELECT 'r' || n || '@d' || n % 37 || '.example.org' AS e FROM generate_series(1, {rows}) AS n)""",
        f"""INSERT INTO batches (issue_id, lane, first_subscriber, last_subscriber, due_at, done)
            SELECT 1, '', n, n + 499, 0, false FROM generate_series(1, {rows}, 500) AS n""",
        f"""INSERT INTO deliveries (issue_id, subscriber_id, edition_id, batch_id, lane, state, attempts)
            SELECT 1, n, 1, (n - 1) / 500 + 1, '', 'queued', 0 FROM generate_series(1, {rows}) AS n""",
        "ANALYZE",
    ):
        conn.execute(statement)


@contextmanager
def _running(folder: WorkFolder, count: int) -> Iterator[None]:
    processes = [folder.start("worker") for _ in range(count)]
    try:
        yield
    finally:
        for process in processes:
            process.terminate()
        for process in processes:
            process.communicate(timeout=30)


def _ask(conn: "psycopg.Connection[Any]", query: str) -> Any:
    return conn.execute(query).fetchall()[0][0]


def _wait_until(condition: Any) -> None:
    until = time.monotonic() + 10 * READY_SECONDS
    while not condition():
        if time.monotonic() > until:
            raise SystemExit("the workers do not get on")
        time.sleep(0.02)


def say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def main() -> None:
    """A line for each measurement."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--workers", nargs="*", type=int, default=[1, 2])
    parser.add_argument("--rows", nargs="*", type=float, default=[0.1], help="millions of deliveries to claim from")
    parser.add_argument("--readers", type=int, default=0, help="how many to import and publish for")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, Cluster() as cluster:
        bench = Bench(path=Path(folder), cluster=cluster)
        try:
            for name, mails, sink in (("fast", FAST_MAILS, run_sink), ("slow", SLOW_MAILS, run_slow_sink)):
                rates: dict[int, float] = {}
                with sink() as port:
                    for count in options.workers:
                        share = mails * count if name == "slow" else mails
                        rates[count] = bench.measure_workers(count, port, share, slow=name == "slow")
                        times = rates[count] / rates[options.workers[0]]
                        say(f"{name} relay, {count} workers: {rates[count]:,.0f} mails/s, {times:.2f} times the first")
                bench.results[f"{name} relay"] = {str(count): rate for count, rate in rates.items()}
            if costs := bench.results.get("a mail costs the server"):
                say(
                    f"a mail costs the server {costs['cpu_us']:.0f} µs of CPU, "
                    f"{costs['log_octets']:.0f} octets of log, {costs['octets']:.0f} octets on disk"
                )
        except SinkMissingError as error:
            say(f"skipped: {error}")
        for millions in options.rows:
            told = bench.measure_claims(int(millions * 1_000_000))
            bench.results.setdefault("claims", []).append(told)
            say(
                f"{told['rows']:>12,} deliveries: a batch is claimed in {told['claim_ms']:.1f} ms, "
                f"p95 {told['claim_p95_ms']:.1f}, and read in {told['read_ms']:.1f}; "
                f"{told['octets_a_delivery']:.0f} octets a reader and delivery"
            )
        if options.readers:
            told = bench.measure_publishing(options.readers)
            bench.results["publishing"] = told
            say(
                f"{told['readers']:>12,} readers: import {told['importing_s']:.0f} s, "
                f"publish {told['publishing_s']:.0f} s in {told['peak_mb']:.0f} MB"
            )
        save_results("fleet", bench.results)


if __name__ == "__main__":
    main()
