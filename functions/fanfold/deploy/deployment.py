"""The deployment of one DAG file: what it wants against what is there, one plan, the fewest calls.

Nothing is changed before everything is known to be right. What is about to be made is noted before it is made, so that
the same event, handled again after a crash at any point, comes to the same end (docs/architecture.md).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection
from contextlib import suppress
from dataclasses import dataclass, replace

from fanfold.asl.compile import Bundles, Compiled, compile_machines, containers, dag_object, digest, machine_names
from fanfold.asl.judged import problems_of_machine
from fanfold.dag.diagnostics import DagFileError, Problem
from fanfold.dag.model import Dag, DagSet
from fanfold.dag.read import Fetch, read_dag_file
from fanfold.deploy import schedules, triggers
from fanfold.deploy.clients import Clients
from fanfold.deploy.images import deregister_images, register_image
from fanfold.deploy.machines import (
    ALIAS,
    Change,
    Deleting,
    DeployedMachine,
    Machines,
    NotOurs,
    PlannedMachine,
    tag_text,
)
from fanfold.deploy.record import Overtaken, Record, Records, is_older
from fanfold.deploy.refusals import Refused, StillDeleting, located
from fanfold.deploy.report import DeployedStart, Report, ReportStatus
from fanfold.deploy.target import Target
from fanfold.run.runtime import dag_object_key
from fanfold.run.store import ObjectStore

LONGEST_VERSION = 9_999_999
"""Stands for the number of a version that is not published yet."""

ROUNDS = 5
"""How often a deployment starts anew when another one of the same file gets in between."""

BundleOf = Callable[[str], str | None]
"""Makes the bundle of a DAG file's folder and gives its digest; None where nothing lies beside it."""


@dataclass(slots=True)
class _Plan:
    dag_set: DagSet
    bundles: Bundles
    machines: list[PlannedMachine]
    schedules: dict[str, tuple[schedules.Wanted, Change]]
    rules: dict[str, tuple[triggers.Wanted, Change]]

    def changes_anything(self, record: Record) -> bool:
        """Whether something must be made, changed or removed."""
        starts = [change for _, change in (*self.schedules.values(), *self.rules.values())]
        return (
            any(not machine.version for machine in self.machines)
            or any(change != "unchanged" for change in starts)
            or set(record.machines) != {machine.name for machine in self.machines}
            or set(record.schedules) != set(self.schedules)
            or set(record.rules) != set(self.rules)
        )


class Deployer:
    """See the module. `store` is the run-data bucket."""

    def __init__(
        self,
        clients: Clients,
        target: Target,
        store: ObjectStore,
        environment: Collection[str] = (),
    ) -> None:
        self._clients = clients
        self._target = target
        self._store = store
        self._records = Records(store)
        self._environment = environment

    def dependents(self, file: str) -> list[str]:
        """The files that a change of `file` concerns too."""
        return self._records.dependents(file)

    def files(self) -> list[str]:
        """Every file that is deployed, or was refused."""
        return sorted(record.file for record in self._records.of_files())

    def calls_what_is_there(self, file: str) -> bool:
        """Whether all that runs of `file` call is there, also after a rollback; true where it has no machine."""
        record = self._records.read(file)
        machines = Machines(self._clients.states, self._target, file)
        started = [machines.live_version(name) for name in record.machines]
        return all(machines.calls_what_is_there(arn) for arn in {*record.machines.values(), *started} if arn)

    def remove_all(self) -> None:
        """Remove everything of every file, as for a stack that is deleted."""
        with suppress(self._clients.s3.exceptions.NoSuchBucket):  # whoever deleted it must not keep the stack
            for file in self.files():
                self._remove(self._records.read(file))
        if self._target.ecs is not None:
            deregister_images(self._clients.ecs, self._target)

    def reconcile(
        self,
        file: str,
        open_folder: Callable[[], Fetch],
        bundle: BundleOf | None = None,
        sequencer: str | None = None,
        *,
        move_alias: bool = False,
    ) -> Report:
        """Bring everything of `file` to what it says now, or remove it when it is gone.

        `open_folder` gives the files of the DAG folder as they are at that moment. `sequencer` is that of the event
        which tells of the file; None when another file's event does. `move_alias` ends a rollback in any case.
        """
        overtaken = False
        for _ in range(ROUNDS):
            record = self._records.read(file)
            old = sequencer is not None and is_older(sequencer, record.sequencer)
            if old and not overtaken:
                return Report(file, "outdated")
            try:
                again = overtaken or move_alias
                return self._reconcile(record, open_folder(), bundle, None if old else sequencer, again=again)
            except Overtaken:
                overtaken = True  # both have made changes: once more, with what the file says now
        raise Overtaken(f"{file}: other deployments of the same file got in between {ROUNDS} times")

    def _reconcile(
        self, record: Record, fetch: Fetch, bundle: BundleOf | None, sequencer: str | None, *, again: bool
    ) -> Report:
        repeated = sequencer is None or (record.status == "deployed" and record.sequencer == sequencer)
        record.sequencer = sequencer or record.sequencer
        looked: list[str] = []

        def look(path: str) -> bytes | None:
            looked.append(path)
            return fetch(path)

        if fetch(record.file) is None:
            return self._remove(record)
        try:
            dag_set = read_dag_file(record.file, look, self._environment)
            plan = self._plan(dag_set, record, self._bundles(dag_set, bundle), looked)
        except DagFileError as fault:
            return self._stay(record, looked, fault)
        self._note_looks(record, looked)
        try:
            return self._apply(plan, record, looked, move_alias=again or not repeated)
        except DagFileError as fault:
            return self._stay(record, looked, fault)

    def _note_looks(self, record: Record, looked: list[str]) -> None:
        self._records.note_looks(record, sorted(set(looked) - {record.file}))

    def _stay(self, record: Record, looked: list[str], fault: DagFileError) -> Report:
        """Keep what is deployed, and say why nothing new is."""
        self._note_looks(record, looked)
        if record.status != "applying":
            record.status = "refused"
        self._records.write(record)
        status: ReportStatus = "refused"
        if isinstance(fault, StillDeleting):
            status = "waiting"
        elif isinstance(fault, Refused):
            status = "failed"
        return Report(record.file, status, problems=list(fault.problems))

    @staticmethod
    def _bundles(dag_set: DagSet, bundle: BundleOf | None) -> Bundles:
        if bundle is None:
            return {}
        files = {dag.place.file for dag in dag_set.dags.values()}
        return {file: made for file in sorted(files) if (made := bundle(file)) is not None}

    def _plan(self, dag_set: DagSet, record: Record, bundles: Bundles, looked: list[str]) -> _Plan:
        """What is to be done; changes nothing. Raises DagFileError with all that stands against it."""
        problems = [*self._container_problems(dag_set), *self._name_problems(dag_set, record, looked)]
        planned = self._planned_machines(dag_set, record, bundles, problems)
        if problems:
            raise DagFileError(problems)
        wanted_schedules, wanted_rules = self._wanted_starts(dag_set)
        plan = _Plan(dag_set, bundles, planned, {}, {})
        for name, schedule in wanted_schedules.items():
            with located(schedule.place, "to show the schedule"):
                plan.schedules[name] = schedule, schedules.change_of_schedule(self._clients.scheduler, schedule)
        for name, rule in wanted_rules.items():
            with located(rule.place, "to show the trigger's rule"):
                plan.rules[name] = rule, triggers.change_of_rule(self._clients.events, rule)
        return plan

    def _planned_machines(
        self, dag_set: DagSet, record: Record, bundles: Bundles, problems: list[Problem]
    ) -> list[PlannedMachine]:
        compiled = compile_machines(dag_set, self._target.platform, bundles)
        names = machine_names(dag_set)
        machines = Machines(self._clients.states, self._target, record.file)
        planned: list[PlannedMachine] = []
        versions: dict[str, str] = {}
        for key, made in compiled.items():
            place = dag_set.dags[key].place
            children = tuple(names[child] for child in dag_set.children[key].values() if child in names)
            machine = PlannedMachine(key, names[key], made.definition, children)
            problems += self._unfit(dag_set.dags[key], made, children)
            try:
                with located(place, f"to show the state machine {self._target.prefix}{machine.name}"):
                    machines.plan(machine, record.machines.get(machine.name, ""), versions)
            except NotOurs as fault:
                problems.append(Problem(place, str(fault), "rename the file, or remove the other one"))
            except Deleting as fault:
                raise StillDeleting(place, f"the state machine {fault}") from None
            versions[machine.name] = machine.version
            planned.append(machine)
        return planned

    def _unfit(self, dag: Dag, made: Compiled, children: Collection[str]) -> list[Problem]:
        """What AWS would not take of a machine, as it will be sent."""
        versions = {name: f"{self._target.arn(name)}:{LONGEST_VERSION}" for name in children}
        definition = json.loads(self._target.fill(made.definition, versions))
        return list(problems_of_machine(dag, made, definition, [*versions.values()], self._target.partition))

    def _container_problems(self, dag_set: DagSet) -> list[Problem]:
        if self._target.ecs is not None:
            return []
        hint = "deploy the stack with its parameter EcsSubnets, or remove 'compute: ecs'"
        wishes = [
            wish for dag in dag_set.dags.values() for wish in (dag.compute, *(step.compute for step in dag.steps))
        ]
        return [
            Problem(wish.place, "'compute: ecs', but this stack has no containers", hint)
            for wish in wishes
            if wish is not None and wish.kind == "ecs"
        ]

    def _name_problems(self, dag_set: DagSet, record: Record, looked: list[str]) -> list[Problem]:
        """That another file owns the DAG's name; what becomes of that file then concerns this one too."""
        name = dag_set.root.name
        owner = self._records.owner(name)
        if owner is None or owner == record.file:
            return []
        looked.append(owner)
        hint = "give one of the two another 'name:'"
        return [Problem(dag_set.root.place, f"the file {owner} already has a DAG with the name {name!r}", hint)]

    def _wanted_starts(self, dag_set: DagSet) -> tuple[dict[str, schedules.Wanted], dict[str, triggers.Wanted]]:
        starts = self._target.starts
        if starts is None:
            return {}, {}
        machine = machine_names(dag_set)[""]
        alias = f"{self._target.arn(machine)}:{ALIAS}"
        wanted = schedules.wanted_schedules(machine, alias, dag_set.root.schedule, starts)
        long = [
            Problem(want.place, f"{want.request['Description']} is too long", "write two shorter ones")
            for want in wanted.values()
            if len(want.expression) > schedules.MAX_EXPRESSION
        ]
        if long:
            raise DagFileError(long)
        return wanted, triggers.wanted_rules(machine, alias, dag_set.root.triggers, self._target)

    def _apply(self, plan: _Plan, record: Record, looked: list[str], *, move_alias: bool) -> Report:
        name = plan.dag_set.root.name
        if record.dag != name or record.status in ("new", "removed"):
            self._claim(plan.dag_set, record, looked)
        old = replace(record, machines=dict(record.machines), schedules=[*record.schedules], rules=[*record.rules])
        machines = Machines(self._clients.states, self._target, record.file)
        changes = plan.changes_anything(record)
        if changes or record.status != "deployed":
            record.status, record.dag = "applying", name
            record.machines = {machine.name: "" for machine in plan.machines} | record.machines
            record.schedules = sorted({*record.schedules, *plan.schedules})
            record.rules = sorted({*record.rules, *plan.rules})
            self._records.write(record)
        if changes:
            self._store_dags(plan)
        self._register_images(plan)
        deployed: list[DeployedMachine] = []
        versions: dict[str, str] = {}
        for machine in plan.machines:
            place = plan.dag_set.dags[machine.key].place
            with located(place, f"the state machine {self._target.prefix}{machine.name}"):
                deployed.append(machines.apply(machine, versions))
            versions[machine.name] = deployed[-1].version
        root = next(machine for machine in deployed if machine.key == "")
        with located(plan.dag_set.root.place, f"the alias {ALIAS} of the state machine {root.name}"):
            machines.point_alias(root.arn, root.version, move=move_alias or root.change != "unchanged")
        report = Report(record.file, "deployed", name, deployed)
        self._apply_starts(plan, report)
        self._remove_rest(plan, old, machines)
        record.status, record.dag = "deployed", name
        record.machines = versions
        record.schedules, record.rules = sorted(plan.schedules), sorted(plan.rules)
        self._records.write(record)
        return report

    def _store_dags(self, plan: _Plan) -> None:
        """The DAGs as immutable objects, which runs read."""
        for key in plan.dag_set.dags:
            text = dag_object(plan.dag_set, key, plan.bundles)
            self._store.put(dag_object_key(digest(text)), text)

    def _register_images(self, plan: _Plan) -> None:
        """The task definitions of images of their own, which change with the runner's too."""
        wishes = containers(plan.dag_set, self._target.platform)
        for image, place in {wish.image: wish.place for wish in wishes if wish.image}.items():
            with located(place, f"the task definition of the image {image}"):
                register_image(self._clients.ecs, self._target, image)

    def _claim(self, dag_set: DagSet, record: Record, looked: list[str]) -> None:
        try:
            self._records.claim(dag_set.root.name, record.file)
        except Overtaken:
            problems = self._name_problems(dag_set, record, looked)
            if problems:
                raise DagFileError(problems) from None
            raise

    def _apply_starts(self, plan: _Plan, report: Report) -> None:
        for name, (wanted, change) in plan.schedules.items():
            with located(wanted.place, f"the schedule {wanted.expression}"):
                schedules.apply_schedule(self._clients.scheduler, wanted, change)
            report.schedules.append(DeployedStart(name, wanted.expression, change))
        for name, (rule, change) in plan.rules.items():
            tags = {"fanfold:stack": self._target.stack, "fanfold:file": tag_text(report.file)}
            with located(rule.place, f"the trigger's rule {name}"):
                triggers.apply_rule(self._clients.events, rule, change, tags)
            report.triggers.append(DeployedStart(name, rule.rule["EventPattern"], change))

    def _remove_rest(self, plan: _Plan, old: Record, machines: Machines) -> None:
        """Remove what the file no longer wants: what starts runs first, then machines."""
        self._remove_starts(set(old.schedules) - plan.schedules.keys(), set(old.rules) - plan.rules.keys())
        for name in sorted(old.machines.keys() - {machine.name for machine in plan.machines}):
            machines.remove(name)

    def _remove_starts(self, gone_schedules: Collection[str], gone_rules: Collection[str]) -> None:
        starts = self._target.starts
        for name in sorted(gone_schedules):
            assert starts is not None
            schedules.remove_schedule(self._clients.scheduler, starts.schedule_group, name)
        for name in sorted(gone_rules):
            triggers.remove_rule(self._clients.events, name)

    def _remove(self, record: Record) -> Report:
        """Remove everything of a file that is gone; its record stays, so that no older event brings it back."""
        if record.status in ("new", "removed"):
            if record.sequencer:
                record.status = "removed"
                self._records.write(record)
            return Report(record.file, "absent")
        machines = Machines(self._clients.states, self._target, record.file)
        report = Report(record.file, "removed", record.dag)
        self._remove_starts(record.schedules, record.rules)
        report.schedules = [DeployedStart(name, "", "removed") for name in record.schedules]
        report.triggers = [DeployedStart(name, "", "removed") for name in record.rules]
        for name, version in sorted(record.machines.items()):
            machines.remove(name)
            arn = self._target.arn(name)
            report.machines.append(DeployedMachine("", self._target.prefix + name, arn, version, "removed"))
        self._note_looks(record, [])
        record.status, record.dag = "removed", ""
        record.machines, record.schedules, record.rules = {}, [], []
        self._records.write(record)
        return report
