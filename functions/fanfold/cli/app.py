"""The commands and their options; what they do stands in the modules beside this one, loaded when they are called."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from fanfold import __version__

_PATH = click.Path(path_type=Path)
_file = click.argument("file", type=_PATH)
_arguments = click.argument("arguments", nargs=-1, metavar="[-- NAME=value … | positional …]")
_home = click.option("--home", type=_PATH, metavar="DIR", help="Where runs leave records and logs; else $FANFOLD_HOME.")


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, message="fanfold %(version)s", help="Print the version and leave.")
def app() -> None:
    """Fan a list of items out over the same workflow, and fold the results back into one document."""


@app.command()
@_file
@_arguments
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object at the end, and nothing else.")
@_home
def start(file: Path, arguments: tuple[str, ...], as_json: bool, home: Path | None) -> None:
    """Run a DAG file on this machine and wait for its end.

    What stands behind -- are the run's parameters. Exit code 0 is success, 1 a failed run, 2 wrong input.
    """
    from fanfold.cli.start import start_file

    sys.exit(start_file(file, arguments, as_json=as_json, home=home))


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
def compile_(file: Path, output: Path | None) -> None:
    """Print the Step Functions definition of a DAG file (Amazon States Language, JSON)."""
    from fanfold.cli.compile import compile_file

    sys.exit(compile_file(file, output))


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
