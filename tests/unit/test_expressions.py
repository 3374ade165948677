"""References: found where they are references, and nowhere else (semantics, *Expansion*)."""

from __future__ import annotations

import os
import shutil
import subprocess

import pytest
from fanfold.dag.expressions import rewrite_shell, shell_references, template
from fanfold.dag.references import Reference
from hypothesis import given, settings
from hypothesis import strategies as st


def parts(text: str) -> list[object]:
    return [
        part if isinstance(part, str) else (part.name, *part.path) if isinstance(part, Reference) else [part.script]
        for part in template(text).parts
    ]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("plain", ["plain"]),
        ("${A}", [("A",)]),
        ("a$B-c", ["a", ("B",), "-c"]),
        ("${A.b[0].c-d}", [("A", "b", 0, "c-d")]),
        ("${A[1]}", [("A", 1)]),
        ("$1${2}", [("1",), ("2",)]),
        ("\\$A \\`x\\`", ["$A `x`"]),
        ("$(date +%Y)", [["date +%Y"]]),
        ("$(echo ')' \"$(x)\")/", [["echo ')' \"$(x)\""], "/"]),
        ("`echo \\`x\\``", [["echo `x`"]]),
        ("${A%.csv}", [['printf %s "${A%.csv}"']]),
        ("$ $$ ${ $(", ["$ $$ ${ $("]),
        ("100% of {x}", ["100% of {x}"]),
    ],
)
def test_values_are_taken_apart(text: str, expected: list[object]) -> None:
    assert parts(text) == expected


@given(st.text(alphabet=st.characters(blacklist_characters="$`\\", blacklist_categories=["Cs"])))
def test_a_value_without_references_stays_itself(text: str) -> None:
    assert template(text).expand(lambda _: "!", lambda _: "!") == text
    assert rewrite_shell(text) == (text, ())


@given(st.text(alphabet="$`\\(){}[].'\"#<> \nAB01E"))
def test_taking_apart_never_fails_and_loses_nothing(text: str) -> None:
    rewritten, references = rewrite_shell(text)
    template(text)
    for index, reference in enumerate(references):
        rewritten = rewritten.replace(f"'\"${{FANFOLD_REF_{index}}}\"'", reference.text)
        rewritten = rewritten.replace(f"${{FANFOLD_REF_{index}}}", reference.text)
    assert rewritten == text


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ('echo "${R.a}"', "<R.a>"),
        ("echo ${R.a[0].B}x", "<R.a[0].B>x"),
        ("echo '${R.a}'", "<R.a>"),
        ("echo 'it is '\"${R.a}\"' so'", "it is <R.a> so"),
        ('echo "$(echo "${R.a} $(echo "${R.b}")")"', "<R.a> <R.b>"),
        ("echo `echo ${R.a}`", "<R.a>"),
        ('cat <<EOF\nit\'s ${R.a} "q"\nEOF\necho ${R.b}', 'it\'s <R.a> "q"\n<R.b>'),
        ("cat <<-EOF\n\t${R.a}\n\tEOF\necho '${R.b}'", "<R.a>\n<R.b>"),
        ("cat <<'EOF'\n${R.a}\nEOF", "${R.a}"),
        ("cat <<A <<B\n${R.a}\nA\n${R.b}\nB", "<R.b>"),
        ("echo a # it's ${R.a}\necho ${R.b}", "a\n<R.b>"),
        ("echo a#b ${R.a}", "a#b <R.a>"),
        ("echo $'it\\'s ${R.a}' \"${R.b}\"", "it's ${R.a} <R.b>"),
        ("echo \\${R.a}", None),
        ("a=(x y); echo ${a[1]} ${#a[@]} $((1 << 2)) ${R.a}", "y 2 4 <R.a>"),
        ('cat <<< "${R.a}"', "<R.a>"),
        ("printf '1 2 3 4\\n' | awk '{print $4}'", "4"),
        ("case x in (x) echo ${R.a};; esac", "<R.a>"),
        ("echo ${UNSET:-${R.a}}", "<R.a>"),
    ],
)
def test_a_shell_text_reads_its_references(text: str, shown: str | None) -> None:
    rewritten, references = rewrite_shell(text)
    values = {f"FANFOLD_REF_{index}": f"<{ref.text[2:-1]}>" for index, ref in enumerate(references)}
    bash = shutil.which("bash") or "sh"
    ran = subprocess.run([bash, "-c", rewritten], env=os.environ | values, capture_output=True, text=True, check=False)
    if shown is None:
        assert not references
    else:
        assert ran.stdout.rstrip("\n") == shown, ran.stderr


VALUES = st.text(st.characters(blacklist_categories=["Cs"], blacklist_characters="\0")) | st.sampled_from(
    ["$(exit 1)", "`exit 1`", "'", '"', "\\", "$HOME", "${R.b}", "!", "~", "*", "\n"]
)


@settings(max_examples=60, deadline=None)
@given(VALUES)
def test_a_value_reaches_the_shell_as_it_is_and_is_never_evaluated(value: str) -> None:
    rewritten, _ = rewrite_shell("printf '%s' \"${R.a}\"; printf '%s' '${R.a}'; cat <<EOF\n${R.a}\nEOF")
    shell = shutil.which("bash") or "sh"
    env = {"PATH": os.environ["PATH"], "LC_ALL": "C.UTF-8", "FANFOLD_REF_0": value}
    ran = subprocess.run([shell, "-c", rewritten], env=env, capture_output=True, check=True)
    assert ran.stdout.decode() == value * 3 + "\n"
    assert ran.stderr == b""


@given(VALUES, VALUES)
def test_a_value_within_a_value_is_never_expanded_again(value: str, other: str) -> None:
    expanded = template("<${A}|${B.c}>").expand(lambda ref: {"A": value, "B": other}[ref.name], lambda _: "!")
    assert expanded == f"<{value}|{other}>"


def test_plain_references_within_single_quotes_are_none() -> None:
    found = shell_references("echo '$ITEM' \"$A\" ${B%x} '${R.a}' # $C")
    assert [(reference.name, reference.path) for reference in found] == [("A", ()), ("B", ()), ("R", ("a",))]
