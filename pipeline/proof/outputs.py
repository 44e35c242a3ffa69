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

ACCESS = "access"  # its pictures get the recipe's label; it may wait for a person


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
            described(one, digest, len(self.policies[one.profile]), self.label)
            for one, digest in zip(self.derived, self.digests[1:], strict=True)
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

    An access copy that waits for a person is left out. Raises `ClipFault` if one file fails; then
    nothing is published.
    """
    policies: dict[str, list[Outcome]] = {PROFILES[0]: enforce(PROFILES[0], master, recipe.limits)}
    derived = []
    for profile in recipe.profiles:
        if profile in FORMS and not (profile == ACCESS and recipe.access_waits):
            one, policies[profile] = derived_file(
                profile, master, probe, order, times_ms, recipe, folder
            )
            derived.append(one)
    paths = (master, *(one.path for one in derived))
    digests = tuple(Digest(p.name, p.stat().st_size, storage.sha256_file(p)) for p in paths)
    return Outputs(paths, digests, tuple(derived), policies, recipe.access_label)


def derived_file(
    profile: str,
    master: Path,
    probe: Probe,
    order: str,
    times_ms: Sequence[int],
    recipe: Recipe,
    folder: Path,
) -> tuple[Derived, list[Outcome]]:
    """One derived file, verified, and how it keeps its policy. Raises `ClipFault`."""
    drawn = recipe.access_label if profile == ACCESS else ""
    label = label_of(drawn, probe) if drawn else None
    one = derive(profile, master, probe, order, times_ms, folder, recipe.limits, label)
    return one, enforce(profile, one.path, recipe.limits)


def described(one: Derived, digest: Digest, rules: int, label: str) -> DerivedFile:
    """A derived file for the PREMIS document. `rules`: of its policy; all of them hold."""
    drawn = f"; the label {label!r} is drawn into every picture"
    checked = (
        f"{one.frames} frames, at least {one.psnr_db:.1f} dB to the restored file; "
        f"{rules} rules hold{drawn if label and one.profile == ACCESS else ''}"
    )
    return DerivedFile(digest, one.profile, FORMS[one.profile].title, checked)
