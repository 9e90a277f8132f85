"""A Spark session that carries out steps: `session.py BOOTSTRAP JARS`, steps as JSON on stdin.

Steps: ["write", [rows], {options}], ["read", {options}], ["stream", {options}, target, checkpoint].
The answer to each is a line `RESULT json` on stdout. Read next: cases.py, which has the checks.
"""

import json
import sys

from pyspark.sql import SparkSession

bootstrap, jars = sys.argv[1:3]
spark = (
    SparkSession.builder.master("local[2]").appName("clients")
    .config("spark.jars", jars)
    .config("spark.ui.enabled", "false")
    .config("spark.driver.memory", "700m")
    .config("spark.driver.host", "127.0.0.1")
    .config("spark.driver.bindAddress", "127.0.0.1")
    .config("spark.sql.shuffle.partitions", "2")
    .getOrCreate()
)
spark.sparkContext.setLogLevel("WARN")
SCHEMA = "topic string, partition int, key string, value string, headers array<struct<key string, value binary>>"


def kafka(kind, options):
    return kind.format("kafka").option("kafka.bootstrap.servers", bootstrap).options(**options)


def write(rows, options):
    frame = spark.createDataFrame(
        [(r["topic"], r.get("partition"), r.get("key"), r.get("value"),
          [(k, v.encode()) for k, v in r.get("headers", {}).items()]) for r in rows], SCHEMA)
    kafka(frame.write, options).save()
    return frame.count()


def read(options):
    frame = kafka(spark.read, options | {"includeHeaders": "true"}).load()
    rows = frame.selectExpr(
        "topic", "partition", "offset", "cast(key as string) key", "cast(value as string) value",
        "unix_millis(timestamp) time", "timestampType", "headers",
    ).orderBy("topic", "partition", "offset").collect()
    return [r.asDict() | {"headers": {h.key: h.value.decode() for h in r.headers or []}} for r in rows]


def stream(options, target, checkpoint):
    """Copies what is there now, as SQL would change it; answers the rows of each micro batch."""
    frame = kafka(spark.readStream, options).load().selectExpr("key", "upper(cast(value as string)) value")
    query = (
        kafka(frame.writeStream, {"topic": target, "checkpointLocation": checkpoint})
        .trigger(availableNow=True).start()
    )
    if not query.awaitTermination(60):
        raise TimeoutError("the stream does not end")
    return [p["numInputRows"] for p in query.recentProgress if p["numInputRows"]]


for step in json.load(sys.stdin):
    answer = {"write": write, "read": read, "stream": stream}[step[0]](*step[1:])
    print("RESULT", json.dumps(answer), flush=True)
spark.stop()
