"""``template.yaml``: valid, safe by a policy scanner, complete in what it builds, and as narrow as its use."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import pytest
from aws import TARGET, Aws, embedded
from fanfold.deploy.clients import Clients
from fanfold.deploy.target import Ecs
from fanfold.run.keys import KEPT_DAYS, prefix_of_run, stop_key
from http_api import Browser, page_on_stack
from places import OnStack
from samtranslator.yaml_helper import yaml_parse

ROOT = Path(__file__).parents[2]
TEMPLATES = [
    ROOT / "template.yaml",
    *sorted((ROOT / "infra").glob("c[!h]*.yaml")),
    ROOT / "infra" / "observability.yaml",
    ROOT / "infra" / "web.yaml",
]
FUNCTIONS = {"Parser": "parser", "Planner": "planner", "Reducer": "reducer", "Runner": "runner"}
ENV = os.environ | {"SAM_CLI_TELEMETRY": "0", "AWS_DEFAULT_REGION": "us-east-1"}


def tool(name: str) -> str:
    found = shutil.which(name)
    if found is None:
        pytest.skip(f"{name} is not installed")
    return found


def run(*command: str | Path, **more: Any) -> str:
    done = subprocess.run(
        list(map(str, command)), cwd=ROOT, env=ENV, capture_output=True, text=True, check=False, **more
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def template() -> dict[str, Any]:
    read: dict[str, Any] = yaml_parse((ROOT / "template.yaml").read_text())
    return read


@pytest.fixture(scope="module")
def page() -> dict[str, Any]:
    read: dict[str, Any] = yaml_parse((ROOT / "infra" / "web.yaml").read_text())
    return read


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("build")
    version = f"PythonVersion=python{sys.version_info.major}.{sys.version_info.minor}"
    run(tool("sam"), "build", "--template", "template.yaml", "--build-dir", folder,
        "--parameter-overrides", version, "Architecture=x86_64")  # fmt: skip
    return folder


def test_every_template_passes_cfn_lint() -> None:
    assert len(TEMPLATES) == 4
    run("cfn-lint", *TEMPLATES)


def test_sam_finds_the_template_valid() -> None:
    run(tool("sam"), "validate", "--lint", "--template", "template.yaml")


def test_the_policy_scanner_finds_nothing_but_what_is_accepted() -> None:
    files = [word for path in TEMPLATES for word in ("--file", path)]
    run(tool("checkov"), "--config-file", "infra/checkov.yaml", *files)


@pytest.mark.parametrize("path", TEMPLATES, ids=lambda path: path.stem)
def test_nothing_in_a_template_is_what_cloudformation_cannot_read(path: Path) -> None:
    import yaml

    aliases = [event for event in yaml.parse(path.read_text(), yaml.SafeLoader) if isinstance(event, yaml.AliasEvent)]
    assert aliases == []


class TestBuild:
    @pytest.mark.parametrize("name", FUNCTIONS)
    def test_each_function_starts_with_only_what_was_built(self, built: Path, name: str) -> None:
        function = built / f"{name}Function"
        code = f"""
import sys
sys.path[:] = [{str(function)!r}, *(path for path in sys.path if "-packages" not in path)]
import boto3
from fanfold.handlers import environment, {FUNCTIONS[name]} as handler
environment.logger()
assert handler.__file__.startswith({str(function)!r})
assert boto3.__file__.startswith({str(function)!r})
assert callable(handler.handle)
"""
        run(sys.executable, "-I", "-c", code)

    def test_the_parser_answers_an_event_that_concerns_no_dag(self, built: Path) -> None:
        names = ("STACK", "RUN_BUCKET", "RUNNER_ARN", "PLANNER_ARN", "REDUCER_ARN", "STATES_ROLE_ARN", "MACHINE_ARNS")
        code = f"""
import os, sys
sys.path[:] = [{str(built / "ParserFunction")!r}, *(path for path in sys.path if "-packages" not in path)]
os.environ |= {{f"FANFOLD_{{name}}": "x" for name in {names!r}}}
from fanfold.handlers import parser
print(parser.handle({{"Records": []}}, None))
"""
        assert run(sys.executable, "-I", "-c", code).strip() == "{'reports': []}"

    def test_nested_templates_and_the_package_are_in_the_build(self, built: Path) -> None:
        assert (built / "Containers" / "template.yaml").is_file()
        assert (built / "Observability" / "template.yaml").is_file()
        assert (built / "RunnerFunction" / "fanfold" / "handlers" / "runner.py").is_file()

    def test_the_page_answers_with_only_what_was_built(self, built: Path) -> None:
        event = ROOT / "tests" / "events" / "http_api_get.json"
        code = f"""
import json, os, sys
places = [{str(built / "Web" / "Function")!r}, {str(built / "Web" / "Layer" / "python")!r}]
sys.path[:] = [*places, *(path for path in sys.path if "-packages" not in path)]
names = ("STACK", "DAG_BUCKET", "RUN_BUCKET", "MACHINE_ARNS", "LOG_GROUPS", "SCHEDULE_ZONE", "RUNNER_VARIABLES")
os.environ |= {{f"FANFOLD_{{name}}": "x" for name in names}}
from fanfold.web import handler
import jinja2
assert handler.__file__.startswith(places[0]) and jinja2.__file__.startswith(places[1])
event = json.load(open({str(event)!r}))
for path in ("/static/page.css", "/static/page.js", "/static/htmx.min.js", "/static/icon.svg", "/nothing"):
    event["requestContext"]["http"]["path"] = path
    print(handler.handle(event, None)["statusCode"])
"""
        assert run(sys.executable, "-I", "-c", code).split() == ["200"] * 4 + ["404"]


class TestRights:
    def test_the_parser_may_do_what_it_does_and_nothing_else(self, template: dict[str, Any]) -> None:
        (policy,) = template["Resources"]["ParserFunction"]["Properties"]["Policies"]
        statements = [
            statement["Fn::If"][1] if "Fn::If" in statement else statement for statement in policy["Statement"]
        ]
        allowed = {action for statement in statements for action in _listed(statement["Action"])}
        target = replace(TARGET, ecs=Ecs("cluster", "fanfold_runner", "subnet-1", "sg-1"))
        with embedded(target) as aws:
            used = _actions_of_a_life(aws)
        # An old version is deleted after a hundred, tags are given at creation, events told by the stack's own parser.
        used |= {"states:DeleteStateMachineVersion", "states:TagResource", "events:TagResource", "events:PutEvents"}
        used |= {"iam:PassRole", "states:PublishStateMachineVersion"}
        assert used == allowed

    def test_a_role_is_passed_to_one_service_at_a_time_and_by_name(self, template: dict[str, Any]) -> None:
        text = json.dumps(template["Resources"]["ParserFunction"]["Properties"]["Policies"])
        statements = json.loads(text)[0]["Statement"]
        passing = [item.get("Fn::If", [0, item])[1] for item in statements]
        passing = [statement for statement in passing if statement["Action"] == "iam:PassRole"]
        assert len(passing) == 3
        for statement in passing:
            assert "iam:PassedToService" in statement["Condition"]["StringEquals"]
            assert "*" not in json.dumps(statement["Resource"])

    def test_nothing_is_allowed_on_everything_but_what_knows_no_resources(self, template: dict[str, Any]) -> None:
        everywhere = {
            action
            for path in TEMPLATES
            for statement in _statements(yaml_parse(path.read_text()))
            if statement["Effect"] == "Allow" and "*" in _listed(statement.get("Resource", []))
            for action in _listed(statement["Action"])
        }
        assert everywhere == {
            "ecs:RegisterTaskDefinition", "ecs:DescribeTaskDefinition",
            "states:SendTaskSuccess", "states:SendTaskFailure", "states:SendTaskHeartbeat",
            "logs:GetQueryResults",
        }  # fmt: skip

    def test_every_queue_and_bucket_refuses_what_is_not_encrypted_on_its_way(self, template: dict[str, Any]) -> None:
        resources = template["Resources"]
        for name in ("DagBucketPolicy", "RunBucketPolicy", "FailureQueuePolicy"):
            statements = resources[name]["Properties"]["PolicyDocument"]["Statement"]
            assert any(statement["Sid"] == "TlsOnly" and statement["Effect"] == "Deny" for statement in statements)


class TestPage:
    def test_it_is_off_by_default_and_refused_without_an_authorizer(self, template: dict[str, Any]) -> None:
        assert template["Parameters"]["WebUi"]["Default"] == "false"
        rule = template["Rules"]["PageNeedsAnAuthorizer"]
        assert rule["RuleCondition"] == template["Conditions"]["HasWebUi"] == {"Fn::Equals": [{"Ref": "WebUi"}, "true"]}
        (assertion,) = rule["Assertions"]
        assert assertion["Assert"] == {"Fn::Not": [{"Fn::Equals": [{"Ref": "WebUiAuthorizer"}, ""]}]}
        assert template["Resources"]["Web"]["Condition"] == template["Outputs"]["WebUiUrl"]["Condition"] == "HasWebUi"

    def test_its_stack_cannot_be_made_without_an_authorizer(self, page: dict[str, Any]) -> None:
        parameter = page["Parameters"]["Authorizer"]
        assert "Default" not in parameter
        arn = "arn:aws:lambda:eu-central-1:123456789012:function:sign-in"
        for value, is_right in {arn: True, f"{arn}:live": True, "": False, "none": False, f"{arn},": False}.items():
            assert bool(re.fullmatch(parameter["AllowedPattern"], value)) is is_right

    def test_nothing_is_served_that_the_authorizer_has_not_let_in(self, page: dict[str, Any]) -> None:
        of_type: dict[str, list[dict[str, Any]]] = {}
        for resource in page["Resources"].values():
            assert "Condition" not in resource
            of_type.setdefault(resource["Type"], []).append(resource["Properties"])
        (route,), (authorizer,) = of_type["AWS::ApiGatewayV2::Route"], of_type["AWS::ApiGatewayV2::Authorizer"]
        assert (route["AuthorizationType"], route["AuthorizerId"]) == ("CUSTOM", {"Ref": "ApiAuthorizer"})
        assert "${Authorizer}" in authorizer["AuthorizerUri"]["Fn::Sub"]
        assert authorizer["AuthorizerResultTtlInSeconds"] == 0
        assert "IdentitySource" not in authorizer
        (api,) = of_type["AWS::ApiGatewayV2::Api"]
        assert "CorsConfiguration" not in api  # with which the API itself would answer OPTIONS
        (function,) = of_type["AWS::Serverless::Function"]
        assert not {"Events", "FunctionUrlConfig"} & set(function)
        callers = [
            grant for grant in of_type["AWS::Lambda::Permission"] if grant["FunctionName"] == {"Ref": "Function"}
        ]
        assert [grant["Principal"] for grant in callers] == ["apigateway.amazonaws.com"]
        assert "${Api}" in callers[0]["SourceArn"]["Fn::Sub"]

    def test_it_may_do_what_it_does_and_nothing_else(self, page: dict[str, Any], tmp_path: Path) -> None:
        calls: set[tuple[str, str]] = set()

        def note(params: dict[str, Any], model: Any, **_: Any) -> None:
            calls.update(_calls(model.service_model.service_name, model.name, params))

        with page_on_stack(tmp_path, note) as stack:
            _use_of_the_page(stack, Browser())
            names = {"Stack": "fanfold", "DagBucket": stack.stack.dag_bucket, "RunBucket": stack.stack.run_bucket}
            names |= dict(zip(("RunnerLogs", "ContainerLogs"), stack.stack.log_groups, strict=True))
        # A run that was broken off is redriven, which is nothing that moto can do.
        execution = "arn:aws:states:us-east-1:123456789012:execution:fanfold_greet:1"
        calls.add(("states:RedriveExecution", execution))
        for prefix in (prefix_of_run("1"), prefix_of_run("1", 3)):
            for action in ("s3:PutObject", "s3:DeleteObject"):
                calls.add((action, f"arn:aws:s3:::{names['RunBucket']}/{stop_key(prefix, 1)}"))
        (policy,) = page["Resources"]["Function"]["Properties"]["Policies"]
        allowed = {
            (action, _resolved(resource, names))
            for statement in policy["Statement"]
            for action in _listed(statement["Action"])
            for resource in _listed(statement["Resource"])
        }
        fits = {
            (call, right)
            for call in calls
            for right in allowed
            if right[0] == call[0] and fnmatchcase(call[1], right[1])
        }
        assert calls - {call for call, _ in fits} == set()
        assert allowed - {right for _, right in fits} == set()


def test_a_lifecycle_rule_stands_for_every_time_that_runs_may_be_kept(template: dict[str, Any]) -> None:
    rules = template["Resources"]["RunBucket"]["Properties"]["LifecycleConfiguration"]["Rules"]
    kept = {rule["Prefix"]: rule["ExpirationInDays"] for rule in rules if rule["Id"].startswith("kept-")}
    assert kept == {f"kept-{days}/": days for days in KEPT_DAYS}


def test_the_image_of_the_runner_is_made_of_files_that_are_here() -> None:
    lines = (ROOT / "infra" / "runner" / "Dockerfile").read_text().splitlines()
    sources = [line.split()[1] for line in lines if line.startswith("COPY ")]
    assert [(ROOT / source).exists() for source in sources] == [True, True]
    assert "USER runner" in lines


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def _statements(node: Any) -> Iterator[dict[str, Any]]:
    """Every statement of every policy in a template."""
    if isinstance(node, dict):
        if "Effect" in node:
            yield node
        for value in node.values():
            yield from _statements(value)
    elif isinstance(node, list):
        for value in node:
            yield from _statements(value)


def _actions_of_a_life(aws: Aws) -> set[str]:
    """What the parser calls while a DAG is made, changed and removed."""
    clients, used = aws.clients, set[str]()
    names = {"stepfunctions": "states", "ListObjectsV2": "ListBucket"}
    aws.clients.ecs.register_task_definition(
        family="fanfold_runner", containerDefinitions=[{"name": "runner", "image": "stock", "memory": 512}]
    )
    text = (
        "schedule: '0 1 * * *'\nx-fanfold: {on: {s3: {bucket: b}}, compute: ecs, image: mine}\n"
        "steps:\n  - {name: s, command: echo one}\n"
    )
    aws.write("tool.sh", "#!/bin/sh")

    def note(model: Any, **_: Any) -> None:
        service = model.service_model.service_name
        used.add(f"{names.get(service, service)}:{names.get(model.name, model.name)}")

    for client in (clients.s3, clients.states, clients.scheduler, clients.events, clients.ecs):
        client.meta.events.register("before-call", note)
    someone = Clients()  # whose calls are not the parser's

    def put(text: str) -> None:
        someone.s3.put_object(Bucket="dags", Key="dags/a.yaml", Body=text.encode())
        aws.handle(aws.event("a.yaml"))

    put(text)
    put(text.replace("one", "two").replace("'0 1", "'0 2"))
    put(text.replace("bucket: b", "bucket: c"))
    (schedule,) = someone.scheduler.list_schedules(GroupName="fanfold")["Schedules"]
    someone.scheduler.update_schedule(
        Name=schedule["Name"], GroupName="fanfold", ScheduleExpression="cron(0 0 1 1 ? *)",
        FlexibleTimeWindow={"Mode": "OFF"}, Target={"Arn": "arn:aws:x", "RoleArn": "arn:aws:iam::123456789012:role/x"},
    )  # fmt: skip
    put(text.replace("bucket: b", "bucket: c"))
    someone.s3.delete_object(Bucket="dags", Key="dags/a.yaml")
    aws.handle(aws.event("a.yaml", kind="Object Deleted"))
    return used


def _calls(service: str, operation: str, params: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """The rights that a call of the page's function takes, each with the resource that it takes it on."""
    if service == "s3":
        names = {"ListObjectsV2": "ListBucket", "HeadObject": "GetObject"}
        key = f"/{params['Key']}" if "Key" in params else ""
        yield f"s3:{names.get(operation, operation)}", f"arn:aws:s3:::{params['Bucket']}{key}"
    elif operation == "StartQuery":
        for group in params["logGroupNames"]:
            yield "logs:StartQuery", f"arn:aws:logs:us-east-1:123456789012:log-group:{group}:*"
    else:
        names = {"stepfunctions": "states"}
        resource = params.get("stateMachineArn") or params.get("executionArn") or "*"
        yield f"{names.get(service, service)}:{operation}", resource


def _resolved(value: Any, names: dict[str, str]) -> str:
    """A text of a template, where all that conditions ask for is there."""
    if isinstance(value, str):
        return value
    if "Fn::If" in value:
        return _resolved(value["Fn::If"][1], names)
    known = names | {"AWS::Partition": "aws", "AWS::Region": "us-east-1", "AWS::AccountId": "123456789012"}
    return re.sub(r"\$\{([^}]+)\}", lambda found: known[found[1]], value["Fn::Sub"])


def _use_of_the_page(stack: OnStack, browser: Browser) -> None:
    """Look at everything, and press every button."""
    child = "---\nname: child\nparams: [N: '0']\nsteps:\n  - {name: count, command: 'test $N != 2'}\n"
    parent = (
        "name: fan\nhistRetentionDays: 3\nsteps:\n"
        "  - {name: each, run: child, parallel: {items: [1, 2]}, output: DOC, continueOn: {failure: true}}\n"
    )
    greet = "steps:\n  - {name: greet, command: echo hello}\n  - {name: last, command: sleep 2, depends: greet}\n"
    for name, text in {"fan": parent + child, "greet": greet, "broken": "steps:\n  - {name: a}\n"}.items():
        data = stack.write(name, text).read_bytes()
        stack.stack.clients.s3.put_object(Bucket=stack.stack.dag_bucket, Key=f"dags/{name}.yaml", Body=data)
    for address in ("/", "/runs", "/dags/fan", "/dags/broken", "/dags/fan/ticks", "/dags/fan/definition"):
        assert browser.get(address).status == 200, address
    started = browser.submit("/dags/greet", "/dags/greet/start").headers["location"]
    assert browser.submit("/dags/greet", f"{started}/stop").status == 303
    run = browser.submit("/dags/fan", "/dags/fan/start").headers["location"]
    stack.wait(run.removeprefix("/runs/"))
    stack.wait(started.removeprefix("/runs/"))
    assert browser.get("/dags/fan/ticks").status == browser.get("/runs?dag=fan").status == 200
    for word in ("", "/events", "/failures"):
        assert browser.get(run + word).status == 200, word
    words = ("", "/grid", "/lanes", "/document", "/document.json", "/items/1", "/items/1/log", "/items/1/log.txt")
    for word in words:
        assert browser.get(f"{run}/steps/each{word}").status == 200, word
    assert browser.submit("/dags/fan", f"{run}/retry").status == 303
    stack.wait(run.removeprefix("/runs/"))
