"""Brings a cluster to what the policy says: topics, users, ACLs, bundles, directory. Applying twice changes nothing.

Sight that is to end, ends first, and nothing that is not ours is deleted (see `changes`). What is done is in the
journal before it is done. What a later reading does not show is not called applied.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Collection, Generator, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import Final

from confluent_kafka import KafkaError, KafkaException
from confluent_kafka.admin import AdminClient

from tocsin.consumers.acl import WILDCARD_PRINCIPAL, AclRow, AclSet
from tocsin.consumers.acl_client import acl_client
from tocsin.deploy.errors import PolicyNotApplied
from tocsin.deploy.policy.acls import ANSWERED_S, Outcome, change_acls, read_acls, there_among
from tocsin.deploy.policy.changes import AclChanges, acl_changes
from tocsin.deploy.policy.compile import Desired, compile_policy, logins
from tocsin.deploy.policy.directory import Current, newest, publish, read_published, stay_withdrawn, successor
from tocsin.deploy.policy.document import Policy
from tocsin.deploy.policy.drafts import delete_draft, draft_path, read_draft, write_draft
from tocsin.deploy.policy.journal import Approval, Change, Journal, Kind, Step, acl_name, read_journal, write
from tocsin.deploy.policy.plan import Plan, insist_on_approval
from tocsin.deploy.policy.prove import ELSEWHERE, beginnings
from tocsin.deploy.policy.releases import count_releases
from tocsin.deploy.policy.rows import DRIFT, FANOUT, POLICY, SERVICE_ROWS, SIGNERS, USER
from tocsin.deploy.policy.secrets import MemberKey, RootKeys, SecretStore, bundle_config
from tocsin.deploy.policy.sight import matched, sight_changes
from tocsin.deploy.policy.topics import Topics
from tocsin.deploy.policy.users import Credential, scram_users, set_users
from tocsin.deploy.policy.working_as import working_as
from tocsin.schemas.bundle import CA, Bundle, BundleConfig
from tocsin.schemas.directory import EXCHANGE, Directory
from tocsin.schemas.files import read_file
from tocsin.schemas.names import DELIVERY_HOST, DIRECTORY_TOPIC, POLICY_AUDIT_TOPIC
from tocsin.schemas.uuid7 import uuid7

ADMINISTRATOR: Final = "administrator"
# with these the next run works: their bundles come last, when they may all that they need
_WORKED_WITH: Final = (POLICY, DRIFT)


@dataclass(slots=True)
class Applied:
    """What one application did: its plan, and each of its steps with what became of it.

    `draft` is the directory that waits for the signatures of offline root keys.
    """

    plan: Plan
    steps: list[Step] = field(default_factory=list[Step])
    directory_version: int = 0
    draft: Path | None = None

    def count(self, action: str, what: str) -> int:
        """How many such steps were taken."""
        return sum((step.action, step.what, step.outcome) == (action, what, Outcome.APPLIED) for step in self.steps)

    def insist(self) -> None:
        """Make sure that everything was applied.

        Raises:
            PolicyNotApplied: it was not; says how much was, how much is unconfirmed, and how much failed.
        """
        left = [step for step in self.steps if step.outcome != Outcome.APPLIED]
        if left:
            counts = Counter(step.outcome for step in self.steps)
            words = ", ".join(f"{counts[outcome]} {outcome}" for outcome in Outcome)
            raise PolicyNotApplied(f"{words}, e.g. {left[0].name}; what was to begin has not; run the command again")


def plan_policy(
    policy: Policy,
    admin_bundle: Bundle,
    home: Path,
    *,
    by: str = ADMINISTRATOR,
    make_keys: bool = False,
    meant: Desired | None = None,
) -> Plan:
    """What applying `policy` now would do, and the same way; nothing is changed.

    `meant` is what it is compiled to now, for who has that already.

    Raises:
        PolicyInvalid, PolicyNotApplied: as applying it would.
    """
    with said_clearly("the cluster cannot be asked"):
        application = Application(policy, admin_bundle, home, by=by, make_keys=make_keys, meant=meant)
        plan = application.plan()
        # as the fan-out: the policy tool's own login reads no ledger. Before anything was applied there is none to read
        counted = plan.gains and application.journal.applied is not None
        released = count_releases(working_as(FANOUT, home), plan.gains, application.now) if counted else {}
        return plan.model_copy(update={"releases": released})


def apply_policy(
    policy: Policy,
    admin_bundle: Bundle,
    home: Path,
    *,
    by: str = ADMINISTRATOR,
    plan: Plan | None = None,
    approvals: Sequence[Approval] = (),
    narrowing: bool = False,
    make_keys: bool = False,
    meant: Desired | None = None,
) -> Applied:
    """Apply `policy`, and if a `plan` is given nothing but that plan; secrets go under `home`.

    With `narrowing`, only what ends sight: in an emergency it need not wait for the approval of what begins it.
    A member that was not onboarded gets no login; with `make_keys` it does, and its signing keys are made here.
    `meant` is what the policy is compiled to now, for who has that already.

    Raises:
        PolicyInvalid: it asks for more than a cluster can hold.
        PlanRefused: the plan is not of this policy, cluster and moment, or lacks an approval. Nothing was changed.
        PolicyNotApplied: the cluster refused a part, or does not show it afterwards. Applying again is safe.
    """
    with said_clearly("the cluster refused"):
        only = _ending if narrowing else None
        application = Application(policy, admin_bundle, home, by=by, only=only, make_keys=make_keys, meant=meant)
        now = application.plan()
        if plan is not None:
            plan.check(now)
        applied = application.apply(plan or now, insist_on_approval(plan or now, approvals))
    applied.insist()
    return applied


@contextmanager
def said_clearly(what: str) -> Generator[None]:
    """What Kafka refuses, said in our words. Raises PolicyNotApplied."""
    try:
        yield
    except KafkaException as failure:
        refused = failure.args[0].code() in _MAY_NOT
        raise PolicyNotApplied(f"{what}: {failure.args[0]}; {_WITH_MORE if refused else _AGAIN}") from failure


_MAY_NOT: Final = (KafkaError.TOPIC_AUTHORIZATION_FAILED, KafkaError.CLUSTER_AUTHORIZATION_FAILED)
_AGAIN: Final = "running it again is safe"
_WITH_MORE: Final = 'the administrator may: docs/policy.md, "As whom the commands work"'


Only = Callable[["Application", AclChanges], Collection[AclRow]]


def _ending(_: Application, changes: AclChanges) -> Collection[AclRow]:
    return {*changes.barring, *changes.replacing, *changes.gone}


class Application:
    """One look at the cluster, what is to be done by it, and doing it.

    With `only`, no ACLs but those that it names are changed, and no topics or users.
    """

    def __init__(
        self,
        policy: Policy,
        admin_bundle: Bundle,
        home: Path,
        *,
        by: str = ADMINISTRATOR,
        only: Only | None = None,
        make_keys: bool = False,
        meant: Desired | None = None,
    ) -> None:
        self.now = meant.at if meant else datetime.now(UTC)
        store = SecretStore(home)
        self.file = policy
        self.admin_bundle = admin_bundle
        self._store = store
        self._by = by
        self._home = home
        self._make_keys = make_keys
        self._admin = AdminClient(admin_bundle.kafka_config())
        self.acl_client = acl_client(admin_bundle.kafka_config())
        self._topics = Topics(self._admin)
        self._topics.ask(meant.topics if meant else ())
        with ThreadPoolExecutor() as at_once:
            live = at_once.submit(read_acls, self.acl_client)
            users = at_once.submit(scram_users, self._admin)
            directory = at_once.submit(self._current_directory)
            self.journal = read_journal(admin_bundle) if POLICY_AUDIT_TOPIC in self._topics else Journal()
            self.directory = directory.result()
            self.policy = stay_withdrawn(self.journal.effective(policy), self.directory)
            if meant is None or self.policy is not policy or self.journal.glass:
                meant = compile_policy(self.policy, self.now, self.journal.glass)
            self.desired = meant
            self.live = live.result()
            self._users = users.result()
        # a row of a member that has left is ours to remove
        members = {*self.policy.members, *(self.directory.directory.members if self.directory else ())}
        changes = acl_changes(self.live, self.desired.rows, members, self.journal.denies)
        self._scoped = only is not None
        self._new_policy = only is None and policy.sha256 != self.journal.applied
        self.changes: AclChanges = changes if only is None else changes.among(only(self, changes))

    @cached_property
    def _roots(self) -> RootKeys:
        # not before they are needed: they are made when missing, and a plan of a new cluster makes nothing
        return self._store.root_keys(self.file.roots)

    @cached_property
    def _ca_pem(self) -> bytes:
        return read_file(self.admin_bundle.path / CA)

    @cached_property
    def _keys(self) -> list[MemberKey]:
        """The signing keys that there were when it was planned."""
        return self._store.known_keys(self.policy)

    def _current_directory(self) -> Current | None:
        if DIRECTORY_TOPIC not in self._topics:
            return None
        return newest(read_published(self.admin_bundle), self.file, self._roots.keys)

    # -- what is to be done ------------------------------------------------------------------------------------------

    def plan(self) -> Plan:
        """What is to be done. Raises PolicyNotApplied."""
        self._topics.plan(() if self._scoped else self.desired.topics)
        rule = self.journal.rule or self.file.approvals
        return Plan(
            plan_id=str(uuid7()),
            made_at=self.now,
            by=self._by,
            coalition=self.file.coalition,
            cluster_id=str(self._admin.describe_cluster().result(ANSWERED_S).cluster_id),
            policy_sha256=self.file.sha256,
            acls_sha256=AclSet(self.live).digest().hex(),
            steps=(
                *([Step("CHANGE", "POLICY", self.file.sha256[:16])] if self._new_policy else []),
                *self._sight_steps(),
                *self._topic_steps(),
                *self._user_steps(),
                *self._bundle_steps(),
                *self._acl_steps(),
            ),
            later=tuple(self._later_steps()) if self._new_policy else (),
            releases={},
            rule=rule,
            new_rule=rule if self._scoped else self.file.approvals,
            warnings=(*self.desired.warnings, *self._topics.warnings, *self._not_onboarded()),
        )

    @property
    def after(self) -> set[AclRow]:
        """The ACLs as they would be once it is done."""
        return self.live.difference(self.changes.removed).union(self.changes.created)

    def _sight_steps(self) -> Iterator[Step]:
        changed = (*self.changes.created, *self.changes.removed)
        touched = matched(self.desired.alert_topics, changed)
        # of those whose rows stay, as do everybody's, nobody gains or loses
        whose = {row.principal for row in changed}
        everyone = WILDCARD_PRINCIPAL in whose
        whose.add(WILDCARD_PRINCIPAL)
        before, after = (
            AclSet(row for row in rows if everyone or row.principal in whose) for rows in (self.live, self.after)
        )
        members = {name for name in self.policy.members if everyone or f"{USER}{name}" in whose}
        yield from self._sight_between(before, after, self.desired, members, touched)

    def _sight_between(
        self, before: AclSet, after: AclSet, desired: Desired, members: Collection[str], topics: Collection[str]
    ) -> Iterator[Step]:
        for what, host in (("SIGHT", DELIVERY_HOST), ("DIRECT", ELSEWHERE)):
            for one in sight_changes(before, after, desired, members, topics, host):
                yield Step("CREATE" if one.gains else "DELETE", what, f"{one.member} {one.topic}", one.reasons)

    def _later_steps(self) -> Iterator[Step]:
        """Who gains sight by itself, and when."""
        before = AclSet(self.desired.rows)
        for moment in beginnings(self.policy, self.now):
            desired = compile_policy(self.policy, moment)
            after = AclSet(desired.rows)
            for step in self._sight_between(before, after, desired, self.policy.members, desired.alert_topics):
                if step.action == "CREATE":
                    yield step._replace(reasons=(*step.reasons, f"from {moment.isoformat()}"))
            before = after

    def _topic_steps(self) -> Iterator[Step]:
        for name in self._topics.created:
            yield Step("CREATE", "TOPIC", name)
        for name in self._topics.configured:
            yield Step("CHANGE", "TOPIC", name)

    def _user_steps(self) -> Iterator[Step]:
        for login in () if self._scoped else self._logins():
            if login not in self._users:
                yield Step("CREATE", "USER", login)
        name = f"{DIRECTORY_TOPIC}, a draft to be signed" if self._roots_offline() else DIRECTORY_TOPIC
        makes_keys = self._make_keys and not self._scoped and self._store.lacks_keys(self.policy)
        if self.directory is None and not self._roots_offline():
            yield Step("CREATE", "DIRECTORY", name)
        elif makes_keys or self._next_directory(self._keys) is not None:
            yield Step("CHANGE", "DIRECTORY", name)

    def _bundle_steps(self) -> Iterator[Step]:
        bundles = () if self._scoped else self._bundles()
        outdated = sum(self._store.outdated(folder, config, self._ca_pem) for folder, config in bundles)
        if outdated:
            yield Step("CHANGE", "USER", f"{outdated} bundles, which name other brokers, roots or authorities")

    def _logins(self) -> Iterator[str]:
        """The logins that are to be: those of members that were not onboarded are not, unless keys are made here."""
        for login in self.desired.logins:
            service = login in SERVICE_ROWS
            locked = login in self.journal.locked
            if service or (not locked and (self._make_keys or self._store.takes_part(login))):
                yield login

    def lost_logins(self) -> Iterator[str]:
        """Those that the directory has keys for and that are no users: also where their bundles are not.

        None of a member whose passwords were deleted when it was suspended.
        """
        keys = self.directory.directory.keys.values() if self.directory else ()
        taking_part = {key.member for key in keys}
        for name in self.policy.members.keys() & taking_part:
            yield from {*logins(self.policy, name)} - self._users.keys() - self.journal.locked

    def _not_onboarded(self) -> Iterator[str]:
        for name, member in self.policy.members.items():
            if member.active and not self._make_keys and not self._store.takes_part(name):
                yield f"{name} has no login and no key yet; run `tocsin member onboard {name} --request FILE`"

    def _acl_steps(self) -> Iterator[Step]:
        reasons = {grant.row: grant.reasons for grant in self.desired.grants}
        for row in self.changes.created:
            yield Step("CREATE", "ACL", acl_name(row), reasons.get(row, ()))
        for row in self.changes.removed:
            yield Step("DELETE", "ACL", acl_name(row), self.journal.reasons(row))

    # -- doing it ----------------------------------------------------------------------------------------------------

    def apply(self, plan: Plan, approvals: Sequence[Approval] = ()) -> Applied:
        """Do it. Raises PolicyNotApplied, KafkaException."""
        applied = Applied(plan, directory_version=self._version, draft=self._waiting_draft(self._keys))
        if not plan.steps:
            return applied
        doing = _Doing(plan, applied)
        if POLICY_AUDIT_TOPIC not in self._topics:
            self._topics.create([topic for topic in self.desired.topics if topic.name == POLICY_AUDIT_TOPIC])
        change = Change(
            change_id=plan.plan_id,
            kind=Kind.BEGUN,
            at=self.now,
            by=self._by,
            # what time alone changes, or one grant, is not the policy as a whole
            policy_sha256=None if self._scoped else plan.policy_sha256,
            cluster_id=plan.cluster_id,
            acls_sha256=plan.acls_sha256,
            steps=plan.steps,
            approvals=tuple(approvals),
            rule=plan.new_rule,
        )
        write(self.admin_bundle, change)
        try:
            self._do(doing)
        finally:
            doing.confirm(there_among(self.acl_client, (*self.changes.created, *self.changes.removed)))
            left = self.after if doing.ended else read_acls(self.acl_client)
            done = replace(
                change,
                kind=Kind.DONE if doing.ended else Kind.FAILED,
                at=datetime.now(UTC),
                acls_sha256=AclSet(left).digest().hex(),
                # when all was done, what was done is what was begun
                steps=() if doing.ended else tuple(applied.steps),
            )
            write(self.admin_bundle, done)
        return applied

    def _do(self, doing: _Doing) -> None:
        changes = self.changes
        if not (
            doing.acls(self._change(create=changes.barring))
            and doing.acls(self._change(create=changes.replacing))
            and doing.acls(self._change(delete=changes.gone))
        ):
            return  # what was to end has not: nothing begins
        self._topics.apply()
        doing.took("TOPIC")
        if not self._scoped:
            self._apply_users()
        keys = self._keys if self._scoped else self._apply_bundles()
        doing.took("USER")
        doing.applied.directory_version, doing.applied.draft = self._apply_directory(keys)
        doing.took("DIRECTORY")
        if doing.acls(self._change(delete=changes.lifted)) and doing.acls(self._change(create=changes.new)):
            if not self._scoped:
                self._write_bundles(lambda login: login in _WORKED_WITH)
            doing.took("POLICY", "SIGHT", "DIRECT")
            doing.ended = True

    def _change(self, **rows: Sequence[AclRow]) -> tuple[str, dict[AclRow, Outcome]]:
        [(verb, asked)] = rows.items()
        # what was made before is not to go with what goes
        there = self.live.union(self.changes.replacing)
        return verb.upper(), change_acls(self.acl_client, **rows, live=there) if asked else {}

    def _apply_users(self) -> None:
        """Kafka users of the members' logins and of our services: first the user, then the bundle."""
        credentials: dict[str, Credential] = {}
        for folder, config in self._bundles():
            credential, fresh = self._store.credential(folder, config)
            if fresh or config.login not in self._users:
                credentials[config.login] = credential
        set_users(self._admin, credentials)

    def _apply_bundles(self) -> list[MemberKey]:
        """Bundles and keys. Returns all signing keys."""
        made = False
        for folder, config in self._write_bundles(lambda login: login not in _WORKED_WITH):
            signs = config.login in SIGNERS
            if signs or not (config.login in SERVICE_ROWS or self._store.takes_part(config.login)):
                made |= self._store.make_key(folder, config.member)
        self._store.give_token_keys(self.policy)
        return self._store.known_keys(self.policy) if made else self._keys

    def _write_bundles(self, of: Callable[[str], bool]) -> list[tuple[Path, BundleConfig]]:
        found = [(folder, config) for folder, config in self._bundles() if of(config.login)]
        for folder, config in found:
            self._store.bundle(folder, config, self._ca_pem)
        return found

    def _bundles(self) -> Iterator[tuple[Path, BundleConfig]]:
        there = {*self._logins()}
        return ((folder, config) for folder, config in self._all_bundles() if config.login in there)

    def _all_bundles(self) -> Iterator[tuple[Path, BundleConfig]]:
        for service in SERVICE_ROWS:
            signer = SIGNERS.get(service, EXCHANGE)
            yield self._store.service(service), self._bundle_config(service, signer, EXCHANGE, "eu")
        for name, one in self.policy.members.items():
            for login in logins(self.policy, name):
                yield self._store.member(login), self._bundle_config(login, name, one.role, one.jurisdiction)

    def _bundle_config(self, login: str, member: str, role: str, place: str) -> BundleConfig:
        bootstrap = self.admin_bundle.config.bootstrap
        return bundle_config(self.policy, login, member, role, place, bootstrap=bootstrap, roots=self._roots)

    @property
    def _version(self) -> int:
        return self.directory.directory.version if self.directory else 0

    def _roots_offline(self) -> bool:
        return self._store.roots_offline(self.file.roots)

    def _next_directory(self, keys: Sequence[MemberKey]) -> Directory | None:
        """The next document; None when none is needed, or a draft of it waits for signatures."""
        document, path = self._successor(keys), self._draft_path
        if document is None or path is None or not path.exists():
            return document
        drafted = Current(read_draft(path), self.file.roots)
        return document if successor(self.policy, keys, drafted, _now_ms()) is not None else None

    def _successor(self, keys: Sequence[MemberKey]) -> Directory | None:
        """What is to follow the directory in force, if something is."""
        enough = self.file.roots_threshold if self._roots_offline() else None
        return successor(self.policy, keys, self.directory, _now_ms(), signatures_min=enough)

    @property
    def _draft_path(self) -> Path | None:
        """Where the draft of the next version is, or would be; None while root keys sign here."""
        return draft_path(self._home, self._version + 1) if self._roots_offline() else None

    def _waiting_draft(self, keys: Sequence[MemberKey]) -> Path | None:
        """The draft that is there and is needed."""
        path = self._draft_path
        needed = path is not None and path.exists() and self._successor(keys) is not None
        return path if needed else None

    def _apply_directory(self, keys: Sequence[MemberKey]) -> tuple[int, Path | None]:
        """The version that is in force then, and the draft that waits for signatures."""
        document = self._next_directory(keys)
        path, waiting = self._draft_path, self._waiting_draft(keys)
        if path is not None and document is not None:
            write_draft(path, document)
            return self._version, path
        if path is not None and waiting is None:
            delete_draft(path)  # what was asked for has been taken back
        if document is None:
            return self._version, waiting
        publish(self.admin_bundle, document, self._roots.signing)
        return document.version, None


def _now_ms() -> int:
    return time.time_ns() // 1_000_000


@dataclass(slots=True)
class _Doing:
    """How far an application has come."""

    plan: Plan
    applied: Applied
    ended: bool = False

    def took(self, *kinds: str) -> None:
        """Note that all steps of these kinds are done."""
        for step in self.plan.steps:
            if step.what in kinds:
                self.applied.steps.append(step._replace(outcome=Outcome.APPLIED))

    def acls(self, done: tuple[str, Mapping[AclRow, Outcome]]) -> bool:
        """Note what became of ACLs; whether all were applied."""
        verb, outcomes = done
        reasons = {(step.action, step.name): step.reasons for step in self.plan.steps if step.what == "ACL"}
        for row, outcome in outcomes.items():
            name = acl_name(row)
            self.applied.steps.append(Step(verb, "ACL", name, reasons.get((verb, name), ()), outcome))
        return all(outcome is Outcome.APPLIED for outcome in outcomes.values())

    def confirm(self, live: Collection[AclRow]) -> None:
        """Look once more, when all is over: what is not as it was left is unconfirmed."""
        names = {acl_name(row) for row in live}
        for at, step in enumerate(self.applied.steps):
            if (
                step.what == "ACL"
                and step.outcome == Outcome.APPLIED
                and (step.name in names) != (step.action == "CREATE")
            ):
                self.applied.steps[at] = step._replace(outcome=Outcome.UNCONFIRMED)
                self.ended = False
