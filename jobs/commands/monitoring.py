"""The commands for whoever sets up Prometheus and Grafana: monitoring rules and dashboard."""

from __future__ import annotations

import json
from pathlib import Path

import typer

from jobs.console import output
from jobs.console.options import Json

app = typer.Typer(help="Alert rules and a dashboard for a run's metrics.", no_args_is_help=True)

RULES = Path(__file__).parents[1] / "monitor" / "alerts.yaml"
_PAGE = """# Monitoring

Generated from `jobs/monitor/metrics.py` and `jobs/monitor/alerts.yaml`; do not edit by hand.

A run can write metrics for Prometheus. The alert rules and a dashboard for Grafana come with the
program.

```sh
archive-restore submit MANIFEST --out URI --metrics-file /var/lib/node_exporter/restored.prom
archive-restore submit MANIFEST --out URI --pushgateway http://HOST:9091
archive-restore monitoring rules > /etc/prometheus/rules/archive-restore.yaml
archive-restore monitoring dashboard > dashboard.json
```

`--metrics-file` is for the textfile collector of node_exporter. Use one file for each output, in
the folder of `--collector.textfile.directory`. The program replaces the whole file when a run
begins, every 15 seconds, and at the end.

Both options work on one machine and on a cluster. If the metrics cannot be written, the log says so
once, and the run does not change.

## Metrics

Every metric has the label `out`, the address of the output. The other labels have values from
closed lists. An output has {series} series if every clip ends well, and {most} at most, for any
number of clips. Counters start at 0 in every session. Names and labels never change. New ones may
be added.

| metric | type | labels | meaning |
|---|---|---|---|
{metrics}

## Alert rules

```yaml
{rules}```
"""


@app.callback()
def main() -> None:
    """Alert rules and a dashboard for a run's metrics."""


@app.command()
def rules(as_json: Json = False) -> None:
    """Print the alert rules for Prometheus.

    Among them: the night did not finish, nothing succeeded for 36 hours, the quarantine grew, store
    errors.

    \b
    Example:
        archive-restore monitoring rules
    """
    text = RULES.read_text(encoding="utf-8")
    output.emit({"rules": text, "exit_code": 0}) if as_json else output.say(text.rstrip())


@app.command()
def dashboard(as_json: Json = False) -> None:
    """Print the dashboard for Grafana.

    JSON, for Grafana's import; it asks for the Prometheus to take.

    \b
    Example:
        archive-restore monitoring dashboard
    """
    from jobs.monitor.dashboard import dashboard as made

    output.emit(made()) if as_json else output.say(json.dumps(made(), indent=2))


def page() -> str:
    """The text of `docs/monitoring.md`."""
    from jobs.monitor.metrics import METRICS, MOST_SERIES, PREFIX, SERIES

    rows = [
        f"| `{PREFIX}{m.name}` | {m.kind} | {', '.join(f'`{n}`' for n in m.labels)} | {m.help} |"
        for m in METRICS
    ]
    text = RULES.read_text(encoding="utf-8")
    return _PAGE.format(metrics="\n".join(rows), rules=text, series=SERIES, most=MOST_SERIES)
