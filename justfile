# Recipes run in the active environment: python3 -m venv .venv && .venv/bin/pip install -e '.[dev]'

# Everything that CI checks
check: lint types imports test

lint:
    python -m ruff check .
    python -m ruff format --check .

types:
    python -m mypy

imports:
    lint-imports

test *arguments:
    python -m pytest {{arguments}}

# Print the table of every performance claim
benchmarks:
    for script in benchmarks/*.py; do python $script || exit 1; done
