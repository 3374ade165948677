"""An execution is named by its run and attempt, and tells both again."""

from __future__ import annotations

import uuid

import pytest
from fanfold.deploy.executions import execution_name, is_run_name, run_of_execution
from hypothesis import given
from hypothesis import strategies as st

BY_A_RULE = f"{uuid.uuid4()}_{uuid.uuid4()}"
RUNS = st.from_regex(r"[A-Za-z0-9_-]{1,64}", fullmatch=True).filter(is_run_name) | st.just(BY_A_RULE)


@given(RUNS, st.integers(1, 9_999))
def test_a_name_tells_the_run_and_the_attempt(run: str, attempt: int) -> None:
    name = execution_name(run, attempt)
    assert len(name) <= 80
    assert run_of_execution(name) == (run, attempt)


def test_a_run_is_not_named_as_the_retry_of_another() -> None:
    assert not is_run_name("etl_r2")
    assert is_run_name("etl_r")
    assert is_run_name("etl_r2x")


def test_a_name_that_step_functions_would_refuse_is_not_made() -> None:
    assert execution_name("a" * 80, 1) == "a" * 80
    with pytest.raises(ValueError, match="has 83 characters"):
        execution_name("a" * 80, 2)
