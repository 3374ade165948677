"""Child DAGs: local, in files of their own, nested; and what ``run`` without ``parallel`` gives."""

from __future__ import annotations

import json

import pytest
from fanfold.dag.diagnostics import DagFileError
from support import DagRunner


def test_three_levels_of_fan_outs(run_dag: DagRunner) -> None:
    record = run_dag(
        """
        steps:
          - name: regions
            run: region
            parallel: [eu, us]
            output: R
          - name: read
            command: echo "${R.outputs[1].ZONES.outputs[0].HOSTS.outputs[1].HOST} ${R.outputs[0].ZONES.summary.total}"
            output: READ
        ---
        name: region
        steps:
          - name: zones
            run: zone
            parallel: [a, b]
            params: "${ITEM}"
            output: ZONES
        ---
        name: zone
        steps:
          - name: list
            command: printf '%s\\n' "$1-1" "$1-2"
            output: L
          - name: hosts
            run: host
            parallel: ${L}
            output: HOSTS
        ---
        name: host
        steps:
          - name: say
            command: echo "host $1"
            output: HOST
        """
    )
    assert record["status"] == "success"
    assert record["steps"]["read"]["output"] == {"READ": "host a-2 2"}
    zones = json.loads(record["steps"]["regions"]["document"]["outputs"][0]["ZONES"])
    assert [row["parameters"] for row in zones["results"]] == ["a", "b"]


def test_children_in_files_beside_and_below(run_dag: DagRunner) -> None:
    record = run_dag(
        """
        steps:
          - {name: below, run: deploy/stack, parallel: [x], output: B}
          - {name: beside, run: other.yml, params: "V=1", output: O}
          - {name: show, command: 'echo "${B.outputs[0].S} ${O.outputs.T} ${O.status} ${O.name}"', output: SHOWN}
        """,
        files={
            "deploy/stack.yaml": """
                steps:
                  - {name: helper, run: helper, output: H}
                  - {name: local, run: inner, params: '${H.outputs.P}', output: I}
                  - {name: s, command: 'echo "${I.outputs.IN} in ${PWD##*/}"', output: S}
                ---
                name: inner
                steps:
                  - {name: i, command: 'echo "inner $1"', output: IN}
                """,
            "deploy/helper.yaml": "steps:\n  - {name: h, command: echo helped, output: P}\n",
            "other.yml": "params: V=0\nsteps:\n  - {name: t, command: 'echo \"v${V}\"', output: T}\n",
        },
    )
    assert record["steps"]["show"]["output"] == {"SHOWN": "inner helped in deploy v1 success other.yml"}


def test_a_local_dag_goes_before_a_file(run_dag: DagRunner) -> None:
    record = run_dag(
        """
        steps:
          - {name: one, run: child, output: R}
        ---
        name: child
        steps:
          - {name: s, command: echo local, output: S}
        """,
        files={"child.yaml": "steps:\n  - {name: s, command: echo file, output: S}\n"},
    )
    assert record["steps"]["one"]["document"]["outputs"] == {"S": "local"}


def test_a_failed_child_deep_down_is_named_at_every_level(run_dag: DagRunner) -> None:
    record = run_dag(
        """
        steps:
          - {name: outer, run: middle, parallel: [good, bad]}
        ---
        name: middle
        steps:
          - {name: inner, run: leaf, parallel: [1, 2], params: 'W="$1" N=${ITEM}'}
        ---
        name: leaf
        params: [W: "", N: ""]
        steps:
          - {name: work, command: 'test "$W$N" != bad2'}
        """
    )
    rows = record["steps"]["outer"]["document"]["results"]
    assert [row["status"] for row in rows] == ["success", "failed"]
    assert rows[1]["error"] == (
        'step inner: 1 of 2 items failed; item 1 ({"W": "bad", "N": "2"}): step work: exit code 1'
    )


def test_a_child_does_not_see_its_parents_variables(run_dag: DagRunner) -> None:
    record = run_dag(
        """
        env: {SECRET: parent}
        steps:
          - {name: out, command: echo parent, output: OUT}
          - {name: fan, run: child, parallel: [a], output: R}
        ---
        name: child
        steps:
          - {name: s, command: 'echo "[$SECRET$OUT]"', output: S}
        """
    )
    assert record["steps"]["fan"]["document"]["outputs"] == [{"S": "[]"}]


def test_a_child_that_runs_its_ancestor_is_refused(run_dag: DagRunner) -> None:
    with pytest.raises(DagFileError) as refused:
        run_dag(
            """
            name: top
            steps:
              - {name: down, run: middle}
            ---
            name: middle
            steps:
              - {name: up, run: main}
            """
        )
    (problem,) = refused.value.problems
    assert "runs its own ancestor: top → middle → top" in problem.message
    assert (problem.place.line, problem.place.column) == (8, 21)


def test_a_step_in_the_middle_of_shell_steps_calls_a_child(run_dag: DagRunner) -> None:
    record = run_dag(
        """
        params: "A=1"
        env: [{B: "b-${A}"}]
        steps:
          - {name: one, command: 'echo "$B"', output: ONE}
          - {name: call, run: child, params: ['V=${ONE}'], output: CALL}
          - {name: two, command: 'echo "${CALL.outputs.S} ${CALL.params}"', output: TWO}
        ---
        name: child
        steps:
          - {name: s, command: 'echo "<$V>"', output: S}
        """,
        "A=2",
    )
    assert record["steps"]["two"]["output"] == {"TWO": "<b-2> V=b-2"}
    assert set(record["steps"]["call"]["document"]) == {"name", "dagRunId", "params", "outputs", "status"}
