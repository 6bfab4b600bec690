"""The dashboard of the brokers."""

from __future__ import annotations

from typing import Final

from tocsin.deploy.observing.panels import Board, Panel, Query, Show

_SUMS: Final = "sum by (instance) (rate({}[$__rate_interval]))"
KAFKA: Final = Board(
    "tocsin-kafka",
    "Tocsin: Kafka",
    "The brokers, by their own word (JMX).",
    [
        Panel(
            "Under-replicated partitions",
            "Partitions with a replica that does not follow. One more broker lost, and they may not be written.",
            [Query("sum(kafka_server_replicamanager_underreplicatedpartitions)", "partitions")],
            show=Show.FIGURE,
            amber=1,
            runbook="tocsinkafkaunderreplicated",
            width=6,
            height=5,
        ),
        Panel(
            "Offline partitions",
            "Partitions that nobody leads: nothing of them can be read or written.",
            [Query("max(kafka_controller_kafkacontroller_offlinepartitionscount)", "partitions")],
            show=Show.FIGURE,
            red=1,
            runbook="tocsinkafkaoffline",
            width=6,
            height=5,
        ),
        Panel(
            "Brokers that are fenced",
            "Brokers that the controllers do not count as alive.",
            [Query("max(kafka_controller_kafkacontroller_fencedbrokercount)", "brokers")],
            show=Show.FIGURE,
            red=1,
            runbook="tocsinkafkaunderreplicated",
            width=6,
            height=5,
        ),
        Panel(
            "Partitions with a transaction that hangs",
            "Whoever reads committed records waits there.",
            [Query("sum(kafka_server_replicamanager_partitionswithlatetransactionscount)", "partitions")],
            show=Show.FIGURE,
            red=1,
            runbook="tocsintransactionhangs",
            width=6,
            height=5,
        ),
        Panel(
            "Bytes in and out",
            "Of clients, by broker.",
            [
                Query(_SUMS.format("kafka_server_brokertopicmetrics_bytesinpersec_total"), "in {{instance}}"),
                Query(_SUMS.format("kafka_server_brokertopicmetrics_bytesoutpersec_total"), "out {{instance}}"),
            ],
            unit="Bps",
        ),
        Panel(
            "Time to answer, 99 of 100",
            "DescribeAcls is read twice a second: when it takes long, sight grows old and deliveries stop.",
            [
                Query(
                    "max by (request) (kafka_network_request_milliseconds_99thpercentile)",
                    "{{request}}",
                )
            ],
            unit="ms",
            amber=500,
            red=1_500,
            runbook="tocsindeliveriesstopped",
        ),
        Panel(
            "Requests that failed",
            "Appends and fetches that a broker refused for a fault of its own, a second.",
            [
                Query(_SUMS.format("kafka_server_brokertopicmetrics_failedproducerequestspersec_total"), "produce"),
                Query(_SUMS.format("kafka_server_brokertopicmetrics_failedfetchrequestspersec_total"), "fetch"),
            ],
            unit="reqps",
        ),
        Panel(
            "Idle request handlers",
            "What share of the brokers' handler threads has nothing to do.",
            [Query("min by (instance) (kafka_server_request_handlers_idle_ratio)", "{{instance}}")],
            unit="percentunit",
            amber=0.3,
            red=0.1,
            low=True,
        ),
        Panel(
            "The largest topics",
            "Bytes on the brokers' disks.",
            [Query("topk(10, max by (topic) (kafka_log_size_bytes))", "{{topic}}")],
            unit="bytes",
        ),
        Panel(
            "In-sync replica sets that shrank",
            "A replica fell behind, by broker; each is a moment in which a copy was missing.",
            [Query(_SUMS.format("kafka_server_replicamanager_isrshrinkspersec_total"), "{{instance}}")],
            unit="ops",
        ),
    ],
)
