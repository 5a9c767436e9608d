"""The command line starts fast because `newsletter --help` loads nothing that only the work itself needs."""

import json
import os
import subprocess
import sys
from pathlib import Path

HEAVY = {
    *("sqlalchemy", "alembic", "sqlite3"),
    *("aiosmtplib", "aiosmtpd", "smtplib", "email_validator"),
    *("starlette", "fastapi", "uvicorn", "httpx2"),
    *("mjml", "jinja2", "markdown_it", "babel", "feedparser", "ahocorasick_rs", "snowballstemmer"),
    *("apscheduler", "pydantic", "pydantic_settings"),
}

SHOW_HELP = """
import json, sys
from newsletter.cli import main
sys.argv = ["newsletter", "--help"]
code = 0
try:
    main()
except SystemExit as leaving:
    code = leaving.code
print("\\n" + json.dumps([code, sorted({name.partition(".")[0] for name in sys.modules})]))
"""


def test_help_loads_no_web_database_or_mail_library(tmp_path: Path) -> None:
    unmeasured = {name: value for name, value in os.environ.items() if not name.startswith("COV")}
    done = subprocess.run(
        [sys.executable, "-c", SHOW_HELP],
        check=True,
        cwd=tmp_path,
        env=unmeasured | {"PYTHONPATH": str(Path(__file__).parents[2])},
        capture_output=True,
        encoding="utf-8",
    )
    shown, _, loaded = done.stdout.rstrip().rpartition("\n")
    code, modules = json.loads(loaded)
    assert not code
    assert "send" in shown
    assert not HEAVY & set(modules)
