"""The fan-out that does not write a copy which it put on record."""

from tests.faults.variants import run


def main() -> None:
    """Run it."""
    run("omitting")
