"""All dashboards, in the order in which one looks at them."""

from __future__ import annotations

from typing import Final

from tocsin.deploy.observing.compliance_board import COMPLIANCE
from tocsin.deploy.observing.kafka_board import KAFKA
from tocsin.deploy.observing.lane_boards import LANE, MEMBER
from tocsin.deploy.observing.overview_board import OVERVIEW
from tocsin.deploy.observing.policy_board import POLICY

BOARDS: Final = (OVERVIEW, LANE, MEMBER, POLICY, COMPLIANCE, KAFKA)
