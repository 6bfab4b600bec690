"""The dashboard of the record, for those who answer for it."""

from __future__ import annotations

from typing import Final

from tocsin.deploy.observing.panels import Board, Panel, Query, Show

COMPLIANCE: Final = Board(
    "tocsin-compliance",
    "Tocsin: the record",
    "Whether what is decided is sealed and witnessed, what was refused, and what was not acknowledged.",
    [
        Panel(
            "Since all of it was sealed",
            "What is decided and not sealed could be changed without a trace by who owns the brokers.",
            [Query("time() - max(tocsin_sealed_timestamp_seconds)", "seconds")],
            unit="s",
            amber=10,
            red=60,
            runbook="tocsinnotsealed",
        ),
        Panel(
            "Not sealed yet",
            "Offsets on record that no seal has, by topic.",
            [Query("max by (topic) (tocsin_seal_lag_records)", "{{topic}}")],
        ),
        Panel(
            "Logs refused",
            "Topics of the record that are not what was sealed before.",
            [Query("max(tocsin_sealer_refused_logs)", "logs")],
            show=Show.FIGURE,
            red=1,
            runbook="tocsinlogrefused",
            width=6,
            height=5,
        ),
        Panel(
            "Forks",
            "Heads that contradict what a witness saw before: two histories with one signature.",
            [Query("max(tocsin_witness_forks)", "heads")],
            show=Show.FIGURE,
            red=1,
            runbook="tocsinwitnessfork",
            width=6,
            height=5,
        ),
        Panel(
            "Heads that wait",
            "Heads that the witness cannot compare yet.",
            [Query("max(tocsin_witness_waiting_heads)", "heads")],
            show=Show.FIGURE,
            amber=1,
            runbook="tocsinnotwitnessed",
            width=6,
            height=5,
        ),
        Panel(
            "Overdue acknowledgements",
            "Withdrawals that members should have acknowledged by now.",
            [Query("sum(tocsin_withdrawals_overdue) or vector(0)", "withdrawals")],
            show=Show.FIGURE,
            red=1,
            runbook="tocsinwithdrawaloverdue",
            width=6,
            height=5,
        ),
        Panel(
            "Sealed and witnessed",
            "Records sealed, and entries of the newest head that the witness has cosigned, by topic.",
            [
                Query("max by (topic) (tocsin_sealed_records)", "{{topic}} sealed"),
                Query("max by (topic) (tocsin_witness_entries)", "{{topic}} cosigned"),
            ],
        ),
        Panel(
            "Oldest withdrawal that somebody has not acknowledged",
            "By lane.",
            [Query("max by (lane) (tocsin_withdrawals_oldest_seconds)", "{{lane}}")],
            unit="s",
            amber=3_600,
            red=86_400,
            runbook="tocsinwithdrawaloverdue",
        ),
        Panel(
            "Members refused an alert",
            "Who asked and may not see it, a second, by reason.",
            [Query("sum by (reason) (rate(tocsin_refusals_total[$__rate_interval])) or vector(0)", "{{reason}}")],
            unit="ops",
        ),
        Panel(
            "Records rejected",
            "Failed verification, a second, by reason. A signature that does not hold is somebody who pretends.",
            [
                Query(
                    'sum by (reason) (rate(tocsin_decisions_total{reason!=""}[$__rate_interval])) or vector(0)',
                    "{{reason}}",
                )
            ],
            unit="ops",
        ),
        Panel(
            "Sight gained and lost",
            "Members and topics, an hour, by lane.",
            [
                Query(
                    "sum by (lane, change) (increase(tocsin_sight_changes_total[1h])) or vector(0)",
                    "{{lane}} {{change}}",
                )
            ],
        ),
        Panel(
            "Revisions on hold",
            "Kept because of legal holds, by lane.",
            [Query("max by (lane) (tocsin_held_revisions)", "{{lane}}")],
        ),
    ],
)
