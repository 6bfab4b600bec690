"""The public keys of a member that made its keys itself, as the secretariat keeps them: members/<member>/keys.json."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Final, Self

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, ValidationError

from tocsin.deploy.errors import MemberRefused
from tocsin.deploy.policy.document import PublicKey
from tocsin.schemas.files import write_file

KEYS: Final = "keys.json"


class KnownKey(BaseModel):
    """A signing key: since when we know it, and when it ends if another follows.

    A revoked one has `trusted`: the last offset of each topic at which it still counts.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    public: PublicKey
    since: AwareDatetime
    ends: AwareDatetime | None = None
    trusted: dict[str, int] | None = None


class MemberKeys(BaseModel):
    """The newest signing key is the last one; `sealing` is what is sealed for the member now."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    sealing: PublicKey
    signing: tuple[KnownKey, ...] = Field(min_length=1)

    @classmethod
    def load(cls, path: Path) -> Self | None:
        """What is in a file; None when there is none.

        Raises:
            MemberRefused: it holds something else.
        """
        if not path.exists():
            return None
        try:
            return cls.model_validate_json(path.read_bytes())
        except ValidationError as error:
            raise MemberRefused(f"{path}: not what `tocsin member onboard` wrote; put it back from a backup") from error

    def save(self, path: Path) -> None:
        """Write it to a file."""
        write_file(path, self.model_dump_json(indent=2).encode() + b"\n")

    def knows(self, public: str) -> bool:
        """Whether this signing key is, or was, the member's."""
        return any(key.public == public for key in self.signing)

    def followed(self, public: str, sealing: str, now: datetime) -> MemberKeys:
        """The same with a new signing key after the old ones."""
        return MemberKeys(sealing=sealing, signing=(*self.signing, KnownKey(public=public, since=now)))

    def ended(self, ends: datetime) -> MemberKeys:
        """The same, with all signing keys but the newest at their end then, if not before."""
        *old, newest = self.signing
        gone = (key.model_copy(update={"ends": min(key.ends or ends, ends)}) for key in old)
        return self.model_copy(update={"signing": (*gone, newest)})

    def revoked(self, trusted: dict[str, int]) -> MemberKeys:
        """The same with all signing keys but the newest revoked; those that were so before stay as they were."""
        *old, newest = self.signing
        gone = (key if key.trusted is not None else key.model_copy(update={"trusted": trusted}) for key in old)
        return self.model_copy(update={"signing": (*gone, newest)})
