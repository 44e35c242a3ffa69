"""Files that make systemd, cron or Kubernetes start a nightly run."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Callable

from jobs.cluster import kuberay
from jobs.cluster.nightly import NightlyRun, Scheduler

DRAIN_SECONDS = 1800  # from SIGTERM to the end: a shard, and the clips that it completes


def systemd(run: NightlyRun) -> dict[str, str]:
    """Return a service and its timer. A run that stops at its deadline counts as a success."""
    service = f"""\
[Unit]
Description=archive-restore, nightly: {run.name}
Wants=network-online.target
After=network-online.target

[Service]
Type=oneshot
EnvironmentFile=-/etc/{run.name}.env
ExecStart={" ".join(map(_systemd_word, run.command))}
SuccessExitStatus=5
# SIGTERM goes to the program only: it starts no new work, and its workers finish theirs
KillMode=mixed
TimeoutStopSec={DRAIN_SECONDS}
"""
    zone = f" {run.zone}" if run.zone else ""
    timer = f"""\
[Unit]
Description=archive-restore, nightly: {run.name}

[Timer]
OnCalendar=*-*-* {run.at:%H:%M}:00{zone}
Persistent=true

[Install]
WantedBy=timers.target
"""
    return {f"{run.name}.service": service, f"{run.name}.timer": timer}


def cron(run: NightlyRun) -> dict[str, str]:
    """Return a line for `crontab -e`. The lease stops a second run while one is at work."""
    command = shlex.join(run.command).replace("%", r"\%")
    zone = f"CRON_TZ={run.zone}\n" if run.zone else ""
    return {f"{run.name}.crontab": f"{zone}{run.cron} {command}\n"}


def kubernetes(run: NightlyRun) -> dict[str, str]:
    """Return a CronJob. Exit codes that a retry would not change end the job at once."""
    image, quoted = run.image_for_pods, json.dumps  # JSON is valid YAML
    zone = f"\n  timeZone: {quoted(run.zone)}" if run.zone else ""
    environment = [{"name": "TZ", "value": run.zone}] if run.zone else []
    text = f"""\
apiVersion: batch/v1
kind: CronJob
metadata:
  name: {run.name}
spec:
  schedule: "{run.cron}"{zone}
  concurrencyPolicy: Forbid
  jobTemplate:
    spec:
      backoffLimit: 6
      podFailurePolicy:
        rules:
          - action: FailJob
            onExitCodes: {{"operator": "In", "values": [2, 3, 4, 5]}}
      template:
        spec:
          restartPolicy: Never
          terminationGracePeriodSeconds: {DRAIN_SECONDS}
          containers:
            - name: archive-restore
              image: {quoted(image)}
              command: {quoted(run.command)}
              env: {quoted(environment)}
              envFrom: [{{"secretRef": {{"name": "archive-restore", "optional": true}}}}]
"""
    return {f"{run.name}.yaml": text}


RENDERERS: dict[Scheduler, Callable[[NightlyRun], dict[str, str]]] = {
    Scheduler.SYSTEMD: systemd,
    Scheduler.CRON: cron,
    Scheduler.KUBERNETES: kubernetes,
    Scheduler.RAYCRONJOB: kuberay.raycronjob,
    Scheduler.RAYJOB: kuberay.rayjob,
}


def _systemd_word(word: str) -> str:
    """Return a word of a command line in the quoting of systemd."""
    escaped = word.replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%").replace("$", "$$")
    return escaped if re.fullmatch(r"[\w@%+=:,./-]+", escaped) else f'"{escaped}"'
