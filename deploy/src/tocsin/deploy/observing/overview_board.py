"""The dashboard that one looks at first: is it healthy, how fast is it, and who is owed."""

from __future__ import annotations

from typing import Final

from tocsin.deploy.observing.panels import Board, Panel, Query, Show

_WITHIN: Final = (
    'sum(increase(tocsin_delivery_seconds_bucket{le="5.0"}[1h]))'
    " / (sum(increase(tocsin_delivery_seconds_count[1h])) > 0)"
)

OVERVIEW: Final = Board(
    "tocsin-overview",
    "Tocsin: overview",
    "Is it healthy? How fast is it? Who is owed?",
    [
        Panel(
            "Lanes worked",
            "What share of the lanes is worked by somebody.",
            [Query("avg(max by (lane) (tocsin_lane_up))", "lanes")],
            unit="percentunit",
            red=1,
            low=True,
            runbook="tocsinlanedown",
            show=Show.FIGURE,
            width=4,
            height=4,
        ),
        Panel(
            "Lanes that deliver nothing",
            "Since they cannot know who may be given what.",
            [Query("sum(max by (lane) (tocsin_deliveries_stopped)) or vector(0)", "lanes")],
            red=1,
            runbook="tocsindeliveriesstopped",
            show=Show.FIGURE,
            width=4,
            height=4,
        ),
        Panel(
            "Copies within 5 seconds",
            "The objective is 99 of 100 over 30 days. This is the last hour.",
            [Query(_WITHIN, "copies")],
            unit="percentunit",
            amber=0.999,
            red=0.99,
            low=True,
            runbook="tocsinlatencyburnsfast",
            show=Show.FIGURE,
            width=4,
            height=4,
        ),
        Panel(
            "Members owed",
            "Members whose inbox refuses what is meant for it.",
            [Query("count(count by (member) (tocsin_owed_copies > 0)) or vector(0)", "members")],
            amber=1,
            runbook="tocsinowedtoolong",
            show=Show.FIGURE,
            width=4,
            height=4,
        ),
        Panel(
            "Lines silent",
            "Members whose line was not tested for twice as long as it should.",
            [
                Query(
                    "count(time() - tocsin_line_timestamp_seconds "
                    "> on () group_left () 2 * max(tocsin_line_test_seconds) + 5 * 60) or vector(0)",
                    "members",
                )
            ],
            red=1,
            runbook="tocsinlinesilent",
            show=Show.FIGURE,
            width=4,
            height=4,
        ),
        Panel(
            "Alerts that fire",
            "Rules of this exchange that fire now.",
            [Query('count(ALERTS{alertname=~"Tocsin.+",alertstate="firing"}) or vector(0)', "alerts")],
            amber=1,
            show=Show.FIGURE,
            width=4,
            height=4,
            runbook="tocsinservicedown",
        ),
        Panel(
            "Time from alert to copy, 99 of 100",
            "By lane. The objective is 5 seconds.",
            [
                Query(
                    "histogram_quantile(0.99, sum by (lane, le) "
                    "(rate(tocsin_delivery_seconds_bucket[$__rate_interval]))) >= 0",
                    "{{lane}}",
                )
            ],
            unit="s",
            amber=1,
            red=5,
            runbook="tocsinlatencyburnsfast",
        ),
        Panel(
            "Copies",
            "Records committed to inboxes, a second, by lane.",
            [Query("sum by (lane) (rate(tocsin_copies_total[$__rate_interval]))", "{{lane}}")],
            unit="ops",
        ),
        Panel(
            "Not decided yet",
            "How long the oldest alert of a lane waits that is not decided.",
            [Query("time() - min by (lane) (tocsin_lag_timestamp_seconds)", "{{lane}}")],
            unit="s",
            amber=5,
            red=120,
            runbook="tocsinlanebehind",
        ),
        Panel(
            "Who is owed, and since when",
            "Members whose inbox refuses, and how long the oldest copy has waited. Empty is good.",
            [
                Query(
                    "sort_desc(time() - min by (member, lane) (tocsin_owed_timestamp_seconds))",
                    "{{member}} in {{lane}}",
                    when="TocsinOwedTooLong",
                )
            ],
            unit="s",
            show=Show.TABLE,
            amber=60,
            red=600,
            runbook="tocsinowedtoolong",
        ),
        Panel(
            "Age of what decisions are made by",
            "ACLs older than 1.5 seconds, or a directory or outboxes older than their limits, stop deliveries.",
            [Query("time() - min by (snapshot) (tocsin_snapshot_timestamp_seconds)", "{{snapshot}}")],
            unit="s",
            amber=5,
            red=30,
            runbook="tocsindeliveriesstopped",
        ),
        Panel(
            "Services",
            "1 while Prometheus reaches it.",
            [Query("min by (job) (up)", "{{job}}")],
            red=1,
            low=True,
            runbook="tocsinservicedown",
        ),
    ],
)
