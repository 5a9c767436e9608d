"""Files that are not briefs: templates (the operator's before the built-in ones), the catalogue, samples, keys.

In a checkout the built-in files lie beside the package, in a wheel inside it.
"""

from pathlib import Path

import newsletter
from newsletter.core.errors import ConfigError
from newsletter.core.mails.templates import TemplateFile

_PACKAGE = Path(newsletter.__file__).parent


def builtin_path(name: str) -> Path:
    """Where a built-in file or folder lies: `templates`, `briefs`, `subscribers`, `env.example`."""
    in_checkout = _PACKAGE.parent / (".env.example" if name == "env.example" else name)
    if (_PACKAGE.parent / "pyproject.toml").exists() and in_checkout.exists():
        return in_checkout
    return _PACKAGE / "builtin" / name


def read_text(path: Path, what: str) -> str:
    """A UTF-8 file (BOM allowed); ConfigError naming the file, and the line of an undecodable byte."""
    data = read_octets(path, what)
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise ConfigError(f"{path}:{line}: byte {data[error.start]:#04x} is not UTF-8, in {what}") from error


def read_octets(path: Path, what: str) -> bytes:
    """A file as it is; ConfigError naming the file where it cannot be read."""
    try:
        return path.read_bytes()
    except OSError as error:
        raise ConfigError(f"{path}: cannot read {what}: {error.strerror}") from error


def load_templates(override: Path | None) -> dict[str, TemplateFile]:
    """The mail templates by name; a file in the operator's folder takes the place of the built-in one."""
    if override is not None and not override.is_dir():
        raise ConfigError(f"NEWSLETTER_TEMPLATES {str(override)!r} is not a folder")
    files: dict[str, TemplateFile] = {}
    for folder in (builtin_path("templates"), override):
        for path in sorted((*folder.glob("*"), *folder.glob("*/*"))) if folder else ():
            name = path.relative_to(folder).as_posix() if folder else ""
            if path.suffix in (".j2", ".toml") and not name.startswith((".", "web/")):
                files[name] = TemplateFile(path=str(path), text=read_text(path, "a template"))
    return files
