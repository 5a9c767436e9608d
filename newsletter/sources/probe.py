"""Asks the pages that a mail links to whether they are there: HEAD, then GET, of public addresses only, side by side.

Goes over network.py's guarded connections, a short deadline for each address; reads no body, sends no credentials.
"""

import time
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from http import HTTPStatus

import httpcore2
import httpx2

from newsletter.core.checks.links import Answer, State
from newsletter.sources.http import (
    MAX_REDIRECTS,
    REDIRECTS,
    AnswerError,
    Clock,
    name_status,
    next_address,
    open_client,
)
from newsletter.sources.network import (
    Deadline,
    DeadlineError,
    GuardedBackend,
    PrivateError,
    RefusedError,
    Resolver,
    UnknownHostError,
    resolve_host,
)

PROBE_SECONDS = 5.0
PROBES_AT_ONCE = 16
_GONE = (HTTPStatus.NOT_FOUND, HTTPStatus.GONE)


def probe_links(addresses: Iterable[str]) -> dict[str, Answer]:
    """What each http or https address answers."""
    wanted = list(addresses)
    with ThreadPoolExecutor(PROBES_AT_ONCE, thread_name_prefix="probe") as pool:
        return dict(zip(wanted, pool.map(probe, wanted), strict=True))


def probe(
    address: str,
    *,
    seconds: float = PROBE_SECONDS,
    allow_private: bool = False,
    clock: Clock = time.monotonic,
    resolve: Resolver = resolve_host,
) -> Answer:
    """Whether a page is there. Dead is only what says so itself: 404, 410, or a host whose name does not exist."""
    try:
        backend = GuardedBackend(
            deadline=Deadline(seconds, clock), may_be_private=lambda host: allow_private, resolve=resolve
        )
        with open_client(backend) as client:
            status = _ask(client, "HEAD", address)
            if status >= HTTPStatus.BAD_REQUEST:  # many servers know GET only
                status = _ask(client, "GET", address)
        return _judge(status)
    except PrivateError:
        return Answer(State.PRIVATE, "it leads to a private address, which is not asked. See that readers can reach it")
    except UnknownHostError:
        return Answer(State.DEAD, "there is no such host. Mend the link")
    except (DeadlineError, httpcore2.TimeoutException):
        reason = f"it does not answer within {seconds:g} seconds"
    except (RefusedError, AnswerError) as error:
        reason = str(error)
    except (
        httpcore2.NetworkError,
        httpcore2.ProtocolError,
        httpx2.HTTPError,
        httpx2.InvalidURL,
        UnicodeError,
    ) as error:
        reason = f"the connection failed ({error})"
    return Answer(State.UNANSWERED, f"{reason}. Look at it in a browser")


def _ask(client: httpx2.Client, method: str, address: str) -> int:
    """The status at the end of the redirects."""
    url = httpx2.URL(address).copy_with(username=None, password=None)
    for _ in range(MAX_REDIRECTS + 1):
        with client.stream(method, url, follow_redirects=False) as response:
            if response.status_code not in REDIRECTS:
                return response.status_code
            url = next_address(url, response.headers.get("location", ""))
    raise AnswerError(f"it redirects more than {MAX_REDIRECTS} times")


def _judge(status: int) -> Answer:
    if status in _GONE:
        return Answer(State.DEAD, f"it answers {name_status(status)}. Mend the link")
    if status >= HTTPStatus.BAD_REQUEST:
        return Answer(State.UNANSWERED, f"it answers {name_status(status)}. Look at it in a browser")
    return Answer(State.ALIVE)
