"""``fanfold push``: put DAG files into a stack's bucket, and show what became of them."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.text import Text

from fanfold.cli.files import check_readable, problem_text
from fanfold.cli.remote import connected
from fanfold.dag.diagnostics import DagFileError, problems_of_report
from fanfold.dag.read import SUFFIXES, read_dag_file
from fanfold.deploy.bundles import is_dag
from fanfold.deploy.report import NOT_DEPLOYED
from fanfold.deploy.stack import Stack
from fanfold.handlers.parser import DAG_PREFIX, REPORT_SUFFIX
from fanfold.local.folder import UnusableFile, fetch_from

WAIT_SECONDS = 120.0
"""How long to wait for the report of a file."""

_POLL_SECONDS = 0.5
_WHAT_STANDS = {
    "refused": "what was deployed before is unchanged",
    "failed": "what AWS had taken before that stands",
    "waiting": "nothing is deployed of it yet",
}
_LEFT_OUT = {"__pycache__", "node_modules"}


def push_files(paths: tuple[Path, ...], stack_name: str, endpoint_url: str | None) -> int:
    """Upload, wait for each DAG file's report and show it; exit code 2 when a file was refused or cannot be read."""
    console, errors = Console(highlight=False), Console(stderr=True, highlight=False)
    with connected(stack_name, endpoint_url) as stack:
        good = True
        for path in paths:
            try:
                uploads = _of_folder(path) if path.is_dir() else _of_file(path)
            except UnusableFile as fault:
                errors.print(Text(str(fault), "red"), soft_wrap=True)
                good = False
                continue
            if not uploads:
                errors.print(Text(f"{path}: there is no DAG file in this folder", "red"), soft_wrap=True)
                good = False
            versions = {name: _upload(stack, name, data) for name, data in uploads.items()}
            for name, version in versions.items():
                if name.endswith(SUFFIXES) and is_dag(name, uploads[name]):
                    good &= _show(console, errors, name, _report(stack, name, version))
        return 0 if good else 2
    return 2


def _of_file(path: Path) -> dict[str, bytes]:
    """A DAG file and those of the child DAGs that it reaches, its own last: each by its path below the DAG folder."""
    check_readable(path)
    path = path.resolve()
    read: dict[str, bytes] = {}
    with suppress(DagFileError):  # the stack's own report tells, with the variables that its runner has
        read_dag_file(path.name, fetch_from(path.parent, read), os.environ)
    own = read.pop(path.name)
    return {**read, path.name: own}


def _of_folder(folder: Path) -> dict[str, bytes]:
    """Every file of a folder, its DAG files last, so that their bundles hold the others."""
    found = {file.relative_to(folder).as_posix(): file.read_bytes() for file in sorted(_files(folder))}
    dags = [name for name, data in found.items() if name.endswith(SUFFIXES) and is_dag(name, data)]
    if not dags:
        return {}
    for name in dags:
        found |= _dotenv_files(folder, name)
    return {name: data for name, data in found.items() if name not in dags} | {name: found[name] for name in dags}


def _dotenv_files(folder: Path, name: str) -> dict[str, bytes]:
    """The files that the DAGs of a file name as ``dotenv``: they begin with a dot, and go because they are named."""
    with suppress(DagFileError):  # the stack's own report tells
        dags = read_dag_file(name, fetch_from(folder), os.environ).dags.values()
        paths = {Path(dag.place.file).parent / text for dag in dags for text in dag.dotenv if not _is_outside(text)}
        return {path.as_posix(): (folder / path).read_bytes() for path in paths if (folder / path).is_file()}
    return {}


def _is_outside(path: str) -> bool:
    return path.startswith(("/", "~")) or ".." in path.split("/")


def _files(folder: Path) -> Iterator[Path]:
    for entry in folder.iterdir():
        if entry.name.startswith(".") or entry.name in _LEFT_OUT:
            continue
        if entry.is_dir():
            yield from _files(entry)
        elif entry.is_file():
            yield entry


def _upload(stack: Stack, name: str, data: bytes) -> dict[str, str]:
    """Put a file into the bucket; what tells this version of it from others."""
    put = stack.clients.s3.put_object(Bucket=stack.dag_bucket, Key=DAG_PREFIX + name, Body=data)
    return {"version": put["VersionId"]} if put.get("VersionId") else {"etag": put["ETag"]}


def _report(stack: Stack, name: str, version: dict[str, str]) -> dict[str, Any] | None:
    """The report of this version of a file; None when it does not come."""
    from fanfold.run.store import ObjectStore

    store = ObjectStore(stack.clients.s3, stack.dag_bucket)
    end = time.monotonic() + WAIT_SECONDS
    while time.monotonic() < end:
        with suppress(KeyError):
            report: dict[str, Any] = store.get_json(DAG_PREFIX + name + REPORT_SUFFIX)
            if all(report.get(key) == value for key, value in version.items()):
                return report
        time.sleep(_POLL_SECONDS)
    return None


def _show(console: Console, errors: Console, name: str, report: dict[str, Any] | None) -> bool:
    """Print a file's report; whether it is deployed."""
    if report is None:
        text = f"{name}: no report after {WAIT_SECONDS:g} s; look at the log of the stack's ParserFunction"
        errors.print(Text(text, "red"), soft_wrap=True)
        return False
    if report["status"] in NOT_DEPLOYED:
        for problem in problems_of_report(report["problems"]):
            errors.print(problem_text(problem, "error"), soft_wrap=True)
        count = len(report["problems"])
        what = f"{name}: {count} problem{'s' if count > 1 else ''}; {_WHAT_STANDS[report['status']]}"
        errors.print(Text(what, "bold"), soft_wrap=True)
        return False
    console.print(Text.assemble((name, "bold"), f": DAG {report['dag']} is deployed"), soft_wrap=True)
    for machine in report["machines"]:
        version = machine["version"].rpartition(":")[2]
        console.print(f"  {machine['name']}: {machine['change']}, version {version}", soft_wrap=True, markup=False)
    for kind in ("schedules", "triggers"):
        for start in report.get(kind, []):
            console.print(f"  {kind[:-1]} {start['what']}: {start['change']}", soft_wrap=True, markup=False)
    return True
