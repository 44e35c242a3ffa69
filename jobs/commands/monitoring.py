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

```sh
archive-restore submit MANIFEST --out URI --metrics-file /var/lib/node_exporter/restored.prom
archive-restore submit MANIFEST --out URI --pushgateway http://HOST:9091
archive-restore monitoring rules > /etc/prometheus/rules/archive-restore.yaml
archive-restore monitoring dashboard > dashboard.json
```

`--metrics-file` is for the textfile collector of node_exporter: a file of its own for each output,
in the folder that `--collector.textfile.directory` names. It is replaced as a whole when a run
begins, every 15 seconds, and at the end. Either way works on one machine as on a cluster; trouble
with it is told once and never changes the run.

## Metrics

Every metric has the label `out`, the address of the output. The other labels take their values from
closed lists, so that an output has {series} series when all is well and {most} at the most, however
many clips there are. Counters begin at 0 with every session. Names and labels stay; new ones may be
added.

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
