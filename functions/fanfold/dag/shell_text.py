"""A shell text read just closely enough to tell where a reference is a reference.

Knows single and double quotes, ``$'…'``, comments, command substitutions and here-documents (POSIX, *Shell Command
Language*, 2.2 to 2.7). It finds references; it never evaluates.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from fanfold.dag.references import BARE, DOTTED, PARAMETER_EXPANSION, Reference, parse_path

_HEREDOC = re.compile(r"<<-?[ \t]*(\\?)(['\"]?)([A-Za-z_][A-Za-z0-9_]*)\2")
_BEFORE_COMMENT = " \t\n;&|("

Found = tuple[Reference, bool]
"""A reference, and whether it stands within single quotes."""


@dataclass(slots=True)
class _Context:
    """One level of the text: the outermost, or within ``$(…)`` or backticks."""

    quote: str = ""
    parentheses: int = 0
    arithmetic: bool = False
    backtick: bool = False


class ShellScanner:
    """Walks once over a shell text."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._position = 0
        self._stack = [_Context()]
        self._heredocs: list[tuple[str, bool]] = []
        """Here-documents whose bodies start at the next line: the word that ends each, and whether it is quoted."""
        self._found: list[Found] = []

    def scan(self) -> list[Found]:
        """Every reference, in order."""
        while self._position < len(self._text):
            context = self._stack[-1]
            if context.quote == "'":
                self._within_single_quotes(context)
            elif self._text[self._position] == "\n" and self._heredocs and not context.quote:
                self._position += 1
                self._read_heredocs()
            elif self._text[self._position] in "\\`$":
                self._special(context)
            elif context.quote:
                self._within_double_quotes(context)
            else:
                self._plain(context)
        return self._found

    def _starts(self, text: str) -> bool:
        return self._text.startswith(text, self._position)

    def _within_single_quotes(self, context: _Context) -> None:
        if self._starts("$"):
            self._reference(len(self._text), quoted=True)
        else:
            if self._starts("'"):
                context.quote = ""
            self._position += 1

    def _within_double_quotes(self, context: _Context) -> None:
        if self._starts(context.quote):
            context.quote = ""
        self._position += 1

    def _special(self, context: _Context) -> None:
        """A backslash, a backtick or a dollar sign, which mean the same in double quotes and without."""
        if self._starts("\\"):
            self._position += 2
        elif self._starts("`"):
            if context.backtick:
                self._stack.pop()
            else:
                self._stack.append(_Context(backtick=True))
            self._position += 1
        elif self._starts("$("):
            self._stack.append(_Context(parentheses=1, arithmetic=self._starts("$((")))
            self._position += 2
        elif self._starts("$'") and not context.quote:
            self._skip_ansi_quotes()
        else:
            self._reference(len(self._text), quoted=False)

    def _plain(self, context: _Context) -> None:
        character = self._text[self._position]
        if character in "'\"":
            context.quote = character
        elif character == "#" and (self._position == 0 or self._text[self._position - 1] in _BEFORE_COMMENT):
            end = self._text.find("\n", self._position)
            self._position = (len(self._text) if end < 0 else end) - 1
        elif character == "(":
            context.parentheses += 1
        elif character == ")":
            self._close_parenthesis(context)
        elif self._starts("<<<"):
            self._position += 2
        elif self._starts("<<") and not context.arithmetic:
            heredoc = _HEREDOC.match(self._text, self._position)
            if heredoc:
                self._heredocs.append((heredoc[3], bool(heredoc[1] or heredoc[2])))
                self._position = heredoc.end() - 1
        self._position += 1

    def _close_parenthesis(self, context: _Context) -> None:
        context.parentheses -= 1
        if context.parentheses == 0 and len(self._stack) > 1 and not context.backtick:
            self._stack.pop()

    def _skip_ansi_quotes(self) -> None:
        self._position += 2
        while self._position < len(self._text) and not self._starts("'"):
            self._position += 2 if self._starts("\\") else 1
        self._position += 1

    def _reference(self, end: int, *, quoted: bool) -> None:
        """Take in the reference at a dollar sign, if it is one."""
        dotted = DOTTED.match(self._text, self._position, end)
        plain = PARAMETER_EXPANSION.match(self._text, self._position, end) or BARE.match(
            self._text, self._position, end
        )
        if dotted:
            reference = Reference(dotted[1], parse_path(dotted[2]), dotted[0], self._position)
            self._found.append((reference, quoted))
            self._position = dotted.end()
        elif plain:
            self._found.append((Reference(plain[1], (), plain[0], self._position), quoted))
            self._position = plain.end()
        else:
            self._position += 1

    def _read_heredocs(self) -> None:
        """Read the bodies that start here."""
        for word, literal in self._heredocs:
            while self._position < len(self._text):
                end = self._text.find("\n", self._position)
                end = len(self._text) if end < 0 else end
                if self._text[self._position : end].lstrip("\t") == word:
                    self._position = min(end + 1, len(self._text))
                    break
                while not literal and self._position < end:
                    self._heredoc_character(end)
                self._position = end + 1
        self._heredocs.clear()

    def _heredoc_character(self, end: int) -> None:
        if self._starts("\\"):
            self._position += 2
        elif self._starts("$"):
            self._reference(end, quoted=False)
        else:
            self._position += 1
