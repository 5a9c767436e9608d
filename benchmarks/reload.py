"""How long after a file was saved the preview in the browser shows it: brief, template, topics; and the scroll place.

A real `newsletter preview` and a real Chromium: the clock runs from the end of the write to the frame's new content.
Exit 1 where the 95th percentile of any kind of file is over 300 ms, or the page has jumped.
"""

import argparse
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from _results import save_results
from _workfolder import WorkFolder
from playwright.sync_api import Page, sync_playwright

MOST_MS = 300.0
BRIEF = """# The brief {n}

## A story of topic0, number {n}

{text}

## Another story

{text}
"""
TEXT = "Something happened, and people told of it. " * 60
TEMPLATES = Path(__file__).parent.parent / "templates"


def prepare(path: Path) -> tuple[WorkFolder, dict[str, Callable[[int], str]]]:
    """A folder with a brief and templates of its own; how to save each kind of file, returning what then must show."""
    own = path / "own"
    own.mkdir()
    shutil.copytree(TEMPLATES, own, dirs_exist_ok=True)
    frame = own / "frame.mjml.j2"
    original = frame.read_text(encoding="utf-8")
    folder = WorkFolder(path=path, settings={"TEMPLATES": "own"})

    def save_brief(n: int) -> str:
        (path / "briefs" / "day.md").write_text(BRIEF.format(n=n, text=TEXT), encoding="utf-8")
        return f"number {n}"

    def save_template(n: int) -> str:
        changed = original.replace("</mj-title>", f" mark{n}</mj-title>", 1)
        frame.write_text(changed, encoding="utf-8")
        return f"mark{n}"

    def save_topics(n: int) -> str:
        text = f'[topics.t0]\nname = "Topic name{n}"\nkeywords = ["topic0"]\n'
        (path / "subscribers" / "topics.toml").write_text(text, encoding="utf-8")
        return f"Topic name{n}"

    save_brief(0)
    return folder, {"brief": save_brief, "template": save_template, "topics": save_topics}


def wait_for_text(page: Page, text: str) -> None:
    page.wait_for_function(
        """text => {
          const frame = document.getElementById('mail')?.contentDocument;
          return (frame?.documentElement?.outerHTML ?? '').includes(text) || document.body.innerText.includes(text);
        }""",
        arg=text,
        polling=5,
        timeout=20_000,
    )


def measure(address: str, saves: dict[str, Callable[[int], str]], times: int) -> tuple[dict[str, list[float]], float]:
    took: dict[str, list[float]] = {kind: [] for kind in saves}
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 1280, "height": 700})
        page.goto(f"{address}/day?topics=*&width=600")
        page.wait_for_selector("html[data-drawn]")
        page.evaluate("scrollTo(0, 400)")
        for n in range(1, times + 1):
            for kind, save in saves.items():
                text = save(n)
                began = time.perf_counter()
                wait_for_text(page, text)
                took[kind].append((time.perf_counter() - began) * 1000)
                page.wait_for_timeout(150)  # somebody looks at it before the next is saved
        moved = abs(float(page.evaluate("scrollY")) - 400)
        browser.close()
    return took, moved


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--times", type=int, default=20)
    times = parser.parse_args().times
    if shutil.which("chromium") is None:
        sys.stdout.write("skipped: Debian's package chromium is not installed\n")
        return
    with tempfile.TemporaryDirectory() as made:
        folder, saves = prepare(Path(made))
        command = [sys.executable, "-m", "newsletter", "preview", "--port", "0"]
        with subprocess.Popen(command, cwd=made, env=folder.environment, stderr=subprocess.PIPE, text=True) as process:
            assert process.stderr is not None
            found = re.search(r"http://[^;\s]+", process.stderr.readline())
            assert found is not None
            try:
                took, moved = measure(found[0], saves, times)
            finally:
                process.terminate()
    rows = {
        kind: {
            "median": round(statistics.median(values), 1),
            "p95": round(statistics.quantiles(values, n=20)[18], 1),
            "most": round(max(values), 1),
        }
        for kind, values in took.items()
    }
    for kind, row in rows.items():
        sys.stdout.write(f"{kind:<9} median {row['median']} ms, p95 {row['p95']} ms, most {row['most']} ms\n")
    sys.stdout.write(f"the page moved by {moved:g} px\n")
    save_results("reload", {"times": times, "rows": rows, "moved": moved})
    sys.exit(max(row["p95"] for row in rows.values()) > MOST_MS or moved > 1)


if __name__ == "__main__":
    main()
