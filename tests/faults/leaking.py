"""The fan-out that tells a member something which no decision gives it."""

from tests.faults.variants import run


def main() -> None:
    """Run it."""
    run("leaking")
