"""The Grafana dashboard, made from a table of its panels."""

from __future__ import annotations

from typing import Any, NamedTuple

from jobs.monitor.metrics import PREFIX

WIDTH, HEIGHT = 24, 8  # of the grid; of one row of panels
TITLE = "archive-restore"


class Panel(NamedTuple):
    """One panel: what it shows in PromQL, `$m` for the prefix of metrics; its unit in Grafana."""

    title: str
    kind: str
    unit: str
    expr: str
    legend: str = "{{out}}"
    width: int = 8


_OF = '{out=~"$out"}'
PANELS = (
    Panel("Exit code (-1: under way)", "stat", "none", f"$mexit_code{_OF}", width=4),
    Panel("Since the last success", "stat", "s",
          f"time() - $mlast_success_timestamp_seconds{_OF}", width=4),
    Panel("Ready", "stat", "percentunit",
          '(sum by (out) ($mclips{out=~"$out", state=~"published|up_to_date|untouched"}))'
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
    Panel("Where the time goes", "timeseries", "s",
          f"rate($mstage_seconds_total{_OF}[5m])", "{{stage}}"),
    Panel("Processors and GPUs busy", "timeseries", "none",
          f'label_replace(rate($mcpu_seconds_total{_OF}[5m]), "on", "processors", "", "")'
          f' or label_replace(rate($mgpu_seconds_total{_OF}[5m]), "on", "GPUs", "", "")', "{{on}}"),
    Panel("Read and written", "timeseries", "bytes",
          f'label_replace($mread_bytes_total{_OF}, "way", "read", "", "")'
          f' or label_replace($mwritten_bytes_total{_OF}, "way", "written", "", "")', "{{way}}"),
    Panel("Retries", "timeseries", "none", f"$mretries_total{_OF}"),
    Panel("Length of the last run", "timeseries", "s",
          f"($mrun_end_timestamp_seconds{_OF} > 0) - $mrun_start_timestamp_seconds{_OF}"),
)  # fmt: skip


def dashboard() -> dict[str, Any]:
    """The dashboard as Grafana imports it; the data source is asked for on import."""
    source = {"type": "prometheus", "uid": "${source}"}
    panels, x, y = [], 0, 0
    for number, panel in enumerate(PANELS, start=1):
        if x + panel.width > WIDTH:
            x, y = 0, y + HEIGHT
        target = {"refId": "A", "expr": panel.expr.replace("$m", PREFIX), "datasource": source,
                  "legendFormat": panel.legend}  # fmt: skip
        panels.append({
            "id": number, "title": panel.title, "type": panel.kind, "datasource": source,
            "gridPos": {"x": x, "y": y, "w": panel.width, "h": HEIGHT}, "targets": [target],
            "fieldConfig": {"defaults": {"unit": panel.unit}, "overrides": []},
        })  # fmt: skip
        x += panel.width
    values = f"label_values({PREFIX}build_info, out)"
    return {
        "title": TITLE, "uid": TITLE, "schemaVersion": 39, "editable": True, "refresh": "1m",
        "time": {"from": "now-7d", "to": "now"}, "tags": [TITLE], "panels": panels,
        "templating": {"list": [
            {"name": "source", "type": "datasource", "query": "prometheus", "label": "Source"},
            {"name": "out", "type": "query", "label": "Output", "datasource": source,
             "query": values, "definition": values, "refresh": 2, "multi": True,
             "includeAll": True, "allValue": ".*",
             "current": {"text": "All", "value": "$__all"}},
        ]},
    }  # fmt: skip
