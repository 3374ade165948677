"""The texts in other languages that the template holds, as CloudFormation makes them: JSON, patterns, metrics.

CloudFormation takes such a text as it is, and the service that gets it refuses it, or never finds what it names.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import boto3
import pytest
from moto import mock_aws
from stacks import CORNERS, stack

ALL_CORNERS = pytest.mark.parametrize("corner", CORNERS)


def texts(node: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], str]]:
    """Every text in a resolved template, with where it stands."""
    if isinstance(node, str):
        yield path, node
    elif isinstance(node, dict):
        for key, value in node.items():
            yield from texts(value, (*path, key))
    elif isinstance(node, list):
        for number, value in enumerate(node):
            yield from texts(value, (*path, str(number)))


@ALL_CORNERS
def test_every_text_that_is_json_can_be_read(corner: str) -> None:
    found = 0
    for part in stack(corner).all():
        for path, text in texts(part.resources):
            if text.lstrip().startswith(("{", "[")):
                found += 1
                try:
                    json.loads(text)
                except ValueError as fault:
                    raise AssertionError(f"{part.file.name}: {'.'.join(path)}: {fault}") from None
    assert found == 1 + ("WebUi" in CORNERS[corner])  # the dashboard's body, and the form of the access log


@ALL_CORNERS
def test_cloudwatch_takes_the_dashboard(corner: str) -> None:
    with mock_aws():
        client = boto3.client("cloudwatch", region_name="us-east-1")
        for properties in stack(corner).of_type("AWS::CloudWatch::Dashboard").values():
            answer = client.put_dashboard(
                DashboardName=properties["DashboardName"], DashboardBody=properties["DashboardBody"]
            )
            assert answer.get("DashboardValidationMessages", []) == []
        assert len(client.list_dashboards()["DashboardEntries"]) == 1
