"""The wheel, built from the tree and installed alone elsewhere, does the whole main job and carries all it needs.

The environment it lands in sees the wheel and what the wheel's own metadata demands, nothing else: neither the checkout
nor the development tools. No network is used.
"""

import json
import subprocess
import sys
import venv
import zipfile
from dataclasses import dataclass
from importlib.metadata import Distribution, distribution
from pathlib import Path

import pytest
from packaging.requirements import Requirement

CHECKOUT = Path(__file__).parents[2]
CARRIED = {"templates": "templates", "briefs": "briefs", "subscribers": "subscribers", ".env.example": "env.example"}


@dataclass(frozen=True, kw_only=True)
class Machine:
    """An environment that has only the wheel, an empty home, and an empty folder to work in."""

    wheel: Path
    environment: Path
    home: Path
    work: Path

    @property
    def python(self) -> Path:
        return self.environment / "bin" / "python"

    def run(self, *command: str | Path) -> subprocess.CompletedProcess[str]:
        """Run to the end with a bare environment; only the PATH of the system and the empty home are set."""
        bare = {"PATH": "/usr/bin:/bin", "HOME": str(self.home)}
        return subprocess.run(command, cwd=self.work, env=bare, capture_output=True, encoding="utf-8", check=False)


def build_wheel(into: Path) -> Path:
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", into],
        cwd=CHECKOUT,
        check=True,
        capture_output=True,
    )
    (wheel,) = into.glob("*.whl")
    return wheel


def demanded_by(asking: Distribution, extra: str = "", seen: frozenset[str] = frozenset()) -> dict[str, Distribution]:
    """Every distribution that the metadata of this one asks for, directly or through another, by name."""
    demanded: dict[str, Distribution] = {}
    for requirement in map(Requirement, asking.requires or ()):
        if requirement.marker and not requirement.marker.evaluate({"extra": extra}):
            continue
        for further in {"", *requirement.extras}:
            key = f"{requirement.name}[{further}]"
            if key not in seen:
                demanded[requirement.name] = distribution(requirement.name)
                demanded |= demanded_by(demanded[requirement.name], further, seen | {key})
    return demanded


def link_into(site_packages: Path, dependencies: dict[str, Distribution]) -> None:
    """Make the dependencies importable as pip would have laid them, without fetching or copying them again."""
    for dependency in dependencies.values():
        for top in {Path(str(file)).parts[0] for file in dependency.files or ()} - {"..", "__pycache__"}:
            if not (site_packages / top).exists():
                (site_packages / top).symlink_to(Path(str(dependency.locate_file(top))).resolve())


@pytest.fixture(scope="module")
def machine(tmp_path_factory: pytest.TempPathFactory) -> Machine:
    root = tmp_path_factory.mktemp("machine")
    machine = Machine(
        wheel=build_wheel(root / "dist"), environment=root / "environment", home=root / "home", work=root / "work"
    )
    machine.home.mkdir()
    machine.work.mkdir()
    venv.create(machine.environment, with_pip=False, symlinks=True)
    pip: list[str | Path] = [sys.executable, "-m", "pip", "--quiet", "--python", machine.python]
    subprocess.run([*pip, "install", "--no-index", "--no-deps", machine.wheel], check=True)
    (site_packages,) = machine.environment.glob("lib/python3*/site-packages")
    (installed,) = (Distribution.at(path) for path in site_packages.glob("newsletter-*.dist-info"))
    link_into(site_packages, demanded_by(installed))
    return machine


def test_the_wheel_alone_runs_the_demo(machine: Machine) -> None:
    done = machine.run(machine.environment / "bin" / "newsletter", "demo", "--json", "--dir", "shown")
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert told.keys() >= {"issue", "audit", "dir"}
    assert told["audit"]["balanced"] is True
    assert told["audit"]["accepted"] > 0
    folder = machine.work / told["dir"]
    assert folder.samefile(machine.work / "shown")
    assert len(list(folder.rglob("*.eml"))) == told["audit"]["accepted"]
    assert list(machine.home.iterdir()) == []


def test_the_demo_tells_a_person_what_happened_and_where_to_look(machine: Machine) -> None:
    done = machine.run(machine.environment / "bin" / "newsletter", "demo", "--dir", "told")
    assert done.returncode == 0, done.stderr
    assert "@" in done.stdout
    assert "accepted" in done.stdout
    assert "told" in done.stdout


def test_the_package_and_its_neighbours_come_from_the_wheel_and_not_from_the_checkout(machine: Machine) -> None:
    asked = "import json, sys, newsletter; print(json.dumps([newsletter.__file__, sys.path]))"
    imported, path = json.loads(machine.run(machine.python, "-c", asked).stdout)
    assert Path(imported).is_relative_to(machine.environment)
    assert not [entry for entry in path if entry and Path(entry).is_relative_to(CHECKOUT)]
    assert "ModuleNotFoundError" in machine.run(machine.python, "-c", "import pytest").stderr


@pytest.mark.parametrize("source", CARRIED)
def test_samples_and_templates_travel_unchanged(machine: Machine, source: str) -> None:
    lying = CHECKOUT / source
    files = [file for file in lying.rglob("*") if file.is_file()] if lying.is_dir() else [lying]
    if source == "subscribers":
        files = [lying / "topics.toml", lying / "sample.csv"]  # a real list beside them is nobody's business
    inside = f"newsletter/builtin/{CARRIED[source]}"
    with zipfile.ZipFile(machine.wheel) as wheel:
        carried = {name: wheel.read(name) for name in wheel.namelist() if name.startswith(inside)}
    assert files
    assert carried == {
        f"{inside}/{file.relative_to(lying)}" if lying.is_dir() else inside: file.read_bytes() for file in files
    }


def test_the_wheel_holds_the_package_and_nothing_of_the_workshop(machine: Machine) -> None:
    with zipfile.ZipFile(machine.wheel) as wheel:
        names = wheel.namelist()
    package = {str(file.relative_to(CHECKOUT)) for file in (CHECKOUT / "newsletter").rglob("*.py")}
    assert package <= set(names)
    assert "newsletter/py.typed" in names
    assert {Path(name).parts[0].partition("-")[0] for name in names} == {"newsletter"}
    assert not [name for name in names if name.endswith((".db", ".pyc"))]
