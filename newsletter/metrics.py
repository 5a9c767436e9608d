"""What Prometheus is told: counters of what this process sent, and gauges of how the service stands.

Counts from the start of the process; what is owed comes from the database, read by who calls `set_state`.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, disable_created_metrics, generate_latest

from newsletter.core.model import DeliveryState, Outcome

SECONDS = (0.01, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 600)
disable_created_metrics()  # type: ignore[no-untyped-call]  # a second number beside each counter that nobody asked for
FINAL = (DeliveryState.ACCEPTED, DeliveryState.REJECTED, DeliveryState.UNCERTAIN)


@dataclass(frozen=True, kw_only=True)
class State:
    """How the service stands: owed by state, times as seconds since 1970 or None, relays and alarms by name, what came
    back lately by kind and reason."""

    owed: Mapping[str, int]
    relays_up: Mapping[str, bool] = field(default_factory=dict)
    alarms: Mapping[str, int] = field(default_factory=dict)
    came_back: Mapping[tuple[str, str], int] = field(default_factory=dict)
    next_run: float | None = None
    brief_age_seconds: float | None = None
    broken_briefs: int = 0
    paused: bool = False
    delivering: bool = False


class Metrics:
    """The numbers of one process, in a registry of their own."""

    def __init__(self, version: str) -> None:
        self._registry = registry = CollectorRegistry()
        self._attempts = Counter("newsletter_attempts", "Attempts by outcome", ["outcome"], registry=registry)
        self._deliveries = Counter(
            "newsletter_deliveries", "Deliveries ended, by outcome", ["outcome"], registry=registry
        )
        self._seconds = Histogram(
            "newsletter_attempt_seconds", "Seconds on the wire", buckets=SECONDS, registry=registry
        )
        self._owed = Gauge("newsletter_owed", "Deliveries owed, by state", ["state"], registry=registry)
        self._relays = Gauge("newsletter_relay_up", "Whether a relay takes mail", ["relay"], registry=registry)
        self._alarms = Gauge("newsletter_alarms", "Alarms that stand, by cause", ["cause"], registry=registry)
        self._reports = Gauge("newsletter_reports", "What came back in 30 days", ["kind", "reason"], registry=registry)
        self._next_run = Gauge(
            "newsletter_next_run_timestamp_seconds", "When the next issue goes out", registry=registry
        )
        self._brief_age = Gauge("newsletter_last_brief_age_seconds", "Age of the newest brief", registry=registry)
        self._broken = Gauge("newsletter_broken_briefs", "Briefs that cannot be read", registry=registry)
        self._paused = Gauge("newsletter_paused", "Whether the service is paused", registry=registry)
        self._delivering = Gauge(
            "newsletter_delivering", "Whether this process is the one that delivers", registry=registry
        )
        Gauge("newsletter_info", "The version", ["version"], registry=registry).labels(version).set(1)
        for outcome in Outcome:
            self._attempts.labels(outcome)
        for state in FINAL:
            self._deliveries.labels(state)

    def count_attempt(self, outcome: Outcome, state: DeliveryState, seconds: float) -> None:
        """An attempt came to `outcome`, its delivery went to `state`, and it took so long."""
        self._attempts.labels(outcome).inc()
        self._seconds.observe(seconds)
        if state in FINAL:
            self._deliveries.labels(state).inc()

    def set_state(self, state: State) -> None:
        """Replace all gauges."""
        for gauge, values in ((self._owed, state.owed), (self._relays, state.relays_up), (self._alarms, state.alarms)):
            gauge.clear()
            for name, value in values.items():
                gauge.labels(name).set(value)
        self._reports.clear()
        for (kind, reason), count in state.came_back.items():
            self._reports.labels(kind, reason).set(count)
        self._next_run.set(float("nan") if state.next_run is None else state.next_run)
        self._brief_age.set(float("nan") if state.brief_age_seconds is None else state.brief_age_seconds)
        self._broken.set(state.broken_briefs)
        self._paused.set(state.paused)
        self._delivering.set(state.delivering)

    def render(self) -> str:
        """The text that Prometheus reads (its exposition format)."""
        return generate_latest(self._registry).decode()
