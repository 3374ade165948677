"""The AWS clients of a deployment, each made when it is first needed."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mypy_boto3_cloudformation import CloudFormationClient
    from mypy_boto3_ecs import ECSClient
    from mypy_boto3_events import EventBridgeClient
    from mypy_boto3_logs import CloudWatchLogsClient
    from mypy_boto3_s3 import S3Client
    from mypy_boto3_scheduler import EventBridgeSchedulerClient
    from mypy_boto3_secretsmanager import SecretsManagerClient
    from mypy_boto3_ssm import SSMClient
    from mypy_boto3_stepfunctions import SFNClient

ATTEMPTS = 8
"""Tries of one call, with pauses that adapt to throttling (boto3, *Retries*)."""


class Clients:
    """See the module. `settings` goes to every client, such as ``endpoint_url``."""

    def __init__(self, **settings: Any) -> None:
        self._settings = settings

    def _make(self, service: str) -> Any:
        import boto3
        from botocore.config import Config

        make: Any = boto3.client
        retries = Config(retries={"mode": "adaptive", "total_max_attempts": ATTEMPTS})
        return make(service, config=retries, **self._settings)

    @cached_property
    def s3(self) -> S3Client:
        """Amazon S3."""
        client: S3Client = self._make("s3")
        return client

    @cached_property
    def states(self) -> SFNClient:
        """AWS Step Functions."""
        client: SFNClient = self._make("stepfunctions")
        return client

    @cached_property
    def scheduler(self) -> EventBridgeSchedulerClient:
        """Amazon EventBridge Scheduler."""
        client: EventBridgeSchedulerClient = self._make("scheduler")
        return client

    @cached_property
    def events(self) -> EventBridgeClient:
        """Amazon EventBridge."""
        client: EventBridgeClient = self._make("events")
        return client

    @cached_property
    def ecs(self) -> ECSClient:
        """Amazon ECS."""
        client: ECSClient = self._make("ecs")
        return client

    @cached_property
    def logs(self) -> CloudWatchLogsClient:
        """Amazon CloudWatch Logs."""
        client: CloudWatchLogsClient = self._make("logs")
        return client

    @cached_property
    def ssm(self) -> SSMClient:
        """AWS Systems Manager."""
        client: SSMClient = self._make("ssm")
        return client

    @cached_property
    def secrets(self) -> SecretsManagerClient:
        """AWS Secrets Manager."""
        client: SecretsManagerClient = self._make("secretsmanager")
        return client

    @cached_property
    def cloudformation(self) -> CloudFormationClient:
        """AWS CloudFormation."""
        client: CloudFormationClient = self._make("cloudformation")
        return client
