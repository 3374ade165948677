"""References in the text of a DAG file: ``${VAR}``, ``$VAR``, ``${VAR.path[0].KEY}``, ``$1``, ``$(cmd)``.

Two kinds of text hold them. A *value* (``params``, ``env``, a precondition, the source of ``parallel``) is expanded by
us, once: `template`. A *shell text* (``command``, ``script``) is never expanded: the shell reads variables from its
environment, and only what no shell understands, a dotted path, is replaced by a generated variable: `rewrite_shell`.
So a value never becomes code (semantics, *Expansion*).
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

NAME = r"[A-Za-z_][A-Za-z0-9_]*"
GENERATED_PREFIX = "FANFOLD_REF_"
"""Variables that stand for dotted references in a shell text are called so, with a number."""

_STEP = r"(?:\.[A-Za-z0-9_][A-Za-z0-9_-]*|\.?\[-?\d+\]|\.?\[\"[^\"\]]*\"\])"
_BRACED = re.compile(rf"\$\{{({NAME}|\d+)({_STEP}*)\}}")
_DOTTED = re.compile(rf"\$\{{({NAME}|\d+)(\.(?:[A-Za-z0-9_][A-Za-z0-9_-]*|\[[^\]]*\]){_STEP}*)\}}")
_BARE = re.compile(rf"\$({NAME}|\d)")
_PARAMETER_EXPANSION = re.compile(rf"\$\{{[#!]?({NAME}|\d+)")
_PATH_STEP = re.compile(r"\.([A-Za-z0-9_][A-Za-z0-9_-]*)|\[(-?\d+)\]|\[\"([^\"\]]*)\"\]")
_HEREDOC = re.compile(r"<<-?[ \t]*(\\?)(['\"]?)([A-Za-z_][A-Za-z0-9_]*)\2")

Path = tuple[str | int, ...]


@dataclass(frozen=True, slots=True)
class Reference:
    """``${name.path}``: `name` is a variable, a step's id or the number of a positional parameter."""

    name: str
    path: Path
    text: str
    """As written."""
    offset: int
    """Where in the text it starts."""


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
    braced = _BRACED.match(text, start)
    if braced:
        return Reference(braced[1], parse_path(braced[2]), braced[0], start), braced.end()
    if _PARAMETER_EXPANSION.match(text, start):
        end = _closing(text, start + 1, "{", "}")
        if end is None:
            return None, start + 1
        whole = text[start : end + 1]
        return ShellPart(f'printf %s "{whole}"', whole, start), end + 1
    bare = _BARE.match(text, start)
    if bare:
        return Reference(bare[1], (), bare[0], start), bare.end()
    return None, start + 1


def parse_path(text: str) -> Path:
    """``.outputs[0].KEY`` → ``("outputs", 0, "KEY")``."""
    return tuple(
        match[1] if match[1] is not None else int(match[2]) if match[2] is not None else match[3]
        for match in _PATH_STEP.finditer(text)
    )


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


@dataclass(slots=True)
class _Context:
    """One level of a shell text: the outermost, or within ``$(…)``."""

    quote: str = ""
    parentheses: int = 0
    arithmetic: bool = False
    backtick: bool = False


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
    for reference, quoted in _scan(text):
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
    """Every reference in a shell text that would be replaced: dotted ones everywhere, plain ones outside of single quotes."""
    return tuple(reference for reference, quoted in _scan(text) if reference.path or not quoted)


def _scan(text: str) -> list[tuple[Reference, bool]]:
    """The references of a shell text, each with whether it stands within single quotes."""
    found: list[tuple[Reference, bool]] = []
    stack = [_Context()]
    heredocs: list[tuple[str, bool]] = []
    position = 0
    while position < len(text):
        context, character = stack[-1], text[position]
        if character == "\n" and heredocs and not context.quote:
            position = _scan_heredocs(text, position + 1, heredocs, found)
            continue
        position = _scan_one(text, position, character, context, stack, heredocs, found)
    return found


def _scan_one(
    text: str,
    position: int,
    character: str,
    context: _Context,
    stack: list[_Context],
    heredocs: list[tuple[str, bool]],
    found: list[tuple[Reference, bool]],
) -> int:
    if context.quote == "'":
        if character == "'":
            context.quote = ""
        elif character == "$":
            return _scan_reference(text, position, found, quoted=True)
        return position + 1
    if character == "\\":
        return position + 2
    if character == "`":
        if context.backtick:
            stack.pop()
        else:
            stack.append(_Context(backtick=True))
        return position + 1
    if character == "$":
        if text.startswith("$(", position):
            stack.append(_Context(parentheses=1, arithmetic=text.startswith("$((", position)))
            return position + 2
        if text.startswith("$'", position) and not context.quote:
            end = _closing_ansi(text, position + 2)
            return len(text) if end is None else end + 1
        return _scan_reference(text, position, found, quoted=False)
    if context.quote:
        context.quote = "" if character == context.quote else context.quote
    elif character in "'\"":
        context.quote = character
    elif character == "#" and (position == 0 or text[position - 1] in " \t\n;&|("):
        end = text.find("\n", position)
        return len(text) if end < 0 else end
    elif character == "(":
        context.parentheses += 1
    elif character == ")":
        context.parentheses -= 1
        if context.parentheses == 0 and len(stack) > 1 and not context.backtick:
            stack.pop()
    elif text.startswith("<<", position) and not context.arithmetic:
        if text.startswith("<<<", position):
            return position + 3
        heredoc = _HEREDOC.match(text, position)
        if heredoc:
            heredocs.append((heredoc[3], bool(heredoc[1] or heredoc[2])))
            return heredoc.end()
    return position + 1


def _scan_reference(text: str, position: int, found: list[tuple[Reference, bool]], *, quoted: bool) -> int:
    dotted = _DOTTED.match(text, position)
    if dotted:
        found.append((Reference(dotted[1], parse_path(dotted[2]), dotted[0], position), quoted))
        return dotted.end()
    plain = _PARAMETER_EXPANSION.match(text, position) or _BARE.match(text, position)
    if plain:
        found.append((Reference(plain[1], (), plain[0], position), quoted))
        return plain.end()
    return position + 1


def _closing_ansi(text: str, position: int) -> int | None:
    while position < len(text):
        if text[position] == "\\":
            position += 2
        elif text[position] == "'":
            return position
        else:
            position += 1
    return None


def _scan_heredocs(
    text: str, position: int, heredocs: list[tuple[str, bool]], found: list[tuple[Reference, bool]]
) -> int:
    """Read the bodies of the here-documents that start at `position`; where the text goes on."""
    for word, literal in heredocs:
        while position < len(text):
            end = text.find("\n", position)
            end = len(text) if end < 0 else end
            line = text[position:end]
            if line.lstrip("\t") == word:
                position = min(end + 1, len(text))
                break
            if not literal:
                found.extend(_references_of_line(text, position, end))
            position = end + 1
    heredocs.clear()
    return position


def _references_of_line(text: str, position: int, end: int) -> list[tuple[Reference, bool]]:
    found: list[tuple[Reference, bool]] = []
    while position < end:
        if text[position] == "\\":
            position += 2
        elif text[position] == "$":
            position = _scan_reference(text, position, found, quoted=False)
        else:
            position += 1
    return found
