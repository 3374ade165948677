"""What is installed where."""

from __future__ import annotations

import ast
import re
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "functions" / "fanfold"

ALLOWED = {
    "dag": {"dag"},
    "asl": {"asl", "dag"},
    "run": {"run", "dag"},
    "deploy": {"deploy", "run", "asl", "dag"},
    "handlers": {"handlers", "deploy", "run", "asl", "dag"},
    "history": {"history", "deploy", "run", "dag"},
    "local": {"local", "history", "handlers", "deploy", "run", "asl", "dag"},
    "drawing": {"drawing", "asl", "dag"},
    "web": {"web", "local", "history", "drawing", "deploy", "run", "asl", "dag"},
    "cli": {"cli", "web", "local", "history", "handlers", "drawing", "deploy", "run", "asl", "dag"},
}


def test_a_lambda_function_gets_what_the_package_needs() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert (ROOT / "functions" / "requirements.txt").read_text().split() == project["dependencies"]


def test_the_layer_of_the_page_has_what_the_page_needs_besides() -> None:
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    needed = [*extras["ui"], *(name for name in extras["dev"] if name.startswith("mangum"))]
    of_a_laptop = ("fanfold[local]", "uvicorn")
    layer = (ROOT / "infra" / "web" / "layer" / "requirements.txt").read_text().split()
    assert layer == sorted(name for name in needed if not name.startswith(of_a_laptop))


def test_every_nested_template_is_in_the_package() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    included = project["tool"]["hatch"]["build"]["targets"]["wheel"]["force-include"]
    nested = set(re.findall(r"TemplateURL: (\S+)", (ROOT / "template.yaml").read_text()))
    assert included == {name: f"fanfold/local/stack/{name}" for name in ("template.yaml", *nested)}


def test_imports_point_one_way() -> None:
    for folder, allowed in ALLOWED.items():
        for path in (PACKAGE / folder).rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text())):
                if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("fanfold."):
                    assert node.module.split(".")[1] in allowed, (path, node.module)


def test_what_is_pure_touches_no_file_no_network_and_no_clock() -> None:
    forbidden = {"os", "pathlib", "boto3", "botocore", "subprocess", "time", "datetime", "random", "socket", "tempfile"}
    for folder in ("dag", "asl"):
        for path in (PACKAGE / folder).rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text())):
                names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
                names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
                assert not {name.split(".")[0] for name in names} & forbidden, path


def test_no_module_is_longer_than_400_lines() -> None:
    assert [path for path in ROOT.rglob("functions/**/*.py") if len(path.read_text().splitlines()) > 400] == []
