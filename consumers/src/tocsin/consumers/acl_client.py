"""A client to ask for ACLs with, whose process survives any number of them.

librdkafka copies each name, principal and host of a DescribeAcls answer to the stack of its main thread and frees none
before it has read them all (`rd_kafka_DescribeAclsResponse_parse`): with 8 MB, Linux's default, 140,000 short rows end
the process. So that thread gets a deep stack, and an answer that could fill it is refused when its size has been read.

And the library makes an object of 16 us of each row, while no other thread runs: two thirds of the time of a reading.
So dictionaries take its place while rows are read.
"""

from __future__ import annotations

import ctypes
import threading
from collections.abc import Generator, Iterable, Mapping
from contextlib import contextmanager
from typing import Any, Final

import confluent_kafka.admin
from confluent_kafka import KafkaError, KafkaException
from confluent_kafka.admin import AclOperation, AclPermissionType, AdminClient, ResourcePatternType, ResourceType

from tocsin.consumers.acl import AclRow
from tocsin.schemas.bundle import KafkaConfig

ANSWER_BYTES_MAX: Final = 4_000_000
"""Some 100,000 rows of usual names."""
# the shortest row has 6 bytes, and its two copies take 16 bytes each; longer ones take less for each byte
_STACK_PER_BYTE: Final = 10
_STACK_BYTES: Final = 64 * 1024 * 1024
# of a thread that is not the first, where the system does not say: macOS
_STACK_BYTES_UNKNOWN: Final = 512 * 1024
# larger than pthread_attr_t is anywhere
_ATTRIBUTES_BYTES: Final = 256

_UNKNOWN: Final = "UNKNOWN"
# DescribeAclsResponse, version 1; those of later versions are shorter
_NAME_BYTES: Final = 8
_ROW_BYTES: Final = 6


def acl_client(config: KafkaConfig, *, answer_bytes_max: int = ANSWER_BYTES_MAX) -> AdminClient:
    """An administrator's client that is for ACLs only: a larger answer, to whatever question, fails with _BAD_MSG.

    Where threads cannot be given a deep stack, answers must be smaller still. It is address space that they are given;
    memory is used as always.
    """
    with _deep_threads() as stack_bytes:
        bound = min(answer_bytes_max, stack_bytes // _STACK_PER_BYTE)
        return AdminClient({**config, "receive.message.max.bytes": bound})


def is_too_large(failure: KafkaException) -> bool:
    """Whether what failed is an answer that is larger than the client takes, or holds more than librdkafka takes."""
    code: int = failure.args[0].code()
    return code == KafkaError._BAD_MSG  # noqa: SLF001  # librdkafka's name


def answer_bytes(rows: Iterable[AclRow]) -> int:
    """How large an answer with `rows` is, at most: a name and its pattern once, with all that is granted on it."""
    names: set[tuple[str, str]] = set()
    size = 0
    for row in rows:
        names.add((row.pattern, row.name))
        size += _ROW_BYTES + len(row.principal.encode()) + len(row.host.encode())
    return size + sum(_NAME_BYTES + len(name.encode()) for _, name in names)


_ONE_READING = threading.Lock()
_PATTERNS: Final = {one.value: one.name for one in ResourcePatternType}
_OPERATIONS: Final = {one.value: one.name for one in AclOperation}
_PERMISSIONS: Final = {one.value: one.name for one in AclPermissionType}
# BROKER is librdkafka's name for Kafka's CLUSTER
_KINDS: Final = {one.value: "CLUSTER" if one is ResourceType.BROKER else one.name for one in ResourceType}


@contextmanager
def light_rows() -> Generator[None]:
    """In this block what the library has read of ACLs are dictionaries, for `row_of`, in the place of AclBindings.

    For one thread at a time. No other thread may create ACLs meanwhile: its bindings would not be taken for some.
    """
    with _ONE_READING:
        binding = confluent_kafka.admin.AclBinding
        confluent_kafka.admin.AclBinding = dict  # type: ignore[assignment,misc]
        try:
            yield
        finally:
            confluent_kafka.admin.AclBinding = binding  # type: ignore[misc]


def row_of(fields: Mapping[str, Any]) -> AclRow:
    """A row that was read; a word that this release has no name for is UNKNOWN."""
    return AclRow(
        _KINDS.get(fields["restype"], _UNKNOWN),
        fields["name"],
        _PATTERNS.get(fields["resource_pattern_type"], _UNKNOWN),
        fields["principal"],
        fields["host"],
        _OPERATIONS.get(fields["operation"], _UNKNOWN),
        _PERMISSIONS.get(fields["permission_type"], _UNKNOWN),
    )


def is_understood(row: AclRow) -> bool:
    """Whether all its words have names in this release."""
    return _UNKNOWN not in (row.resource_type, row.pattern, row.operation, row.permission)


@contextmanager
def _deep_threads() -> Generator[int]:
    """Threads that are started in this block have a deep stack, where the system lets us say so; yields how deep."""
    before = _default_stack(_STACK_BYTES)
    try:
        yield _default_stack(None)
    finally:
        if before != _STACK_BYTES_UNKNOWN:
            _default_stack(before)


def _default_stack(wanted: int | None) -> int:
    """How deep the stack of a new thread is by default; from now on `wanted`, if given and possible (glibc, musl)."""
    system = ctypes.CDLL(None)
    if not hasattr(system, "pthread_setattr_default_np"):
        return _STACK_BYTES_UNKNOWN
    attributes, size = ctypes.create_string_buffer(_ATTRIBUTES_BYTES), ctypes.c_size_t()
    system.pthread_getattr_default_np(attributes)
    system.pthread_attr_getstacksize(attributes, ctypes.byref(size))
    if wanted is not None:
        system.pthread_attr_setstacksize(attributes, ctypes.c_size_t(wanted))
        system.pthread_setattr_default_np(attributes)
    return size.value
