"""What goes wrong when publishing.

TocsinProducerError
├── AlertRefused         the caller's: the alert breaks a rule; field and rule, nothing was stored
│   └── LineageUnknown   a retraction of what this spool does not know; its topic must be given
├── PublisherClosed      the caller's: used after close()
├── SpoolError           the spool cannot take the alert
│   ├── SpoolFull        it, or the disk under it, is full; nothing was stored
│   ├── SpoolDamaged     its file is not a sound spool; nothing was stored
│   └── SpoolInUse       another publisher, or another process, uses it
└── ImportFailed         a file cannot be read as what it is said to be
"""

from __future__ import annotations


class TocsinProducerError(Exception):
    """Root of this package's errors."""


class AlertRefused(TocsinProducerError):
    """The alert breaks a rule; nothing was stored. The message is `field: rule` and holds none of its content."""

    @property
    def field(self) -> str:
        """The field, `header.expires_at`."""
        return str(self).partition(": ")[0]

    @property
    def rule(self) -> str:
        """The rule that the field breaks."""
        return str(self).partition(": ")[2]


class LineageUnknown(AlertRefused):
    """This spool does not know the lineage; with its topic it can be retracted all the same."""


class PublisherClosed(TocsinProducerError):
    """The publisher has been closed; nothing was stored."""


class SpoolError(TocsinProducerError):
    """The spool cannot take the alert; the message says whether it may have been stored all the same."""


class SpoolFull(SpoolError):
    """The spool, or the disk under it, is full; nothing was stored."""


class SpoolDamaged(SpoolError):
    """The spool's file is not a sound spool; nothing was stored."""


class SpoolInUse(SpoolError):
    """Another publisher, or another process, uses this spool."""


class ImportFailed(TocsinProducerError):
    """A file cannot be read as what it is said to be."""
