# Everything a fresh machine needs is Python 3.11 or later (with its venv module) and make; `make` alone lists the verbs.
# Set-up is part of each verb: .venv is built from requirements.lock, and again only when that file or pyproject.toml changes.

PYTHON ?= python3
UV ?= uv
BIN := .venv/bin

export PIP_DISABLE_PIP_VERSION_CHECK = 1
export PIP_NO_INPUT = 1

# A checkout that was moved, or a Python that was replaced, leaves a .venv that cannot work: build it anew.
ifneq ($(wildcard .venv/.locked),)
ifneq ($(shell cat .venv/.locked; $(BIN)/python -c '' 2>/dev/null && echo works),$(CURDIR) works)
$(shell rm -f .venv/.locked)
endif
endif

.PHONY: help install demo test test-long test-postgres judge check bench bench-scale drill lock clean

help:
	@echo 'make install   build .venv; .venv/bin/newsletter is then the command line'
	@echo 'make demo      the main job on embedded parts: briefs in, mails out, books closed'
	@echo 'make test      the tests, and the coverage gate'
	@echo 'make test-long      those that kill and time processes for minutes'
	@echo 'make test-postgres   the same tests on PostgreSQL, where they are not about SQLite alone'
	@echo 'make judge     the golden mails before html-validate, caniemail, axe, SpamAssassin, and MJML of npm (needs Node.js)'
	@echo 'make check     linter, format, types, import floors, lock file'
	@echo 'make bench     the benchmarks'
	@echo 'make bench-scale     1, 2 and 4 workers, and claims among 1, 5 and 10 million deliveries (half an hour)'
	@echo 'make drill     killed again and again before a misbehaving server: nobody lost? (DRILL=--short; --help)'
	@echo 'make lock      pin the dependencies anew, after a change in pyproject.toml (needs uv; LOCKFLAGS=--upgrade for newer ones)'
	@echo 'make clean     remove everything that make made'

install: .venv/.installed

.venv/.locked: requirements.lock
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo 'error: $(PYTHON) is not Python 3.11 or later; name one, as in: make install PYTHON=python3.12' >&2; exit 1; }
	@echo 'setting up .venv (once, about a minute)'
	@$(PYTHON) -m venv --clear .venv
	@$(BIN)/python -m pip install --quiet --no-deps --require-hashes -r requirements.lock
	@echo '$(CURDIR)' > $@

.venv/.installed: .venv/.locked pyproject.toml
	@$(BIN)/python -m pip install --quiet --no-deps --no-build-isolation --editable .
	@touch $@

demo: install
	@$(BIN)/newsletter demo

# Two workers more than there are cores: some tests wait for processes of theirs.
# 95 % of all branches is demanded by pyproject.toml; the pure core is small enough for all of them.
test: install
	@PYTEST_XDIST_AUTO_NUM_WORKERS=$$(($$(nproc) + 2)) $(BIN)/python -m pytest -m 'not long and not judge' --cov --cov-report=term
	@$(BIN)/coverage report --include='newsletter/core/*' --fail-under=100

test-long: install
	@$(BIN)/python -m pytest -m long

judge: install
	@cd tests/judges && npm ci --silent
	@$(BIN)/python -m pytest -m judge tests/judges

test-postgres: install
	@TEST_DATABASE=postgresql PYTEST_XDIST_AUTO_NUM_WORKERS=$$(($$(nproc) + 1)) $(BIN)/python -m pytest tests/integration

check: install
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports
	@$(BIN)/python -m pip check
	@! grep -nE '(https?|file):' requirements.lock || { echo 'error: requirements.lock names an address' >&2; exit 1; }

drill: install
	@$(BIN)/python benchmarks/drill.py $(DRILL)

bench: install
	@set -e; for file in benchmarks/[!_]*.py; do \
	  case "$$file" in */drill.py) continue;; esac; echo "== $$file"; $(BIN)/python "$$file"; \
	done

bench-scale: install
	@$(BIN)/python benchmarks/fleet.py --workers 1 2 4 --rows 1 5 10 --readers 1000000

lock:
	$(UV) pip compile --quiet --no-config --universal --python-version 3.11 --generate-hashes --no-header --no-annotate \
	  --all-extras --group dev $(LOCKFLAGS) --output-file requirements.lock pyproject.toml

clean:
	rm -rf .venv dist demo tests/judges/node_modules .coverage .coverage.* htmlcov .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	find newsletter tests benchmarks -name __pycache__ -prune -exec rm -rf {} +
