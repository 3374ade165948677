"""What the roles of a stack need: derived from calls that were made, and from what was deployed.

A need is an action on a resource in a context of conditions, as the Service Authorization Reference knows them, with
the actions besides that AWS asks for (*Dependent actions*, and the pages that are named below).
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from deployed import Call
from fanfold.run.keys import KEPT_DAYS, prefix_of_run
from stacks import ACCOUNT, Resolved

LAMBDA, ECS_TASKS = "lambda.amazonaws.com", "ecs-tasks.amazonaws.com"
STATES, EVENTS, SCHEDULER = "states.amazonaws.com", "events.amazonaws.com", "scheduler.amazonaws.com"


@dataclass(frozen=True, order=True)
class Need:
    """See the module."""

    role: str
    """The ARN of the role that needs it."""
    action: str
    resource: str
    context: tuple[tuple[str, str | tuple[str, ...]], ...] = ()


class Needs:
    """Derives needs for one stack."""

    def __init__(self, resolved: Resolved) -> None:
        self.resolved = resolved
        self.partition, self.region = resolved.partition, resolved.region

    def arn(self, service: str, resource: str) -> str:
        return f"arn:{self.partition}:{service}:{self.region}:{ACCOUNT}:{resource}"

    # ---- calls ------------------------------------------------------------------------------------------------------

    def of_calls(self, calls: Iterable[Call]) -> Iterator[Need]:
        for call in calls:
            for action, resource, *context in getattr(self, f"_{call.service}")(call):
                yield Need(call.role, action, resource, tuple(context))

    def _s3(self, call: Call) -> Iterator[Any]:
        bucket = f"arn:{self.partition}:s3:::{call.params['Bucket']}"
        if call.operation == "ListObjectsV2":
            yield "s3:ListBucket", bucket
            return
        key = f"{bucket}/{call.params['Key']}"
        if call.operation in ("GetObject", "HeadObject"):
            yield "s3:GetObject", key
            if call.error in ("NoSuchKey", "404"):  # else the answer is 403 (*GetObject*, *Permissions*)
                yield "s3:ListBucket", bucket
        elif call.operation == "DeleteObject":
            yield "s3:DeleteObject", key
        else:
            written = ("PutObject", "CreateMultipartUpload", "UploadPart", "CompleteMultipartUpload")
            assert call.operation in written, call
            yield "s3:PutObject", key
            if "IfMatch" in call.params:  # *How to prevent object overwrites with conditional writes*
                yield "s3:GetObject", key

    def _stepfunctions(self, call: Call) -> Iterator[Any]:
        params, action = call.params, f"states:{call.operation}"
        if call.operation.startswith("SendTask"):
            yield action, "*"
            return
        if "executionArn" in params:
            yield action, params["executionArn"]
            return
        named = params.get("resourceArn") or next((params[key] for key in params if key.endswith("Arn")), None)
        if named is None and "routingConfiguration" in params:
            named = params["routingConfiguration"][0]["stateMachineVersionArn"]
        if named is None or call.operation == "CreateStateMachine":
            named = self.arn("states", f"stateMachine:{params['name']}")
        machine = ":".join(named.split(":")[:7])  # a version and an alias are qualifiers of the machine
        yield action, machine
        if params.get("publish"):
            yield "states:PublishStateMachineVersion", machine
        if params.get("tags"):
            yield "states:TagResource", machine
        if "roleArn" in params:
            yield self._passed(params["roleArn"], STATES)

    def _scheduler(self, call: Call) -> Iterator[Any]:
        yield (
            f"scheduler:{call.operation}",
            self.arn("scheduler", f"schedule/{call.params['GroupName']}/{call.params['Name']}"),
        )
        if "Target" in call.params:
            yield self._passed(call.params["Target"]["RoleArn"], SCHEDULER)

    def _events(self, call: Call) -> Iterator[Any]:
        params, action = call.params, f"events:{call.operation}"
        if call.operation == "PutEvents":
            sources = tuple(sorted({entry["Source"] for entry in params["Entries"]}))
            yield action, self.arn("events", "event-bus/default"), ("events:source", sources)
            return
        rule = self.arn("events", f"rule/{params.get('Name') or params['Rule']}")
        yield action, rule
        if params.get("Tags"):
            yield "events:TagResource", rule
        for target in params.get("Targets", ()):
            yield self._passed(target["RoleArn"], EVENTS)

    def _ecs(self, call: Call) -> Iterator[Any]:
        yield f"ecs:{call.operation}", "*"
        for key in ("taskRoleArn", "executionRoleArn"):
            if call.operation == "RegisterTaskDefinition" and key in call.params:
                yield self._passed(call.params[key], ECS_TASKS)

    def _logs(self, call: Call) -> Iterator[Any]:
        for group in call.params.get("logGroupNames", ()):
            yield f"logs:{call.operation}", self.arn("logs", f"log-group:{group}:*")
        if call.operation == "GetQueryResults":
            yield "logs:GetQueryResults", "*"

    def _passed(self, role: str, service: str) -> Any:
        """*Granting a user permissions to pass a role to an AWS service*."""
        return "iam:PassRole", role, ("iam:PassedToService", service)

    # ---- machines ---------------------------------------------------------------------------------------------------

    def of_machine(self, machine: str, role: str, definition: Mapping[str, Any]) -> Iterator[Need]:
        """What a machine's role needs, by every state of its definition."""
        for state in _states(definition):
            for action, resource, *context in self._of_state(machine, state):
                yield Need(role, action, resource, tuple(context))

    def _of_state(self, machine: str, state: Mapping[str, Any]) -> Iterator[Any]:
        if state["Type"] == "Task":
            yield from self._of_task(state["Resource"].split(":::")[1], state["Parameters"])
        elif state["Type"] == "Map":
            mode = state["ItemProcessor"].get("ProcessorConfig", {}).get("Mode", "INLINE")
            if mode == "DISTRIBUTED":
                yield from self._of_distributed(machine, state)

    def _of_task(self, resource: str, given: Mapping[str, Any]) -> Iterator[Any]:
        """*IAM policies for integrated services*."""
        if resource == "lambda:invoke":
            yield "lambda:InvokeFunction", given["FunctionName"]
        elif resource == "states:startExecution.sync:2":
            name = given["StateMachineArn"].split(":")[6]
            yield "states:StartExecution", self.arn("states", f"stateMachine:{name}")
            for action in ("states:DescribeExecution", "states:StopExecution"):
                yield action, self.arn("states", f"execution:{name}:a-run")
            managed = self.arn("events", "rule/StepFunctionsGetEventsForStepFunctionsExecutionRule")
            for action in ("events:PutTargets", "events:PutRule", "events:DescribeRule"):
                yield action, managed
        elif resource == "ecs:runTask.waitForTaskToken":
            cluster, family = given["Cluster"], given["TaskDefinition"]
            yield (
                "ecs:RunTask",
                self.arn("ecs", f"task-definition/{family}:1"),
                ("ecs:cluster", self.arn("ecs", f"cluster/{cluster}")),
            )
            if "PropagateTags" in given or "Tags" in given:  # *Grant permission to tag resources on creation*
                yield "ecs:TagResource", self.arn("ecs", f"task/{cluster}/1"), ("ecs:CreateAction", "RunTask")
            for task in self.resolved.of_type("AWS::ECS::TaskDefinition").values():
                for key in ("TaskRoleArn", "ExecutionRoleArn"):
                    yield self._passed(task[key], ECS_TASKS)
        else:
            raise AssertionError(f"nobody said what {resource} needs")

    def _of_distributed(self, machine: str, state: Mapping[str, Any]) -> Iterator[Any]:
        """*IAM policies for using Distributed Map states*, *Redriving Map Runs*."""
        yield "states:StartExecution", self.arn("states", f"stateMachine:{machine}")
        child = self.arn("states", f"execution:{machine}/{state.get('Label', 'a-label')}:a-child")
        for action in ("states:DescribeExecution", "states:StopExecution", "states:RedriveExecution"):
            yield action, child
        actions: list[str] = []
        if "ItemReader" in state:
            assert state["ItemReader"]["Resource"].endswith(":::s3:getObject")
            actions += ["s3:GetObject"]
        if "ResultWriter" in state:
            assert state["ResultWriter"]["Resource"].endswith(":::s3:putObject")
            actions += ["s3:PutObject", "s3:GetObject", "s3:ListMultipartUploadParts", "s3:AbortMultipartUpload"]
        runs = f"arn:{self.partition}:s3:::{self.resolved.outputs['RunBucket']}"
        for prefix in (prefix_of_run("a-run"), *(prefix_of_run("a-run", days) for days in KEPT_DAYS)):
            for action in actions:
                yield action, f"{runs}/{prefix}/step/object"

    # ---- what starts machines ---------------------------------------------------------------------------------------

    def of_target(self, target: Mapping[str, Any]) -> Iterator[Need]:
        """Of a schedule's or a rule's target (*Setting up EventBridge Scheduler*; *Permissions for dead-letter queues*:
        a rule's queue asks its own policy instead)."""
        role, arn = target["RoleArn"], target["Arn"]
        if arn.split(":")[2] == "lambda":
            yield Need(role, "lambda:InvokeFunction", arn)
        else:
            machine = json.loads(target["Input"])["StateMachineArn"] if ":scheduler:::" in arn else arn
            yield Need(role, "states:StartExecution", ":".join(machine.split(":")[:7]))
        if arn.split(":")[2] != "states":
            yield Need(role, "sqs:SendMessage", target["DeadLetterConfig"]["Arn"])

    # ---- what AWS does with the template's roles --------------------------------------------------------------------

    def of_template(self) -> Iterator[Need]:
        """What AWS Lambda does with a function's role, and Amazon ECS with that of a task's execution."""
        for part in self.resolved.all():
            for logical in part.resources_of("AWS::Lambda::Function"):
                yield from self._of_function(part.value({"Ref": logical}), part.resources[logical]["Properties"])
        for task in self.resolved.of_type("AWS::ECS::TaskDefinition").values():
            for container in task["ContainerDefinitions"]:
                yield from self._of_container(task["ExecutionRoleArn"], container)

    def _of_function(self, name: str, function: Mapping[str, Any]) -> Iterator[Need]:
        """*Execution role*, *AWS X-Ray*, *Destinations*."""
        role = function["Role"]
        yield from self._of_logs(role, function["LoggingConfig"]["LogGroup"])
        if function.get("TracingConfig", {}).get("Mode") == "Active":
            for action in ("xray:PutTraceSegments", "xray:PutTelemetryRecords"):
                yield Need(role, action, "*")
        for config in self.resolved.of_type("AWS::Lambda::EventInvokeConfig").values():
            if config["FunctionName"] == name:
                yield Need(role, "sqs:SendMessage", config["DestinationConfig"]["OnFailure"]["Destination"])

    def _of_container(self, role: str, container: Mapping[str, Any]) -> Iterator[Need]:
        """*Amazon ECS task execution IAM role*."""
        yield from self._of_logs(role, container["LogConfiguration"]["Options"]["awslogs-group"])
        repository = self.arn("ecr", f"repository/{container['Image'].partition('/')[2].partition(':')[0]}")
        yield Need(role, "ecr:GetAuthorizationToken", "*")
        for action in ("BatchCheckLayerAvailability", "GetDownloadUrlForLayer", "BatchGetImage"):
            yield Need(role, f"ecr:{action}", repository)

    def _of_logs(self, role: str, group: str) -> Iterator[Need]:
        for action in ("logs:CreateLogStream", "logs:PutLogEvents"):
            yield Need(role, action, self.arn("logs", f"log-group:{group}:log-stream:a-stream"))


def _states(definition: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """Every state of a machine, also those within others."""
    for state in definition["States"].values():
        yield state
        for inner in (*state.get("Branches", ()), *filter(None, [state.get("ItemProcessor")])):
            yield from _states(inner)
