"""Claims batches as a worker does, one after another, while an old snapshot is open.

Prints the milliseconds of each: until it is claimed, and until its deliveries are read too.
"""

import sys
import time
from contextlib import closing
from datetime import UTC, datetime

import psycopg

from newsletter.store import moves, outbox
from newsletter.store.database import open_database


def main(address: str, count: int) -> None:
    """Claim `count` batches of 500."""
    with psycopg.connect(address) as old, closing(open_database(address)) as database:
        old.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        old.execute("SELECT 1 FROM deliveries LIMIT 1")
        for number in range(count):
            began = time.perf_counter()
            with database.act() as conn:
                batch = outbox.claim_batch(conn, 7, datetime.now(UTC), None)
                if batch is None:
                    raise SystemExit("there is nothing to claim")
                claimed_after = time.perf_counter() - began
                claimed = outbox.read_batch(conn, batch)
            took = time.perf_counter() - began
            if len(claimed) != outbox.BATCH_SIZE:
                raise SystemExit(f"{len(claimed)} deliveries in a batch")
            with database.act() as conn:  # as delivering it would leave it
                moves.start_deliveries(conn, [row.key for row in claimed], 7, datetime.now(UTC))
                outbox.close_batch(conn, batch.id)
            if number:
                sys.stdout.write(f"{claimed_after * 1000} {took * 1000}\n")


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
