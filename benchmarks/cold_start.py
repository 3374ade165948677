"""Import time of each handler, against that of boto3 and Powertools alone, and the size of what a function holds.

``python benchmarks/cold_start.py [FOLDER]``; with the folder that ``sam build`` made (.aws-sam/build), the built
functions are measured, otherwise this checkout.
"""

from __future__ import annotations

import io
import subprocess
import sys
import time
import zipfile
from pathlib import Path

ROUNDS = 15
BASE = "import boto3; from aws_lambda_powertools import Logger"
OWN = {"boto3", "botocore", "s3transfer"}


def seconds(code: str, folder: Path | None) -> float:
    """The shortest time of a new interpreter that runs `code`, less that of one that does nothing."""
    environment = {} if folder is None else {"PYTHONPATH": str(folder)}

    def once(text: str) -> float:
        started = time.perf_counter()
        subprocess.run([sys.executable, "-c", text], env=environment, check=True)
        return time.perf_counter() - started

    once(code)  # compiles
    return min(once(code) for _ in range(ROUNDS)) - min(once("pass") for _ in range(ROUNDS))


def zipped_bytes(folder: Path) -> int:
    """Of a built function, without boto3."""
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        for path in folder.rglob("*"):
            top = path.relative_to(folder).parts[0].partition("-")[0]
            if path.is_file() and top not in OWN and "__pycache__" not in path.parts:
                archive.write(path, path.relative_to(folder))
    return len(packed.getvalue())


def main() -> None:
    build = Path(sys.argv[1]) if len(sys.argv) > 1 else None
    base = seconds(BASE, build / "ParserFunction" if build else None)
    print(f"boto3 and Powertools alone: {base * 1000:.0f} ms")
    for name in ("parser", "planner", "reducer", "runner"):
        folder = build / f"{name.title()}Function" if build else None
        spent = seconds(f"{BASE}; import fanfold.handlers.{name}", folder)
        size = f", {zipped_bytes(folder) / 1e6:.1f} MB zipped without boto3" if folder else ""
        print(f"{name}: {spent * 1000:.0f} ms, {spent / base:.2f} of it{size}")


if __name__ == "__main__":
    main()
