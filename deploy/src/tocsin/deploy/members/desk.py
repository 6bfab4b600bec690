"""The secretariat's desk: the policy, the store of keys and passwords, the administrator's client. Joining by it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import Final

from confluent_kafka.admin import AdminClient

from tocsin.consumers.acl import AclRow
from tocsin.consumers.acl_client import acl_client
from tocsin.deploy.errors import MemberRefused
from tocsin.deploy.members.request import Request
from tocsin.deploy.members.sealed import Parcel
from tocsin.deploy.policy.apply import Application, Applied
from tocsin.deploy.policy.changes import AclChanges
from tocsin.deploy.policy.compile import logins, member_of
from tocsin.deploy.policy.document import POLICE, Member, Policy
from tocsin.deploy.policy.member_keys import KnownKey, MemberKeys
from tocsin.deploy.policy.plan import insist_on_approval
from tocsin.deploy.policy.rows import USER
from tocsin.deploy.policy.secrets import SecretStore, bundle_config
from tocsin.deploy.policy.users import Credential, scram_users, set_users
from tocsin.schemas.bundle import CA, CONFIG, PASSWORD, SIGNING_KEY, TOKEN_KEYS, Bundle
from tocsin.schemas.files import read_file

BUNDLE: Final = (CONFIG, PASSWORD, CA, TOKEN_KEYS)


class Desk:
    """What the secretariat works with. Sealed files go to `home/outgoing`."""

    def __init__(self, policy: Policy, admin_bundle: Bundle, home: Path) -> None:
        self.policy = policy
        self.admin_bundle = admin_bundle
        self.home = home
        self.store = SecretStore(home)

    @cached_property
    def admin(self) -> AdminClient:
        """The administrator's client."""
        return acl_client(self.admin_bundle.kafka_config())

    def member(self, name: str) -> Member:
        """A member of the policy.

        Raises:
            MemberRefused: the policy does not name it.
        """
        if name not in self.policy.members:
            raise MemberRefused(f"the policy has no member {name}; add it to the policy files first")
        return self.policy.members[name]

    def logins(self, name: str) -> tuple[str, ...]:
        """The Kafka users of a member."""
        self.member(name)
        return logins(self.policy, name)

    def check_request(self, name: str, request: Request) -> None:
        """Make sure that a request can be taken for the member `name`.

        Raises:
            MemberRefused: it cannot.
        """
        if self.member(name).status == "withdrawn":
            raise MemberRefused(f"{name} has left, and ids are never used again; give it another in the policy")
        request.check(self.policy.coalition, name)
        whose = {key.public: key.member for key in self.store.known_keys(self.policy)}
        if whose.get(request.public, name) != name:
            raise MemberRefused(f"that key is known as {whose[request.public]}'s; no two members may have the same")

    def has_custody(self, name: str) -> bool:
        """Whether signing keys of the member were made here."""
        return any((self.store.member(login) / SIGNING_KEY).exists() for login in self.logins(name))

    def apply(self, name: str, by: str, *, acls: bool = True, approved: bool = False) -> tuple[Application, Applied]:
        """Do what the policy says of one member, its ACLs and the directory, and nothing else.

        With `approved`, only if nobody's word is needed for it.

        Raises:
            PlanRefused: somebody's word is needed; `tocsin policy plan` and `apply` go on from there.
            PolicyNotApplied: the cluster refused a part, or does not show it afterwards.
        """

        def only(application: Application, _changes: AclChanges) -> set[AclRow]:
            rows = (*application.live, *application.desired.rows) if acls else ()
            return {row for row in rows if member_of(row.principal.removeprefix(USER)) == name}

        application = Application(self.policy, self.admin_bundle, self.home, by=by, only=only)
        plan = application.plan()
        if approved:
            insist_on_approval(plan, ())
        applied = application.apply(plan)
        applied.insist()
        return application, applied

    # -- handing out -------------------------------------------------------------------------------------------------

    def make_bundles(self, name: str) -> None:
        """Make the bundles of a member's logins in the store, or bring them up to date."""
        member, roots = self.member(name), self.store.root_keys(self.policy.roots)
        ca_pem = read_file(self.admin_bundle.path / CA)
        for login in self.logins(name):
            config = bundle_config(
                self.policy,
                login,
                name,
                member.role,
                member.jurisdiction,
                bootstrap=self.admin_bundle.config.bootstrap,
                roots=roots,
            )
            bundle, fresh = self.store.bundle(self.store.member(login), config, ca_pem)
            self.store.give_login_token_keys(login, police=member.role == POLICE)
            if fresh and login in scram_users(self.admin):  # else `policy apply` makes the user
                set_users(self.admin, {login: Credential(bundle.config.mechanism, self.store.passwords(login).current)})

    def seal(
        self, name: str, files: Sequence[str] = BUNDLE, *, vouching: dict[str, str] | None = None, kind: str = "bundle"
    ) -> Iterator[Path]:
        """Seal files of the bundle of each of a member's logins for it; `vouching` are passwords that it knows.

        Raises:
            MemberRefused: it was not onboarded.
        """
        keys = self.store.member_keys(name)
        if keys is None:
            raise MemberRefused(f"{name} was not onboarded, so nothing can be sealed for it; `tocsin member onboard`")
        for login in self.logins(name):
            folder = self.store.member(login)
            content = {file: (folder / file).read_text() for file in files}
            parcel = Parcel(coalition=self.policy.coalition, member=name, login=login, files=content)
            if vouching is not None:
                parcel = parcel.vouch(vouching[login])
            path = self.home / "outgoing" / f"{login}.{kind}.sealed"
            parcel.seal(path, bytes.fromhex(keys.sealing))
            yield path


def onboard(desk: Desk, name: str, request: Request) -> list[Path]:
    """Take the member `name` in by its request, and seal its bundles. The next `policy apply` lets it take part.

    Again with the same request it seals them again.

    Raises:
        MemberRefused: the request is not for this member, or the member has keys already. Nothing was changed.
    """
    desk.check_request(name, request)
    known = desk.store.member_keys(name)
    if desk.has_custody(name) or (known is not None and known.signing[-1].public != request.signing):
        raise MemberRefused(f"{name} has a key already; another one follows it by `tocsin member rotate {name}`")
    if known is None:
        first = KnownKey(public=request.signing, since=request.at)
        desk.store.keep_keys(name, MemberKeys(sealing=request.sealing, signing=(first,)))
    desk.make_bundles(name)
    return [*desk.seal(name)]
