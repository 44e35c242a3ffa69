"""The measures of a clip before and after, in words."""

from __future__ import annotations

from jobs.report.entry import ReportEntry, percent

MEASURES = {  # of columns <name>_before and <name>_after: name for people, unit
    "noise_sigma": ("Noise", "standard deviation, code values of 0 to 255"),
    "flicker": ("Flicker", "% of brightness"),
    "temporal_diff": ("Change from frame to frame", "code values of 0 to 255"),
    "blockiness": ("Blockiness", "1: no blocks"),
    "blur": ("Blur", "0: sharp, 1: blurred"),
}
SCORES = {  # of columns ref_<name>_before and ref_<name>_after: name, suffix of the column, unit
    "psnr": ("PSNR", "_db", "dB"),
    "ssim": ("SSIM", "", ""),
}
# Below these values a measure cannot be seen, and a percentage of it says nothing. The eye sees
# flicker from about 0.5 % of brightness (de Lange 1958); rounding to 8 bits is noise of 0.29.
VISIBLE = {"noise_sigma": 0.5, "flicker": 0.3, "temporal_diff": 0.5}
UNITS = {"noise_sigma": "code values", "flicker": "% of brightness"}


def fall(entry: ReportEntry, name: str) -> str:
    """How a measure fell or rose, in words; empty if it was not taken."""
    before, after = entry.number(f"{name}_before"), entry.number(f"{name}_after")
    if before is None or after is None or before <= 0:
        return ""
    noun = MEASURES[name][0].lower()
    if max(before, after) < VISIBLE[name]:
        return f"no visible {noun}"
    if before < VISIBLE[name]:
        return f"{noun} rises from {before:.2f} to {after:.2f} {UNITS[name]}"
    word, share = "less" if after < before else "more", f"{abs(after / before - 1):.0%}"
    return f"{noun} unchanged" if share == "0%" else f"{share} {word} {noun}"


def change_in_words(name: str, before: float, after: float) -> str:
    """Return the change in percent, or words if there is too little to compare."""
    floor = VISIBLE.get(name, 0)
    if max(before, after) < floor:
        return "not visible"
    return "" if before < floor or not before else percent(after / before - 1)
