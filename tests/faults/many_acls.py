"""Asks for all ACLs with the client library's own client, as a process of its own: it is to end here, not the test."""

from __future__ import annotations

import sys
from pathlib import Path

from confluent_kafka.admin import AdminClient

from tocsin.consumers.acl_reader import read_topic_acls
from tocsin.schemas.bundle import Bundle

if __name__ == "__main__":
    read_topic_acls(AdminClient(Bundle.load(Path(sys.argv[1])).kafka_config()), timeout_s=60.0)
