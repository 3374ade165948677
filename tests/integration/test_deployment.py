"""Events of the DAG bucket in; machines, versions, schedules, triggers and reports out."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import pytest
from aws import TARGET, Aws, embedded
from botocore.awsrequest import AWSResponse
from botocore.exceptions import ClientError
from fanfold.deploy.stack import NoSuchThing
from fanfold.deploy.target import Ecs, Target
from fanfold.handlers import parser

PARENT = """
name: etl
schedule: "0 */6 * * *"
x-fanfold: {on: {s3: {bucket: incoming, prefix: in/, suffix: .csv}}}
steps:
  - {name: list, command: seq 3, output: L}
  - {name: fan, run: region, parallel: '${L}'}
---
name: region
steps:
  - {name: inner, run: leaf, parallel: [a]}
---
name: leaf
steps:
  - {name: s, command: echo one}
"""
ONE_STEP = "steps:\n  - {name: s, command: echo hi}\n"


@pytest.fixture
def aws() -> Iterator[Aws]:
    with embedded() as made:
        yield made


def changes(report: dict[str, Any]) -> dict[str, str]:
    return {machine["key"]: machine["change"] for machine in report["machines"]}


def messages(report: dict[str, Any]) -> list[str]:
    return [problem["message"] for problem in report["problems"]]


class TestVersions:
    def test_a_parent_calls_the_version_of_its_child_that_it_was_deployed_with(self, aws: Aws) -> None:
        aws.put("etl.yaml", PARENT)
        second = aws.put("etl.yaml", PARENT.replace("echo one", "echo two"))
        assert changes(second) == {"#region": "updated", "": "updated"}
        child = next(machine for machine in second["machines"] if machine["key"] == "#region")
        fan = aws.machines()["fanfold_etl"]["States"]["fan"]["ItemProcessor"]["States"]["fan.item"]
        assert fan["Parameters"]["StateMachineArn"] == child["version"]
        assert child["version"].endswith(":2")

    def test_rollback_brings_back_what_was_live_with_its_children(self, aws: Aws) -> None:
        aws.put("etl.yaml", PARENT)
        first = aws.machines()["fanfold_etl"]
        aws.put("etl.yaml", PARENT.replace("echo one", "echo two"))
        assert aws.machines()["fanfold_etl"] != first
        assert aws.stack.roll_back("etl") == (2, 1)
        assert aws.machines()["fanfold_etl"] == first

    def test_after_a_rollback_the_same_event_again_changes_nothing_and_a_new_upload_does(self, aws: Aws) -> None:
        aws.put("etl.yaml", PARENT)
        aws.put("etl.yaml", PARENT.replace("seq 3", "seq 4"), sequencer="0A")
        aws.stack.roll_back("etl")
        rolled_back = aws.state()
        aws.handle(aws.event("etl.yaml", sequencer="0A"))
        assert aws.state() == rolled_back
        aws.handle(aws.event("etl.yaml", sequencer="0B"))
        assert aws.state() != rolled_back

    def test_rollback_says_what_there_is(self, aws: Aws) -> None:
        aws.put("etl.yaml", PARENT)
        with pytest.raises(NoSuchThing, match=r"no version before 1, which is live; there is: 1"):
            aws.stack.roll_back("etl")
        with pytest.raises(NoSuchThing, match=r"no DAG 'elt'"):
            aws.stack.roll_back("elt")

    def test_an_unchanged_file_makes_no_call_that_changes_anything(self, aws: Aws) -> None:
        aws.put("etl.yaml", PARENT)
        calls: list[str] = []
        for client in (aws.clients.states, aws.clients.scheduler, aws.clients.events):
            client.meta.events.register("before-call", lambda model, **_: calls.append(model.name))
        report = aws.put("etl.yaml", PARENT)
        assert set(changes(report).values()) == {"unchanged"}
        assert {name for name in calls if not name.startswith(("Describe", "Get", "List"))} == set()
        assert calls


class TestOrder:
    def test_an_old_event_never_overwrites_a_newer_deployment(self, aws: Aws) -> None:
        aws.put("a.yaml", ONE_STEP, sequencer="0055AED6DCD90281E5")
        after = aws.state()
        (report,) = aws.handle(aws.event("a.yaml", sequencer="0055AED6DCD9"))
        assert (report["status"], aws.state()) == ("outdated", after)

    def test_two_uploads_told_of_in_the_wrong_order_end_with_the_newer(self, aws: Aws) -> None:
        aws.write("a.yaml", ONE_STEP)
        aws.write("a.yaml", ONE_STEP.replace("hi", "newer"))
        aws.handle(aws.event("a.yaml", sequencer="02"))
        newer = aws.state()
        aws.handle(aws.event("a.yaml", sequencer="01"))
        assert aws.state() == newer
        assert aws.clients.s3.get_object(Bucket="dags", Key="dags/a.yaml")["Body"].read().count(b"newer") == 1

    def test_a_file_that_is_gone_when_its_event_comes_is_no_fault(self, aws: Aws) -> None:
        (report,) = aws.handle(aws.event("ghost.yaml"))
        assert report["status"] == "absent"
        assert aws.machines() == {}

    def test_an_event_older_than_the_removal_does_not_bring_the_file_back(self, aws: Aws) -> None:
        aws.put("a.yaml", ONE_STEP, sequencer="02")
        aws.erase("a.yaml")
        aws.handle(aws.event("a.yaml", sequencer="03", kind="Object Deleted"))
        (report,) = aws.handle(aws.event("a.yaml", sequencer="02"))
        assert (report["status"], aws.machines()) == ("outdated", {})

    def test_direct_notifications_of_s3_are_understood_too(self, aws: Aws) -> None:
        aws.write("a b.yaml", ONE_STEP)
        record = {"s3": {"bucket": {"name": "dags"}, "object": {"key": "dags/a+b.yaml", "sequencer": "01"}}}
        (report,) = aws.handle({"Records": [{"eventName": "ObjectCreated:Put", **record}]})
        assert (report["file"], report["status"]) == ("a b.yaml", "deployed")

    def test_one_files_fault_never_touches_anothers(self, aws: Aws) -> None:
        aws.write("good.yaml", ONE_STEP)
        aws.write("bad.yaml", ONE_STEP)

        def fail(model: Any, params: Any, **_: Any) -> None:
            if model.name == "CreateStateMachine" and "fanfold_bad" in str(params["body"]):
                raise ClientError({"Error": {"Code": "Throttling"}}, model.name)

        aws.clients.states.meta.events.register("before-call", fail)
        records = [
            {"s3": {"bucket": {"name": "dags"}, "object": {"key": f"dags/{name}.yaml", "sequencer": "01"}}}
            for name in ("bad", "good")
        ]
        with pytest.raises(ClientError) as raised:
            aws.handle({"Records": records})
        assert raised.value.__notes__ == ["file: bad.yaml"]
        assert list(aws.machines()) == ["fanfold_good"]


class TestNames:
    """Two files with a DAG of one name: the second is deployed as soon as the first gives the name up."""

    @pytest.mark.parametrize("old_first", [True, False])
    def test_a_file_that_moves_keeps_its_dag(self, aws: Aws, old_first: bool) -> None:
        text = "name: etl\nschedule: '0 1 * * *'\n" + ONE_STEP
        aws.put("old.yaml", text)
        aws.write("team/new.yaml", text)
        aws.erase("old.yaml")
        events = [aws.event("team/new.yaml"), aws.event("old.yaml", kind="Object Deleted")]
        for event in reversed(events) if old_first else events:
            aws.handle(event)
        [machine] = aws.machines()
        assert machine.startswith("fanfold_team-new-")
        assert len(aws.schedules()) == 1
        assert aws.report("team/new.yaml")["status"] == "deployed"  # type: ignore[index]

    def test_a_name_that_is_given_up_is_taken(self, aws: Aws) -> None:
        aws.put("a.yaml", "name: same\n" + ONE_STEP)
        assert aws.put("b.yaml", "name: same\n" + ONE_STEP)["status"] == "refused"
        aws.put("a.yaml", "name: other\n" + ONE_STEP)
        assert set(aws.machines()) == {"fanfold_a", "fanfold_b"}
        assert aws.put("a.yaml", "name: same\n" + ONE_STEP)["status"] == "refused"


class TestRemoval:
    def test_removing_a_file_removes_all_that_was_made_of_it(self, aws: Aws) -> None:
        empty = aws.state()
        aws.put("etl.yaml", PARENT)
        order: list[str] = []
        for client in (aws.clients.states, aws.clients.scheduler, aws.clients.events):
            client.meta.events.register("before-call", lambda model, **_: order.append(model.name))
        report = aws.remove("etl.yaml")
        assert report["status"] == "removed"
        assert aws.state() == empty
        assert aws.report("etl.yaml") is None
        deletions = [name for name in order if name.startswith("Delete")]
        assert deletions.index("DeleteSchedule") < deletions.index("DeleteStateMachine")
        assert deletions.index("DeleteRule") < deletions.index("DeleteStateMachine")

    def test_what_a_file_no_longer_says_is_removed(self, aws: Aws) -> None:
        aws.put("etl.yaml", PARENT)
        aws.put("etl.yaml", "name: etl\n" + ONE_STEP)
        assert list(aws.machines()) == ["fanfold_etl"]
        assert (aws.schedules(), aws.rules()) == ({}, {})

    def test_a_removed_file_can_come_back(self, aws: Aws) -> None:
        aws.put("etl.yaml", PARENT)
        first = aws.state()
        aws.remove("etl.yaml")
        assert aws.put("etl.yaml", PARENT)["status"] == "deployed"
        assert [names.keys() for names in aws.state()] == [names.keys() for names in first]


class TestOwnership:
    def test_a_machine_that_fanfold_did_not_make_is_never_touched(self, aws: Aws) -> None:
        foreign = json.dumps({"StartAt": "a", "States": {"a": {"Type": "Pass", "End": True}}})
        role = "arn:aws:iam::123456789012:role/other"
        aws.clients.states.create_state_machine(name="fanfold_etl", definition=foreign, roleArn=role)
        report = aws.put("etl.yaml", PARENT)
        assert messages(report) == ["there is a state machine fanfold_etl that this stack did not make"]
        assert aws.machines() == {"fanfold_etl": json.loads(foreign)}
        aws.remove("etl.yaml")
        assert aws.machines() == {"fanfold_etl": json.loads(foreign)}

    def test_a_name_that_another_file_has_is_refused(self, aws: Aws) -> None:
        aws.put("a.yaml", "name: same\n" + ONE_STEP)
        report = aws.put("b.yaml", "name: same\n" + ONE_STEP)
        assert messages(report) == ["the file a.yaml already has a DAG with the name 'same'"]
        assert list(aws.machines()) == ["fanfold_a"]
        aws.remove("a.yaml")
        assert aws.put("b.yaml", "name: same\n" + ONE_STEP)["status"] == "deployed"

    def test_two_suffixes_of_one_name_do_not_share_a_machine(self, aws: Aws) -> None:
        aws.put("a.yaml", "name: one\n" + ONE_STEP)
        report = aws.put("a.yml", "name: two\n" + ONE_STEP)
        assert messages(report) == ["the state machine fanfold_a belongs to the file a.yaml"]

    def test_a_dag_can_be_found_by_its_name_or_its_file(self, aws: Aws) -> None:
        aws.put("deep/er/etl.yaml", "name: other\n" + ONE_STEP)
        by_name = aws.stack.machine_of("other")
        assert by_name == aws.stack.machine_of("deep/er/etl") == aws.stack.machine_of("deep/er/etl.yaml")
        aws.clients.states.describe_state_machine(stateMachineArn=by_name)


class TestOtherFiles:
    def test_a_child_that_changes_changes_those_that_call_it(self, aws: Aws) -> None:
        aws.put("child.yaml", ONE_STEP)
        aws.put("parent.yaml", "steps:\n  - {name: c, run: child}\n")
        before = aws.machines()["fanfold_parent"]
        aws.write("child.yaml", ONE_STEP.replace("hi", "ho"))
        reports = aws.handle(aws.event("child.yaml"))
        assert [(report["file"], report["status"]) for report in reports] == [
            ("child.yaml", "deployed"),
            ("parent.yaml", "deployed"),
        ]
        assert aws.machines()["fanfold_parent"] != before

    def test_a_parent_uploaded_before_its_child_is_deployed_when_the_child_comes(self, aws: Aws) -> None:
        refused = aws.put("parent.yaml", "steps:\n  - {name: c, run: child}\n")
        assert messages(refused) == ["there is no DAG 'child'"]
        aws.put("child.yaml", ONE_STEP)
        assert set(aws.machines()) == {"fanfold_child", "fanfold_parent"}

    def test_a_child_that_is_removed_takes_nothing_from_those_that_call_it(self, aws: Aws) -> None:
        aws.put("child.yaml", ONE_STEP)
        aws.put("parent.yaml", "steps:\n  - {name: c, run: child}\n")
        before = aws.machines()["fanfold_parent"]
        aws.remove("child.yaml")
        assert aws.machines() == {"fanfold_parent": before}
        report = aws.report("parent.yaml")
        assert report is not None
        assert messages(report) == ["there is no DAG 'child'"]


class TestBadInput:
    @pytest.mark.parametrize(
        ("data", "message"),
        [
            (b"steps: [unclosed\n", "YAML"),
            (b"\xff\xfe\x00", ""),
            (b"", ""),
            (b"name: x\nsteps: 5\n", "'steps' must be a list"),
        ],
    )
    def test_what_is_no_dag_is_refused_and_changes_nothing(self, aws: Aws, data: bytes, message: str) -> None:
        aws.put("a.yaml", ONE_STEP)
        before = aws.state()
        report = aws.put("a.yaml", data)
        assert report["status"] == "refused"
        assert any(message in text for text in messages(report))
        assert aws.state() == before
        assert aws.report("a.yaml") == report
        assert aws.put("a.yaml", ONE_STEP)["status"] == "deployed"

    def test_a_definition_that_is_too_large_is_refused_before_anything_is_made(
        self, aws: Aws, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("fanfold.asl.judge.MAX_DEFINITION", 20_000)  # a mebibyte takes long to compile
        calls = "".join(f"  - {{name: step-{n}, run: leaf, parallel: [a]}}\n" for n in range(20))
        report = aws.put("big.yaml", f"steps:\n{calls}---\nname: leaf\n{ONE_STEP}")
        (message,) = messages(report)
        assert message.startswith("the state machine of 'big': the definition has ")
        assert aws.machines() == {}

    def test_a_container_where_the_stack_has_none_is_a_located_error(self) -> None:
        with embedded(replace(TARGET, ecs=None)) as aws:
            text = "x-fanfold: {compute: ecs}\nsteps:\n  - name: s\n    command: a\n    x-fanfold: {compute: ecs}\n"
            report = aws.put("a.yaml", text)
            assert [problem["place"]["line"] for problem in report["problems"]] == [1, 5]
            assert set(messages(report)) == {"'compute: ecs', but this stack has no containers"}

    def test_a_stack_name_that_leaves_no_room_for_machines_is_refused(self) -> None:
        with pytest.raises(ValueError, match="longer than 31 characters"):
            replace(TARGET, stack="s" * 32)


class TestFaults:
    def test_a_crash_at_any_call_and_the_event_again_come_to_the_same_end(self) -> None:
        second = PARENT.replace("echo one", "echo two").replace("*/6", "*/4")
        with embedded() as aws:
            calls = Failing(aws)
            for text, sequencer in ((PARENT, "01"), (second, "02")):
                with calls.paused():
                    aws.write("etl.yaml", text)
                aws.handle(aws.event("etl.yaml", sequencer))
            total = calls.count
            wanted = aws.state()
        assert total > 30
        for number in range(1, total + 1):
            with embedded() as aws:
                calls = Failing(aws, number)
                for text, sequencer in ((PARENT, "01"), (second, "02")):
                    with calls.paused():
                        aws.write("etl.yaml", text)
                    try:
                        aws.handle(aws.event("etl.yaml", sequencer))
                    except ClientError:
                        assert aws.handle(aws.event("etl.yaml", sequencer))[0]["status"] == "deployed"
                assert without_versions(aws.state()) == without_versions(wanted), f"call {number}: {calls.failed}"

    def test_a_crash_at_any_call_of_a_removal_leaves_nothing_after_the_event_again(self) -> None:
        with embedded() as aws:
            aws.put("etl.yaml", PARENT)
            aws.erase("etl.yaml")
            calls = Failing(aws)
            aws.handle(aws.event("etl.yaml", kind="Object Deleted"))
            total = calls.count
        for number in range(1, total + 1):
            with embedded() as aws:
                empty = aws.state()
                aws.put("etl.yaml", PARENT)
                aws.erase("etl.yaml")
                Failing(aws, number)
                event = aws.event("etl.yaml", kind="Object Deleted")
                try:
                    aws.handle(event)
                except ClientError:
                    aws.handle(event)
                assert aws.state() == empty

    @pytest.mark.parametrize("service", ["s3", "states", "scheduler", "events"])
    def test_throttling_is_waited_out(self, aws: Aws, monkeypatch: pytest.MonkeyPatch, service: str) -> None:
        refused: list[str] = []

        def throttle(request: Any, **_: Any) -> AWSResponse | None:
            if len(refused) == 2:
                return None
            refused.append(request.url)
            response = AWSResponse(request.url, 503, {}, None)
            response._content = _SLOW_DOWN if service == "s3" else _THROTTLED
            return response

        monkeypatch.setattr("time.sleep", lambda _: None)
        aws.write("etl.yaml", PARENT)
        getattr(aws.clients, service).meta.events.register_first("before-send", throttle)
        assert aws.handle(aws.event("etl.yaml"))[0]["status"] == "deployed"
        assert len(refused) == 2

    def test_a_deployment_that_another_one_overtakes_begins_anew(self, aws: Aws) -> None:
        aws.put("a.yaml", ONE_STEP, sequencer="01")
        overtaken: list[bool] = []

        def overtake(model: Any, **_: Any) -> None:
            if model.name == "UpdateStateMachine" and not overtaken:
                overtaken.append(True)
                aws.put("a.yaml", ONE_STEP.replace("hi", "newest"), sequencer="03")

        aws.clients.states.meta.events.register("before-call", overtake)
        aws.write("a.yaml", ONE_STEP.replace("hi", "newer"))
        aws.handle(aws.event("a.yaml", sequencer="02"))
        assert overtaken
        live = aws.machines()["fanfold_a"]
        aws.put("a.yaml", ONE_STEP.replace("hi", "newest"), sequencer="04")
        assert aws.machines()["fanfold_a"] == live


_THROTTLED = b'{"__type": "ThrottlingException", "message": "Rate exceeded"}'
_SLOW_DOWN = b"<Error><Code>SlowDown</Code><Message>Please reduce your request rate.</Message></Error>"


class Failing:
    """Counts the calls to AWS, and lets one of them fail, before it does anything or after it has done it."""

    def __init__(self, aws: Aws, fail_at: int = 0) -> None:
        self.count = 0
        self.failed = ""
        self._fail_at = fail_at
        self._paused = False
        clients = aws.clients
        for client in (clients.s3, clients.states, clients.scheduler, clients.events):
            client.meta.events.register("before-call", self._before)
            client.meta.events.register("after-call", self._after)

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Calls that the test makes itself."""
        self._paused = True
        yield
        self._paused = False

    def _before(self, model: Any, **_: Any) -> None:
        self.count += not self._paused
        if self.count == self._fail_at and self.count % 2 and not self.failed:
            self._raise(model)

    def _after(self, model: Any, **_: Any) -> None:
        if self.count == self._fail_at and not self.count % 2 and not self.failed and not self._paused:
            self._raise(model)

    def _raise(self, model: Any) -> None:
        self.failed = model.name
        raise ClientError({"Error": {"Code": "InternalError"}}, model.name)


def without_versions(state: Any) -> Any:
    """A crash may cost a number of a version, and moves times."""
    import re

    text = re.sub(r'(stateMachine:[\w-]+):\d+"', r'\1"', json.dumps(state))
    return json.loads(re.sub(r"\d{4}-\d\d-\d\d [\d:.+]+", "", text))


def test_containers_with_an_image_of_their_own_get_a_task_definition() -> None:
    target: Target = replace(TARGET, ecs=Ecs("cluster", "fanfold_runner", "subnet-1,subnet-2", "sg-1"))
    with embedded(target) as aws:
        aws.clients.ecs.register_task_definition(
            family="fanfold_runner",
            containerDefinitions=[{"name": "runner", "image": "stock", "memory": 512, "essential": True}],
        )
        text = "x-fanfold: {compute: ecs, image: 'mine:1'}\n" + ONE_STEP
        aws.put("a.yaml", text)
        task = aws.machines()["fanfold_a"]["States"]["s"]["Parameters"]
        family = task["TaskDefinition"]
        made = aws.clients.ecs.describe_task_definition(taskDefinition=family)["taskDefinition"]
        assert [container["image"] for container in made["containerDefinitions"]] == ["mine:1"]
        aws.put("a.yaml", text + "  # changed\n")
        assert len(aws.clients.ecs.list_task_definitions(familyPrefix=family)["taskDefinitionArns"]) == 1


def test_a_deployment_is_told_in_the_log_as_a_metric_and_as_an_event(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, value in {
        "STACK": "fanfold", "RUN_BUCKET": "runs", "RUNNER_ARN": "r", "PLANNER_ARN": "p", "REDUCER_ARN": "d",
        "STATES_ROLE_ARN": TARGET.role_arn, "MACHINE_ARNS": TARGET.machine_arns,
    }.items():  # fmt: skip
        monkeypatch.setenv(f"FANFOLD_{name}", value)
    with embedded() as aws:
        parser._runtime.cache_clear()
        runtime = parser._runtime()
        sent: list[Any] = []
        runtime.clients.events.meta.events.register("before-call", lambda params, **_: sent.append(params["body"]))
        for name, text in (("good.yaml", ONE_STEP), ("bad.yaml", "steps: 5\n")):
            aws.write(name, text)
            parser.handle(aws.event(name), None)  # type: ignore[arg-type]
        parser._runtime.cache_clear()
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    metrics = [
        (metric["Name"], line["stack"])
        for line in lines
        for directive in line.get("_aws", {}).get("CloudWatchMetrics", [])
        for metric in directive["Metrics"]
    ]
    assert metrics == [("Deployments", "fanfold"), ("DeploymentsRefused", "fanfold")]
    (refusal,) = [line["report"] for line in lines if line.get("level") == "ERROR"]
    assert refusal["problems"][0]["place"]["line"] == 1
    (good, bad) = [json.loads(body)["Entries"][0] for body in sent]
    assert (good["Source"], good["DetailType"]) == ("fanfold", "Fanfold Deployment")
    detail = json.loads(bad["Detail"])
    assert (detail["status"], detail["problems"]) == ("refused", 1)
    assert detail["report"] == {"bucket": "dags", "key": "dags/bad.yaml.report.json"}
