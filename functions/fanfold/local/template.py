"""The stack's template on the embedded AWS: the same resources, names and environments as on a real one."""

from __future__ import annotations

import io
import json
import logging
import warnings
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from fanfold.deploy.clients import Clients
from fanfold.local.moto_overrides import patched

_CODE_BUCKET = "fanfold-code"
_PACKAGED = Path(__file__).parent / "stack"
_CHECKED_OUT = Path(__file__).parents[3]


def template_folder() -> Path:
    """Where ``template.yaml`` and ``infra/`` lie: in the package, or in a checkout of the repository."""
    return _PACKAGED if _PACKAGED.is_dir() else _CHECKED_OUT


def create_stack(name: str, clients: Clients, parameters: Mapping[str, str]) -> None:
    """Create the stack called `name` with all that moto's CloudFormation knows, and what it leaves out."""
    folder = template_folder()
    _upload(clients, folder)
    template = _translated(folder / "template.yaml")
    del template["Resources"]["Deployments"]  # nothing is deployed yet, and a stack here is neither changed nor kept
    for resource in template["Resources"].values():
        if resource["Type"] == "AWS::CloudFormation::Stack":
            file = Path(resource["Properties"]["TemplateURL"]).name
            resource["Properties"]["TemplateURL"] = f"https://s3.amazonaws.com/{_CODE_BUCKET}/{file}"
    given: Any = [{"ParameterKey": key, "ParameterValue": value} for key, value in parameters.items()]
    from moto.cloudformation.models import Stack

    with warnings.catch_warnings(), patched(Stack, "get_cfn_attribute", _output_of_nested_stack):
        warnings.simplefilter("ignore")  # moto tells of each resource that it does not know
        clients.cloudformation.create_stack(
            StackName=name, TemplateBody=json.dumps(template), Parameters=given, Capabilities=["CAPABILITY_IAM"]
        )
        outputs = clients.cloudformation.describe_stacks(StackName=name)["Stacks"][0]["Outputs"]
    clients.scheduler.create_schedule_group(Name=name)
    _complete_buckets(clients, template, {output["OutputKey"]: output["OutputValue"] for output in outputs})


def _translated(path: Path) -> dict[str, Any]:
    """The SAM template as CloudFormation gets it."""
    from samtranslator.translator.transform import transform
    from samtranslator.yaml_helper import yaml_parse

    logging.getLogger("samtranslator").setLevel(logging.CRITICAL)  # it tells of metrics that nobody asked for
    read: Any = yaml_parse
    template = read(path.read_text("utf-8"))
    template["Globals"]["Function"]["CodeUri"] = f"s3://{_CODE_BUCKET}/code.zip"
    no_policies: Any = _NoManagedPolicies()
    translated: dict[str, Any] = transform(template, {}, no_policies)
    return translated


class _NoManagedPolicies:
    """The template names managed policies by their ARNs."""

    def load(self) -> dict[str, str]:
        return {}


def _upload(clients: Clients, folder: Path) -> None:
    """What ``sam deploy`` uploads: the functions' code, of which nothing is read here, and nested templates."""
    clients.s3.create_bucket(Bucket=_CODE_BUCKET)
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr("empty.py", "")
    clients.s3.put_object(Bucket=_CODE_BUCKET, Key="code.zip", Body=packed.getvalue())
    for nested in (folder / "infra").glob("*.yaml"):
        clients.s3.put_object(Bucket=_CODE_BUCKET, Key=nested.name, Body=nested.read_bytes())


def _complete_buckets(clients: Clients, template: Mapping[str, Any], outputs: Mapping[str, str]) -> None:
    """Settings of buckets that moto's CloudFormation ignores; a bucket's output has its logical name."""
    for logical, resource in template["Resources"].items():
        if resource["Type"] != "AWS::S3::Bucket":
            continue
        bucket = outputs[logical]
        properties = resource["Properties"]
        if properties.get("VersioningConfiguration"):
            clients.s3.put_bucket_versioning(
                Bucket=bucket, VersioningConfiguration=properties["VersioningConfiguration"]
            )
        if properties.get("NotificationConfiguration", {}).get("EventBridgeConfiguration"):
            clients.s3.put_bucket_notification_configuration(
                Bucket=bucket, NotificationConfiguration={"EventBridgeConfiguration": {}}
            )


def _output_of_nested_stack(self: Any, attribute: str) -> Any:
    """``Outputs.<name>`` of a nested stack, which moto's CloudFormation does not give."""
    return self.output_map[attribute.removeprefix("Outputs.")].value
