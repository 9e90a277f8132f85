"""confluent-kafka, Python on librdkafka: producers, transactions, groups, admin."""

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).parents[1]))
import administration  # noqa: E402 F401
import groups  # noqa: E402 F401
import producing  # noqa: E402 F401
import transactions  # noqa: E402 F401
from harness import main  # noqa: E402

main("confluent-kafka")
