"""A disk that is full: no file of this process may grow beyond a size, for the length of a block."""

import resource
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def full_disk(octets: int) -> Iterator[None]:
    """Writes beyond `octets` of any file fail with EFBIG (Python ignores SIGXFSZ)."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (octets, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
