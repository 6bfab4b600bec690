"""The fan-out that forgets whom it told."""

from tests.faults.variants import run


def main() -> None:
    """Run it."""
    run("forgetful")
