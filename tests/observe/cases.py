"""For each alert rule, series upon which it fires, and series upon which it does not."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

Series = Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Case:
    """Samples a minute apart, in promtool's writing: after `at` minutes the rule fires upon one, not upon the other.

    `summary` is what it says then, `labels` are all its labels but the severity.
    """

    alert: str
    fires: Series
    summary: str
    quiet: Series
    labels: Mapping[str, str] = field(default_factory=dict[str, str])
    at: int = 20


def _same(series: Series, **changed: str) -> Series:
    """The same series with other samples; each is named by the beginning of its metric's last words."""
    return {name: next((new for key, new in changed.items() if key in name), old) for name, old in series.items()}


# a time that stands still since the sample of the first minute (time 0), and one that is the present
_STANDS, _MOVES = "0x500", "0+60x500"
_LATE = {
    'tocsin_delivery_seconds_bucket{lane="se",type="site-taken-down",le="5.0"}': "0+8x500",
    'tocsin_delivery_seconds_count{lane="se",type="site-taken-down"}': "0+10x500",
}
_LINE = {
    'tocsin_line_timestamp_seconds{lane="se",member="bank-se"}': _STANDS,
    "tocsin_line_test_seconds": "120x500",
}
_LANE = {"lane": "se"}
_NOT_SHOWN = (
    "tests of the line do not carry the newest heads of the record, by which members compare what they are told"
)

CASES: Final = (
    Case(
        "TocsinServiceDown",
        {'up{job="sealer",instance="here"}': "0x30"},
        "sealer at here does not answer",
        {'up{job="sealer",instance="here"}': "1x18 0x10"},
        {"job": "sealer", "instance": "here"},
    ),
    Case(
        "TocsinLaneDown",
        {'tocsin_lane_up{lane="se"}': "1x5 _x30"},
        "nobody works the lane se: its alerts reach nobody",
        # handed from one process to another
        {'tocsin_lane_up{lane="se",instance="a"}': "1x18 0x10", 'tocsin_lane_up{lane="se",instance="b"}': "0x18 1x10"},
        _LANE,
    ),
    Case(
        "TocsinDeliveriesStopped",
        {'tocsin_deliveries_stopped{lane="se"}': "0x10 1x20"},
        "se delivers nothing, since it cannot know who may be given what",
        {'tocsin_deliveries_stopped{lane="se"}': "0x19 1x0 0x10"},
        _LANE,
    ),
    Case(
        "TocsinLaneBehind",
        {'tocsin_lag_timestamp_seconds{lane="se"}': "900x30"},
        "an alert of se is not decided 5m 0s after it came",
        {'tocsin_lag_timestamp_seconds{lane="se"}': _MOVES},
        _LANE,
    ),
    Case(
        "TocsinTransactionHangs",
        {'tocsin_lane_hangs{lane="se"}': "0x10 1x20"},
        "a transaction stays open on the ledger of se: nobody can take the lane over",
        {'tocsin_lane_hangs{lane="se"}': "0x30"},
        _LANE,
    ),
    Case(
        "TocsinLineSilent",
        _LINE,
        "the line of bank-se in se was last tested 20m 0s ago",
        _same(_LINE, line_timestamp="0+60x500"),
        {"lane": "se", "member": "bank-se"},
    ),
    Case(
        "TocsinOwedTooLong",
        {'tocsin_owed_timestamp_seconds{lane="se",member="bank-se"}': _STANDS},
        "bank-se has been owed alerts of se for 20m 0s",
        # it was paid, and is owed something else now
        {'tocsin_owed_timestamp_seconds{lane="se",member="bank-se"}': "0x5 _x5 900x20"},
        {"lane": "se", "member": "bank-se"},
    ),
    Case(
        "TocsinGainsHeld",
        {'tocsin_gains_held_members{lane="se"}': "2x30"},
        "2 members have gained more live alerts of se at once than the bound",
        {'tocsin_gains_held_members{lane="se"}': "2x10 0x20"},
        _LANE,
    ),
    Case(
        "TocsinLatencyBurnsFast",
        _LATE,
        "20% of the copies of se come later than after 5 seconds",
        # it was slow forty minutes ago, and is not any more
        {
            'tocsin_delivery_seconds_bucket{lane="se",type="site-taken-down",le="5.0"}': "0x30 0+10x60",
            'tocsin_delivery_seconds_count{lane="se",type="site-taken-down"}': "0+10x30 300+10x60",
        },
        _LANE,
        at=70,
    ),
    Case(
        "TocsinLatencyBurnsFast",
        # six hours at 7 of a hundred: no single hour is bad enough for the short windows
        _same(_LATE, bucket="0+93x500", count="0+100x500"),
        "7% of the copies of se come later than after 5 seconds",
        # at night: three copies in an hour, two of them late
        _same(_LATE, bucket="0x20 1x500", count="0x20 3x500"),
        _LANE,
        at=400,
    ),
    Case(
        "TocsinLatencyBurnsSlowly",
        _same(_LATE, bucket="0+98x500", count="0+100x500"),
        "2% of the copies of se come late, for hours now",
        _same(_LATE, bucket="0+995x500", count="0+1000x500"),
        _LANE,
        at=400,
    ),
    Case(
        "TocsinWithdrawalOverdue",
        {'tocsin_withdrawals_overdue{lane="se",member="bank-se"}': "2x30"},
        "bank-se has not acknowledged 2 retractions of se in time",
        # it acknowledges, and the series is gone
        {'tocsin_withdrawals_overdue{lane="se",member="bank-se"}': "2x10 _x20"},
        {"lane": "se", "member": "bank-se"},
    ),
    Case(
        "TocsinWithdrawalsNotRead",
        {"tocsin_withdrawals_read_timestamp_seconds": "0x30"},
        "nobody knows who has acknowledged retractions",
        {"tocsin_withdrawals_read_timestamp_seconds": _MOVES},
    ),
    Case(
        "TocsinPolicyDrift",
        {'tocsin_policy_differences{kind="foreign"}': "3x30"},
        "3 things are not as the policy has them (foreign)",
        {
            'tocsin_policy_differences{kind="foreign"}': "3x2 0x30",
            'tocsin_policy_differences{kind="break-glass"}': "1x30",
        },
        {"kind": "foreign"},
    ),
    Case(
        "TocsinBreakGlass",
        {'tocsin_policy_differences{kind="break-glass"}': "1x30"},
        "1 break-glass grants are in force",
        {
            'tocsin_policy_differences{kind="break-glass"}': "1x10 0x20",
            'tocsin_policy_differences{kind="foreign"}': "1x30",
        },
        {"kind": "break-glass"},
    ),
    Case(
        "TocsinPolicyEndsSoon",
        {'tocsin_policy_ends_timestamp_seconds{what="agreement",name="eea"}': "600000x30"},
        "agreement eea ends within a week",
        {
            'tocsin_policy_ends_timestamp_seconds{what="agreement",name="eea"}': "700000x30",
            'tocsin_policy_ends_timestamp_seconds{what="break-glass",name="bank-se"}': "7200x30",
            'tocsin_policy_ends_timestamp_seconds{what="certificate",name="b:9094"}': "600000x30",
        },
        {"what": "agreement", "name": "eea"},
    ),
    Case(
        "TocsinCertificateEndsSoon",
        {'tocsin_policy_ends_timestamp_seconds{what="certificate",name="b:9094"}': "1700000x30"},
        "the certificate of b:9094 ends within three weeks; then no client connects",
        {
            'tocsin_policy_ends_timestamp_seconds{what="certificate",name="b:9094"}': "2000000x30",
            'tocsin_policy_ends_timestamp_seconds{what="agreement",name="eea"}': "600000x30",
        },
        {"what": "certificate", "name": "b:9094"},
    ),
    Case(
        "TocsinPolicyNotLookedAt",
        {'tocsin_policy_looked_timestamp_seconds{task="tick"}': "0x30"},
        "sight that ends by itself may not have ended, and nobody knows whether the cluster is as the policy has it",
        {'tocsin_policy_looked_timestamp_seconds{task="tick"}': _MOVES},
        {"task": "tick"},
    ),
    Case(
        "TocsinNotSealed",
        {"tocsin_sealed_timestamp_seconds": "0x30"},
        "what is decided is on record, and is not sealed",
        {"tocsin_sealed_timestamp_seconds": _MOVES},
    ),
    Case(
        "TocsinLogRefused",
        {"tocsin_sealer_refused_logs": "1x30"},
        "1 logs of the record cannot be gone on with; the sealer's log says why",
        {"tocsin_sealer_refused_logs": "0x30"},
    ),
    Case(
        "TocsinWitnessFork",
        {"tocsin_witness_forks": "1x30"},
        "a log of the record has contradicted itself; the witness keeps the evidence",
        {"tocsin_witness_forks": "0x30"},
    ),
    Case(
        "TocsinNotWitnessed",
        {"tocsin_witness_timestamp_seconds": "0+60x60", "tocsin_witness_waiting_heads": "3x60"},
        "the newest heads of the record are not compared by a witness",
        # heads wait now and then, and are compared
        {
            "tocsin_witness_timestamp_seconds": "0+60x60",
            "tocsin_witness_waiting_heads": "3x9 0x0 3x9 0x0 3x9 0x0 3x9 0x9",
        },
        at=40,
    ),
    Case(
        "TocsinHeadsNotShown",
        {'tocsin_line_tests_total{lane="se",head="no"}': "1x10 2x20"},
        _NOT_SHOWN,
        # one before they were read, and then with heads
        {
            'tocsin_line_tests_total{lane="se",head="no"}': "1x30",
            'tocsin_line_tests_total{lane="se",head="yes"}': "1x10 2x20",
        },
    ),
    Case(
        "TocsinHeadsNotShown",
        {'tocsin_snapshot_timestamp_seconds{snapshot="heads"}': _STANDS},
        _NOT_SHOWN,
        # what else is read has rules of its own
        {
            'tocsin_snapshot_timestamp_seconds{snapshot="heads"}': _MOVES,
            'tocsin_snapshot_timestamp_seconds{snapshot="outboxes"}': _STANDS,
        },
    ),
    Case(
        "TocsinAccessNotShipped",
        {"tocsin_access_shipped_timestamp_seconds": _STANDS},
        "who touches the topics is not put on record",
        {"tocsin_access_shipped_timestamp_seconds": _MOVES},
    ),
    Case(
        "TocsinAccessLost",
        {"tocsin_access_lost_parts": "0x10 1x20"},
        "a part of a broker's log of who touched the topics was gone before it was read",
        {"tocsin_access_lost_parts": "0x30"},
    ),
    Case(
        "TocsinAccessUnread",
        {"tocsin_access_unread_lines": "0x10 3x20"},
        "3 lines of brokers' logs of who touched the topics could not be understood",
        {"tocsin_access_unread_lines": "0x30"},
    ),
    Case(
        "TocsinKafkaUnderReplicated",
        {'kafka_server_replicamanager_underreplicatedpartitions{instance="a"}': "0x10 4x20"},
        "4 partitions lack a replica; one more broker lost, and they may not be written",
        # while a broker is restarted
        {'kafka_server_replicamanager_underreplicatedpartitions{instance="a"}': "0x10 4x3 0x20"},
    ),
    Case(
        "TocsinKafkaOffline",
        {'kafka_controller_kafkacontroller_offlinepartitionscount{instance="a"}': "0x10 2x20"},
        "2 partitions have no leader: nothing of them is read or written",
        {'kafka_controller_kafkacontroller_offlinepartitionscount{instance="a"}': "0x30"},
    ),
    Case(
        "TocsinKafkaNotWatched",
        {'up{job="kafka",instance="a"}': "1x10 0x20"},
        "no broker answers Prometheus",
        # one is enough
        {'up{job="kafka",instance="a"}': "1x10 0x20", 'up{job="kafka",instance="b"}': "1x30"},
    ),
)
