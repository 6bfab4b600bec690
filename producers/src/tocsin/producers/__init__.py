"""Publish alerts."""

from tocsin.producers.errors import TocsinProducerError
from tocsin.producers.publisher import Published, Publisher

__all__ = ["Published", "Publisher", "TocsinProducerError"]
