"""Every file and command of the documentation, as a reader would write and run them."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from itertools import zip_longest
from pathlib import Path
from typing import Any

import pytest
from fanfold.dag.diagnostics import DagFileError
from fanfold.local.secrets_file import read_secrets
from fanfold.local.up import Up, stack_up
from pages import ROOT, Block, Command, Page, assert_holds, assert_printed, commands, pages
from reading import read_file, read_fragment
from warm import warm_fanfold

NOT_RUN = {
    "pytest": "it would run itself",
    "pip install": "the package is installed where the tests run; tests/unit/test_packaging.py looks at what it needs",
    "fanfold up": "it stays until Ctrl-C; the same stack is up while the pages are walked",
    "fanfold ui": "it stays until Ctrl-C; tests/web looks at every view of it",
    "sam build": "it needs the SAM CLI; tests/infra holds the template against it",
    "sam deploy": "it needs an account",
    "sam delete": "it needs an account",
}
"""Commands that no test here runs, by how they begin, and why."""

LANGUAGES = {"yaml", "sh", "text", "json", "python"}
"""Of blocks without a file's name. One without a language is a drawing; tests/web/test_lambda.py calls the Python."""

PAGES = {page.name: page for page in pages()}
UNTITLED = [block for page in PAGES.values() for block in page.blocks if block.language == "yaml" and not block.title]


def files_of(page: str) -> dict[str, str]:
    """The DAG files of a page by name."""
    return {block.title: block.text for block in PAGES[page].blocks if block.is_file}


@pytest.fixture(scope="module")
def up(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Up]:
    """The stack ``fanfold`` that the pages speak of."""
    with stack_up("fanfold", 0, tmp_path_factory.mktemp("stack")) as up:
        yield up


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The command ``fanfold``."""
    with warm_fanfold(tmp_path_factory.mktemp("bin")) as program:
        yield program


@pytest.fixture
def shell_environment(program: Path, up: Up) -> Iterator[dict[str, str]]:
    """What commands find: the program, and the stack, on which nothing is deployed."""
    kept = {key: value for key, value in os.environ.items() if not key.startswith(("AWS_", "FANFOLD_"))}
    yield kept | {
        "PATH": f"{program.parent}:{Path(sys.executable).parent}:{kept['PATH']}",
        "COLUMNS": "160",
        "AWS_ENDPOINT_URL": up.url,
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_ACCESS_KEY_ID": "local",
        "AWS_SECRET_ACCESS_KEY": "local",
    }
    s3, bucket = up.stack.clients.s3, up.stack.dag_bucket
    for listed in s3.list_objects_v2(Bucket=bucket).get("Contents", []):
        s3.delete_object(Bucket=bucket, Key=listed["Key"])


class Reader:
    """Goes through a page from top to bottom, in a folder of its own, and does what stands there."""

    def __init__(self, page: Page, folder: Path, environment: dict[str, str]) -> None:
        self.page = page
        self.folder = folder
        self.home = folder.parent / "home"
        self.environment = environment | {"FANFOLD_HOME": str(self.home), "HOME": str(folder.parent)}
        self.printed = ""
        """By the last block of commands."""

    def read(self) -> None:
        for block, following in zip_longest(self.page.blocks, self.page.blocks[1:]):
            if block.is_file:
                self.write(block)
            elif block.language == "sh":
                self.run(
                    block, shows_json=following is not None and following.language == "json" and not following.title
                )
            elif block.language == "text":
                assert_printed(block.text, self.printed, block.where)
            elif block.language == "json":
                found = self.document(block.title) if block.title else json.loads(self.printed)
                assert_holds(json.loads(block.text), found, block.where)

    def write(self, block: Block) -> None:
        path = self.folder / block.title
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(block.text)
        if block.text.startswith("#!"):
            path.chmod(0o755)
        if path.name == "secrets.yaml":
            read_secrets(path)
        elif path.suffix == ".yaml" and path.name.startswith("wrong"):
            with pytest.raises(DagFileError):
                read_file(block.title, files_of(self.page.name) | {block.title: block.text})
        elif path.suffix == ".yaml":
            read_file(block.title, files_of(self.page.name) | {block.title: block.text})

    def run(self, block: Block, *, shows_json: bool) -> None:
        """Run the commands of a block in one shell, which ends at the first that does what it should not."""
        script = ['expect() { [ $1 = $2 ] || { echo "exit code $1: $3" >&2; exit 99; }; }']
        for number, command in enumerate(commands(block.text)):
            text = " && ".join(part for part in parts(command) if not start_of_what_is_not_run(part))
            if text:
                script += [text, f"expect $? {command.code} 'command {number + 1}'"]
        done = subprocess.run(
            ["bash", "-c", "\n".join(script)],
            cwd=self.folder, env=self.environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
            stderr=subprocess.PIPE if shows_json else subprocess.STDOUT, text=True, check=False, timeout=60,
        )  # fmt: skip
        self.printed = done.stdout
        assert done.returncode == 0, f"{block.where}\n{block.text}\n{done.stdout}\n{done.stderr}"

    def document(self, step: str) -> Any:
        """The document of a step in the latest run."""
        records = sorted(self.home.glob("runs/*/result.json"), key=lambda path: path.stat().st_mtime)
        return json.loads(records[-1].read_text())["steps"][step]["document"]


def parts(command: Command) -> list[str]:
    return command.text.split(" && ")


def start_of_what_is_not_run(part: str) -> str:
    """The entry of NOT_RUN that it begins with, if it does."""
    return next((start for start in NOT_RUN if part.startswith(start)), "")


def has_aws_cli() -> bool:
    aws = shutil.which("aws")
    return aws is not None and subprocess.run([aws, "--version"], capture_output=True, check=False).returncode == 0


@pytest.mark.parametrize("name", [name for name, page in PAGES.items() if page.blocks])
def test_what_stands_on_a_page_can_be_done(name: str, tmp_path: Path, shell_environment: dict[str, str]) -> None:
    page = PAGES[name]
    run = [command.text for block in page.blocks if block.language == "sh" for command in commands(block.text)]
    if any(text.split()[0] == "aws" for text in run) and not has_aws_cli():
        pytest.skip("the AWS CLI is not installed")
    folder = tmp_path / "page"
    folder.mkdir()
    if name == "README.md":
        shutil.copytree(ROOT / "examples", folder / "examples")
    Reader(page, folder, shell_environment).read()


@pytest.mark.parametrize("block", [pytest.param(block, id=block.where) for block in UNTITLED])
def test_a_part_of_a_dag_file_is_valid(block: Block) -> None:
    read_fragment(block.text, files_of(block.page))


def test_nothing_stands_in_a_block_that_no_test_looks_at() -> None:
    blocks = [block for page in PAGES.values() for block in page.blocks if not block.is_file]
    assert {block.where for block in blocks if block.language not in LANGUAGES} == {
        block.where for block in PAGES["docs/architecture.md"].blocks if not block.language
    }


def test_only_what_cannot_be_run_is_not_run() -> None:
    blocks = [block for page in PAGES.values() for block in page.blocks if block.language == "sh" and not block.title]
    left = {
        start_of_what_is_not_run(part)
        for block in blocks
        for command in commands(block.text)
        for part in parts(command)
    }
    assert left - {""} == NOT_RUN.keys()
