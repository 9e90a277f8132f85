"""The Java client 3.9: runs Cases.java once a case."""

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).parents[1]))
from harness import case, command, java_program, main  # noqa: E402

NAMES = """produce_consume compression transactions fencing consume_transform_produce group_eager
    group_cooperative group_new_protocol offsets administration"""
program = java_program("java-3.9", "-Xmx256m")
for name in NAMES.split():
    function = lambda name=name: command(*program, name)  # noqa: E731
    function.__name__ = name
    case(function)

main("java-3.9")
