"""The dashboard of the policy, and of what ends."""

from __future__ import annotations

from typing import Final

from tocsin.deploy.observing.panels import Board, Panel, Query, Show

POLICY: Final = Board(
    "tocsin-policy",
    "Tocsin: policy and what ends",
    "Whether the cluster is as the policy has it, and what ends by itself.",
    [
        Panel(
            "Differences from the policy",
            "Things that are not as the policy has them, by kind. Break-glass is sight that was taken in an emergency.",
            [Query("max by (kind) (tocsin_policy_differences)", "{{kind}}")],
            red=1,
            runbook="tocsinpolicydrift",
        ),
        Panel(
            "Ends within 30 days",
            "Agreements, transfers, keys, the directory, certificates: how long each has left.",
            [
                Query(
                    "sort(min by (what, name) (tocsin_policy_ends_timestamp_seconds - time()) < 30 * 86400)",
                    "{{what}} {{name}}",
                    when="TocsinPolicyEndsSoon",
                )
            ],
            unit="s",
            show=Show.TABLE,
            amber=7 * 86_400,
            red=86_400,
            low=True,
            runbook="tocsinpolicyendssoon",
        ),
        Panel(
            "The next that ends",
            "How long until the first thing of each kind ends by itself.",
            [Query("min by (what) (tocsin_policy_ends_timestamp_seconds - time())", "{{what}}")],
            unit="s",
            amber=7 * 86_400,
            red=86_400,
            low=True,
            runbook="tocsinpolicyendssoon",
        ),
        Panel(
            "Since the policy was last looked at",
            "What ends by itself ends only when somebody looks.",
            [Query("time() - max by (task) (tocsin_policy_looked_timestamp_seconds)", "{{task}}")],
            unit="s",
            amber=120,
            red=600,
            runbook="tocsinpolicynotlookedat",
        ),
    ],
)
