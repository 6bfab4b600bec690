"""The dashboards of lanes and of members."""

from __future__ import annotations

from typing import Final

from tocsin.deploy.observing.panels import Board, Panel, Query, Show, Variable

_QUANTILE: Final = (
    "histogram_quantile({}, sum by (lane, le) "
    '(rate(tocsin_delivery_seconds_bucket{{lane=~"$lane"}}[$__rate_interval]))) >= 0'
)
_LANES: Final = (Variable("lane", "tocsin_lane_up", "lane"),)
_MEMBERS: Final = (Variable("member", "tocsin_line_timestamp_seconds", "member"),)

LANE: Final = Board(
    "tocsin-lane",
    "Tocsin: a lane",
    "One jurisdiction's alerts: how many come, what becomes of them, how fast, and who works on it.",
    [
        Panel(
            "Who works it",
            "The process that owns the lane. None means that its alerts reach nobody.",
            [Query('max by (lane, worker) (tocsin_lane_owner{lane=~"$lane"})', "{{lane}}: {{worker}}")],
            show=Show.FIGURE,
            red=1,
            low=True,
            runbook="tocsinlanedown",
        ),
        Panel(
            "Time from alert to copy",
            "From the broker's time of an alert to the commit of its copies: half of them, and 99 of 100. The "
            "objective is 5 seconds.",
            [
                Query(_QUANTILE.format("0.5"), "{{lane}} half"),
                Query(_QUANTILE.format("0.99"), "{{lane}} 99 of 100"),
            ],
            unit="s",
            amber=1,
            red=5,
            runbook="tocsinlatencyburnsfast",
        ),
        Panel(
            "Decisions",
            "A second, by what was decided.",
            [
                Query(
                    'sum by (kind, outcome) (rate(tocsin_decisions_total{lane=~"$lane"}[$__rate_interval]))',
                    "{{kind}} {{outcome}}",
                )
            ],
            unit="ops",
        ),
        Panel(
            "Copies",
            "Records committed to inboxes, a second.",
            [Query('sum by (lane) (rate(tocsin_copies_total{lane=~"$lane"}[$__rate_interval]))', "{{lane}}")],
            unit="ops",
        ),
        Panel(
            "Not decided yet",
            "How long the oldest alert waits that is not decided.",
            [Query('time() - min by (lane) (tocsin_lag_timestamp_seconds{lane=~"$lane"})', "{{lane}}")],
            unit="s",
            amber=5,
            red=120,
            runbook="tocsinlanebehind",
        ),
        Panel(
            "Records that wait, by topic",
            "As stock tools for consumer groups show it.",
            [Query('max by (topic) (kafka_consumergroup_lag{consumergroup=~"fanout.$lane"})', "{{topic}}")],
        ),
        Panel(
            "Deliveries stopped",
            "1 while the lane gives nobody anything, since it cannot know who may be given what.",
            [Query('max by (lane) (tocsin_deliveries_stopped{lane=~"$lane"})', "{{lane}}")],
            red=1,
            runbook="tocsindeliveriesstopped",
        ),
        Panel(
            "A transaction hangs",
            "1 while a transaction stays open on the lane's ledger.",
            [Query('max by (lane) (tocsin_lane_hangs{lane=~"$lane"})', "{{lane}}")],
            red=1,
            runbook="tocsintransactionhangs",
        ),
        Panel(
            "Time of a transaction, 99 of 100",
            "From its beginning to its commit. Over 350 ms the lane is taken over again, to be sure of it.",
            [
                Query(
                    "histogram_quantile(0.99, sum by (lane, le) "
                    '(rate(tocsin_transaction_seconds_bucket{lane=~"$lane"}[$__rate_interval]))) >= 0',
                    "{{lane}}",
                )
            ],
            unit="s",
            amber=0.35,
            red=3,
            runbook="tocsinlatencyburnsslowly",
        ),
        Panel(
            "Transactions",
            "By how they ended, a second. Doubtful: committed, perhaps twice, so the lane was taken over again.",
            [
                Query(
                    'sum by (outcome) (rate(tocsin_transactions_total{lane=~"$lane"}[$__rate_interval]))', "{{outcome}}"
                )
            ],
            unit="ops",
        ),
        Panel(
            "Take-overs",
            "How often the lane was taken over in an hour.",
            [Query('sum by (lane) (increase(tocsin_lane_takeovers_total{lane=~"$lane"}[1h]))', "{{lane}}")],
            amber=5,
            red=20,
            runbook="tocsinlanedown",
        ),
        Panel(
            "Lineages",
            "Matters that the ledger remembers, those that end within a day, and revisions kept by legal holds.",
            [
                Query('max by (lane) (tocsin_ledger_lineages{lane=~"$lane"})', "{{lane}} remembered"),
                Query('max by (lane) (tocsin_expiring_lineages{lane=~"$lane"})', "{{lane}} end within a day"),
                Query('max by (lane) (tocsin_held_revisions{lane=~"$lane"})', "{{lane}} held"),
            ],
        ),
    ],
    _LANES,
)
MEMBER: Final = Board(
    "tocsin-member",
    "Tocsin: a member",
    "Whether a member's line is alive, what it is owed, and what it has yet to acknowledge.",
    [
        Panel(
            "Since its line was tested",
            "A line is tested so often as the fan-out is told to; a line that is not tested may be dead.",
            [Query('time() - max by (lane, member) (tocsin_line_timestamp_seconds{member=~"$member"})', "{{member}}")],
            unit="s",
            amber=3_600 + 300,
            red=2 * 3_600 + 300,
            runbook="tocsinlinesilent",
        ),
        Panel(
            "Copies owed",
            "To members whose inbox refuses. All others have what is theirs.",
            [
                Query(
                    'sum by (lane, member) (tocsin_owed_copies{member=~"$member"}) or vector(0)',
                    "{{member}} in {{lane}}",
                )
            ],
            amber=1,
            runbook="tocsinowedtoolong",
        ),
        Panel(
            "Owed since",
            "How long the oldest of them has waited.",
            [
                Query(
                    'time() - min by (lane, member) (tocsin_owed_timestamp_seconds{member=~"$member"}) or vector(0)',
                    "{{member}} in {{lane}}",
                )
            ],
            unit="s",
            amber=60,
            red=600,
            runbook="tocsinowedtoolong",
        ),
        Panel(
            "Withdrawals not acknowledged in time",
            "Retracted matters that the member should have acknowledged by now.",
            [
                Query(
                    'sum by (lane, member) (tocsin_withdrawals_overdue{member=~"$member"}) or vector(0)',
                    "{{member}} in {{lane}}",
                )
            ],
            red=1,
            runbook="tocsinwithdrawaloverdue",
        ),
        Panel(
            "Its clock",
            "The broker's time of a publisher's newest alert, less the time in it. Below 0 its clock is ahead; ten "
            "minutes ahead, and its alerts are rejected. Above 0 it is behind, or the alert waited in the spool.",
            [Query("max by (member) (tocsin_clock_skew_seconds)", "{{member}}")],
            unit="s",
        ),
    ],
    _MEMBERS,
)
