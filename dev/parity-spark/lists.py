"""Reads cases.txt (what is run and what is left out) and known.txt (differences that are known).

Both are lists of case names; a name that no file has, or that stands twice, is an error.
"""

from dataclasses import dataclass, field
from pathlib import Path

import case_file

HERE = Path(__file__).resolve().parent


@dataclass
class Known:
    reason: str
    lines: list = field(default_factory=list)  # what Spark gives: rows, or `! CONDITION`


def cases():
    """({case: error condition or None}, {case left out: reason})."""
    run, left_out = {}, {}
    for line in lines("cases.txt"):
        if line.startswith("- "):
            name, reason = with_reason(line[2:])
            left_out[once(name, run, left_out)] = reason
        else:
            name, _, condition = (part.strip() for part in line.partition("!"))
            run[once(name, run, left_out)] = condition or None
    return run, left_out


def known():
    """{case: Known}; the rows Spark gives are indented by four blanks."""
    found, name = {}, None
    for line in lines("known.txt"):
        if line.startswith("    "):
            found[name].lines.append(line[4:])
        else:
            name, reason = with_reason(line)
            found[once(name, found)] = Known(reason)
    return found


def lines(file):
    text = (HERE / file).read_text(encoding="utf-8")
    return [line for line in text.splitlines() if line.strip() and not line.startswith("#")]


def with_reason(line):
    name, _, reason = (part.strip() for part in line.partition(":"))
    if len(reason) < 8:
        raise ValueError(f"{name}: say why")
    return name, reason


def once(name, *lists):
    if any(name in each for each in lists):
        raise ValueError(f"{name} stands twice")
    if not (case_file.CASES / f"{name}.slt").exists():
        raise ValueError(f"there is no case '{name}'")
    return name
