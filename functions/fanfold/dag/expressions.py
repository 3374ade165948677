"""References in the text of a DAG file: ``${VAR}``, ``$VAR``, ``${VAR.path[0].KEY}``, ``$1``, ``$(cmd)``.

Two kinds of text hold them. A *value* (``params``, ``env``, a precondition, the source of ``parallel``) is expanded by
us, once: `template`. A *shell text* (``command``, ``script``) is never expanded: the shell reads variables from its
environment, and only what no shell understands, a dotted path, is replaced by a generated variable: `rewrite_shell`.
So a value never becomes code (semantics, *Expansion*).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

from fanfold.dag.references import BARE, BRACED, PARAMETER_EXPANSION, Reference, parse_path
from fanfold.dag.shell_text import ShellScanner

GENERATED_PREFIX = "FANFOLD_REF_"
"""Variables that stand for dotted references in a shell text are called so, with a number."""


@dataclass(frozen=True, slots=True)
class ShellPart:
    """A part of a value that only a shell can tell: a command substitution or ``${VAR%.csv}``."""

    script: str
    """A shell text whose output, without its trailing newlines, is the value."""
    text: str
    offset: int


Part = str | Reference | ShellPart


@dataclass(frozen=True, slots=True)
class Template:
    """A value, taken apart."""

    text: str
    parts: tuple[Part, ...]

    def references(self) -> tuple[Reference, ...]:
        """The references that we resolve ourselves, in order (those within ``$(…)`` are the shell's)."""
        return tuple(part for part in self.parts if isinstance(part, Reference))

    @property
    def needs_shell(self) -> bool:
        """Whether a shell must run to tell the value."""
        return any(isinstance(part, ShellPart) for part in self.parts)

    def expand(self, resolve: Callable[[Reference], str], run_shell: Callable[[str], str]) -> str:
        """The value: references by `resolve`, shell parts by `run_shell` (script → its output)."""
        return "".join(
            part if isinstance(part, str) else resolve(part) if isinstance(part, Reference) else run_shell(part.script)
            for part in self.parts
        )


@lru_cache(maxsize=4096)
def template(text: str) -> Template:
    """Take a value apart. Never fails: what is no reference is plain text, ``\\$`` is a dollar sign."""
    parts: list[Part] = []
    plain: list[str] = []

    def add(part: Part) -> None:
        if plain:
            parts.append("".join(plain))
            plain.clear()
        parts.append(part)

    position = 0
    while position < len(text):
        character = text[position]
        if character == "\\" and text[position + 1 : position + 2] in ("$", "`"):
            plain.append(text[position + 1])
            position += 2
            continue
        part, end = _special(text, position) if character in "$`" else (None, position + 1)
        if part is None:
            plain.append(text[position:end])
        else:
            add(part)
        position = end
    if plain:
        parts.append("".join(plain))
    return Template(text, tuple(parts))


def _special(text: str, start: int) -> tuple[Part | None, int]:
    """The reference or shell part that starts at `start` and where it ends; None: a plain character."""
    if text[start] == "`":
        end = _closing_backtick(text, start)
        if end is None:
            return None, start + 1
        return ShellPart(text[start + 1 : end].replace("\\`", "`"), text[start : end + 1], start), end + 1
    if text.startswith("$(", start):
        end = _closing(text, start + 1, "(", ")")
        if end is None:
            return None, start + 1
        whole = text[start : end + 1]
        script = f'printf %s "{whole}"' if whole.startswith("$((") else whole[2:-1]
        return ShellPart(script, whole, start), end + 1
    braced = BRACED.match(text, start)
    if braced:
        return Reference(braced[1], parse_path(braced[2]), braced[0], start), braced.end()
    if PARAMETER_EXPANSION.match(text, start):
        end = _closing(text, start + 1, "{", "}")
        if end is None:
            return None, start + 1
        whole = text[start : end + 1]
        return ShellPart(f'printf %s "{whole}"', whole, start), end + 1
    bare = BARE.match(text, start)
    if bare:
        return Reference(bare[1], (), bare[0], start), bare.end()
    return None, start + 1


def _closing(text: str, opening: int, left: str, right: str) -> int | None:
    """Where the bracket that opens at `opening` closes; quoted brackets do not count."""
    depth = 0
    quote = ""
    position = opening
    while position < len(text):
        character = text[position]
        if character == "\\" and quote != "'":
            position += 2
            continue
        if quote:
            quote = "" if character == quote else quote
        elif character in "'\"":
            quote = character
        elif character == left:
            depth += 1
        elif character == right:
            depth -= 1
            if depth == 0:
                return position
        position += 1
    return None


def _closing_backtick(text: str, opening: int) -> int | None:
    position = opening + 1
    while position < len(text):
        if text[position] == "\\":
            position += 2
        elif text[position] == "`":
            return position
        else:
            position += 1
    return None


@lru_cache(maxsize=1024)
def rewrite_shell(text: str) -> tuple[str, tuple[Reference, ...]]:
    """A shell text with each dotted reference replaced by a generated variable, and those references.

    ``echo "${R.summary.total}"`` → ``echo "${FANFOLD_REF_0}"``; the value of ``FANFOLD_REF_0`` is that of the first
    reference. Within single quotes the reference is spliced in (``'a'"${FANFOLD_REF_0}"'b'``). Comments and the bodies
    of quoted here-documents stay as they are. All else, ``awk '{print $4}'`` above all, is untouched.
    """
    pieces: list[str] = []
    found: list[Reference] = []
    done = 0
    for reference, quoted in ShellScanner(text).scan():
        if not reference.path:
            continue
        name = f"{GENERATED_PREFIX}{_index(found, reference)}"
        pieces.append(text[done : reference.offset])
        pieces.append(f"'\"${{{name}}}\"'" if quoted else f"${{{name}}}")
        done = reference.offset + len(reference.text)
    return "".join([*pieces, text[done:]]), tuple(found)


def _index(found: list[Reference], reference: Reference) -> int:
    for index, known in enumerate(found):
        if (known.name, known.path) == (reference.name, reference.path):
            return index
    found.append(reference)
    return len(found) - 1


def shell_references(text: str) -> tuple[Reference, ...]:
    """Every reference in a shell text that is one: dotted ones everywhere, plain ones outside of single quotes."""
    return tuple(reference for reference, quoted in ShellScanner(text).scan() if reference.path or not quoted)
