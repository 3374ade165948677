"""The commands and their options; what they do stands in the modules beside this one, loaded when they are called."""

from __future__ import annotations

import functools
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from fanfold import __version__

if TYPE_CHECKING:
    from fanfold.cli.store import Place

_PATH = click.Path(path_type=Path)
_file = click.argument("file", type=_PATH)
_arguments = click.argument("arguments", nargs=-1, metavar="[-- NAME=value … | positional …]")
_home = click.option("--home", type=_PATH, metavar="DIR", help="Where runs leave records and logs; else $FANFOLD_HOME.")
_stack = click.option("--stack", required=True, metavar="NAME", help="The stack's name in CloudFormation.")
_secrets = click.option(
    "--secrets",
    type=_PATH,
    envvar="FANFOLD_SECRETS",
    metavar="FILE",
    help="YAML with what ${ssm:…} and ${secret:…} stand for here; else $FANFOLD_SECRETS.",
)
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
@_secrets
@click.option("--run-id", metavar="ID", help="What the run is called: a name that no other has; else a random one.")
@click.option("--stack", metavar="NAME", help="Start the deployed DAG called NAME on this stack, rather than a file.")
@_endpoint
@click.option("--wait/--no-wait", default=True, show_default=True, help="With --stack: wait for the end of the run.")
def start(
    file: Path,
    arguments: tuple[str, ...],
    as_json: bool,
    home: Path | None,
    buckets: tuple[str, ...],
    secrets: Path | None,
    run_id: str | None,
    stack: str | None,
    endpoint_url: str | None,
    wait: bool,
) -> None:
    """Run a DAG file on this machine, or a deployed DAG on a stack, and wait for its end.

    What stands behind -- are the run's parameters. Exit code 0 is success, 1 a failed run, 2 wrong input.
    """
    from fanfold.deploy.executions import is_run_name

    if run_id is not None and not is_run_name(run_id):
        hint = "1 to 64 letters, digits, - and _; not a name that ends in _r and a number, as those of retries do"
        raise click.BadParameter(hint, param_hint="--run-id")
    if stack is not None:
        from fanfold.cli.start_remote import start_remote

        sys.exit(start_remote(str(file), arguments, stack, endpoint_url, run_id, as_json=as_json, wait=wait))
    from fanfold.cli.start import start_file

    folders = _folders(buckets)
    sys.exit(start_file(file, arguments, as_json=as_json, home=home, buckets=folders, secrets=secrets, run_id=run_id))


def _folders(buckets: tuple[str, ...]) -> dict[str, Path]:
    """``--bucket NAME=FOLDER`` …, by name."""
    folders: dict[str, Path] = {}
    for text in buckets:
        name, _, folder = text.partition("=")
        if not re.fullmatch(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]", name) or not Path(folder).is_dir() or not folder:
            raise click.BadParameter(f"{text!r} is not NAME=FOLDER, with a folder that is there", param_hint="--bucket")
        folders[name] = Path(folder)
    return folders


def _place(command: Callable[..., None]) -> Callable[..., None]:
    """The options that say where runs are looked for: here, or on a stack."""

    @functools.wraps(command)
    def with_place(home: Path | None, stack: str | None, endpoint_url: str | None, **given: Any) -> None:
        from fanfold.cli.store import Place

        command(Place(home, stack, endpoint_url), **given)

    option = click.option("--stack", metavar="NAME", help="Look on this stack, rather than on this machine.")
    return _home(option(_endpoint(with_place)))


def _complete_run(context: click.Context, _parameter: click.Parameter, incomplete: str) -> list[str]:
    """The runs and DAGs of this machine that begin so."""
    from fanfold.cli.store import Place
    from fanfold.history.folder import LocalRunStore

    runs = list(LocalRunStore(Place(context.params.get("home"), None, None).folder).runs())
    known = [*dict.fromkeys(run.dag for run in runs), *(run.run for run in runs)]
    return [name for name in known if name.startswith(incomplete)]


_json = click.option("--json", "as_json", is_flag=True, help="Print JSON, and nothing else.")
_run = click.argument("run", required=False, metavar="[RUN|DAG]", shell_complete=_complete_run)
_STATUSES = ("running", "success", "partial", "failed", "cancelled")


@app.command()
@click.argument("dag", required=False, shell_complete=_complete_run)
@click.option("--status", "statuses", multiple=True, type=click.Choice(_STATUSES), help="Only these; may be repeated.")
@click.option("--since", metavar="WHEN", help="Only runs started since: an age (2h, 7d) or a time (2026-11-24T13:00).")
@click.option("--limit", default=20, show_default=True, help="At most so many.")
@_json
@_place
def history(
    place: Place, dag: str | None, statuses: tuple[str, ...], since: str | None, limit: int, as_json: bool
) -> None:
    """List the runs (of a DAG), the latest first."""
    from fanfold.cli.history import show_history, since_when

    try:
        when = None if since is None else since_when(since)
    except ValueError as fault:
        raise click.BadParameter(str(fault), param_hint="--since") from None
    sys.exit(show_history(place, dag, statuses=statuses, since=when, limit=limit, as_json=as_json))


app.add_command(history, "list")


@app.command()
@_run
@click.option("--items", default="10", show_default=True, metavar="N|all", help="Items shown of each parallel step.")
@_json
@_place
def status(place: Place, run: str | None, items: str, as_json: bool) -> None:
    """Show a run, or the latest of a DAG: its steps and their items, those that failed first."""
    from fanfold.cli.status import show_status

    if not items.isdecimal() and items != "all":
        raise click.BadParameter(f"{items!r} is neither a number nor 'all'", param_hint="--items")
    sys.exit(show_status(place, run, items=sys.maxsize if items == "all" else int(items), as_json=as_json))


@app.command()
@_run
@click.argument("step", required=False)
@click.option("--item", metavar="KEY|INDEX", help="Of a step with items: only this one, by its value or its index.")
@click.option("--failed", is_flag=True, help="Only of steps and items that failed.")
@click.option("--follow", "-f", is_flag=True, help="Go on as long as the run does.")
@_json
@_place
def logs(
    place: Place, run: str | None, step: str | None, item: str | None, failed: bool, follow: bool, as_json: bool
) -> None:
    """Print what the steps of a run wrote."""
    from fanfold.cli.logs import show_logs

    sys.exit(show_logs(place, run, step, item=item, failed=failed, follow=follow, as_json=as_json))


@app.command()
@_run
@click.option("--timeout", default=30.0, show_default=True, metavar="SECONDS", help="How long to wait for its end.")
@click.option("--now", is_flag=True, help="Do not wait for handlers and documents: end it as it is.")
@_json
@_place
def stop(place: Place, run: str | None, now: bool, timeout: float, as_json: bool) -> None:
    """Stop a run: what runs is ended, what has not started is cancelled, and the document is still written.

    Exit code 1 if it has not ended in time.
    """
    from fanfold.cli.operate import stop_run

    sys.exit(stop_run(place, run, now=now, seconds=timeout, as_json=as_json))


@app.command()
@_run
@click.option("--wait/--no-wait", default=True, show_default=True, help="With --stack: wait for the end of the run.")
@_secrets
@_json
@_place
def retry(place: Place, run: str | None, wait: bool, secrets: Path | None, as_json: bool) -> None:
    """Run again what did not succeed of a run; the steps and items that did are taken over.

    Exit codes are those of start.
    """
    from fanfold.cli.operate import retry_run

    sys.exit(retry_run(place, run, secrets=secrets, as_json=as_json, wait=wait))


@app.command()
@click.argument("dag", required=False, shell_complete=_complete_run)
@click.option("--days", type=float, help="Remove what ended more than so many days ago; else histRetentionDays counts.")
@_json
@_home
def cleanup(dag: str | None, days: float | None, home: Path | None, as_json: bool) -> None:
    """Remove the old runs (of a DAG) from this machine. On a stack, the bucket's lifecycle rules do that."""
    from fanfold.cli.operate import clean_up
    from fanfold.cli.store import Place

    sys.exit(clean_up(Place(home, None, None), dag, days, as_json=as_json))


@app.command()
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def completion(shell: str) -> None:
    """Print what lets a shell complete commands, options and runs: eval "$(fanfold completion bash)"."""
    from click.shell_completion import get_completion_class

    kind = get_completion_class(shell)
    assert kind is not None
    click.echo(kind(app, {}, "fanfold", "_FANFOLD_COMPLETE").source())


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
@click.argument("folder", type=_PATH, default=Path(), metavar="[FOLDER]")
@click.option("--port", default=8080, show_default=True, help="Where to listen; 0 for any.")
@click.option(
    "--host", default="127.0.0.1", show_default=True, help="Where to listen: by default on this machine only."
)
@_place
def ui(place: Place, folder: Path, host: str, port: int) -> None:
    """Serve the page for the DAG files below FOLDER and the runs of this machine, or for a stack.

    Needs the extra 'ui': pip install 'fanfold[ui]'. The address that it prints holds a key.
    """
    from fanfold.cli.ui import serve_page

    sys.exit(serve_page(place, folder, host, port))


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
    help="Of the runner's function, and of containers.",
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def cost(file: Path, items: int, seconds: float, memory: int, architecture: str, as_json: bool) -> None:
    """Say what a run costs on AWS: its states and calls, counted in an execution that runs no command."""
    from fanfold.cli.cost import print_cost

    sys.exit(print_cost(file, items, seconds, memory, architecture, as_json=as_json))
