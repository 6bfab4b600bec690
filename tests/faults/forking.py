"""The fan-out that shows a member another head of the record than all others."""

from tests.faults.variants import run


def main() -> None:
    """Run it."""
    run("forking")
