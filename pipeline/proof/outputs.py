"""All files of a clip: the verified master, what is derived from it, each held to its policy."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline.media.deriver import Derived, derive
from pipeline.media.policy import enforce
from pipeline.media.profiles import FORMS
from pipeline.proof.fixity import PUBLISHED_NAME
from pipeline.proof.premis import DerivedFile
from pipeline.proof.record import Digest, file_uri
from pipeline.store import storage
from pipeline.store.store import Store
from schemas.policy import Outcome
from schemas.recipe import PROFILES, Recipe


@dataclass(frozen=True)
class Outputs:
    """Files that may be published: each is verified and breaks no rule of its profile."""

    master: Path
    derived: tuple[Derived, ...]
    policies: Mapping[str, list[Outcome]]  # by profile

    def digests(self) -> list[Digest]:
        """The master's digest, and those of the derived files in order."""
        paths = [self.master, *(one.path for one in self.derived)]
        return [Digest(p.name, p.stat().st_size, storage.sha256_file(p)) for p in paths]

    def described(self, digests: Sequence[Digest]) -> tuple[DerivedFile, ...]:
        """The derived files as the PREMIS document tells of them."""
        return tuple(
            DerivedFile(
                digest, one.profile, FORMS[one.profile].title,
                f"{one.frames} frames, at least {one.psnr_db:.1f} dB to the restored file; "
                f"{len(self.policies[one.profile])} rules hold",
            )
            for one, digest in zip(self.derived, digests, strict=True)
        )  # fmt: skip

    def publish(self, store: Store, out: str, clip: str) -> None:
        """Upload every file."""
        for path in (self.master, *(one.path for one in self.derived)):
            store.upload(path, file_uri(out, clip, path.name))

    def to_record(self) -> dict[str, Any]:
        """What the clip's record tells of them."""
        judged = {
            profile: [outcome.to_dict() for outcome in outcomes]
            for profile, outcomes in self.policies.items()
        }
        return {"derived": [one.to_dict() for one in self.derived], "policies": judged}


def retire(store: Store, out: str, clip: str, names: Collection[str]) -> None:
    """Delete what an earlier recipe published of a clip under other names than these, its record
    first.
    """
    uris = store.listing(file_uri(out, clip, ""))
    stale = [uri for uri in uris if (name := uri.rpartition("/")[2]) not in names
             and PUBLISHED_NAME.fullmatch(name)]  # fmt: skip
    for uri in sorted(stale, key=lambda uri: not uri.endswith(".json")):
        store.delete(uri)


def make_outputs(
    master: Path, order: str, times_ms: Sequence[int], recipe: Recipe, folder: Path
) -> Outputs:
    """Derive what the recipe asks for from the verified master, and check every file's policy.

    Raises `ClipFault`; nothing is published before all of it holds.
    """
    limits = recipe.limits
    policies: dict[str, list[Outcome]] = {PROFILES[0]: enforce(PROFILES[0], master, limits)}
    derived = []
    for profile in recipe.profiles:
        if profile in FORMS:
            one = derive(profile, master, order, times_ms, folder, limits)
            policies[profile] = enforce(profile, one.path, limits)
            derived.append(one)
    return Outputs(master, tuple(derived), policies)
