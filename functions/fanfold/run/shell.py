"""Shell processes: a text as written, variables by environment, ``$1`` … by argument (docs/architecture.md).

No value is ever pasted into a shell text. What an environment cannot hold (128 KiB a variable on Linux) is read from a
file into a variable that is not exported; every such variable is at hand as ``$NAME_FILE`` too.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import IO

from fanfold.run.runtime import Cancellation, signal_group

EXPORT_LIMIT = 64 * 1024
"""Bytes of a variable or argument; a larger one goes by file (Linux: MAX_ARG_STRLEN is 128 KiB)."""

EXPORT_TOTAL = 512 * 1024
"""Bytes of all variables and arguments together (Linux allows 2 MiB with the usual stack, less on Lambda)."""

_POSIX_SHELLS = {"sh", "bash", "dash", "ash", "ksh", "zsh", "busybox"}


class ShellFault(Exception):
    """A process could not be started; the message says why."""


@dataclass(frozen=True, slots=True)
class Finished:
    """How a process ended."""

    exit_code: int
    timed_out: bool = False
    cancelled: bool = False


@lru_cache(maxsize=1)
def default_shell() -> tuple[str, ...]:
    """The shell of a step that names none: bash where there is one, and it stops at the first failing line."""
    return (shutil.which("bash") or "/bin/sh", "-e")


def shell_words(shell: str | None) -> tuple[str, ...]:
    """A step's ``shell`` as program and arguments; a POSIX shell without arguments gets ``-e``."""
    if shell is None:
        return default_shell()
    words = tuple(shlex.split(shell))
    return (*words, "-e") if len(words) == 1 and is_posix_shell(words) else words


def is_posix_shell(words: Sequence[str]) -> bool:
    """Whether the program reads POSIX shell."""
    return bool(words) and Path(words[0]).name in _POSIX_SHELLS


@dataclass(frozen=True)
class Bindings:
    """What a shell text sees."""

    variables: Mapping[str, str]
    positional: Sequence[str] = ()
    files: Mapping[str, Callable[[IO[bytes]], None]] = field(default_factory=dict)
    """Variables too large to be held here: what writes the value of each to a file."""


def run_process(
    words: Sequence[str],
    text: str,
    bindings: Bindings,
    *,
    base_env: Mapping[str, str],
    folder: Path,
    stdout: IO[bytes],
    stderr: IO[bytes],
    cancellation: Cancellation,
    timeout: float | None = None,
    stop_signal: str | None = None,
) -> Finished:
    """Run `text` by the program `words`, its output going to the open files `stdout` and `stderr`.

    Raises ShellFault when the program or the folder does not exist.
    """
    with _Launch(words, text, bindings, base_env) as launch:
        if cancellation.requested:
            return Finished(130, cancelled=True)
        try:
            process = subprocess.Popen(
                [_encode(word) for word in launch.command],
                env={_encode(name): _encode(value) for name, value in launch.env.items()},
                cwd=folder,
                stdin=subprocess.DEVNULL,
                stdout=stdout,
                stderr=stderr,
                start_new_session=True,
            )
        except (FileNotFoundError, NotADirectoryError) as fault:
            raise ShellFault(f"no such file or folder: {fault.filename}") from fault
        except (OSError, ValueError) as fault:
            raise ShellFault(f"{words[0]} cannot be started: {fault}") from fault
        cancellation.watch(process, signal.Signals[stop_signal or "SIGTERM"])
        try:
            return _wait(process, timeout, cancellation)
        finally:
            cancellation.forget(process)


def _wait(process: subprocess.Popen[bytes], timeout: float | None, cancellation: Cancellation) -> Finished:
    try:
        code = process.wait(timeout)
    except subprocess.TimeoutExpired:
        signal_group(process, signal.SIGTERM)
        try:
            process.wait(Cancellation.GRACE_SECONDS)
        except subprocess.TimeoutExpired:
            signal_group(process, signal.SIGKILL)
            process.wait()
        return Finished(124, timed_out=True)
    code = 128 - code if code < 0 else code
    return Finished(code, cancelled=cancellation.requested and code != 0)


class _Launch:
    """A command line and its environment, with the files that hold what is too large for them."""

    def __init__(self, words: Sequence[str], text: str, bindings: Bindings, base_env: Mapping[str, str]) -> None:
        self._words = list(words)
        self._text = text
        self._bindings = bindings
        self.env = dict(base_env)
        self.command: list[str] = []
        self._folder: tempfile.TemporaryDirectory[str] | None = None

    def __enter__(self) -> _Launch:
        large = self._bind_variables()
        arguments = list(self._bindings.positional)
        posix = is_posix_shell(self._words)
        preamble = [_read_into(name, path) for name, path in large.items() if re.search(rf"\b{name}\b", self._text)]
        if sum(map(_bytes, arguments)) > EXPORT_LIMIT and posix:
            preamble += self._arguments_by_file(arguments)
            arguments = []
        text = "\n".join([*preamble, self._text]) if posix and preamble else self._text
        if posix and _bytes(text) <= EXPORT_LIMIT:
            self.command = [*self._words, "-c", text, "fanfold", *arguments]
        else:
            self.command = [*self._words, str(self._file("script", text)), *arguments]
        return self

    def __exit__(self, *exception: object) -> None:
        if self._folder is not None:
            self._folder.cleanup()

    def _bind_variables(self) -> dict[str, Path]:
        """Export what an environment can hold; the others as name → file."""
        large: dict[str, Path] = {}
        total = 0
        for name, value in sorted(self._bindings.variables.items(), key=lambda entry: len(entry[1])):
            total += len(name) + _bytes(value)
            if "\0" in value:
                raise ShellFault(f"the value of {name} holds a NUL character, which no shell variable can hold")
            if _bytes(value) <= EXPORT_LIMIT and total <= EXPORT_TOTAL:
                self.env[name] = value
            else:
                large[name] = self._file(name, value)
        for name, write in self._bindings.files.items():
            large[name] = self._path(name)
            with large[name].open("wb") as file:
                write(file)
        for name, path in large.items():
            self.env.pop(name, None)
            self.env[f"{name}_FILE"] = str(path)
        return large

    def _arguments_by_file(self, arguments: Sequence[str]) -> list[str]:
        names = [f"FANFOLD_ARG_{number}" for number in range(1, len(arguments) + 1)]
        lines = [_read_into(name, self._file(name, value)) for name, value in zip(names, arguments, strict=True)]
        return [*lines, "set -- " + " ".join(f'"${{{name}}}"' for name in names)]

    def _path(self, name: str) -> Path:
        if self._folder is None:
            self._folder = tempfile.TemporaryDirectory(prefix="fanfold-")
        return Path(self._folder.name) / name

    def _file(self, name: str, text: str) -> Path:
        path = self._path(name)
        path.write_bytes(text.encode("utf-8", "surrogatepass"))
        return path


def _read_into(name: str, path: Path) -> str:
    """A shell line that reads a file into a variable, trailing newlines and all."""
    return f"{name}=$(cat {shlex.quote(os.fspath(path))}; printf x); {name}=${{{name}%x}}"


def _encode(text: str) -> bytes:
    """As the file system's encoding has it; in UTF-8 where that cannot hold it (a terminal that knows only ASCII)."""
    try:
        return os.fsencode(text)
    except UnicodeEncodeError:
        return text.encode("utf-8", "surrogatepass")


def _bytes(text: str) -> int:
    return len(text) if text.isascii() else len(text.encode("utf-8", "surrogatepass"))
