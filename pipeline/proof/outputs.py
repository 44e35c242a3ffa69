"""All files of a clip: the verified master and the derived files, each checked by its policy."""

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
from pipeline.proof.record import Digest
from pipeline.store import storage
from pipeline.store.layout import clip_file, clip_folder
from schemas.policy import Outcome
from schemas.recipe import PROFILES, Recipe


@dataclass(frozen=True)
class Outputs:
    """Files that may be published: each is verified and keeps the policy of its profile."""

    master: Path
    derived: tuple[Derived, ...]
    policies: Mapping[str, list[Outcome]]  # by profile

    def digests(self) -> list[Digest]:
        """The digests of the master and of the derived files, in order."""
        paths = [self.master, *(one.path for one in self.derived)]
        return [Digest(p.name, p.stat().st_size, storage.sha256_file(p)) for p in paths]

    def described(self, digests: Sequence[Digest]) -> tuple[DerivedFile, ...]:
        """The derived files for the PREMIS document. `digests` are theirs, in order."""
        pairs = zip(self.derived, digests, strict=True)
        return tuple(
            DerivedFile(digest, one.profile, FORMS[one.profile].title, self._checked(one))
            for one, digest in pairs
        )

    def _checked(self, one: Derived) -> str:
        return (
            f"{one.frames} frames, at least {one.psnr_db:.1f} dB to the restored file; "
            f"{len(self.policies[one.profile])} rules hold"
        )

    def publish(self, out: str, clip: str) -> None:
        """Upload every file."""
        for path in (self.master, *(one.path for one in self.derived)):
            storage.upload(path, clip_file(out, clip, path.name))

    def to_record(self) -> dict[str, Any]:
        """The entries of the clip's record about these files."""
        judged = {
            profile: [outcome.to_dict() for outcome in outcomes]
            for profile, outcomes in self.policies.items()
        }
        return {"derived": [one.to_dict() for one in self.derived], "policies": judged}


def retire(out: str, clip: str, names: Collection[str]) -> None:
    """Delete published files of a clip whose names are not in `names`: another recipe made them.

    The record goes first.
    """
    found = {uri: uri.rpartition("/")[2] for uri in storage.listing(clip_folder(out, clip))}
    stale = [u for u, name in found.items() if name not in names and PUBLISHED_NAME.fullmatch(name)]
    for uri in sorted(stale, key=lambda uri: not uri.endswith(".json")):
        storage.delete(uri)


def make_outputs(
    master: Path, order: str, times_ms: Sequence[int], recipe: Recipe, folder: Path
) -> Outputs:
    """Derive the files of the recipe's profiles from the verified master, and check their policies.

    Raises `ClipFault` if one file fails; then nothing is published.
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
