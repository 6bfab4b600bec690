"""The fan-out that goes by old rights."""

from tests.faults.variants import run


def main() -> None:
    """Run it."""
    run("late")
