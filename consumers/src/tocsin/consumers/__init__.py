"""Receive alerts."""

from tocsin.consumers.copies import Notice, Received, ReceivedKind
from tocsin.consumers.errors import InboxError, TocsinConsumerError
from tocsin.consumers.inbox import Inbox

__all__ = ["Inbox", "InboxError", "Notice", "Received", "ReceivedKind", "TocsinConsumerError"]
