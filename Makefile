PYTHON ?= python3.11
# Stages call "python": it must be this environment's, also inside the temporary folders of dvc exp run.
export PATH := $(CURDIR)/.venv/bin:$(PATH)
export DVC_NO_ANALYTICS := true

.PHONY: repro test test-slow setup lint lock clean

repro: setup ## rebuild every result that is not up to date, and note what it was computed on
	dvc status --quiet || { dvc repro && python -m sightline.core.provenance; }

test: setup lint ## check style, types and behaviour
	pytest

test-slow: setup ## kill and resume every training; run the stages on emulated processors: a quarter of an hour
	bash .ci/emulator
	pytest -m slow

lint: setup
	ruff format --check .
	ruff check .
	mypy

setup: .venv/installed ## create .venv with the pinned packages

.venv/installed: requirements.lock pyproject.toml
	test -x .venv/bin/python || $(PYTHON) -m venv .venv || python3 -m venv .venv
	.venv/bin/python -m pip install --quiet --no-deps --requirement requirements.lock
	.venv/bin/python -m pip install --quiet --no-deps --no-build-isolation --editable .
	touch $@

lock: ## write requirements.lock anew from what pyproject.toml asks for
	python3 -m venv .cache/lock
	.cache/lock/bin/python -m pip install --quiet --upgrade pip
	.cache/lock/bin/python -m pip install --quiet --editable . --group dev
	.cache/lock/bin/python -m pip freeze --all --exclude pip --exclude sightline --exclude opencv-python \
		| sed -E '/^(nvidia-|cuda-|triton)/s/$$/ ; sys_platform == "linux"/' > requirements.lock
	rm -rf .cache/lock

clean: ## remove what can be rebuilt, except results and the environment
	rm -rf .cache .pytest_cache .mypy_cache .ruff_cache
