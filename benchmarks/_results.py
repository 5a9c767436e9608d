"""Where benchmarks keep their results: one JSON file, a section a benchmark; and what machine it was.

They are kept only with RECORD=1 in the environment: a quick run must not replace what the page was made from.
"""

import json
import os
import platform
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).parent / "results.json"


def describe_machine() -> str:
    """The processor's model and the number of cores, and nothing that tells whose machine it is."""
    model = platform.processor() or platform.machine()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        names = [line.partition(":")[2].strip() for line in cpuinfo.read_text().splitlines() if "model name" in line]
        model = names[0] if names else model
    return f"{model}, {os.cpu_count()} cores, Python {platform.python_version()}"


def save_results(section: str, results: Any) -> None:
    """Replace a section, where results are to be kept."""
    if os.environ.get("RECORD") != "1":
        return
    known = read_results() if RESULTS.exists() else {}
    known[section] = {"machine": describe_machine(), **results}
    RESULTS.write_text(json.dumps(known, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def read_results() -> dict[str, Any]:
    """All sections."""
    told: dict[str, Any] = json.loads(RESULTS.read_text(encoding="utf-8"))
    return told
