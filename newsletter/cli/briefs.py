"""Commands about what is written: brief, topics, render."""

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from newsletter.cli.context import open_from
from newsletter.cli.output import Json, say, write_bytes, write_json, write_rows
from newsletter.core.errors import ConfigError

if TYPE_CHECKING:
    from newsletter.core.model import Brief, Story, TopicMatch

app = typer.Typer(help="The briefs that the sources offer.", no_args_is_help=True)
topics_app = typer.Typer(help="The catalogue of topics, and how well it matches.", no_args_is_help=True)
render_app = typer.Typer()

BriefPath = Annotated[str, typer.Argument(metavar="BRIEF", help="Path or id of a brief, or `latest`.")]


class Format(StrEnum):
    """What `render` prints of a mail."""

    HTML = "html"
    TEXT = "text"
    MJML = "mjml"
    EML = "eml"


def _describe_story(story: "Story", matches: "tuple[TopicMatch, ...]") -> dict[str, Any]:
    return {
        "id": story.id,
        "title": story.title,
        "paragraphs": list(story.paragraphs),
        "links": list(story.links),
        "topics": [{"id": m.topic, "because": [e.sentence for e in m.because]} for m in matches],
    }


def _describe_brief(brief: "Brief") -> dict[str, Any]:
    return {
        "id": brief.id,
        "title": brief.title,
        "date": brief.date,
        "language": brief.language,
        "stories": len(brief.stories),
        "warnings": len(brief.warnings),
        "source": brief.source,
    }


@app.command("show")
def show_brief(ctx: typer.Context, brief: BriefPath, as_json: Json = False) -> None:
    """The parsed brief, and why each story has its topics."""
    with open_from(ctx) as service:
        found = service.find_brief(brief)
        matched = [(story, service.matcher.match_story(story, language=found.language)) for story in found.stories]
    told = {
        **_describe_brief(found),
        "stories": [_describe_story(story, matches) for story, matches in matched],
        "warnings": [{"line": warning.line, "message": warning.message} for warning in found.warnings],
    }
    if as_json:
        write_json({name: told[name] for name in ("id", "title", "date", "language", "stories", "warnings")})
        return
    typer.echo(f"{found.title} ({found.id}, {found.date}, {found.language}): {len(found.stories)} stories")
    for story in told["stories"]:
        typer.echo(f"\n{story['title']}")
        _echo_reasons(story["topics"])
        typer.echo(f"    {len(story['paragraphs'])} paragraphs, {len(story['links'])} links")
    for warning in told["warnings"]:
        typer.echo(f"\nwarning: line {warning['line']}: {warning['message']}")


def _echo_reasons(topics: list[dict[str, Any]]) -> None:
    for topic in topics:
        typer.echo(f"    {topic['id']}: {'; '.join(topic['because'])}")
    if not topics:
        typer.echo("    no topic")


@app.command("list")
def list_briefs(ctx: typer.Context, as_json: Json = False) -> None:
    """The briefs that the sources offer, newest first."""
    with open_from(ctx) as service:
        found, broken = service.list_briefs()
    columns = ("id", "date", "language", "stories", "warnings", "title")
    write_rows([_describe_brief(brief) for brief in found], as_json=as_json, columns=columns, empty="there is no brief")
    for error in broken:
        say(f"warning: {error}")


@topics_app.command("list")
def list_topics(ctx: typer.Context, as_json: Json = False) -> None:
    """The catalogue, with the number of subscribers of each topic."""
    from newsletter.store import subscribers

    with open_from(ctx) as service:
        with service.database.read() as conn:
            sets = subscribers.count_topic_sets(conn)
        counts = {topic: sum(n for chosen, n in sets if topic in chosen.split(";")) for topic in service.catalogue}
        rows = [
            {
                "id": topic.id,
                "name": topic.name,
                "description": topic.description,
                "parent": topic.parent,
                "keywords": len(topic.keywords),
                "subscribers": counts[topic.id],
            }
            for topic in service.catalogue.values()
        ]
        for gone in sorted({t for chosen, _ in sets for t in chosen.split(";")} - {"", "*", *service.catalogue}):
            say(f"warning: subscribers chose {gone!r}, which the catalogue does not have any more")
    write_rows(rows, as_json=as_json, columns=("id", "name", "parent", "keywords", "subscribers"))


@topics_app.command("explain")
def explain_topics(ctx: typer.Context, brief: BriefPath, as_json: Json = False) -> None:
    """The evidence behind every match of a brief, a line each."""
    with open_from(ctx) as service:
        found = service.find_brief(brief)
        rows = [
            {
                "story": story.title,
                "topic": match.topic,
                "source": evidence.source,
                "matched": evidence.matched,
                "place": evidence.place,
                "weight": evidence.weight,
            }
            for story in found.stories
            for match in service.matcher.match_story(story, language=found.language)
            for evidence in match.because
        ]
    columns = ("story", "topic", "source", "matched", "place", "weight")
    write_rows(rows, as_json=as_json, columns=columns, empty="no story has a topic")


@topics_app.command("test")
def measure_topics(
    ctx: typer.Context,
    labelled: Annotated[list[Path], typer.Argument(metavar="LABELLED.json…", help="Labels, each beside its brief.")],
    as_json: Json = False,
) -> None:
    """Precision, recall and F1 of each topic against labels, and the words most missed."""
    from newsletter.core.topics.quality import parse_labels, score_labels
    from newsletter.sources.resources import read_text

    with open_from(ctx) as service:
        pairs = [
            (
                service.find_brief(str(_find_labelled_brief(path))),
                parse_labels(read_text(path, "labels"), source=str(path)),
            )
            for path in labelled
        ]
        scores = score_labels(service.matcher, pairs)
    rows = [
        {
            "topic": score.topic,
            "stories": score.right + score.missed,
            "precision": round(score.precision, 4),
            "recall": round(score.recall, 4),
            "f1": round(score.f1, 4),
            "missed_words": [word for word, _ in score.missed_words],
        }
        for score in scores.topics
    ]
    for title in scores.absent:
        say(f"warning: no brief holds the labelled story {title!r}")
    say(f"{scores.stories} stories: first topic right in {scores.first_accuracy:.1%}, macro F1 {scores.macro_f1:.3f}")
    columns = ("topic", "stories", "precision", "recall", "f1", "missed_words")
    write_rows(rows, as_json=as_json, columns=columns)


def _find_labelled_brief(labels: Path) -> Path:
    """`day.md` beside `day.json` or `day.gold.json`."""
    stem = labels.name.removesuffix(".json").removesuffix(".gold")
    for suffix in (".md", ".markdown", ".txt", ".xml"):
        if (brief := labels.with_name(stem + suffix)).exists():
            return brief
    raise ConfigError(f"{labels}: there is no brief {stem}.md beside these labels")


@topics_app.command("lint")
def lint_topics(ctx: typer.Context, as_json: Json = False) -> None:
    """Keywords that two topics share, or that no story of the briefs on offer ever fired."""
    from newsletter.core.topics.quality import lint_catalogue

    with open_from(ctx) as service:
        found, _ = service.list_briefs()
        lint = lint_catalogue(service.catalogue, found)
    rows = [
        {"problem": "shared", "keyword": shared.uses[0][1], "topics": [topic for topic, _ in shared.uses]}
        for shared in lint.shared
    ]
    rows += [{"problem": "silent", "keyword": keyword, "topics": [topic]} for topic, keyword in lint.silent]
    write_rows(rows, as_json=as_json, columns=("problem", "keyword", "topics"), empty="nothing to mend")


@render_app.command("render")
def render(
    ctx: typer.Context,
    brief: Annotated[str, typer.Option("--brief", help="Path or id of a brief, or `latest`.")] = "latest",
    topics: Annotated[str | None, typer.Option("--topics", help="Topic ids, as in `a,b`; `*` is every story.")] = None,
    subscriber: Annotated[str | None, typer.Option("--subscriber", metavar="EMAIL", help="As this person.")] = None,
    format_: Annotated[Format, typer.Option("--format", help="What to print.")] = Format.HTML,
) -> None:
    """One mail of a brief to stdout, without sending it."""
    from newsletter.proof import make_proof
    from newsletter.report import split_topics

    if topics is None and subscriber is None:
        raise typer.BadParameter("name --topics or --subscriber")
    with open_from(ctx) as service:
        found = service.find_brief(brief)
        person = service.find_person(subscriber) if subscriber else None
        wanted = tuple(split_topics(person.topics)) if person is not None and topics is None else ()
        if topics is not None:
            wanted = service.parse_topics(topics)
        proof = make_proof(
            found,
            wanted,
            publisher=service.make_publisher(sample=True),
            signer=service.sample_signer,
            person=person,
            now=service.now(),
        )
        match format_:
            case Format.EML:
                write_bytes(proof.eml)
            case Format.MJML:
                typer.echo(proof.mjml)
            case Format.HTML:
                typer.echo(proof.html)
            case Format.TEXT:
                typer.echo(proof.text)
