"""The Java client of Kafka 4 through Kafka's own tools: see data.py and admin_tools.py."""

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).parents[1]))
import admin_tools  # noqa: E402 F401
import data  # noqa: E402 F401
from harness import main  # noqa: E402

main("java")
