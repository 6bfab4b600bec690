"""The fan-out without fencing."""

from tests.faults.variants import run


def main() -> None:
    """Run it."""
    run("no-fencing")
