"""What runs and deployments come to: metrics of CloudWatch in the namespace ``Fanfold`` (Powertools, *Metrics*).

Their dimensions are ``service`` and ``stack``, and of runs ``dag`` too. CloudWatch adds nothing up over dimensions: who
watches a metric names them all (infra/observability.yaml).
"""

from __future__ import annotations

import os
from collections.abc import Mapping

from fanfold.run.events import RunEvent


def count_event(event: RunEvent) -> None:
    """Count an event: runs and items that ended, those that failed, how long they took, and what was tried again."""
    measured = _measured(event)
    if measured:
        _write(measured, dag=event.dag)


def count_deployment(*, refused: bool) -> None:
    """Count a DAG file that was deployed, or refused."""
    _write({"DeploymentsRefused" if refused else "Deployments": 1})


def _write(measured: Mapping[str, float], **dimensions: str) -> None:
    from aws_lambda_powertools.metrics import EphemeralMetrics, MetricUnit

    metrics = EphemeralMetrics(namespace="Fanfold", service="fanfold")
    metrics.add_dimension("stack", os.environ.get("FANFOLD_STACK", "fanfold"))
    for name, text in dimensions.items():
        metrics.add_dimension(name, text)
    for name, value in measured.items():
        metrics.add_metric(name, MetricUnit.Seconds if name.endswith("Seconds") else MetricUnit.Count, value)
    metrics.flush_metrics()


def _measured(event: RunEvent) -> dict[str, float]:
    failed = 1.0 if event.status == "failed" else 0.0
    if event.kind == "item-finished":
        return {"Items": 1, "ItemFailures": failed, "ItemSeconds": event.seconds or 0}
    if event.kind == "run-finished" and event.depth == 0:
        return {"Runs": 1, "RunFailures": failed, "RunSeconds": event.seconds or 0}
    if event.kind in ("step-retried", "item-retried"):
        return {"Retries": 1}
    return {}
