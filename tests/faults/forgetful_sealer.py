"""A sealer that goes on at the offset that is the number of its entries, as if transactions left no gaps."""

from tocsin.consumers.audit.sealer import TopicLog
from tocsin.deploy.cli import main


def _after_last(log: TopicLog) -> int:
    """Seals some records twice after each start."""
    return log.size


if __name__ == "__main__":
    setattr(TopicLog, "_after_last", _after_last)  # noqa: B010  # a variant replaces what it lacks
    main()
