"""The Grafana dashboard, built from a table of panels, and the file of alert rules."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

from jobs.monitor.metrics import PREFIX, READY

ALERT_RULES = Path(__file__).with_name("alerts.yaml")
GRID_COLUMNS = 24
PANEL_ROWS = 8  # height of a panel in rows of the grid
TITLE = "archive-restore"


class Panel(NamedTuple):
    """One panel: its query in PromQL (`$m` stands for the metrics' prefix) and Grafana's unit."""

    title: str
    kind: str
    unit: str
    expr: str
    legend: str = "{{out}}"
    width: int = 8


_OF = '{out=~"$out"}'
PANELS = (
    Panel("Exit code (-1: running)", "stat", "none", f"$mexit_code{_OF}", width=4),
    Panel("Since the last success", "stat", "s",
          f"time() - $mlast_success_timestamp_seconds{_OF}", width=4),
    Panel("Ready", "stat", "percentunit",
          f'(sum by (out) ($mclips{{out=~"$out", state=~"{"|".join(READY)}"}}))'
          f" / sum by (out) ($mclips{_OF})", width=4),
    Panel("Clips waiting", "stat", "none", '$mclips{out=~"$out", state="waiting"}', width=4),
    Panel("Longest wait", "stat", "s",
          f"time() - ($moldest_waiting_timestamp_seconds{_OF} > 0)", width=4),
    Panel("Frames per second", "stat", "none", f"$mframes_per_second{_OF}", width=4),
    Panel("Clips by state", "timeseries", "none",
          f"sum by (out, state) ($mclips{_OF})", "{{state}}", 12),
    Panel("Why clips are not ready", "timeseries", "none",
          'sum by (out, reason) ($mclips{out=~"$out", reason!=""}) > 0', "{{reason}}", 12),
    Panel("Frames per second", "timeseries", "none", f"rate($mframes_total{_OF}[5m])"),
    Panel("Time in each stage", "timeseries", "s",
          f"rate($mstage_seconds_total{_OF}[5m])", "{{stage}}"),
    Panel("Processors and GPUs busy", "timeseries", "none",
          f'label_replace(rate($mcpu_seconds_total{_OF}[5m]), "on", "processors", "", "")'
          f' or label_replace(rate($mgpu_seconds_total{_OF}[5m]), "on", "GPUs", "", "")', "{{on}}"),
    Panel("Bytes read and written", "timeseries", "bytes",
          f'label_replace($mread_bytes_total{_OF}, "way", "read", "", "")'
          f' or label_replace($mwritten_bytes_total{_OF}, "way", "written", "", "")', "{{way}}"),
    Panel("Retries", "timeseries", "none", f"$mretries_total{_OF}"),
    Panel("Length of the last run", "timeseries", "s",
          f"($mrun_end_timestamp_seconds{_OF} > 0) - $mrun_start_timestamp_seconds{_OF}"),
)  # fmt: skip


def grafana_dashboard() -> dict[str, Any]:
    """Return the dashboard for Grafana's import, which asks for the data source."""
    source = {"type": "prometheus", "uid": "${source}"}
    panels, x, y = [], 0, 0
    for number, panel in enumerate(PANELS, start=1):
        if x + panel.width > GRID_COLUMNS:
            x, y = 0, y + PANEL_ROWS
        target = {
            "refId": "A",
            "expr": panel.expr.replace("$m", PREFIX),
            "datasource": source,
            "legendFormat": panel.legend,
        }
        made = {
            "id": number,
            "title": panel.title,
            "type": panel.kind,
            "datasource": source,
            "gridPos": {"x": x, "y": y, "w": panel.width, "h": PANEL_ROWS},
            "targets": [target],
            "fieldConfig": {"defaults": {"unit": panel.unit}, "overrides": []},
        }
        panels.append(made)
        x += panel.width
    return {
        "title": TITLE,
        "uid": TITLE,
        "schemaVersion": 39,
        "editable": True,
        "refresh": "1m",
        "time": {"from": "now-7d", "to": "now"},
        "tags": [TITLE],
        "panels": panels,
        "templating": {"list": _variables(source)},
    }


def _variables(source: dict[str, str]) -> list[dict[str, Any]]:
    """Return the choices at the top of the dashboard: the data source, and the outputs."""
    values = f"label_values({PREFIX}build_info, out)"
    return [
        {"name": "source", "type": "datasource", "query": "prometheus", "label": "Source"},
        {
            "name": "out",
            "type": "query",
            "label": "Output",
            "datasource": source,
            "query": values,
            "definition": values,
            "refresh": 2,
            "multi": True,
            "includeAll": True,
            "allValue": ".*",
            "current": {"text": "All", "value": "$__all"},
        },
    ]
