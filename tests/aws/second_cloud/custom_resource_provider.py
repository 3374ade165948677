"""Custom resources in LocalStack's CloudFormation, which has none: a function is told, and answers at a URL of S3.

Loaded into LocalStack's process as `process_executor` is. See CloudFormation, *Custom resource request and response
reference*.
"""

from __future__ import annotations

import json
import uuid
from typing import Any

from localstack.services.cloudformation.resource_provider import (
    CloudFormationResourceProviderPlugin,
    OperationStatus,
    ProgressEvent,
    ResourceProvider,
    ResourceRequest,
)

BUCKET = "cloudformation-custom-resources"

_physical_ids: dict[tuple[str, str], str] = {}
"""By stack and logical id: what each custom resource said that it is called."""


class CustomResourceProvider(ResourceProvider[dict[str, Any]]):
    TYPE = "AWS::CloudFormation::CustomResource"
    SCHEMA = {"typeName": TYPE, "primaryIdentifier": ["/properties/PhysicalResourceId"]}

    def create(self, request: ResourceRequest[dict[str, Any]]) -> ProgressEvent[dict[str, Any]]:
        return _tell("Create", request)

    def update(self, request: ResourceRequest[dict[str, Any]]) -> ProgressEvent[dict[str, Any]]:
        return _tell("Update", request)

    def delete(self, request: ResourceRequest[dict[str, Any]]) -> ProgressEvent[dict[str, Any]]:
        return _tell("Delete", request)


class CustomResourcePlugin(CloudFormationResourceProviderPlugin):
    name = CustomResourceProvider.TYPE

    def load(self) -> None:
        self.factory = CustomResourceProvider


def _tell(kind: str, request: ResourceRequest[dict[str, Any]]) -> ProgressEvent[dict[str, Any]]:
    known = (request.stack_id, request.logical_resource_id)
    properties = request.desired_state or request.previous_state or {}
    s3, key = request.aws_client_factory.s3, str(uuid.uuid4())
    s3.create_bucket(Bucket=BUCKET)
    event = {
        "RequestType": kind,
        "RequestId": key,
        "ResponseURL": s3.generate_presigned_url("put_object", Params={"Bucket": BUCKET, "Key": key}),
        "ServiceToken": properties["ServiceToken"],
        "StackId": request.stack_id,
        "ResourceType": request.resource_type,
        "LogicalResourceId": request.logical_resource_id,
        "ResourceProperties": _as_texts(properties),
    }
    if kind != "Create":
        event["PhysicalResourceId"] = _physical_ids[known]
    if kind == "Update":
        event["OldResourceProperties"] = _as_texts(request.previous_state)
    called = request.aws_client_factory.lambda_.invoke(
        FunctionName=properties["ServiceToken"], Payload=json.dumps(event).encode()
    )
    told = called["Payload"].read().decode()
    try:
        answer = json.loads(s3.get_object(Bucket=BUCKET, Key=key)["Body"].read())
    except s3.exceptions.NoSuchKey:
        return ProgressEvent(OperationStatus.FAILED, {}, message=f"the function left no response: {told}")
    if answer["Status"] != "SUCCESS":
        return ProgressEvent(OperationStatus.FAILED, {}, message=answer.get("Reason", "no reason given"))
    for name in ("RequestId", "StackId", "LogicalResourceId"):
        if answer[name] != event[name]:
            return ProgressEvent(OperationStatus.FAILED, {}, message=f"the response is of another {name}")
    _physical_ids[known] = answer["PhysicalResourceId"]
    model = properties | answer.get("Data", {}) | {"PhysicalResourceId": answer["PhysicalResourceId"]}
    return ProgressEvent(OperationStatus.SUCCESS, model)


def _as_texts(value: Any) -> Any:
    """`value` as CloudFormation hands it on: every boolean and number is a text."""
    if isinstance(value, dict):
        return {key: _as_texts(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [_as_texts(inner) for inner in value]
    if isinstance(value, bool):
        return str(value).lower()
    return value if value is None or isinstance(value, str) else str(value)
