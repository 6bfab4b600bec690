"""What goes wrong when publishing.

TocsinProducerError
├── AlertRefused         ours: the alert breaks a rule; field and rule, nothing was stored
├── SpoolError           the spool cannot take the alert; nothing was stored
│   ├── SpoolFull
│   ├── SpoolDamaged
│   └── SpoolInUse       another process delivers from it
└── ImportFailed         a file cannot be read as what it is said to be
"""

from __future__ import annotations


class TocsinProducerError(Exception):
    """Root of this package's errors."""


class AlertRefused(TocsinProducerError):
    """The alert breaks a rule. The message names field and rule."""


class SpoolError(TocsinProducerError):
    """The spool cannot take the alert; nothing was stored."""


class SpoolFull(SpoolError):
    """The spool, or the disk under it, is full."""


class SpoolDamaged(SpoolError):
    """The spool's file is not a sound database."""


class SpoolInUse(SpoolError):
    """Another process delivers from this spool."""


class ImportFailed(TocsinProducerError):
    """A file cannot be read as what it is said to be."""
