"""Reads a case file of tests/sql, by the rules of `parse` in crates/engine/tests/parity.rs.

Both have to read the same file the same way: change them together. Read next: definitions.py,
which reads what stands in the section `create`.
"""

from dataclasses import dataclass, field
from pathlib import Path

CASES = Path(__file__).resolve().parents[2] / "tests" / "sql"


@dataclass
class Case:
    name: str
    create: str = ""
    inputs: list = field(default_factory=list)  # (topic, [lines])
    view: str = ""
    error: bool = False
    expected: list = field(default_factory=list)
    late: int = 0


def names():
    """All cases, as `folder/case`."""
    return sorted(str(path.relative_to(CASES).with_suffix("")) for path in CASES.rglob("*.slt"))


def read(name):
    text = (CASES / f"{name}.slt").read_text(encoding="utf-8")
    case = parse(Case(name), text)
    if not case.view.strip():
        raise ValueError(f"{name}: there is no view")
    return case


def parse(case, text):
    section = ""
    for line in text.splitlines():
        words = line.split()
        first = words[0] if words and not line.startswith((" ", "{", "|", "-")) else ""
        if first in ("create", "view", "error") and len(words) == 1:
            section = first
            case.error |= first == "error"
        elif first == "input" and len(words) == 2:
            section = "input"
            case.inputs.append((words[1], []))
        elif first == "late" and len(words) == 2:
            case.late = int(words[1])
        elif first == "with" and not section:
            # The definitions and inputs of another file.
            parse(case, (CASES / words[1]).read_text(encoding="utf-8"))
        elif first == "exclude":
            pass  # a mode of Watershed's
        elif line.startswith("#"):
            pass
        elif line == "----":
            section = "rows"
        else:
            add(case, section, line)
    return case


def add(case, section, line):
    if section == "create":
        case.create += line + "\n"
    elif section in ("view", "error"):
        case.view += line + "\n"
    elif section == "input" and line.strip():
        case.inputs[-1][1].append(line)
    elif section == "rows" and line:
        case.expected.append(line)
