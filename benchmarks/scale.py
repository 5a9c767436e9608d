"""Publishing and delivering to more and more readers: time a reader and peak memory must not grow with their number.

    python benchmarks/scale.py                              1,000 and 10,000 readers
    python benchmarks/scale.py 1000 10000 100000 1000000    as many as you have time for

Twenty topics, each reader with one to six of them: most editions have a few readers only, as on a real list. The server
is Postfix's smtp-sink. Each command is a process of its own; what it takes to start is measured and taken off.
"""

import argparse
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median

from _results import save_results
from _sink import SinkMissingError, run_sink
from _workfolder import WorkFolder

SIZES = (1_000, 10_000)
TOPICS = 20
SENTENCES = 200
CONNECTIONS = 50
EMPTY_RUNS = 3


@dataclass(frozen=True, kw_only=True)
class Row:
    """What one size took; times are seconds, memory is the peak of the process."""

    readers: int
    mails: int
    editions: int
    importing: float
    publishing: float
    publishing_mb: float
    delivering: float
    delivering_mb: float

    @property
    def us_a_mail(self) -> float:
        return self.delivering / self.mails * 1e6


def measure_size(path: Path, readers: int, port: int) -> Row:
    """Import, publish while the service is paused, deliver."""
    settings = {"SMTP__PORT": str(port), "SMTP__CONNECTIONS": str(CONNECTIONS)}
    folder = WorkFolder(path=path, topics=TOPICS, stories=TOPICS, settings=settings)
    folder.write_brief(SENTENCES)
    began = time.perf_counter()
    folder.write_readers(readers)
    imported = time.perf_counter() - began
    folder.ask("pause")
    published = folder.measure("send", codes=(3,))
    folder.ask("resume")
    delivered = folder.measure("deliver")
    starting = median(folder.measure("deliver").seconds for _ in range(EMPTY_RUNS))
    told = folder.ask("deliver")[0]
    books = told["audit"]
    if books["accepted"] + sum(books["excluded"].values()) != readers:
        raise SystemExit(f"not all was sent: {books}")
    return Row(
        readers=readers,
        mails=books["accepted"],
        editions=told["editions"],
        importing=imported,
        publishing=max(0.0, published.seconds - starting),
        publishing_mb=published.peak_mb,
        delivering=max(0.0, delivered.seconds - starting),
        delivering_mb=delivered.peak_mb,
    )


def main() -> None:
    """A line a size, and the last against the first."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("sizes", nargs="*", type=int, default=list(SIZES))
    sizes = parser.parse_args().sizes
    rows = []
    try:
        with run_sink() as port:
            for size in sizes:
                with tempfile.TemporaryDirectory() as folder:
                    row = measure_size(Path(folder), size, port)
                rows.append(row)
                sys.stdout.write(
                    f"{size:>9,} readers, {row.editions:,} editions: import {row.importing:.1f} s, "
                    f"publish {row.publishing:.1f} s in {row.publishing_mb:.0f} MB, "
                    f"deliver {row.mails / row.delivering:,.0f}/s, {row.us_a_mail:.0f} µs a mail, "
                    f"in {row.delivering_mb:.0f} MB\n"
                )
                sys.stdout.flush()
    except SinkMissingError as error:
        sys.stdout.write(f"skipped: {error}\n")
        return
    if len(rows) > 1:
        ratio = rows[-1].us_a_mail / rows[-2].us_a_mail
        sys.stdout.write(f"time a mail at {rows[-1].readers:,} against {rows[-2].readers:,}: {ratio:.2f}\n")
    save_results("scale", {"rows": [{**asdict(row), "us_a_mail": row.us_a_mail} for row in rows]})


if __name__ == "__main__":
    main()
