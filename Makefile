# `make` alone says what there is. Helpers are in .ci/; every environment has a folder of its own.

CONFIG ?= conf/quickstart.toml
PORT ?= 5300
DEV := .venv-dev/bin

.PHONY: help setup run dev test check bench tapcost growth steps soak fuzz properties clean
.DEFAULT_GOAL := help

help: ## this list
	@sed -n 's/^\([a-z]*\):.*## /\1\t/p' Makefile | expand -t 8

setup: ## .venv with the project in it, compiled where possible (PYTHON=... to choose the interpreter)
	@.ci/setup run

run: setup ## the proxy on conf/quickstart.toml in the foreground (CONFIG=path PORT=5400 work too)
	@exec .venv/bin/python -B .ci/run_proxy.py "$(CONFIG)" "$(PORT)"

dev: ## an editable, interpreted installation with the development tools, in .venv-dev
	@.ci/setup dev

test: ## every test on the interpreted build, and what compiling could change on the compiled one (ARGS="-k name" goes to pytest)
	@exec .ci/test $(ARGS)

check: dev ## format, lint, types, tests
	$(DEV)/ruff format --check .
	$(DEV)/ruff check .
	$(DEV)/mypy
	@exec .ci/test $(ARGS)

bench: setup ## CPU per query against other proxies, then `tapcost` unless some are chosen by --only (ARGS="--quick")
	@.venv/bin/python -B bench/run.py $(ARGS); held=$$?; \
	$(if $(findstring --only,$(ARGS)),,.venv/bin/python -B bench/tap_tools.py $(filter --quick --write,$(ARGS)) &&) exit $$held

tapcost: setup ## CPU per frame of `dnsproxy tap` against dnstap and fstrm_capture (ARGS="--quick")
	@exec .venv/bin/python -B bench/tap_tools.py $(ARGS)

growth: setup ## how the cost grows with taps, latency, cache size, plugins, size, load (ARGS="--quick")
	@exec .venv/bin/python -B bench/growth.py $(ARGS)

steps: setup ## where the time of a query goes, step by step, without sockets
	@exec .venv/bin/python -B bench/steps.py $(ARGS)

soak: setup ## ten minutes of load with an upstream that loses, lies and dies, then four of taps (ARGS="--minutes 1" TAPS="--only kills")
	@.venv/bin/python -B bench/soak.py $(ARGS); held=$$?; .venv/bin/python -B bench/taps_soak.py $(TAPS) && exit $$held

fuzz: setup ## random and mutated messages against a running proxy (ARGS="--seconds 300")
	@exec .venv/bin/python -B bench/fuzz.py $(ARGS)

properties: ## every test of a property, on twenty times as many examples (minutes)
	@DNSPROXY_TEST_EXAMPLES=thorough .ci/test -m hypothesis $(ARGS)

clean: ## removes the environments and what tools left behind
	rm -rf .venv .venv-dev .venv-test .venv-test-compiled build dist .mypy_cache .pytest_cache .ruff_cache .hypothesis
	find . -name .git -prune -o -name __pycache__ -type d -prune -exec rm -rf {} +
