"""The fan-out without transactions."""

from tests.faults.variants import run


def main() -> None:
    """Run it."""
    run("no-transaction")
