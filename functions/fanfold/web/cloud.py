"""The page's site on a stack: the DAG bucket with its reports, and the stack's executions."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

from fanfold.dag.diagnostics import problems_of_report
from fanfold.dag.params import Parameters
from fanfold.dag.read import SUFFIXES
from fanfold.deploy.bundles import is_dag
from fanfold.deploy.report import NOT_DEPLOYED
from fanfold.deploy.stack import NoSuchThing, Stack
from fanfold.history.stack import StackRunStore
from fanfold.run.records import read_ahead
from fanfold.run.store import ObjectStore
from fanfold.web.site import CannotStart, Catalogue, DagEntry, Site, read_entry

DAG_PREFIX = "dags/"
_REPORT = ".report.json"


class CloudSite(Site):
    """See the module."""

    live_seconds = 2.0
    fires = True
    counts_costs = False

    def __init__(self, stack: Stack) -> None:
        self._stack = stack
        self.store: StackRunStore = StackRunStore(stack)
        self.title = f"stack {stack.name}"
        self.zone = stack.zone
        self._catalogue = Catalogue()

    def dags(self) -> Mapping[str, DagEntry]:
        pages = self._stack.clients.s3.get_paginator("list_objects_v2").paginate(
            Bucket=self._stack.dag_bucket, Prefix=DAG_PREFIX
        )
        versions = {item["Key"]: item["ETag"] for page in pages for item in page.get("Contents", [])}
        return self._catalogue.entries(versions, lambda: list(self._read(list(versions))))

    def _read(self, keys: list[str]) -> Iterator[DagEntry]:
        store = ObjectStore(self._stack.clients.s3, self._stack.dag_bucket)
        wanted = [key for key in keys if key.endswith((*SUFFIXES, _REPORT))]
        texts = dict(zip(wanted, read_ahead(store.get_bytes, wanted), strict=True))
        environment = self._stack.runner_variables

        def fetch(path: str) -> bytes | None:
            return texts.get(DAG_PREFIX + path)

        for key in wanted:
            path = key.removeprefix(DAG_PREFIX)
            if key.endswith(SUFFIXES) and is_dag(path, texts[key]):
                yield _with_report(read_entry(path, path, fetch, environment), store, key + _REPORT, keys)

    def start(self, dag: DagEntry, params: Parameters) -> str:
        try:
            return self._stack.start(dag.name, params)[0]
        except NoSuchThing as fault:
            raise CannotStart(str(fault)) from None

    def retry(self, run: str) -> None:
        self.store.retry(run)

    def cost(self, dag: DagEntry, items: int) -> Mapping[str, object] | None:  # noqa: ARG002 - see `counts_costs`
        return None


def _with_report(entry: DagEntry, store: ObjectStore, key: str, keys: list[str]) -> DagEntry:
    """With what the last deployment said of the file: its errors are those of the parser that is deployed."""
    report: dict[str, Any] = store.get_json(key) if key in keys else {}
    if report.get("status") not in NOT_DEPLOYED:
        return entry
    return replace(entry, errors=problems_of_report(report["problems"]), refused=True)
