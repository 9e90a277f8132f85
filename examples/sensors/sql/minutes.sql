-- Each sensor, minute by minute. The minute under way is in it too and moves with each reading.
CREATE MATERIALIZED VIEW minute_avg AS
SELECT
  sensor, kind, unit,
  window(at, '1 minute') AS w,
  avg(value) AS value,
  min(value) AS low,
  max(value) AS high,
  count(*) AS n
FROM readings
GROUP BY sensor, kind, unit, window(at, '1 minute');

-- The same in steps of ten seconds, for charts that move at once.
CREATE MATERIALIZED VIEW ten_seconds AS
SELECT
  sensor, kind, unit,
  window(at, '10 seconds') AS w,
  avg(value) AS value
FROM readings
GROUP BY sensor, kind, unit, window(at, '10 seconds');
