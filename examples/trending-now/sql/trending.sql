-- How often a title was shown and played in each minute, and how many of those who saw it took it.
CREATE MATERIALIZED VIEW trending AS
SELECT
  i.title,
  i.w,
  p.plays,
  i.impressions,
  p.plays / i.impressions AS take_rate
FROM (
  SELECT title, window(at, '1 minute') AS w, count(*) AS impressions
  FROM impressions
  GROUP BY title, window(at, '1 minute')
) AS i
JOIN (
  SELECT title, window(at, '1 minute') AS w, count(*) AS plays
  FROM plays
  GROUP BY title, window(at, '1 minute')
) AS p
ON i.title = p.title AND i.w = p.w;
