//! `watershed new`: a small project to start from, with comments where a beginner asks.

use std::fs;
use std::path::{Path, PathBuf};

use clap::Args;
use common::{Error, Result};

use crate::{Outcome, terminal};

/// Make a small project to start from.
#[derive(Args)]
pub struct Arguments {
    /// Folder to make; it must be missing or empty.
    dir: PathBuf,
}

const FILES: &[(&str, &str)] = &[
    (
        "watershed.toml",
        r#"# Five lines choose the platform under the project; these are the defaults.
log     = "file:data/log"
lake    = "file:data/lake"
views   = "file:data/views"
engine  = "local"
catalog = "file:data/catalog.json"

# A stage with settings of its own is a table, with its place as location:
#   [lake]
#   location = "file:data/lake"
#   archive_interval = "10 s"

# All other settings with their values: watershed config show
"#,
    ),
    (
        "sql/readings.sql",
        r#"-- Where events come in. What does not fit goes to the dead letters, with the reason.
CREATE TOPIC readings (
  sensor TEXT NOT NULL,
  celsius DOUBLE,
  at TIMESTAMP,
  WATERMARK FOR at AS at - INTERVAL '5 seconds',   -- events may come this late
  CHECK (celsius BETWEEN -60 AND 200)
) WITH (key = 'sensor', partitions = 2);
"#,
    ),
    (
        "sql/minutes.sql",
        r#"-- Kept up to date as events arrive; ask for it any time:
--   curl 'http://127.0.0.1:4680/api/views/minute_avg?sensor=roof'
CREATE MATERIALIZED VIEW minute_avg AS
SELECT sensor, window(at, '1 minute') AS w, avg(celsius) AS celsius, count(*) AS n
FROM readings
GROUP BY sensor, window(at, '1 minute');
"#,
    ),
    (
        "tests/minutes.toml",
        r#"# Run with: watershed test
# Rows arrive at given times on a virtual clock; each test runs as a stream and as a batch.
[[test]]
name = "a late event inside the allowed delay counts, also over a restart"
view = "minute_avg"

[[test.step]]
at = "2026-01-01T10:00:30Z"
into = "readings"
rows = [{ sensor = "roof", celsius = 20.0, at = "2026-01-01T10:00:10Z" }]

[[test.step]]
restart = true

[[test.step]]
at = "2026-01-01T10:01:02Z"
into = "readings"
rows = [{ sensor = "roof", celsius = 22.0, at = "2026-01-01T10:00:59Z" }]

[test.expect]
rows = [{ sensor = "roof", celsius = 21.0, n = 2 }]
dead_letters = 0

[[test]]
name = "an impossible temperature is refused"
view = "minute_avg"

[[test.step]]
at = "2026-01-01T10:00:30Z"
into = "readings"
rows = [{ sensor = "roof", celsius = 999.0, at = "2026-01-01T10:00:10Z" }]

[test.expect]
rows = []
dead_letters = 1
"#,
    ),
    (
        "dashboards/readings.toml",
        r#"title = "Readings"

[[panel]]
title = "Average per minute"
view = "minute_avg"
chart = "line"
x = "w.start"
y = "celsius"
series = "sensor"

[[panel]]
title = "Events per minute"
view = "minute_avg"
chart = "bar"
x = "w.start"
y = "n"
series = "sensor"
"#,
    ),
    (".gitignore", "data/\n"),
];

pub fn run(arguments: &Arguments) -> Outcome {
    let dir = &arguments.dir;
    check_empty(dir)?;
    for (name, text) in FILES {
        let path = dir.join(name);
        let failed = |e| Error::io(format!("writing '{}'", path.display()), e);
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent).map_err(failed)?;
        }
        fs::write(&path, text).map_err(failed)?;
    }
    let shown = dir.display();
    terminal::say(&format!(
        "made {shown}: a topic, a view, its test and a dashboard. Next:\n\n  \
         watershed dev {shown}\n  \
         curl 127.0.0.1:4680/api/topics/readings --data-binary \
         '{{\"sensor\": \"roof\", \"celsius\": 21.5, \"at\": \"2026-01-01T10:00:00Z\"}}'"
    ));
    Ok(0)
}

fn check_empty(dir: &Path) -> Result<()> {
    match fs::read_dir(dir) {
        Ok(mut entries) => match entries.next() {
            None => Ok(()),
            Some(_) => {
                let e = format!("the folder '{}' is not empty", dir.display());
                Err(Error::already_exists(e).hint("name a new folder"))
            }
        },
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(()),
        Err(e) => Err(Error::io(format!("looking at '{}'", dir.display()), e)),
    }
}
