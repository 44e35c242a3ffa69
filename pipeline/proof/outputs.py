"""All files of a clip: the verified master and the derived files, each checked by its policy."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline.clip.frames import Probe
from pipeline.media.deriver import Derived, derive
from pipeline.media.policy import enforce
from pipeline.media.profiles import FORMS
from pipeline.proof.label import label_of
from pipeline.proof.premis import DerivedFile
from pipeline.proof.record import Digest
from pipeline.store import storage
from pipeline.store.storage import Store
from schemas.policy import Outcome
from schemas.recipe import PROFILES, Recipe

LABELLED = "access"  # the profile whose pictures get the recipe's label


@dataclass(frozen=True)
class Outputs:
    """Files that may be published: each is verified and keeps the policy of its profile."""

    paths: tuple[Path, ...]  # the master first
    digests: tuple[Digest, ...]  # of the paths
    derived: tuple[Derived, ...]
    policies: Mapping[str, list[Outcome]]  # by profile
    label: str = ""  # drawn into the access copy

    @property
    def described(self) -> tuple[DerivedFile, ...]:
        """The derived files for the PREMIS document."""
        return tuple(
            DerivedFile(digest, one.profile, FORMS[one.profile].title, self._checked(one))
            for one, digest in zip(self.derived, self.digests[1:], strict=True)
        )

    def _checked(self, one: Derived) -> str:
        drawn = f"; the label {self.label!r} is drawn into every picture"
        return (
            f"{one.frames} frames, at least {one.psnr_db:.1f} dB to the restored file; "
            f"{len(self.policies[one.profile])} rules hold"
            f"{drawn if self.label and one.profile == LABELLED else ''}"
        )

    def publish(
        self,
        store: Store,
        uri: str,
        sidecars: Mapping[str, bytes],
        files: Mapping[str, Path] | None = None,
    ) -> dict[str, Any]:
        """Upload the master to `uri` and the derived files beside it; write sidecars by address.

        `files` are large sidecars beside the master, by address.
        Returns the entries of the clip's record about all that lies beside the master.
        """
        folder, beside = uri.rpartition("/")[0], list(self.digests)
        for path in self.paths:
            store.upload(path, f"{folder}/{path.name}")
        for address, path in (files or {}).items():
            store.upload(path, address)
            size, sha256 = path.stat().st_size, storage.sha256_file(path)
            beside.append(Digest(address.rpartition("/")[2], size, sha256))
        for address, data in sidecars.items():
            store.write_bytes(address, data)
            if address.startswith(f"{folder}/"):
                beside.append(Digest.of(address.rpartition("/")[2], data))
        judged = {
            profile: [outcome.to_dict() for outcome in outcomes]
            for profile, outcomes in self.policies.items()
        }
        return {
            "files": {file.name: {"size": file.size, "sha256": file.sha256} for file in beside},
            "derived": [one.to_dict() for one in self.derived],
            "policies": judged,
        }


def make_outputs(
    master: Path,
    probe: Probe,
    order: str,
    times_ms: Sequence[int],
    recipe: Recipe,
    folder: Path,
) -> Outputs:
    """Derive the files of the recipe's profiles from the verified master, and check their policies.

    Raises `ClipFault` if one file fails; then nothing is published.
    """
    limits = recipe.limits
    policies: dict[str, list[Outcome]] = {PROFILES[0]: enforce(PROFILES[0], master, limits)}
    derived = []
    for profile in recipe.profiles:
        if profile in FORMS:
            drawn = recipe.access_label if profile == LABELLED else ""
            label = label_of(drawn, probe) if drawn else None
            one = derive(profile, master, probe, order, times_ms, folder, limits, label)
            policies[profile] = enforce(profile, one.path, limits)
            derived.append(one)
    paths = (master, *(one.path for one in derived))
    digests = tuple(Digest(p.name, p.stat().st_size, storage.sha256_file(p)) for p in paths)
    return Outputs(paths, digests, tuple(derived), policies, recipe.access_label)
