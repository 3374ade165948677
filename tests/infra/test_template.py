"""``template.yaml``: valid, safe by a policy scanner, complete in what it builds, and as narrow as its use."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Any

import pytest
from fanfold.run.keys import KEPT_DAYS
from samtranslator.yaml_helper import yaml_parse
from support import ROOT, run_program, tool

TEMPLATES = [
    ROOT / "template.yaml",
    *sorted((ROOT / "infra").glob("c[!h]*.yaml")),
    ROOT / "infra" / "observability.yaml",
    ROOT / "infra" / "web.yaml",
]
FUNCTIONS = {"Parser": "parser", "Planner": "planner", "Reducer": "reducer", "Runner": "runner"}


@pytest.fixture(scope="module")
def template() -> dict[str, Any]:
    read: dict[str, Any] = yaml_parse((ROOT / "template.yaml").read_text())
    return read


@pytest.fixture(scope="module")
def page() -> dict[str, Any]:
    read: dict[str, Any] = yaml_parse((ROOT / "infra" / "web.yaml").read_text())
    return read


def test_every_template_passes_cfn_lint() -> None:
    assert len(TEMPLATES) == 4
    run_program("cfn-lint", *TEMPLATES)


def test_sam_finds_the_template_valid() -> None:
    run_program(tool("sam"), "validate", "--lint", "--template", "template.yaml")


def test_the_policy_scanner_finds_nothing_but_what_is_accepted() -> None:
    files = [word for path in TEMPLATES for word in ("--file", path)]
    run_program(tool("checkov"), "--config-file", "infra/checkov.yaml", *files)


@pytest.mark.parametrize("path", TEMPLATES, ids=lambda path: path.stem)
def test_nothing_in_a_template_is_what_cloudformation_cannot_read(path: Path) -> None:
    import yaml

    aliases = [event for event in yaml.parse(path.read_text(), yaml.SafeLoader) if isinstance(event, yaml.AliasEvent)]
    assert aliases == []


def test_the_buckets_outlive_their_stack_but_not_a_first_deployment_that_fails(template: dict[str, Any]) -> None:
    buckets = [resource for resource in template["Resources"].values() if resource["Type"] == "AWS::S3::Bucket"]
    policies = [(bucket["DeletionPolicy"], bucket["UpdateReplacePolicy"]) for bucket in buckets]
    assert policies == [("RetainExceptOnCreate", "Retain")] * 2


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
        run_program(sys.executable, "-I", "-c", code)

    def test_the_parser_answers_an_event_that_concerns_no_dag(self, built: Path) -> None:
        names = ("STACK", "RUN_BUCKET", "RUNNER_ARN", "PLANNER_ARN", "REDUCER_ARN", "STATES_ROLE_ARN", "MACHINE_ARNS")
        code = f"""
import os, sys
sys.path[:] = [{str(built / "ParserFunction")!r}, *(path for path in sys.path if "-packages" not in path)]
os.environ |= {{f"FANFOLD_{{name}}": "x" for name in {names!r}}}
from fanfold.handlers import parser
print(parser.handle({{"Records": []}}, None))
"""
        assert run_program(sys.executable, "-I", "-c", code).strip() == "{'reports': []}"

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
        assert run_program(sys.executable, "-I", "-c", code).split() == ["200"] * 4 + ["404"]


class TestRights:
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


def test_a_lifecycle_rule_stands_for_every_time_that_runs_may_be_kept(template: dict[str, Any]) -> None:
    rules = template["Resources"]["RunBucket"]["Properties"]["LifecycleConfiguration"]["Rules"]
    kept = {rule["Prefix"]: rule["ExpirationInDays"] for rule in rules if rule["Id"].startswith("kept-")}
    assert kept == {f"kept-{days}/": days for days in KEPT_DAYS}


def test_the_image_of_the_runner_is_made_of_files_that_are_here() -> None:
    lines = (ROOT / "infra" / "runner" / "Dockerfile").read_text().splitlines()
    sources = [line.split()[1] for line in lines if line.startswith("COPY ")]
    assert [(ROOT / source).exists() for source in sources] == [True, True]
    assert "USER runner" in lines
