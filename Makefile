# Targets for people; scripts/ does the work. `make` alone lists them.
.DEFAULT_GOAL := help
.PHONY: help run down link install uninstall test soak lint bench messages clean
PYTHON ?= python3
PREFIX ?= /usr/local
SYSCONFDIR ?= /etc
export PYTHON PREFIX SYSCONFDIR DESTDIR PURGE
unexport PYTHONDONTWRITEBYTECODE # compiled once: tests start hundreds of interpreters
PYTEST_ARGS ?= -n 3 --dist loadfile --no-loadscope-reorder

help: ## list these targets
	@sed -n 's/^\([a-z]*\):.*## /\1\t/p' Makefile | expand -t 10

run: ## install what is missing, then serve the console (root)
	@scripts/host run
	@scripts/venv base
	@exec .venv/bin/python manage.py serve

link: ## print a one-time link that makes an account or resets a password (root)
	@scripts/host link
	@scripts/venv base
	@exec .venv/bin/python manage.py setup_link

down: ## stop every running container (root)
	@scripts/host down
	@scripts/venv base
	@exec .venv/bin/python manage.py wharfie down

install: ## copy it to PREFIX (/usr/local) with a systemd unit; again: bring it up to date (root)
	@scripts/host install
	@scripts/install

uninstall: ## take that away; data stay, unless PURGE=1 (root)
	@scripts/host uninstall
	@scripts/uninstall

test: ## every test in parallel, lint among them, then the check for leaks (root)
	@scripts/host test
	@scripts/venv dev
	@.venv/bin/python -m pytest $(PYTEST_ARGS)

soak: ## every fault, attack and race in full, then acts against a model for SOAK_HOURS hours, 1 if not given (root)
	@scripts/host test
	@scripts/venv dev
	@SOAK_HOURS=$${SOAK_HOURS:-1} .venv/bin/python -m pytest -p no:xdist tests/engine/faults tests/engine/isolation tests/engine/archives tests/engine/files tests/console/test_kills.py tests/browser/test_every_page.py tests/browser/test_every_act.py tests/uml

lint: ## ruff and mypy
	@scripts/venv dev
	@scripts/lint

bench: ## print Wharfie's figures beside its peers'; BENCH_ARGS="--only log-read" chooses (root)
	@scripts/host test
	@scripts/venv dev
	@exec .venv/bin/python -m benchmarks $(BENCH_ARGS)

messages: ## bring locale/ up to date with the marked strings, and compile it (root)
	@scripts/host messages
	@scripts/venv dev
	@.venv/bin/python manage.py makemessages --locale zh_Hans --no-location --no-obsolete --no-wrap
	@.venv/bin/python manage.py compilemessages --locale zh_Hans --ignore .venv

clean: ## remove what make put into this directory; containers and images stay
	@rm -rf .venv .mypy_cache .pytest_cache .ruff_cache .hypothesis staticfiles
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +
