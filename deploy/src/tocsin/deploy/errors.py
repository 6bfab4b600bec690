"""What goes wrong when running the exchange.

TocsinDeployError
├── ClusterError         the local Kafka cannot be started, reached or stopped
├── AlertNotTaken        an alert that is to be simulated would be refused by the exchange, or is none
├── JarInvalid           a downloaded file is not the one that the lock names
├── PolicyInvalid        the policy file is wrong; names file, line and remedy
├── PolicyNotApplied     the cluster refused a part of it
├── PlanRefused          a plan is not for this cluster, policy or moment, or lacks an approval
├── MemberRefused        a member's request, sealed file or key cannot be accepted; nothing was changed
├── ServiceRefused       a service's password cannot be changed now; nothing was changed
├── NotProved            a delivery cannot be proved from the record, or not yet; nothing was written
├── DraftRefused         a draft of the directory is not the next one, or lacks root signatures; nothing was published
├── ReportNotWritten     a report of the record cannot be written where it was to go
├── ArchiveRefused       an archive of the record cannot be continued, or what is there is none
├── ExportRefused        an export of the record is not written there, or what is there is no whole one
├── MoveRefused          an exchange cannot be moved to that cluster, or not yet; the message says what to do
├── PortUnusable         a port for metrics, health or the status page cannot be opened
└── RegistryError        the schema registry cannot listen
"""

from __future__ import annotations


class TocsinDeployError(Exception):
    """Root of this package's errors."""


class ClusterError(TocsinDeployError):
    """The local Kafka cannot be started, reached or stopped."""


class AlertNotTaken(TocsinDeployError):
    """An alert would be refused by the exchange, or is none. Never holds its content."""


class JarInvalid(TocsinDeployError):
    """A file does not have the SHA-256 that the lock names, or cannot be had."""


class PolicyInvalid(TocsinDeployError):
    """The policy file is wrong."""


class PolicyNotApplied(TocsinDeployError):
    """The cluster refused a part of the policy; applying again is safe."""


class PlanRefused(TocsinDeployError):
    """A plan is not for this cluster, policy or moment, or lacks an approval; nothing was changed."""


class MemberRefused(TocsinDeployError):
    """A member's request, sealed file or key cannot be accepted; nothing was changed."""


class ServiceRefused(TocsinDeployError):
    """A service's password cannot be changed now, or there is no such service; nothing was changed."""


class DraftRefused(TocsinDeployError):
    """A draft of the directory is not the next one, or lacks signatures of root keys; nothing was published."""


class NotProved(TocsinDeployError):
    """A delivery cannot be proved from the record, or not yet; nothing was written."""


class ReportNotWritten(TocsinDeployError):
    """A report of the record cannot be written where it was to go."""


class ArchiveRefused(TocsinDeployError):
    """An archive of the record cannot be continued, or what is there is none; what it has is as it was."""


class ExportRefused(TocsinDeployError):
    """An export of the record is not written where something else is, or what is there is no whole export."""


class RegistryError(TocsinDeployError):
    """The schema registry cannot listen where it was told to."""


class MoveRefused(TocsinDeployError):
    """An exchange cannot be moved to that cluster, or not yet; it can be tried again."""


class PortUnusable(TocsinDeployError):
    """A port for metrics, health or the status page cannot be opened; the message names the option."""
