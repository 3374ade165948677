"""Every example of the specification, run as ``fanfold start`` does, and what must come of it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from support import Record, run_file

EXAMPLES = Path(__file__).parents[2] / "examples"

CHILDREN = {"child-workflow", "deploy-app", "file-processor", "instance-processor", "regional-processor"}
"""Files that are the child DAG of another example."""


def document(*successes: tuple[Any, dict[str, str]]) -> dict[str, Any]:
    """The document of a fan-out in which every item succeeded: (parameters, output) in item order."""
    return {
        "summary": {"total": len(successes), "succeeded": len(successes), "failed": 0, "cancelled": 0, "skipped": 0},
        "results": [{"parameters": item, "status": "success", "output": output} for item, output in successes],
        "outputs": [output for _, output in successes],
    }


def same_output(items: Sequence[Any], variable: str, form: str) -> dict[str, Any]:
    """The document of items whose only output is `form` with the item filled in."""
    return document(*((item, {variable: form.format(item)}) for item in items))


CALCULATED = document(("10", {"CALC_RESULT": "100"}), ("20", {"CALC_RESULT": "400"}), ("30", {"CALC_RESULT": "900"}))


def named_files() -> list[dict[str, str]]:
    return [
        {"INPUT_FILE": name, "FORMAT": "csv"} for name in ("data/new users.csv", "data/products.csv", "data/sales.csv")
    ]


REGIONS = ("us-east-1", "eu-west-1", "ap-south-1")
SUITES = [("staging", "smoke"), ("staging", "regression"), ("production", "smoke"), ("production", "performance")]
DEPLOYED = [("us-east-1", "v1.2.3"), ("eu-west-1", "v1.2.3"), ("ap-south-1", "v1.2.2")]
FILES = [f"/path/to/file{number}.csv" for number in (1, 2, 3)]

DOCUMENTS: dict[str, dict[str, dict[str, Any]]] = {
    "basic-usage": {"process-items": same_output(["item1", "item2", "item3"], "DONE", "processed {}")},
    "batch-processor": {
        "process-files": document(
            ("data/new users.csv", {"RECORD_COUNT": "2"}),
            ("data/products.csv", {"RECORD_COUNT": "4"}),
            ("data/sales.csv", {"RECORD_COUNT": "3"}),
        )
    },
    "simple-array": {"process-files": same_output(["file1.csv", "file2.csv", "file3.csv"], "MESSAGE", "processing {}")},
    "variable-reference": {"parallel-tasks": same_output(["task1", "task2", "task3"], "TASK", "{} done")},
    "object-configuration": {"process-items": same_output(["item1", "item2", "item3"], "ITEM_NAME", "{}")},
    "dynamic-variable-reference": {
        "process-servers": same_output(["server1", "server2", "server3"], "STATE", "{} is up to date")
    },
    "dynamic-file-discovery": {
        "process-csv-files": document(
            *zip(named_files(), ({"RECORDS": f"{count} records of csv"} for count in (2, 4, 3)), strict=True)
        )
    },
    "simple-string-parameters": {
        "process-files": document(
            ("data/sales.csv", {"RESULT": "data/sales.csv: 25 bytes"}),
            ("data/new users.csv", {"RESULT": "data/new users.csv: 22 bytes"}),
        )
    },
    "item-variable": {
        "process-files": document(
            *(
                (
                    {"FILE": file, "OUTPUT_DIR": "/processed"},
                    {"REPORT": f"Processing {file} to /processed\n{file} would go to /processed/{Path(file).name}"},
                )
                for file in FILES
            )
        )
    },
    "item-with-parameters": {
        "backup-databases": document(
            *(
                (
                    {
                        "DATABASE": name,
                        "BACKUP_PATH": f"/backups/{name}/20231114",
                        "RETENTION_DAYS": "30",
                        "COMPRESSION": "gzip",
                    },
                    {"BACKUP": f"{name} to /backups/{name}/20231114 for 30 days, gzip"},
                )
                for name in ("db1", "db2", "db3")
            )
        )
    },
    "object-parameters": {
        "deploy-regions": document(
            *(
                (
                    {"REGION": region, "VERSION": version},
                    {"LOG": f"Deploying {version} to {region}\ndeployed: --region {region} --version {version}"},
                )
                for region, version in DEPLOYED
            )
        )
    },
    "mixed-parameter-types": {
        "process-mixed": document(
            ("simple-string", {"SHOWN": "1=simple-string SOURCE=none TARGET=none"}),
            (
                {"SOURCE": "s3://bucket/data.csv", "TARGET": "processed/"},
                {"SHOWN": "1= SOURCE=s3://bucket/data.csv TARGET=processed/"},
            ),
            ("42", {"SHOWN": "1=42 SOURCE=none TARGET=none"}),
            (["array", "of", "values"], {"SHOWN": '1=["array","of","values"] SOURCE=none TARGET=none'}),
        )
    },
    "controlling-concurrency": {
        "batch-process": same_output([f"item-{number:02}" for number in range(1, 21)], "NAME", "{}")
    },
    "capturing-output": {"parallel-calc": CALCULATED},
    "accessing-output-arrays": {"parallel-calc": CALCULATED},
    "etl-pipeline": {
        "extract-transform": document(
            *(
                (
                    {"name": name, "table": f"raw_{name}", "target": f"clean_{name}"},
                    {"TRANSFORMED": f"{name} from raw_{name} into clean_{name}"},
                )
                for name in ("sales", "users", "products")
            )
        )
    },
    "multi-region-deploy": {"deploy-all-regions": same_output(REGIONS, "STACK", "stack in {}")},
    "integration-tests": {
        "run-test-suites": document(
            *(({"ENV": env, "SUITE": suite}, {"VERDICT": f"{suite} tests passed in {env}"}) for env, suite in SUITES)
        )
    },
    "dynamic-composition": {
        "process-critical": same_output(["disk full", "no backup"], "ACTION", "page someone about {}"),
        "process-normal": same_output(["old kernel"], "ACTION", "note {}"),
    },
    "retry-policies": {},
    "continue-on-failure": {},
    "multi-stage-pipeline": {},
    "nested-parallel": {},
}

OUTPUTS = {
    "batch-processor": {"SUMMARY": "Processed 3 files\nSuccess: 3\nFailed: 0"},
    "accessing-output-arrays": {
        "FIRST": "First calc result: 100",
        "ALL": "Output 0: 100\nOutput 1: 400\nOutput 2: 900",
    },
    "etl-pipeline": {"SUMMARY": "ETL Summary:\nTotal: 3\nSucceeded: 3\nFailed: 0"},
    "multi-region-deploy": {"VERDICT": "All deployments successful!"},
    "integration-tests": {"REPORT": "\n".join(f"{env}/{suite}: success" for env, suite in SUITES)},
    "continue-on-failure": {"REPORT": "3 of 5 succeeded"},
    "multi-stage-pipeline": {
        "SOURCE_FILES": "broken.csv\nevents.json\norders.csv",
        "REPORT": "validated 3, processed 2, failed 0",
    },
}

PARTIAL = {"continue-on-failure", "multi-stage-pipeline"}


@pytest.fixture
def run_example(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    return lambda name: run_file(EXAMPLES / f"{name}.yaml", home=tmp_path / "home")


def outputs(record: Record) -> dict[str, str]:
    return {name: value for step in record["steps"].values() for name, value in step["output"].items()}


def test_every_example_is_covered() -> None:
    assert {path.stem for path in EXAMPLES.glob("*.yaml")} == DOCUMENTS.keys() | CHILDREN


@pytest.mark.parametrize("name", sorted(DOCUMENTS))
def test_example(name: str, run_example: Any) -> None:
    record = run_example(name)
    assert record["status"] == ("partial" if name in PARTIAL else "success")
    for step, expected in DOCUMENTS[name].items():
        assert record["steps"][step]["document"] == expected
    assert OUTPUTS.get(name, {}).items() <= outputs(record).items()


def test_capturing_output_prints_the_document_as_the_specification_shows_it(run_example: Any) -> None:
    shown = outputs(run_example("capturing-output"))["SHOWN"]
    whole, _, first = shown.partition("\nFirst result: ")
    assert json.loads(whole.removeprefix("Results: ")) == CALCULATED
    assert first == '{"CALC_RESULT":"100"}'


def test_continue_on_failure_counts_and_explains_the_failures(run_example: Any) -> None:
    step = run_example("continue-on-failure")["steps"]["process-all"]
    assert step["status"] == "failed"
    assert step["document"]["summary"] == {"total": 5, "succeeded": 3, "failed": 2, "cancelled": 0, "skipped": 0}
    assert step["document"]["outputs"] == [{"DONE": f"processed {name}"} for name in "abc"]
    rows = step["document"]["results"]
    assert [row["parameters"] for row in rows] == ["a", "bad-1", "b", "bad-2", "c"]
    assert [row.get("exitCode") for row in rows] == [None, 3, None, 3, None]
    assert "cannot process bad-1" in Path(rows[1]["log"]).read_text()


def test_retry_policies_run_only_what_failed_again(run_example: Any) -> None:
    step = run_example("retry-policies")["steps"]["resilient-process"]
    assert step["document"]["outputs"] == [{"ANSWER": "one answered"}, {"ANSWER": "two answered"}]


def test_multi_stage_pipeline_processes_what_is_valid(run_example: Any) -> None:
    steps = run_example("multi-stage-pipeline")["steps"]
    assert steps["validate-all"]["document"]["summary"]["failed"] == 1
    valid = [{"IS_VALID": "true", "STAGED_FILE": "events.json"}, {"IS_VALID": "true", "STAGED_FILE": "orders.csv"}]
    assert steps["validate-all"]["document"]["outputs"] == valid
    transformed = [
        "s3://data-bucket/staging/events.json -> s3://data-bucket/processed/events.json.parquet",
        "s3://data-bucket/staging/orders.csv -> s3://data-bucket/processed/orders.parquet",
    ]
    assert steps["process-valid-files"]["document"] == document(
        *((item, {"TRANSFORMED": text}) for item, text in zip(valid, transformed, strict=True))
    )


def test_nested_parallel_gives_each_region_its_own_document(run_example: Any) -> None:
    results = run_example("nested-parallel")["steps"]["process-regions"]["document"]["results"]
    assert [row["parameters"] for row in results] == [{"REGION": region} for region in REGIONS]
    for region, row in zip(REGIONS, results, strict=True):
        instances = [f"i-{region}-1", f"i-{region}-2"]
        assert json.loads(row["output"]["PROCESSED"]) == same_output(instances, "INSTANCE", "{} processed")
