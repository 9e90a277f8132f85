-- How long each engine has lived, and how hot and pressed its core was on average.
CREATE MATERIALIZED VIEW engines AS
SELECT unit, max(cycle) AS cycles, count(*) AS n, avg(s4) AS s4, avg(s11) AS s11
FROM flights
GROUP BY unit;

-- All engines at the same age: how the sensors drift as engines grow old.
CREATE MATERIALIZED VIEW wear AS
SELECT cycle, count(*) AS engines, avg(s4) AS s4, avg(s7) AS s7, avg(s11) AS s11, avg(s12) AS s12
FROM flights
GROUP BY cycle;
