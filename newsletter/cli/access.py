"""Commands about who may come in: tokens of the API, and the operator's password as it is kept."""

import sys
from datetime import timedelta
from typing import Annotated, Any

import typer

from newsletter.cli.context import open_from
from newsletter.cli.output import Json, say, write_json, write_rows
from newsletter.core.address import has_control_characters
from newsletter.core.errors import ConfigError

app = typer.Typer()
tokens_app = typer.Typer(help="Bearer tokens for the API.", no_args_is_help=True)

MOST_NAME = 100
SHORTEST_PASSWORD = 12


@tokens_app.command("create")
def create_token(
    ctx: typer.Context,
    name: Annotated[str, typer.Argument(metavar="NAME", help="What it is for.")],
    days: Annotated[int | None, typer.Option("--days", min=1, max=3650, help="How long it is valid.")] = None,
    as_json: Json = False,
) -> None:
    """Make a token; it is shown this once, and only its hash is kept."""
    import secrets

    from newsletter.store import tokens

    if not name.strip() or len(name) > MOST_NAME or has_control_characters(name):
        raise ConfigError(f"the name {name[:80]!r} is empty, over {MOST_NAME} characters, or has control characters")
    secret = tokens.PREFIX + secrets.token_urlsafe(tokens.SECRET_OCTETS)
    with open_from(ctx) as service:
        now = service.now()
        expires_at = now + timedelta(days=days) if days else None
        with service.database.write() as conn:
            number = tokens.insert_token(conn, name=name, secret=secret, now=now, expires_at=expires_at)
    if as_json:
        write_json({"token": number, "name": name, "secret": secret, "created_at": now, "expires_at": expires_at})
        return
    typer.echo(secret)
    say(f"token {number}, {name}: give it as `Authorization: Bearer …`; it is not shown again")


@tokens_app.command("list")
def list_tokens(ctx: typer.Context, as_json: Json = False) -> None:
    """All tokens, oldest first."""
    from newsletter.store import tokens

    with open_from(ctx) as service, service.database.read() as conn:
        rows: list[dict[str, Any]] = [
            {
                "token": row.id,
                "name": row.name,
                "created_at": row.created_at,
                "expires_at": row.expires_at,
                "used_at": row.used_at,
            }
            for row in tokens.list_tokens(conn)
        ]
    columns = ("token", "name", "created_at", "expires_at", "used_at")
    write_rows(rows, as_json=as_json, columns=columns, empty="there is no token")


@tokens_app.command("revoke")
def revoke_token(
    ctx: typer.Context,
    number: Annotated[int, typer.Argument(metavar="N", help="Number of the token.")],
    as_json: Json = False,
) -> None:
    """Take a token away; whoever holds it is refused from now on."""
    from newsletter.store import tokens

    with open_from(ctx) as service, service.database.write() as conn:
        name = tokens.delete_token(conn, number)
    told = {"token": number, "name": name, "revoked": True}
    write_json(told) if as_json else typer.echo(f"token {number}, {name}: revoked")


@app.command()
def password() -> None:
    """Ask for a password and print the line for .env that keeps its hash (Argon2id), not the password."""
    import getpass
    import os

    from newsletter.core.passwords import SALT_OCTETS, hash_password

    if sys.stdin.isatty():
        given = getpass.getpass("password: ")
        if getpass.getpass("again: ") != given:
            raise ConfigError("the two passwords differ")
    else:
        given = sys.stdin.readline().rstrip("\r\n")
    if len(given) < SHORTEST_PASSWORD:
        raise ConfigError(f"the password has fewer than {SHORTEST_PASSWORD} characters")
    typer.echo(f"NEWSLETTER_WEB__OPERATOR_PASSWORD={hash_password(given, os.urandom(SALT_OCTETS))}")
