"""confluent-kafka, Python on librdkafka: producers, transactions, groups, admin."""

import common  # noqa: F401  first: it makes the harness known
import administration  # noqa: F401
import groups  # noqa: F401
import producing  # noqa: F401
import transactions  # noqa: F401
from harness import main

main("confluent-kafka")
