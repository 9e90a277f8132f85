-- One row per flight of an engine: the columns of NASA's C-MAPSS files, in their order.
CREATE TOPIC flights (
  unit INT NOT NULL,                                 -- the engine
  cycle INT NOT NULL,                                -- its flights, counted from 1
  setting1 DOUBLE, setting2 DOUBLE, setting3 DOUBLE,
  s1 DOUBLE, s2 DOUBLE, s3 DOUBLE, s4 DOUBLE, s5 DOUBLE, s6 DOUBLE, s7 DOUBLE,
  s8 DOUBLE, s9 DOUBLE, s10 DOUBLE, s11 DOUBLE, s12 DOUBLE, s13 DOUBLE, s14 DOUBLE,
  s15 DOUBLE, s16 DOUBLE, s17 DOUBLE, s18 DOUBLE, s19 DOUBLE, s20 DOUBLE, s21 DOUBLE,
  CHECK (unit >= 1 AND cycle >= 1)
) WITH (format = 'json', key = 'unit', partitions = 2);
