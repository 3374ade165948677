"""The DAG files that go to the second cloud: every example, every case, and telling records of Dagu."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import yaml

TESTS = Path(__file__).parents[2]
EXAMPLES = TESTS.parent / "examples"
CASES = TESTS / "conformance" / "cases"
DAGU = TESTS / "conformance" / "dagu"
OWN = TESTS / "aws" / "dags"
MANY_ITEMS = OWN / "many-items.yaml"

RECORDS = (
    "child_file_subdir", "child_timeout", "cont_exitcode", "cont_marksuccess", "fail_retry_exitcode_match", "handlers",
    "params_override_positional", "parse_json_pretty", "pre_regex", "script_shell", "timeout_dag", "vars_dagu_sets",
)  # fmt: skip
"""Of Dagu, what neither an example nor a case shows."""


def _name(path: Path) -> str:
    return str(next(iter(yaml.safe_load_all(path.read_text()))).get("name", path.stem))


FILES = {_name(path): path for path in sorted(EXAMPLES.glob("*.yaml"))}
"""By the name of the DAG on the second cloud, where no two have one."""
FILES |= {f"case-{path.stem}": path for path in sorted(CASES.glob("*.yaml"))}
FILES |= {f"own-{path.stem}": path for path in sorted(OWN.glob("*.yaml")) if path != MANY_ITEMS}
FILES |= {f"dagu-{name}": DAGU / f"{name}.yaml" for name in RECORDS}


def arguments(name: str) -> tuple[str, ...]:
    """The parameters that a DAG is started with."""
    expected = FILES[name].with_name(f"{FILES[name].stem}.expected.json")
    return tuple(json.loads(expected.read_text()).get("args", ())) if expected.exists() else ()


def lay_out(folder: Path) -> dict[str, Path]:
    """Write all of them below `folder`, for one push; the path of each, by its name."""
    shutil.copytree(EXAMPLES, folder / EXAMPLES.name)
    written = {}
    for name, path in FILES.items():
        written[name] = folder / path.parent.name / path.name
        written[name].parent.mkdir(exist_ok=True)
        text = path.read_text()
        if path.parent != EXAMPLES:
            text = f"name: {name}\n" + re.sub(r"^name:.*\n", "", text, count=1, flags=re.MULTILINE)
        written[name].write_text(text)
        if (beside := path.with_suffix(".d")).is_dir():
            shutil.copytree(beside, written[name].parent, dirs_exist_ok=True)
    return written
