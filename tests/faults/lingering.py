"""The fan-out that takes its time to give a lane away."""

from tests.faults.variants import run


def main() -> None:
    """Run it."""
    run("lingering")
