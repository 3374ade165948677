"""The commands and their options; what they do stands in the modules beside this one."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from fanfold import __version__

app = typer.Typer(
    help="Fan a list of items out over the same workflow, and fold the results back into one document.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
)

DagFile = Annotated[Path, typer.Argument(metavar="FILE", help="A DAG file (YAML).", show_default=False)]


class Form(StrEnum):
    """The forms of what ``validate`` found."""

    TEXT = "text"
    JSON = "json"
    SARIF = "sarif"
    GITHUB = "github"


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"fanfold {__version__}")
        raise typer.Exit


@app.callback()
def _main(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and leave.")
    ] = False,
) -> None:
    pass


@app.command()
def start(
    file: DagFile,
    arguments: Annotated[
        list[str] | None,
        typer.Argument(metavar="[-- NAME=value … | positional …]", help="Parameters of the run.", show_default=False),
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print one JSON object at the end, and nothing else.")
    ] = False,
    home: Annotated[
        Path | None,
        typer.Option(help="Where runs leave records and logs; else $FANFOLD_HOME.", show_default=False),
    ] = None,
) -> None:
    """Run a DAG file on this machine and wait for its end: exit code 0 success, 1 the run failed, 2 wrong input."""
    from fanfold.cli.start import start_file

    raise typer.Exit(start_file(file, arguments or [], as_json=as_json, home=home))


@app.command()
def validate(
    files: Annotated[list[Path], typer.Argument(metavar="FILE…", help="DAG files (YAML).", show_default=False)],
    form: Annotated[Form, typer.Option("--format", help="How to print what was found.")] = Form.TEXT,
) -> None:
    """Check DAG files and show every problem with its place and what would be right; warnings do not count."""
    from fanfold.cli.validate import validate_files

    raise typer.Exit(validate_files(files, form.value))


@app.command("compile")
def compile_(
    file: DagFile,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", metavar="DIR", help="Write a file for each state machine.", show_default=False),
    ] = None,
) -> None:
    """Print the Step Functions definition that a DAG file compiles to (Amazon States Language, JSON)."""
    from fanfold.cli.compile import compile_file

    raise typer.Exit(compile_file(file, output))


@app.command()
def graph(
    file: DagFile,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output", "-o", metavar="PATH", help="Write to PATH; a picture if it ends in .svg.", show_default=False
        ),
    ] = None,
    run: Annotated[
        str | None, typer.Option(metavar="ID", help="Colour the steps by the outcome of this run.", show_default=False)
    ] = None,
    home: Annotated[
        Path | None, typer.Option(help="Where runs leave records and logs; else $FANFOLD_HOME.", show_default=False)
    ] = None,
) -> None:
    """Draw a DAG: its steps, tasks and fan-outs, as Mermaid text or as SVG."""
    from fanfold.cli.graph import draw_file

    raise typer.Exit(draw_file(file, output, run, home))


@app.command()
def dry(
    file: DagFile,
    arguments: Annotated[
        list[str] | None,
        typer.Argument(metavar="[-- NAME=value … | positional …]", help="Parameters of the run.", show_default=False),
    ] = None,
) -> None:
    """Say what would run, with every reference filled in that is known before a run; nothing is run."""
    from fanfold.cli.dry import dry_file

    raise typer.Exit(dry_file(file, arguments or []))
