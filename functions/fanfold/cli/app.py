"""The commands and their options; what they do stands in the modules beside this one, loaded when they are called."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import click

from fanfold import __version__

_PATH = click.Path(path_type=Path)
_file = click.argument("file", type=_PATH)
_arguments = click.argument("arguments", nargs=-1, metavar="[-- NAME=value … | positional …]")
_home = click.option("--home", type=_PATH, metavar="DIR", help="Where runs leave records and logs; else $FANFOLD_HOME.")
_stack = click.option("--stack", required=True, metavar="NAME", help="The stack's name in CloudFormation.")
_endpoint = click.option("--endpoint-url", metavar="URL", help="Where AWS is, such as what `fanfold up` prints.")


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, message="fanfold %(version)s", help="Print the version and leave.")
def app() -> None:
    """Fan a list of items out over the same workflow, and fold the results back into one document."""


@app.command()
@click.argument("file", type=_PATH, metavar="FILE|NAME")
@_arguments
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object at the end, and nothing else.")
@_home
@click.option(
    "--bucket", "buckets", multiple=True, metavar="NAME=FOLDER", help="Let s3://NAME/ be this folder's files."
)
@click.option("--stack", metavar="NAME", help="Start the deployed DAG called NAME on this stack, rather than a file.")
@_endpoint
@click.option("--wait/--no-wait", default=True, show_default=True, help="With --stack: wait for the end of the run.")
def start(
    file: Path,
    arguments: tuple[str, ...],
    as_json: bool,
    home: Path | None,
    buckets: tuple[str, ...],
    stack: str | None,
    endpoint_url: str | None,
    wait: bool,
) -> None:
    """Run a DAG file on this machine, or a deployed DAG on a stack, and wait for its end.

    What stands behind -- are the run's parameters. Exit code 0 is success, 1 a failed run, 2 wrong input.
    """
    if stack is not None:
        from fanfold.cli.start_remote import start_remote

        sys.exit(start_remote(str(file), arguments, stack, endpoint_url, as_json=as_json, wait=wait))
    from fanfold.cli.start import start_file

    sys.exit(start_file(file, arguments, as_json=as_json, home=home, buckets=_folders(buckets)))


def _folders(buckets: tuple[str, ...]) -> dict[str, Path]:
    """``--bucket NAME=FOLDER`` …, by name."""
    folders: dict[str, Path] = {}
    for text in buckets:
        name, _, folder = text.partition("=")
        if not re.fullmatch(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]", name) or not Path(folder).is_dir() or not folder:
            raise click.BadParameter(f"{text!r} is not NAME=FOLDER, with a folder that is there", param_hint="--bucket")
        folders[name] = Path(folder)
    return folders


@app.command()
@click.argument("files", type=_PATH, nargs=-1, required=True, metavar="FILE|FOLDER…")
@_stack
@_endpoint
def push(files: tuple[Path, ...], stack: str, endpoint_url: str | None) -> None:
    """Deploy DAG files to a stack: upload, wait for the report, show it.

    The files of the child DAGs that a file runs go with it. A folder goes whole: what lies beside a DAG file is there
    when its steps run. Exit code 2 if a file was refused; what was deployed before is then unchanged.
    """
    from fanfold.cli.push import push_files

    sys.exit(push_files(files, stack, endpoint_url))


@app.command()
@click.argument("dag", metavar="NAME")
@click.option("--to", type=int, metavar="VERSION", help="Go to this version, rather than to the one before.")
@_stack
@_endpoint
def rollback(dag: str, to: int | None, stack: str, endpoint_url: str | None) -> None:
    """Let a deployed DAG be again what it was before its last deployment."""
    from fanfold.cli.rollback import roll_back

    sys.exit(roll_back(dag, to, stack, endpoint_url))


@app.command()
@click.option("--stack", default="fanfold", show_default=True, metavar="NAME", help="What the stack is called.")
@click.option("--port", default=5000, show_default=True, help="Where to listen, on this machine only; 0 for any.")
@_home
def up(stack: str, port: int, home: Path | None) -> None:
    """Run the whole stack on this machine, for the AWS CLI and for commands with --stack.

    Needs the extra 'up': pip install 'fanfold[up]'.
    """
    from fanfold.cli.up import run_stack

    sys.exit(run_stack(stack, port, home))


@app.command()
@click.argument("files", type=_PATH, nargs=-1, required=True, metavar="FILE…")
@click.option(
    "--format",
    "form",
    type=click.Choice(["text", "json", "sarif", "github"]),
    default="text",
    show_default=True,
    help="How to print what was found.",
)
def validate(files: tuple[Path, ...], form: str) -> None:
    """Check DAG files and show every problem with its place and what would be right.

    Exit code 2 if there is an error; warnings do not count.
    """
    from fanfold.cli.validate import validate_files

    sys.exit(validate_files(files, form))


@app.command("compile")
@_file
@click.option("--output", "-o", type=_PATH, metavar="DIR", help="Write a file for each state machine.")
@click.option("--explain", is_flag=True, help="Say in words how each fan-out is run and why, instead.")
def compile_(file: Path, output: Path | None, explain: bool) -> None:
    """Print the Step Functions definition of a DAG file (Amazon States Language, JSON)."""
    from fanfold.cli.compile import compile_file, explain_file

    sys.exit(explain_file(file) if explain else compile_file(file, output))


@app.command()
@_file
@click.option("--output", "-o", type=_PATH, metavar="PATH", help="Write to PATH; a picture if it ends in .svg.")
@click.option("--run", metavar="ID", help="Colour the steps by the outcome of this run.")
@_home
def graph(file: Path, output: Path | None, run: str | None, home: Path | None) -> None:
    """Draw a DAG: its steps, tasks and fan-outs, as Mermaid text or as SVG."""
    from fanfold.cli.graph import draw_file

    sys.exit(draw_file(file, output, run, home))


@app.command()
@_file
@_arguments
def dry(file: Path, arguments: tuple[str, ...]) -> None:
    """Say what would run, with every reference filled in that is known before a run."""
    from fanfold.cli.dry import dry_file

    sys.exit(dry_file(file, arguments))


@app.command()
@_file
@click.option("--items", default=1000, show_default=True, help="Items at each parallel step.")
@click.option("--seconds", default=1.0, show_default=True, help="What one task lasts.")
@click.option("--memory", default=1024, show_default=True, help="MB of the runner's function.")
@click.option(
    "--architecture",
    type=click.Choice(["arm64", "x86_64"]),
    default="arm64",
    show_default=True,
    help="Of the runner's function.",
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def cost(file: Path, items: int, seconds: float, memory: int, architecture: str, as_json: bool) -> None:
    """Say what a run costs on AWS: its states and calls, counted in an execution that runs no command."""
    from fanfold.cli.cost import print_cost

    sys.exit(print_cost(file, items, seconds, memory, architecture, as_json=as_json))
