"""Lays out a working folder: settings with a fresh secret, sample briefs, topics and subscribers, templates/."""

import secrets
from pathlib import Path

from newsletter.core.errors import ConfigError
from newsletter.sources.resources import builtin_path

SECRET_OCTETS = 32
SUBSCRIBERS_FILES = ("sample.csv", "topics.toml")  # in a checkout the operator's own lists lie beside them
TEMPLATES_README = """\
Put a file here under the name of a built-in template to take its place, and set NEWSLETTER_TEMPLATES=templates.
A folder with a theme.toml is a theme of your own: NEWSLETTER_THEME=its-name. docs/themes.md tells how.
"""


def write_working_folder(folder: Path) -> dict[str, list[str]]:
    """Create what is missing in a folder and overwrite nothing; returns the paths created and those kept."""
    told: dict[str, list[str]] = {"created": [], "kept": []}
    env = builtin_path("env.example").read_text(encoding="utf-8")
    contents = {
        folder / ".env": env.replace("# NEWSLETTER_SECRET_KEY=", f"NEWSLETTER_SECRET_KEY={_make_secret()}", 1),
        folder / "templates" / "README": TEMPLATES_README,
    }
    for sample in sorted(builtin_path("briefs").glob("*.md")):
        contents[folder / "briefs" / sample.name] = sample.read_text(encoding="utf-8")
    for name in SUBSCRIBERS_FILES:
        contents[folder / "subscribers" / name] = (builtin_path("subscribers") / name).read_text(encoding="utf-8")
    for path, text in contents.items():
        try:
            _write_new(path, text, told)
        except OSError as error:
            raise ConfigError(f"{path}: cannot write the working folder: {error.strerror}") from error
    return told


def _make_secret() -> str:
    return secrets.token_urlsafe(SECRET_OCTETS)


def _write_new(path: Path, text: str, told: dict[str, list[str]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        path.touch(0o600 if path.name == ".env" else 0o666, exist_ok=False)
    except FileExistsError:
        told["kept"].append(str(path))
        return
    try:
        path.write_text(text, encoding="utf-8")
    except OSError:
        path.unlink()  # half a file would be kept the next time
        raise
    told["created"].append(str(path))
