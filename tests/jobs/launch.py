"""`longtake` with the tests' backbones: run as a script by tests that kill it."""

import sys

import tiny  # noqa: F401  registers the backbones; the script's own folder is first on the path

from longtake.jobs.cli import execute

if __name__ == "__main__":
    sys.exit(execute(sys.argv[1:]))
