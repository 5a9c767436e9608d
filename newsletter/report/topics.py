"""How the catalogue does on what was published: stories a topic, keywords that never fire, stories that none took."""

import json
from collections import Counter, defaultdict
from typing import Any

from pydantic import TypeAdapter
from sqlalchemy import Connection

from newsletter.core.model import Catalogue, Story
from newsletter.core.topics.matcher import TopicMatcher
from newsletter.core.topics.quality import find_silent
from newsletter.store import issues, subscribers

ISSUES_BACK, STORIES_BACK = 30, 300
"""So many issues are counted, and so many of their latest stories are held against the keywords."""
MOST_UNTAKEN = 50
_STORY = TypeAdapter(Story)


def describe_topics(conn: Connection, catalogue: Catalogue, matcher: TopicMatcher) -> dict[str, Any]:
    """Each topic with its readers and its stories in the last issues (oldest first), and what no keyword found."""
    rows = issues.list_latest(conn, ISSUES_BACK)[::-1]
    counts: dict[int, Counter[str]] = {row.id: Counter() for row in rows}
    untaken: list[dict[str, Any]] = []
    texts: list[tuple[Story, str]] = []
    for story in issues.list_latest_stories(conn, [row.id for row in rows]):
        topics = [topic["id"] for topic in json.loads(story.topics)]
        counts[story.issue_id].update(topics)
        if not topics:
            untaken.append({"issue": story.issue_id, "title": story.title})
        if len(texts) < STORIES_BACK and story.content != "{}":
            texts.append((_STORY.validate_json(story.content), story.language))
    silent = find_silent(catalogue, matcher, texts)
    readers: dict[str, int] = defaultdict(int)
    for chosen, n in subscribers.count_topic_sets(conn):  # a million readers have some 60,000 sets
        for topic in chosen.split(";"):
            readers[topic] += n
    return {
        "issues": [row.id for row in rows],
        "stories": len(texts),
        "every_story": readers["*"],
        "topics": [
            {
                "id": topic.id,
                "name": topic.name,
                "description": topic.description,
                "parent": topic.parent,
                "readers": readers[topic.id],
                "stories": [counts[row.id][topic.id] for row in rows],
                "keywords": len(topic.keywords),
                "silent": [keyword for owner, keyword in silent if owner == topic.id],
            }
            for topic in catalogue.values()
        ],
        "untaken": untaken[:MOST_UNTAKEN],
    }
