-- Readings of sensors. This machine's own come in by themselves; yours by
--   curl -X POST 127.0.0.1:4680/api/topics/readings --data-binary @events.ndjson
CREATE TOPIC readings (
  host TEXT,
  sensor TEXT NOT NULL,
  kind TEXT,
  value DOUBLE NOT NULL,
  unit TEXT,
  at TIMESTAMP NOT NULL,
  WATERMARK FOR at AS at - INTERVAL '5 seconds',
  CHECK (unit <> '%' OR value BETWEEN 0 AND 100)     -- breaks go to the dead letters
) WITH (format = 'json', key = 'sensor', partitions = 2, retention = '7 days');

-- CPU, memory, disks, network and, where there are any, temperatures.
CREATE SOURCE this_machine WITH (connector = 'host', interval = '1 s') INTO readings;
