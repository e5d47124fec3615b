# Each target sets up .venv by itself, once.
PYTHON ?= python3
BIN := .venv/bin
READY := .venv/.ready

.PHONY: demo test test-all check format bench bench-sweep bench-scheduling bench-real bench-sequential pictures clean

$(READY): pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed: make PYTHON=python3.11 ...")'
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev,cluster]'
	@touch $@

## Run the main job on the embedded corpus: a table, and the path of a report.
demo: $(READY)
	$(BIN)/mpn run quickstart --home demo-home
	$(BIN)/mpn table quickstart --home demo-home
	@echo
	@echo "Report: $$($(BIN)/mpn report quickstart --home demo-home)"
	@echo "Compare the trials in MLflow with: $(BIN)/mpn ui --home demo-home"

## The tests, in at most five minutes on two cores.
test: $(READY)
	$(BIN)/python -m pytest -n 2 --dist loadfile

## The slow ones too: kills, the full demo, real data (MPN_REAL_DATA), a browser where there is one.
test-all: $(READY)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev,cluster,browser,real]'
	$(BIN)/python -m pytest -n 2 --dist loadfile -m 'slow or browser or real or gpu'

## Lint, formatting, types.
check: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: $(READY)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: $(READY)
	$(BIN)/python -m benchmarks.engine

## What a sweep costs beside its work, up to 10,000 blocks: about a quarter of an hour.
bench-sweep: $(READY)
	$(BIN)/python -m benchmarks.sweep

## What the scheduler's decisions cost: 10,000 blocks on 1,000 simulated replicas, in seconds.
bench-scheduling: $(READY)
	$(BIN)/python -m benchmarks.scheduling

## Real XNLI mistakes in 15 languages beside a prototype's figures: about ten minutes on two cores.
## Needs MPN_REAL_DATA; can be interrupted, and goes on where it stood.
bench-real: $(READY)
	$(BIN)/python -m benchmarks.real

## The pictures of README, of what make demo has run: needs Chromium and chromedriver.
pictures: $(READY)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev,browser]'
	MPN_PICTURES_OF=demo-home MPN_PICTURES=docs/images $(BIN)/python -m pytest -m browser tests/browser/test_pages.py

## Forty edits in sequence on the embedded corpus, and what keeps them local: about ten minutes.
bench-sequential: $(READY)
	$(BIN)/python -m benchmarks.sequential

clean:
	rm -rf .venv bench-home demo-home mpn-home .mypy_cache .ruff_cache .pytest_cache
