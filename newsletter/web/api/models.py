"""What the API gives and takes, as OpenAPI describes it. Times are ISO 8601 in UTC; a list goes on at its `next`."""

from datetime import date, datetime
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

MOST_NUMBER = 2**31 - 1

IssueNumber = Annotated[int, Field(description="Number of an issue.", examples=[12])]
DeliveryId = Annotated[str, Field(description="ISSUE-SUBSCRIBER; it never changes.", examples=["12-345"])]
State = Literal["queued", "deferred", "sending", "accepted", "rejected", "uncertain", "excluded"]
Outcome = Literal["accepted", "deferred", "rejected", "uncertain"]
Count = Annotated[int, Field(ge=0)]


class Model(BaseModel):
    """What they have in common: nothing passes that is not described."""

    model_config = ConfigDict(extra="forbid")


class Problem(BaseModel):
    """What went wrong (RFC 9457, application/problem+json)."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [{"type": "about:blank", "title": "Not Found", "status": 404, "detail": "there is no issue 99"}]
        }
    )

    type: str = "about:blank"
    title: str
    status: int
    detail: str
    errors: list[dict[str, Any]] | None = Field(
        default=None, description="Which fields do not fit, and why, each with its `place`."
    )


class Run(Model):
    """A moment at which an issue goes out."""

    utc: datetime
    local: datetime = Field(description="The same moment in the schedule's zone.")
    seconds: int = Field(description="From now until then.")
    note: str | None = Field(description="What a change of clocks does to it.")


class Schedule(Model):
    """The schedule and its next runs."""

    cron: str | None = Field(examples=["0 7 * * 1-5"])
    words: str = Field(examples=["at 07:00 on weekdays"])
    zone: str | None = Field(examples=["Europe/Berlin"])
    local: bool = Field(description="Whether each reader gets it at this time in their own zone.")
    runs: list[Run]


class Counts(Model):
    """Where the deliveries of an issue stand; `excluded` by reason."""

    issue: IssueNumber
    selected: Count
    accepted: Count
    rejected: Count
    queued: Count
    deferred: Count
    sending: Count
    uncertain: Count
    excluded: dict[str, int] = Field(examples=[{"frequency": 12, "suppressed": 1}])


class IssueBrief(Counts):
    """An issue with its counts. `selected` is the sum of all counts and of `excluded` where it `closes`."""

    title: str
    date: date
    language: str
    state: Literal["preparing", "running", "paused", "cancelled", "finished"]
    reason: str | None = Field(description="Why it is paused or cancelled.")
    due_at: datetime
    published_at: datetime | None
    owed: Count = Field(description="Queued, deferred and sending.")
    closes: bool = Field(description="Whether the counts sum up to those selected.")
    actions: list[str] = Field(description="What may be done with it now.", examples=[["pause", "cancel"]])


class Minute(Model):
    """The attempts of one minute by outcome."""

    at: datetime
    accepted: Count
    deferred: Count
    rejected: Count
    uncertain: Count


class ErrorGroup(Model):
    """Attempts that failed alike: the same codes, and the same words with their numbers and names taken out."""

    id: int
    code: int | None = Field(examples=[550])
    enhanced_code: str | None = Field(examples=["5.1.1"])
    wording: str = Field(examples=["…: no such user"])
    example: str = Field(examples=["5.1.1 <ann@example.org>: no such user"])
    attempts: Count
    first_at: datetime
    last_at: datetime


class Issue(IssueBrief):
    """An issue as it goes: its rate, its throughput by minute, and why attempts failed."""

    rate: float = Field(description="Mails accepted a second, of late; 0 where nothing is owed.")
    seconds_left: int | None
    throughput: list[Minute]
    errors: list[ErrorGroup]


class Issues(Model):
    """A page of issues, newest first."""

    issues: list[IssueBrief]
    next: int | None = Field(description="Give it as `before` for the next page; null at the end.")


class Audit(Counts):
    """The books of an issue, counted row by row."""

    balanced: bool


class Delivery(Model):
    """A delivery with its last attempt."""

    delivery: DeliveryId
    issue: IssueNumber
    subscriber: int
    email: str | None = Field(description="Null for somebody who was forgotten.", examples=["ann@example.org"])
    state: State
    reason: str | None = Field(description="Why it is excluded, or was given up.")
    edition: int | None
    attempts: Count
    due_at: datetime | None = Field(description="When the next attempt is due, where one is.")
    last_at: datetime | None
    last_outcome: Outcome | None
    last_code: int | None
    last_enhanced_code: str | None
    last_response: str | None


class ShortReport(Model):
    """What came back of a mail, in short."""

    at: datetime
    kind: str
    status: str | None
    reason: str
    action: str


class ReportTaken(Model):
    """What came back of a mail, and what was done about it."""

    kind: str
    email: str | None
    delivery: str | None
    status: str | None
    code: int | None
    reason: str
    text: str
    action: str


class Report(ReportTaken):
    """The same as it is kept: when it came, and from where."""

    at: datetime
    source: str


class Attempt(Model):
    """A line of the delivery log."""

    delivery: DeliveryId
    issue: IssueNumber
    email: str | None
    edition: int | None
    attempt: int
    at: datetime
    relay: str | None
    outcome: Outcome
    code: int | None
    enhanced_code: str | None
    response: str
    message_id: str
    seconds: float
    reports: list[ShortReport] = Field(description="What came back of it.")


class DeliveryInFull(Delivery):
    """A delivery with all its attempts."""

    title: str = Field(description="The title of its issue.")
    log: list[Attempt]


class Deliveries(Model):
    """A page of a search. It may hold few or none and have a `next`: then there is more to look through."""

    deliveries: list[Delivery]
    next: str | None = Field(description="Give it as `after` for the next page; null at the end.", examples=["12-345"])


class Suppression(Model):
    """Why an address gets no mail."""

    reason: str
    at: datetime
    source: str


class Person(Model):
    """Who somebody is, what they chose, and why they get no mail."""

    email: str
    name: str
    state: Literal["pending", "active", "unsubscribed"]
    topics: list[str] = Field(examples=[["sport", "science"]])
    frequency: str = Field(examples=["weekly:mon"])
    timezone: str | None
    language: str | None
    paused_until: datetime | None
    suppression: Suppression | None


class Subscriber(Person):
    """A person in a list."""

    subscriber: int


class Subscribers(Model):
    """A page of people by address."""

    subscribers: list[Subscriber]
    next: int | None = Field(description="Give it as `after` for the next page; null at the end.")


class Consent(Model):
    """When, from where and to what somebody agreed."""

    at: datetime
    source: str
    wording: str
    topics: list[str]
    confirmed_at: datetime | None
    withdrawn_at: datetime | None
    withdrawn_by: str | None


class Earlier(Model):
    """What a person's mails were filled with before a change."""

    email: str
    name: str
    topics: list[str]


class ShortDelivery(Model):
    """A delivery in a person's list."""

    delivery: DeliveryId
    issue: IssueNumber
    title: str
    state: str
    reason: str | None
    attempts: Count


class OwnMail(Model):
    """A mail of the service's own to a person."""

    kind: str
    email: str
    language: str
    choice: dict[str, Any]
    at: datetime
    confirmed_at: datetime | None


class SubscriberInFull(Person):
    """Everything held on a person."""

    consent: list[Consent]
    deliveries: list[ShortDelivery]
    signed_up_at: datetime
    earlier: list[Earlier]
    mails: list[OwnMail] = Field(description="Mails of the service's own, as confirmations.")
    reports: list[Report]


class Alarm(Model):
    """What the operator should know."""

    cause: str
    subject: str
    message: str
    since: datetime


class Health(Model):
    """How a relay or a recipients' domain does."""

    name: str = Field(examples=["smtp.example.org:587"])
    connections: int
    rate: float
    state: Literal["healthy", "recovering", "shut"]
    step: int
    until_at: datetime | None
    reason: str | None


class RelayHealth(Health):
    """How a relay does, and its share."""

    weight: int
    mails_per_connection: int


class Status(Model):
    """What runs, what comes, and what is wrong."""

    now: datetime
    paused: bool
    sending: Count
    owed: Count
    current: Issue | None = Field(description="The issue that goes out now.")
    schedule: Schedule
    alarms: list[Alarm]
    relays: list[RelayHealth]
    domains: list[Health] = Field(description="Those that are in trouble.")
    people: dict[str, int] = Field(examples=[{"active": 1200, "unsubscribed": 7}])
    issues: list[IssueBrief] = Field(description="The last 30, newest first.")


class ReplyKind(Model):
    """How often relays said this in refusing."""

    code: int | None
    enhanced_code: str | None
    wording: str
    attempts: Count


class DomainCount(Model):
    """How many mails a domain refused."""

    domain: str
    rejected: Count


class ReasonCount(Model):
    """How many addresses are suppressed for a reason."""

    reason: str
    addresses: Count


class Kinds(Model):
    """How much came back, by kind."""

    hard: Count
    soft: Count
    complaint: Count
    unsubscribe: Count
    auto_reply: Count = Field(alias="auto-reply")


class CameBack(Kinds):
    """How much came back lately."""

    days: Count


class ReportReason(Model):
    """How many reports of a kind gave a reason."""

    kind: str
    reason: str
    reports: Count


class DomainCameBack(Kinds):
    """What came back from a domain."""

    domain: str


class DayCameBack(Kinds):
    """What came back on a day (UTC)."""

    day: date


class UnclearReport(Report):
    """A report that carries no token of ours: an operator may vouch for it."""

    report: Count


class ReportVouched(ReportTaken):
    """A report that somebody vouched for; `note` says why nothing was done, where nothing was."""

    note: str


class Bounces(Model):
    """What came back lately, what was refused in the last issues, and who is suppressed."""

    came_back: CameBack
    reasons: list[ReportReason]
    came_back_from: list[DomainCameBack]
    by_day: list[DayCameBack]
    unclear: list[UnclearReport]
    issues: Count
    kinds: list[ReplyKind]
    domains: list[DomainCount]
    looked_at: Count = Field(description="So many refusals, the latest, are counted by domain.")
    suppressions: list[ReasonCount]


class Topic(Model):
    """A topic with its readers, and its stories in each of the issues."""

    id: str
    name: str
    description: str
    parent: str | None
    readers: Count
    stories: list[int]
    keywords: Count
    silent: list[str] = Field(description="Keywords that fired in none of the latest stories.")


class Untaken(Model):
    """A story that no topic took."""

    issue: IssueNumber
    title: str


class Topics(Model):
    """How the catalogue does on what was published."""

    issues: list[int]
    stories: Count
    every_story: Count = Field(description="How many readers get every story.")
    topics: list[Topic]
    untaken: list[Untaken]


class Setting(Model):
    """A setting in force; secrets are masked."""

    name: str = Field(examples=["NEWSLETTER_TIMEZONE"])
    value: str = Field(description="Empty where it is unset.")
    is_default: bool
    meaning: str


class Settings(Model):
    """Every setting."""

    settings: list[Setting]


class Paused(Model):
    """Whether the whole service is paused."""

    paused: bool


class Acted(BaseModel):
    """What an action came to; which counts it has depends on the action."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"issue": 12, "state": "paused"}, {"issue": 12, "retried": 3, "left_out": 0}]}
    )

    issue: IssueNumber
    state: str | None = None
    owed: int | None = None
    excluded: int | None = None
    retried: int | None = None
    left_out: int | None = None
    settled: int | None = None
    as_: str | None = Field(default=None, alias="as")


class Placed(Model):
    """A story with why it is in a mail, or not."""

    title: str
    issue: IssueNumber
    topics: list[str]
    because: list[str]


class Reasons(Model):
    """Why a person got the stories they got."""

    email: str
    issue: IssueNumber
    delivery: DeliveryId | None
    state: str
    reason: str | None
    topics: list[str]
    frequency: str
    stories: list[Placed]
    left_out: list[Placed]
    reports: list[Report]
