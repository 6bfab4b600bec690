"""Receive alerts."""

from tocsin.consumers.errors import TocsinConsumerError
from tocsin.consumers.inbox import Inbox, Received

__all__ = ["Inbox", "Received", "TocsinConsumerError"]
