"""Secrets of ``env``: read by the runner when a step needs them, and found nowhere afterwards."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest
from fanfold.dag.diagnostics import DagFileError
from fanfold.dag.read import read_dag_file
from fanfold.dag.secret_names import SecretName, split_secrets
from fanfold.local.up import Up, stack_up
from hypothesis import given
from hypothesis import strategies as st
from places import Laptop, OnStack

PASSWORD = 'p4ss"word$(touch x)\nsecond line é'
TOKEN = "tok-3n-98765"


@pytest.fixture(scope="module")
def up(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Up]:
    with stack_up("fanfold", 0, tmp_path_factory.mktemp("up")) as up:
        make: Any = boto3.client
        make("ssm").put_parameter(Name="/prod/password", Value=PASSWORD, Type="SecureString")
        make("secretsmanager").create_secret(Name="db", SecretString=json.dumps({"token": TOKEN, "user": "me"}))
        yield up


@pytest.fixture
def place(up: Up, tmp_path: Path) -> OnStack:
    return OnStack(tmp_path, up)


def everything(place: OnStack, run: str, name: str) -> str:
    """The definition, the states' history, the run's objects, the logs and the files of a run, as one text."""
    clients, stack = place.stack.clients, place.stack
    machine = stack.machine_of(name)
    execution = f"{machine.replace(':stateMachine:', ':execution:')}:{run}"
    texts = [
        clients.states.describe_state_machine(stateMachineArn=machine)["definition"],
        json.dumps(clients.states.get_execution_history(executionArn=execution)["events"], default=str),
        json.dumps(clients.states.describe_execution(executionArn=execution), default=str),
    ]
    keys = [entry["Key"] for entry in clients.s3.list_objects_v2(Bucket=stack.run_bucket).get("Contents", [])]
    texts += [clients.s3.get_object(Bucket=stack.run_bucket, Key=key)["Body"].read().decode() for key in keys]
    for group in stack.log_groups:
        logged = clients.logs.filter_log_events(logGroupName=group)["events"]
        texts += [event["message"] for event in logged]
    return "\n".join(texts)


DAG = """
env:
  - PASSWORD: ${ssm:/prod/password}
  - URL: https://${secret:db#user}:${secret:db#token}@host/
  - AGAIN: see ${URL}
steps:
  - name: use
    command: |
      printf '%s' "$PASSWORD" > FOLDER/password
      printf '%s' "$AGAIN" > FOLDER/again
      echo "it is $PASSWORD"; echo "and $URL" >&2
      printf 'no newline: %s' "$PASSWORD"
    output: SAID
  - {name: fan, run: child, parallel: {items: [1, 2]}, output: R, continueOn: {failure: true}}
---
name: child
env:
  - TOKEN: ${secret:db#token}
steps:
  - name: own
    env: [{WORD: "<${ssm:/prod/password}>"}]
    command: echo "$TOKEN $WORD"; test $1 != 2 || { echo "fails with $TOKEN" >&2; exit 3; }
    output: O
"""


def test_a_secret_reaches_the_step_unchanged_and_stands_nowhere_else(place: OnStack) -> None:
    run = place.run("safe", DAG)
    assert (place.folder / "password").read_text() == PASSWORD
    assert (place.folder / "again").read_text() == f"see https://me:{TOKEN}@host/"
    told = place.ask("status", run)
    assert [step["status"] for step in told["steps"]] == ["success", "failed"]
    assert told["steps"][1]["results"][0]["output"] == {"O": "******* <*******>"}
    texts = everything(place, run, "safe")
    texts += place.fanfold("logs", run) + place.fanfold("logs", run, "fan") + json.dumps(told)
    files = [path for path in place.folder.parent.glob("up*/**/*") if path.is_file()]
    assert any(path.suffix == ".out" for path in files)
    texts += "".join(path.read_text(errors="replace") for path in files)
    for secret in (TOKEN, PASSWORD, *PASSWORD.splitlines(), json.dumps(PASSWORD)[1:-1]):
        assert secret not in texts
    assert "it is *******" in place.fanfold("logs", run, "use")
    assert "fails with *******" in place.fanfold("logs", run, "fan")
    assert "${ssm:/prod/password}" in texts  # the DAG file, and what to read


@pytest.mark.parametrize(
    ("env", "reason"),
    [
        ("${ssm:/none}", "${ssm:/none} cannot be read: ParameterNotFound"),
        ("${secret:none}", "${secret:none} cannot be read: ResourceNotFoundException"),
        ("${secret:db#nokey}", "${secret:db#nokey} cannot be read: it has no key 'nokey'"),
    ],
)
def test_a_secret_that_cannot_be_read_fails_the_step_and_says_which(place: OnStack, env: str, reason: str) -> None:
    run = place.run("missing", f"env: [{{S: '{env}'}}]\nsteps:\n  - {{name: s, command: echo $S}}\n")
    assert reason in place.ask("status", run)["steps"][0]["error"]


@pytest.mark.parametrize("params", ["X=${S}", "X=$(echo $S)"])
def test_a_secret_is_not_handed_to_a_child_through_the_state(place: OnStack, params: str) -> None:
    text = f"""
env: [{{S: "${{secret:db#token}}"}}]
steps:
  - {{name: call, run: child, params: "{params}"}}
---
name: child
steps:
  - {{name: s, command: "true"}}
"""
    run = place.run("handed", text)
    assert "would carry a secret out of the runner" in place.ask("status", run)["steps"][0]["error"]
    assert TOKEN not in everything(place, run, "handed")


def test_a_value_that_looks_like_a_secret_is_only_a_value(place: OnStack) -> None:
    text = "params: P=x\nenv: [{E: '${P}'}]\nsteps:\n  - {name: s, command: printf '%s' \"$P $E\", output: O}\n"
    run = place.run("literal", text, "P=${ssm:/prod/password}")
    assert place.store.data(run).result()["steps"]["s"]["output"] == {  # type: ignore[index]
        "O": "${ssm:/prod/password} ${ssm:/prod/password}"
    }


def test_a_laptop_reads_secrets_from_a_file(tmp_path: Path) -> None:
    place = Laptop(tmp_path)
    text = DAG.replace("continueOn: {failure: true}", "")
    (tmp_path / "secrets.yaml").write_text(
        json.dumps({"ssm:/prod/password": PASSWORD, "secret:db": {"user": "me", "token": TOKEN}})
    )
    place.write("safe", text)
    run = json.loads(place.fanfold("start", "safe.yaml", "--secrets", "secrets.yaml", "--json", code=1))["run"]
    assert (tmp_path / "password").read_text() == PASSWORD
    place.fanfold("retry", run, "--secrets", "secrets.yaml", code=1)
    told = json.dumps(place.ask("status", run)) + place.fanfold("logs", run, "use") + place.fanfold("logs", run, "fan")
    told += "".join(path.read_text() for path in (tmp_path / "home").rglob("*") if path.is_file())
    assert "*******" in told
    for secret in (TOKEN, PASSWORD, *PASSWORD.splitlines(), json.dumps(PASSWORD)[1:-1]):
        assert secret not in told


@pytest.mark.parametrize("text", [None, "nope: 1", "[1]", "{", "ssm:/a:"])
def test_a_secrets_file_that_is_none_is_refused(tmp_path: Path, text: str | None) -> None:
    if text is not None:
        (tmp_path / "secrets.yaml").write_text(text)
    place = Laptop(tmp_path)
    place.write("any", "steps:\n  - {name: s, command: 'true'}\n")
    assert "secrets.yaml: " in place.fanfold("start", "any.yaml", "--secrets", "secrets.yaml", code=2)


@pytest.mark.parametrize("where", ["command: 'echo ${ssm:/a}'", "run: c\n    params: 'X=${secret:a#b}'"])
def test_secrets_stand_in_env_only(where: str) -> None:
    text = f"steps:\n  - name: s\n    {where}\n---\nname: c\nsteps:\n  - {{name: t, command: 'true'}}\n"
    with pytest.raises(DagFileError) as refused:
        read_dag_file("x.yaml", lambda _: text.encode(), {})
    [problem] = refused.value.problems
    assert "a secret can only stand in env: ${" in problem.message
    assert problem.place.line >= 3


@given(st.lists(st.one_of(st.text(alphabet="ab$ {}#:", max_size=5), st.sampled_from(["${ssm:/p}", "${secret:n#k}"]))))
def test_names_of_secrets_are_found_and_nothing_is_lost(pieces: list[str]) -> None:
    text = "".join(pieces)
    parts = list(split_secrets(text))
    assert "".join(part.text if isinstance(part, SecretName) else part for part in parts) == text
    assert sum(isinstance(part, SecretName) for part in parts) >= sum(piece.startswith("${s") for piece in pieces)
