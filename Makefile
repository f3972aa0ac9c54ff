# make quickstart   run the composed quickstart: a server, a client and a web page
# make test         everything that is tested; PYTEST="tests/core -k stop" runs a part
# make lint         format, style and types
# make soak         two minutes of crashes in a tree of 200 services, on each backend
# make bench        ours and the peers' on the same work; BENCH="echo spawn" runs a part
# make docs         the manual as HTML, in docs/_build/html

PYTHON ?= python3
BIN := .venv/bin
PYTEST ?=
BENCH ?=

.PHONY: quickstart test chromium lint soak bench docs clean

quickstart: .venv/run
	cd examples && ../$(BIN)/ginkgo quickstart.HelloWorld

# What fails beside the others is run once more by itself, and has to pass there: thousands of tests
# of real processes on a busy machine now and then meet one that is late. The first run names them.
test: .venv/test chromium lint
	$(BIN)/python -m pytest -n 2 --dist worksteal $(PYTEST) || \
	  $(BIN)/python -m pytest --last-failed --last-failed-no-failures none $(PYTEST)

# The page is tested in the system's browser: Debian's, where this is root and there is none.
chromium:
	@command -v chromium >/dev/null || test -n "$$CHROMIUM" || { \
	  if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
	    apt-get -qq update && DEBIAN_FRONTEND=noninteractive \
	      apt-get -qq install --yes --no-install-recommends chromium >/dev/null; \
	  else echo "tests/page needs Chromium: install it, or set CHROMIUM to its path"; fi; }

lint: .venv/test
	$(BIN)/ruff format --check --quiet .
	$(BIN)/ruff check --quiet .
	$(BIN)/mypy

soak: .venv/test
	GINKGO_SOAK=120 $(BIN)/python -m pytest -n 2 tests/core/test_soak.py

bench: .venv/bench
	$(BIN)/python -m benchmarks $(BENCH)

docs: .venv/test
	$(BIN)/sphinx-build -q -W -b html docs docs/_build/html

clean:
	rm -rf .venv docs/_build benchmarks/.build

# What each of them needs, installed once and again when the build file changes.

.venv/bin/python:
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --upgrade pip

.venv/run: pyproject.toml | .venv/bin/python
	$(BIN)/python -m pip install --quiet -e .
	@touch $@

.venv/test: pyproject.toml | .venv/bin/python
	$(BIN)/python -m pip install --quiet -e '.[all]' --group test --group lint --group docs
	@touch $@ .venv/run

.venv/bench: pyproject.toml | .venv/bin/python
	$(BIN)/python -m pip install --quiet -e '.[all]' --group bench
	@touch $@ .venv/run
