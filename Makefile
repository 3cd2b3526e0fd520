# Targets for people; scripts/ does the work. `make` alone lists them.
.DEFAULT_GOAL := help
.PHONY: help run down link test lint bench clean
PYTHON ?= python3
export PYTHON
PYTEST_ARGS ?= -n 2 --dist loadgroup

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

test: ## lint, then every test in parallel, then the check for leaks (root)
	@scripts/host test
	@scripts/venv dev
	@$(MAKE) --no-print-directory lint
	@.venv/bin/python -m pytest $(PYTEST_ARGS)

lint: ## ruff and mypy
	@scripts/venv dev
	@.venv/bin/python -m ruff check .
	@.venv/bin/python -m mypy

bench: ## print Wharfie's figures beside runc's and crun's (root)
	@scripts/host test
	@scripts/venv dev
	@exec .venv/bin/python -m benchmarks

clean: ## remove what make put into this directory; containers and images stay
	@rm -rf .venv .mypy_cache .pytest_cache .ruff_cache .hypothesis staticfiles
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +
