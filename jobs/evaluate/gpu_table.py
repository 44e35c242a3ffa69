"""The report of `make gpu-check` as Markdown."""

from __future__ import annotations

from typing import Any

COLUMNS = (
    "batch", "through", "restore", "network", "decode", "encode", "of_slowest", "core_seconds",
    "busy", "joules", "gpu_mib", "memory_mib",
)  # fmt: skip


def table(made: dict[str, Any]) -> str:
    """The report as Markdown."""
    device, alike = made["device"], made["pictures"]
    lines = [f"{device['name']}, PyTorch {device['pytorch']}, {made['cores']} cores", ""]
    if device["kind"] == "cpu":
        lines += ["No GPU was used: these are figures of a CPU, of few frames.", ""]
    lines += [
        "| pictures | mean, code values | largest | share above 2 | alike |",
        "|---|--:|--:|--:|---|",
    ]
    for name, found in alike.items():
        same = "yes" if found["alike"] else "no"
        lines.append(
            f"| {name} | {found['mean']} | {found['largest']} | {found['share_apart']} | {same} |"
        )
    lines += ["", _told(made["flow_kernel"])]
    lines += ["", "| model | picture | frames | " + " | ".join(COLUMNS) + " |"]
    lines.append("|---|---|--:|" + "--:|" * len(COLUMNS))
    for row in made["rates"]:
        values = " | ".join("-" if row[head] is None else str(row[head]) for head in COLUMNS)
        size = f"{row['width']}x{row['height']}"
        lines.append(f"| {row['size']} | {size} | {row['frames']} | {values} |")
    lines += ["", "Milliseconds of a frame: stages one after the other, then one operation.", ""]
    lines += ["| model | picture | part | ms | until the CPU is free |", "|---|---|---|--:|--:|"]
    for row in made["rates"]:
        parts = row["stages_ms"] | row["motion_ms"] | row["network_ms"]
        for name, value in parts.items():
            host = row["host_ms"].get(name, "-")
            size = f"{row['width']}x{row['height']}"
            lines.append(f"| {row['size']} | {size} | {name} | {value} | {host} |")
    return "\n".join(lines)


def _told(kernel: dict[str, Any]) -> str:
    """The check of the flow's kernel, as a sentence."""
    if kernel["why"] is not None:
        return f"Flow by a kernel was not compared: {kernel['why']}."
    return (
        f"Flow by a kernel: {kernel['kernel_ms']} ms, by plain PyTorch {kernel['plain_ms']} ms. "
        f"Motions differ by {kernel['mean']} pixels on average, {kernel['largest']} at most; "
        f"{'alike' if kernel['alike'] else 'NOT alike'}."
    )
