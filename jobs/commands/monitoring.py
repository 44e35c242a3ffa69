"""The commands for Prometheus and Grafana: monitoring rules, monitoring dashboard."""

from __future__ import annotations

import json

import typer

from jobs.console import output
from jobs.console.options import Json

app = typer.Typer(
    help="Print alert rules and a dashboard for the metrics of a run.", no_args_is_help=True
)


@app.callback()
def main() -> None:
    """Print alert rules and a dashboard for the metrics of a run."""


@app.command()
def rules(as_json: Json = False) -> None:
    """Print the alert rules for Prometheus.

    Among them: a run did not finish, no run succeeded for 36 hours, the quarantine grew, the
    storage failed.

    \b
    Example:
        archive-restore monitoring rules
    """
    from jobs.monitor.dashboard import ALERT_RULES

    text = ALERT_RULES.read_text(encoding="utf-8")
    output.emit({"rules": text, "exit_code": 0}) if as_json else output.say(text.rstrip())


@app.command()
def dashboard(as_json: Json = False) -> None:
    """Print the dashboard for Grafana.

    Import the printed JSON in Grafana, which then asks for the Prometheus data source.

    \b
    Example:
        archive-restore monitoring dashboard
    """
    from jobs.monitor.dashboard import grafana_dashboard

    made = grafana_dashboard()
    output.emit(made) if as_json else output.say(json.dumps(made, indent=2))
