"""Receive alerts, and say which."""

from tocsin.consumers.copies import Notice, Received, ReceivedKind
from tocsin.consumers.errors import InboxError, OutboxError, SubscriptionInvalid, TocsinConsumerError
from tocsin.consumers.inbox import Inbox
from tocsin.consumers.outbox import Outbox
from tocsin.consumers.subscriptions import Subscription

__all__ = [
    "Inbox",
    "InboxError",
    "Notice",
    "Outbox",
    "OutboxError",
    "Received",
    "ReceivedKind",
    "Subscription",
    "SubscriptionInvalid",
    "TocsinConsumerError",
]
