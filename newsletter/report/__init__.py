"""What the service can say for itself, as JSON-ready values: attempts, issues, a subscriber, the reasons of a mail."""

import json
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Row

from newsletter.compose import make_message_id
from newsletter.core.model import EVERY_STORY, NOTICE, Catalogue, DeliveryState, IssueState, Key, name_delivery
from newsletter.store import issues, ledger, notices, reports, subscribers
from newsletter.store.database import Database
from newsletter.store.ledger import Audit


def split_topics(topics: str) -> list[str]:
    """A topic set as the list of its ids."""
    return [topic for topic in topics.split(";") if topic]


def describe_attempts(
    database: Database,
    *,
    issue_id: int | None,
    subscriber_id: int | None,
    state: str | None,
    since: datetime | None,
) -> Iterator[dict[str, Any]]:
    """The delivery log, an *attempt* of the contract each."""
    with database.read() as conn:
        rows = ledger.list_attempts(conn, issue_id=issue_id, subscriber_id=subscriber_id, state=state, since=since)
        came_back = _group_reports(conn, issue_id, subscriber_id)
        for row in rows:
            key = (row.issue_id, row.subscriber_id)
            yield {
                "delivery": name_delivery(key),
                "issue": row.issue_id,
                "email": row.email,
                "edition": row.edition_id,
                "attempt": row.attempt,
                "at": row.at,
                "relay": row.relay,
                "outcome": row.outcome,
                "code": row.code,
                "enhanced_code": row.enhanced,
                "response": row.response,
                "message_id": make_message_id(database.ledger_key, key, row.domain),
                "seconds": row.seconds,
                "reports": came_back.get(key, []) if row.outcome == "accepted" else [],
            }
        if issue_id is None and state is None:
            yield from map(_describe_notice, notices.list_attempts(conn, subscriber_id=subscriber_id, since=since))


def _group_reports(
    conn: Connection, issue_id: int | None, subscriber_id: int | None
) -> dict[Key, list[dict[str, Any]]]:
    """What came back of deliveries, by their keys."""
    found: dict[Key, list[dict[str, Any]]] = defaultdict(list)
    for row in reports.list_of_deliveries(conn, issue_id=issue_id, subscriber_id=subscriber_id):
        told = {name: getattr(row, name) for name in ("at", "kind", "status", "reason", "action")}
        found[row.issue_id, row.subscriber_id].append(told)
    return found


def describe_report(row: Row[Any]) -> dict[str, Any]:
    """What came back of a mail, and what was done about it."""
    names = ("at", "kind", "email", "status", "code", "reason", "text", "action", "source")
    is_known = row.issue_id is not None and row.subscriber_id is not None
    delivery = name_delivery((row.issue_id, row.subscriber_id)) if is_known else None
    return {**{name: getattr(row, name) for name in names}, "delivery": delivery}


def _describe_notice(row: Row[Any]) -> dict[str, Any]:
    """An attempt to send a mail of the service's own: it stands in no issue."""
    return {
        "delivery": f"{NOTICE}{row.notice_id}",
        "issue": None,
        "email": row.email,
        "edition": None,
        "attempt": row.attempt,
        "at": row.at,
        "relay": row.relay,
        "outcome": row.outcome,
        "code": row.code,
        "enhanced_code": row.enhanced,
        "response": row.response,
        "message_id": row.message_id,
        "seconds": row.seconds,
        "reports": [],
    }


def describe_issue(conn: Connection, row: Row[Any]) -> dict[str, Any]:
    """An issue in a list: what it is, and its counts."""
    books = ledger.audit_issue(conn, row)
    counts = {name: value for name, value in asdict(books).items() if name != "issue"}
    return {"issue": row.id, **_name_issue(row, books), **counts}


def _name_issue(row: Row[Any], books: Audit) -> dict[str, Any]:
    """What an issue is called; one that runs, owes nothing and has nothing uncertain is `finished`."""
    told = {name: getattr(row, name) for name in ("title", "date", "language", "state", "reason", "published_at")}
    if row.state == IssueState.RUNNING and not (books.queued or books.deferred or books.sending or books.uncertain):
        told["state"] = "finished"
    return told


def describe_issue_fully(conn: Connection, number: int) -> dict[str, Any]:
    """An issue with its briefs, stories, editions, books, and the uncertain deliveries that wait for a decision."""
    row = issues.find_issue(conn, number)
    books = ledger.audit_issue(conn, row)
    held = [name for name in ledger.list_names(conn, row.id) if name.state == "uncertain"] if books.uncertain else []
    return {
        "issue": row.id,
        **_name_issue(row, books),
        "briefs": [{"id": b.name, "date": b.date, "source": b.source} for b in issues.list_briefs(conn, row.id)],
        "stories": [
            {"title": story.title, "topics": [topic["id"] for topic in json.loads(story.topics)]}
            for story in issues.list_stories(conn, row.id)
        ],
        "editions": issues.count_editions(conn, row.id),
        "audit": asdict(books),
        "uncertain": [{"delivery": name_delivery((h.issue_id, h.subscriber_id)), "email": h.email} for h in held],
    }


def describe_subscribers(conn: Connection, people: Sequence[Row[Any]]) -> Iterator[dict[str, Any]]:
    """People in the order of their ids, a *subscriber* of the contract each."""
    if not people:
        return
    first, last = people[0].id, people[-1].id
    consents = _group(subscribers.list_consents(conn, first, last))
    deliveries = _group(ledger.list_deliveries(conn, first, last))
    titles = {issue.id: issue.title for issue in issues.list_issues(conn)} if deliveries else {}
    for person in people:
        yield {
            **describe_briefly(person),
            "consent": [_describe_consent(consent) for consent in consents[person.id]],
            "deliveries": [
                {
                    "delivery": name_delivery((delivery.issue_id, delivery.subscriber_id)),
                    "issue": delivery.issue_id,
                    "title": titles[delivery.issue_id],
                    "state": delivery.state,
                    "reason": delivery.reason,
                    "attempts": delivery.attempts,
                }
                for delivery in deliveries[person.id]
            ],
        }


def describe_briefly(person: Row[Any]) -> dict[str, Any]:
    """A person without what became of them: who they are, what they chose, why they get no mail."""
    return {
        "email": person.email,
        "name": person.name,
        "state": person.state,
        "topics": split_topics(person.topics),
        "frequency": person.frequency,
        "timezone": person.timezone,
        "language": person.language,
        "paused_until": person.paused_until,
        "suppression": {"reason": person.reason, "at": person.at, "source": person.source} if person.at else None,
    }


def _group(rows: Sequence[Row[Any]]) -> dict[int, list[Row[Any]]]:
    groups: dict[int, list[Row[Any]]] = defaultdict(list)
    for row in rows:
        groups[row.subscriber_id].append(row)
    return groups


def _describe_consent(consent: Row[Any]) -> dict[str, Any]:
    return {
        "at": consent.at,
        "source": consent.source,
        "wording": consent.wording,
        "topics": split_topics(consent.topics),
        "confirmed_at": consent.confirmed_at,
        "withdrawn_at": consent.withdrawn_at,
        "withdrawn_by": consent.withdrawn_by,
    }


def describe_subscriber(conn: Connection, person: Row[Any]) -> dict[str, Any]:
    """Everything held on a person: a *subscriber* of the contract, and what their mails were filled with before."""
    earlier = [
        {"email": version.email, "name": version.name, "topics": split_topics(version.topics)}
        for version in subscribers.list_versions(conn, person.id)[1:]
    ]
    (told,) = describe_subscribers(conn, [person])
    came_back = [describe_report(row) for row in reports.list_reports(conn, subscriber_id=person.id)]
    mails = [
        {
            "kind": notice.kind,
            "email": notice.email,
            "language": notice.language,
            "choice": json.loads(notice.choice),
            "at": notice.created_at,
            "confirmed_at": notice.confirmed_at,
        }
        for notice in notices.list_notices(conn, person.id)
    ]
    return {**told, "signed_up_at": person.signed_up_at, "earlier": earlier, "mails": mails, "reports": came_back}


def explain_delivery(database: Database, catalogue: Catalogue, person: Row[Any], number: int | None) -> dict[str, Any]:
    """Why a person got the stories they got of an issue (the latest where None), and why not the others."""
    with database.read() as conn:
        issue = issues.find_issue(conn, number)
        delivery = ledger.find_delivery(conn, issue.id, person.id)
        got: list[int] = []
        if delivery is not None and delivery.edition_id is not None:
            got = [int(story) for story in issues.read_edition(conn, delivery.edition_id).stories.split(",")]
        then = subscribers.find_version(conn, person.id, issue.published_at or issue.created_at) or person
        carried = {row.id: row for row in issues.list_stories(conn, issue.id)}
        carried |= {row.id: row for row in issues.read_stories(conn, got)}
        came_back = reports.list_reports(conn, key=(issue.id, person.id))
    excluded = delivery is None or delivery.state == DeliveryState.EXCLUDED
    why_not = f"no mail: {delivery.reason if delivery else 'not selected'}" if excluded else "an earlier mail holds it"
    return {
        "email": person.email,
        "issue": issue.id,
        "delivery": name_delivery((issue.id, person.id)) if delivery is not None else None,
        "state": delivery.state if delivery is not None else "not selected",
        "reason": delivery.reason if delivery is not None else "not an active subscriber when it was published",
        "topics": split_topics(then.topics),
        "frequency": person.frequency,
        "stories": [_explain_story(carried[story], then.topics, catalogue) for story in got],
        "left_out": [
            _explain_story(row, then.topics, catalogue, why_not) for story, row in carried.items() if story not in got
        ],
        "reports": [describe_report(row) for row in came_back],
    }


def list_stories_for(conn: Connection, wanted: Sequence[str]) -> tuple[Row[Any], list[str]]:
    """The latest issue, and the titles of its stories that a reader of these topics would have got.

    StoreError where nothing was published yet.
    """
    issue = issues.find_issue(conn, None)
    titles = [
        row.title
        for row in issues.list_stories(conn, issue.id)
        if EVERY_STORY in wanted or any(topic["id"] in wanted for topic in json.loads(row.topics))
    ]
    return issue, titles


def _explain_story(row: Row[Any], chosen: str, catalogue: Catalogue, why_not: str = "") -> dict[str, Any]:
    topics = json.loads(row.topics)
    wanted = split_topics(chosen)
    matching = [topic for topic in topics if topic["id"] in wanted]
    if matching:
        because = [f"{_name(topic['id'], catalogue)}: {'; '.join(topic['because'])}" for topic in matching]
    elif EVERY_STORY in wanted:
        because = ["chose every story"]
    elif topics:
        because = ["its topics were not chosen: " + ", ".join(_name(topic["id"], catalogue) for topic in topics)]
    else:
        because = ["no topic took it"]
    if why_not and (matching or EVERY_STORY in wanted):
        because.append(why_not)
    return {"title": row.title, "issue": row.issue_id, "topics": [topic["id"] for topic in topics], "because": because}


def _name(topic: str, catalogue: Catalogue) -> str:
    return catalogue[topic].name if topic in catalogue else topic
