"""How quick the pages are while the daemon sends: `/healthz` and `/readyz`, asked all the time, at rest and in a send.

Exit 1 where the 95th percentile of a send is over 100 ms.
"""

import argparse
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from socket import create_server
from urllib.error import URLError
from urllib.request import urlopen

from _results import save_results
from _sink import SinkMissingError, run_sink
from _workfolder import WorkFolder

MOST_MS = 100.0
PATHS = ("/healthz", "/readyz")


def find_port() -> int:
    with create_server(("127.0.0.1", 0)) as listening:
        return int(listening.getsockname()[1])


def ask(address: str) -> float:
    """Milliseconds until the whole answer is there."""
    began = time.perf_counter()
    with urlopen(address, timeout=30) as answer:
        answer.read()
    return (time.perf_counter() - began) * 1000


def ask_until(address: str, is_over: Callable[[], bool]) -> dict[str, list[float]]:
    """Ask for each page in turn, again and again."""
    took: dict[str, list[float]] = {path: [] for path in PATHS}
    while not is_over():
        for path in PATHS:
            took[path].append(ask(address + path))
        time.sleep(0.01)
    return took


def summarize(times: Sequence[float]) -> dict[str, float]:
    quantiles = statistics.quantiles(times, n=20)
    return {"median": round(statistics.median(times), 1), "p95": round(quantiles[18], 1), "most": round(max(times), 1)}


def measure(path: Path, readers: int, port: int) -> dict[str, dict[str, float]]:
    web = find_port()
    folder = WorkFolder(path=path, settings={"SMTP__PORT": str(port), "SMTP__CONNECTIONS": "50", "WEB__PORT": str(web)})
    folder.fit_brief(40_000)
    folder.write_readers(readers)
    address = f"http://127.0.0.1:{web}"
    daemon = folder.start("run")
    try:
        while not is_up(address):
            time.sleep(0.1)
        rounds = iter(range(200))
        rest = ask_until(address, lambda: next(rounds, None) is None)
        sending = folder.start("send", "--json")
        send = ask_until(address, lambda: sending.poll() is not None)
        if sending.returncode:
            raise SystemExit(f"`newsletter send` ended with {sending.returncode}")
    finally:
        daemon.terminate()
        daemon.wait()
    took = {f"{path} at rest": times for path, times in rest.items()}
    took |= {f"{path} in a send": times for path, times in send.items()}
    return {name: summarize(times) for name, times in took.items()}


def is_up(address: str) -> bool:
    try:
        ask(f"{address}/healthz")
    except URLError:
        return False
    return True


def main() -> int:
    """A line a page, at rest and in a send."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--readers", type=int, default=5_000)
    readers = parser.parse_args().readers
    try:
        with run_sink() as port, tempfile.TemporaryDirectory() as folder:
            rows = measure(Path(folder), readers, port)
    except SinkMissingError as error:
        sys.stdout.write(f"skipped: {error}\n")
        return 0
    for name, row in rows.items():
        sys.stdout.write(f"{name:<22} median {row['median']} ms, p95 {row['p95']} ms, most {row['most']} ms\n")
    save_results("health", {"readers": readers, "rows": rows})
    return int(max(row["p95"] for name, row in rows.items() if name.endswith("send")) > MOST_MS)


if __name__ == "__main__":
    sys.exit(main())
