"""What an hour of footage costs, by size of the model, size of the frame and kind of machine.

    python docs/experiments/scripts/hour_of_footage.py [PRICES.toml]

Prints a Markdown table. Edit prices.toml, or name a copy of it with your own prices.
"""

from __future__ import annotations

import sys
import tomllib
from pathlib import Path

from jobs.console.output import say

# CPU-seconds of one thread for a frame of 352x288, docs/experiments/2026-11-28-cpu-seconds.md.
MEASURED_PIXELS = 352 * 288
CPU_SECONDS = {"fast": 0.154, "base": 0.246, "large": 0.516}
# Survey, decoding, encoding, verification and the start of Ray: what `make bench` of f44547b takes
# beyond the model on such a machine, for a frame of the same size.
BESIDE = 0.18
FRAMES = {
    "576p at 25": (720, 576, 25),
    "1080p at 24": (1920, 1080, 24),
    "2160p at 24": (3840, 2160, 24),
}


def core_hours(model: str, width: int, height: int, fps: int) -> float:
    """Hours of one measured core for an hour of footage."""
    pixels = width * height * fps * 3600
    return (CPU_SECONDS[model] + BESIDE) * pixels / MEASURED_PIXELS / 3600


def main() -> None:
    """Print the table."""
    path = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).with_name("prices.toml")
    prices = tomllib.loads(path.read_text())
    machines = prices["machines"].values()
    lines = [
        f"| footage | model | core-hours | {' | '.join(m['name'] for m in machines)} |",
        "|---|---|--:|" + "--:|" * len(machines),
    ]
    for footage, size in FRAMES.items():
        for model in CPU_SECONDS:
            hours = core_hours(model, *size)
            costs = [hours * m["share"] * m["hour"] / m["cores"] for m in machines]
            cells = " | ".join(f"{cost:.2f}" for cost in costs)
            lines.append(f"| {footage} | `{model}` | {hours:,.0f} | {cells} |")
    say("\n".join(lines))


if __name__ == "__main__":
    main()
