"""The page `docs/monitoring.md`, from the metrics and the alert rules."""

from __future__ import annotations

from jobs.monitor.dashboard import ALERT_RULES
from jobs.monitor.metrics import METRICS, MOST_SERIES, PREFIX, SERIES

PAGE = """# Monitoring

Generated from `jobs/monitor/metrics.py` and `jobs/monitor/alerts.yaml`; do not edit by hand.

```sh
archive-restore submit MANIFEST --out URI --metrics-file /var/lib/node_exporter/restored.prom
archive-restore submit MANIFEST --out URI --pushgateway http://HOST:9091
archive-restore monitoring rules > /etc/prometheus/rules/archive-restore.yaml
archive-restore monitoring dashboard > dashboard.json
```

`--metrics-file` is for the textfile collector of node_exporter. Use one file for each output, in
the folder that `--collector.textfile.directory` names. The file is replaced as a whole when a run
begins, every 15 seconds, and at the end. Both options work on one machine and on a cluster. An
error with them is reported once and never changes the run.

## Metrics

Every metric has the label `out`, the address of the output. The other labels take their values from
closed lists. So one output has {series} series while all is well and at most {most}, for any number
of clips. Counters begin at 0 with every session. Names and labels stay; new ones may be added.

| metric | type | labels | meaning |
|---|---|---|---|
{metrics}

## Alert rules

```yaml
{rules}```
"""


def monitoring_markdown() -> str:
    """Return the text of `docs/monitoring.md`."""
    rows = [
        f"| `{PREFIX}{m.name}` | {m.kind} | {', '.join(f'`{n}`' for n in m.labels)} | {m.help} |"
        for m in METRICS
    ]
    text = ALERT_RULES.read_text(encoding="utf-8")
    return PAGE.format(metrics="\n".join(rows), rules=text, series=SERIES, most=MOST_SERIES)
