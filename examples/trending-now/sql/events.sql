-- A title was shown to somebody.
CREATE TOPIC impressions (
  title TEXT NOT NULL,
  profile BIGINT NOT NULL,
  shelf TEXT,                                        -- the row of the screen it stood in
  at TIMESTAMP NOT NULL,
  WATERMARK FOR at AS at - INTERVAL '10 seconds'
) WITH (format = 'json', key = 'title', partitions = 2, retention = '7 days');

-- Somebody started to watch it.
CREATE TOPIC plays (
  title TEXT NOT NULL,
  profile BIGINT NOT NULL,
  device TEXT,
  at TIMESTAMP NOT NULL,
  WATERMARK FOR at AS at - INTERVAL '10 seconds'
) WITH (format = 'json', key = 'title', partitions = 2, retention = '7 days');
