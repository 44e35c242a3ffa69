"""What KubeRay's published schemas say of the fields that our manifests use.

Transcribed from the custom resource definitions of KubeRay (ray.io/v1; Apache License 2.0), which
are some 800 kB each: every field name of RayCronJobSpec, RayJobSpec and RayClusterSpec, so that one
that does not exist is found, and the types and required fields of those that we write.
"""

from typing import Any

Schema = dict[str, Any]

TEXT, NUMBER, WHOLE, FLAG = ({"type": t} for t in ("string", "number", "integer", "boolean"))
TEXTS = {"type": "object", "additionalProperties": TEXT}
ANY = {"type": "object"}


def closed(properties: Schema, *required: str) -> Schema:
    return {
        "type": "object",
        "properties": properties,
        "required": list(required),
        "additionalProperties": False,
    }


QUANTITIES = {
    "type": "object",
    "additionalProperties": {"type": ["string", "integer"], "pattern": r"^[0-9.]+([KMGTPE]i|m)?$"},
}
CONTAINER = closed(
    {
        "name": TEXT, "image": TEXT, "command": {"type": "array", "items": TEXT},
        "env": {"type": "array", "items": closed({"name": TEXT, "value": TEXT}, "name")},
        "envFrom": {"type": "array", "items": closed(
            {"secretRef": closed({"name": TEXT, "optional": FLAG})})},
        "resources": closed({"requests": QUANTITIES, "limits": QUANTITIES}),
        "securityContext": closed({
            "runAsNonRoot": FLAG, "runAsUser": WHOLE, "allowPrivilegeEscalation": FLAG,
            "capabilities": closed({"drop": {"type": "array", "items": TEXT}}),
            "seccompProfile": closed({"type": TEXT}, "type")}),
        "volumeMounts": {"type": "array", "items": closed(
            {"name": TEXT, "mountPath": TEXT}, "name", "mountPath")},
    },
    "name",
)  # fmt: skip
POD = closed(
    {
        "metadata": ANY,
        "spec": closed(
            {
                "containers": {"type": "array", "items": CONTAINER, "minItems": 1},
                "volumes": {"type": "array", "items": closed(
                    {"name": TEXT, "emptyDir": ANY}, "name")},
            },
            "containers",
        ),
    }
)  # fmt: skip
HEAD = closed(
    {
        "enableIngress": FLAG, "headService": ANY, "labels": TEXTS, "rayStartParams": TEXTS,
        "resources": ANY, "serviceType": TEXT, "template": POD,
    },
    "template",
)  # fmt: skip
WORKERS = closed(
    {
        "groupName": TEXT, "idleTimeoutSeconds": WHOLE, "labels": TEXTS, "maxReplicas": WHOLE,
        "minReplicas": WHOLE, "numOfHosts": WHOLE, "rayStartParams": TEXTS, "replicas": WHOLE,
        "resources": ANY, "scaleStrategy": ANY, "suspend": FLAG, "template": POD,
    },
    "groupName", "maxReplicas", "minReplicas", "template",
)  # fmt: skip
CLUSTER = closed(
    {
        "authOptions": closed({
            "enableK8sTokenAuth": FLAG, "mode": {"enum": ["disabled", "token"]},
            "secretName": TEXT}),
        "autoscalerOptions": ANY, "enableInTreeAutoscaling": FLAG, "gcsFaultToleranceOptions": ANY,
        "headGroupSpec": HEAD, "headServiceAnnotations": TEXTS, "managedBy": TEXT,
        "rayVersion": TEXT, "suspend": FLAG, "upgradeStrategy": ANY,
        "workerGroupSpecs": {"type": "array", "items": WORKERS},
    },
    "headGroupSpec",
)  # fmt: skip
RAY_JOB = closed(
    {
        "activeDeadlineSeconds": WHOLE, "backoffLimit": WHOLE, "clusterSelector": TEXTS,
        "deletionStrategy": ANY, "entrypoint": TEXT, "entrypointNumCpus": NUMBER,
        "entrypointNumGpus": NUMBER, "entrypointResources": TEXT, "jobId": TEXT,
        "managedBy": TEXT, "metadata": TEXTS, "preRunningDeadlineSeconds": WHOLE,
        "rayClusterSpec": CLUSTER, "runtimeEnvYAML": TEXT, "shutdownAfterJobFinishes": FLAG,
        "submissionMode": TEXT, "submitterConfig": ANY, "submitterFinishedTimeoutSeconds": WHOLE,
        "submitterPodTemplate": ANY, "suspend": FLAG, "ttlSecondsAfterFinished": WHOLE,
    }
)  # fmt: skip
RAY_CRON_JOB = closed(
    {
        "jobTemplate": RAY_JOB, "schedule": TEXT, "suspend": FLAG,
        "timeZone": {"type": "string", "minLength": 1},
    },
    "jobTemplate", "schedule",
)  # fmt: skip
