//! `watershed import`: a file into a topic, in numbered batches over HTTP. The server takes each
//! number once, and what was acknowledged is written down, so that a stopped import goes on where
//! it was and doubles nothing. Lines are judged by the server, as with every other door.

mod delimited;
mod lines;
mod parquet_file;
mod resume;
mod schema;
mod source;

use std::path::PathBuf;
use std::time::{Duration, Instant};

use clap::Args;
use common::Error;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::client::{Platform, Target, segment};
use crate::render::Faults;
use crate::{Outcome, terminal};
use resume::Progress;
use source::{Batch, Source};

/// Refused lines that are shown.
const REFUSALS_SHOWN: usize = 10;
/// A platform that does not take a batch is asked again for so long.
const PATIENCE: Duration = Duration::from_secs(60);

/// Import a file: CSV, TSV, space separated text, NDJSON or Parquet.
#[derive(Args)]
pub struct Arguments {
    /// The file; its ending says what it holds.
    file: PathBuf,
    /// The topic; made from what the file holds when there is none of this name.
    #[arg(long, value_name = "TOPIC")]
    into: String,
    /// csv, ndjson or parquet; found out from the file otherwise.
    #[arg(long, value_enum)]
    format: Option<source::Format>,
    /// What stands between two fields: one character, 'tab' or 'space' (any run of blanks).
    #[arg(long)]
    delimiter: Option<String>,
    /// The first line names the columns.
    #[arg(long, conflicts_with = "no_header")]
    header: bool,
    /// The first line is data already.
    #[arg(long)]
    no_header: bool,
    /// Names of the columns, separated by commas, for files without a header.
    #[arg(long, value_delimiter = ',')]
    columns: Vec<String>,
    /// Import it once more although it was imported.
    #[arg(long)]
    again: bool,
    /// The result as JSON.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    target: Target,
}

#[derive(Deserialize)]
struct Ingested {
    accepted: u64,
    refused: u64,
    #[serde(default)]
    errors: Vec<Refusal>,
}

#[derive(Deserialize)]
struct Refusal {
    line: u64,
    column: Option<String>,
    reason: String,
}

/// What came of it, over all runs of this import.
struct Total {
    accepted: u64,
    refused: u64,
    shown: Vec<String>,
    took: Duration,
}

pub fn run(arguments: &Arguments) -> Outcome {
    let platform = arguments.target.connect()?;
    let mut source = Source::open(arguments)?;
    let topic_is_new = schema::ensure_topic(&platform, &arguments.into, &mut source)?;
    let start = source.place();
    let mut progress = Progress::load(arguments, topic_is_new)?;
    let import = Import { platform, arguments };
    if progress.sequence > 0 {
        source.seek((progress.position, progress.line))?;
        let first = match progress.done {
            true => None,
            false => source.next_batch()?,
        };
        if import.is_known(first, &mut source, &progress)? {
            if progress.done {
                return already(arguments, &progress);
            }
            terminal::complain(&format!("going on behind row {}", grouped(progress.rows)));
            source.seek((progress.position, progress.line))?;
        } else {
            progress.restart();
            source.seek(start)?;
        }
    }
    let total = import.send_all(&mut source, &mut progress)?;
    report(arguments, &total)
}

struct Import<'a> {
    platform: Platform,
    arguments: &'a Arguments,
}

fn already(arguments: &Arguments, progress: &Progress) -> Outcome {
    let (file, rows) = (arguments.file.display(), progress.accepted);
    if arguments.json {
        terminal::say(&json!({ "already_imported": true, "accepted": rows }).to_string());
    } else {
        terminal::say(&format!(
            "'{file}' is in '{}' already: {rows} rows (--again imports it once more)",
            arguments.into
        ));
    }
    Ok(0)
}

impl Import<'_> {
    /// Whether the platform still knows this import: it takes the next batch, or the last one
    /// again when there is no next. One that was made anew knows no number but the first, and
    /// taking that is right there too.
    fn is_known(
        &self,
        next: Option<Batch>,
        source: &mut Source,
        progress: &Progress,
    ) -> Result<bool, Faults> {
        let (batch, sequence) = match next {
            Some(batch) => (Some(batch), progress.sequence + 1),
            None => {
                source.seek(progress.last)?;
                (source.next_batch()?, progress.sequence)
            }
        };
        let Some(batch) = batch else { return Ok(false) };
        match self.send(&batch, &progress.id, sequence, &ProgressBar::hidden()) {
            Ok(_) => Ok(true),
            Err(faults) if faults.first()["code"] == "conflict" => Ok(false),
            Err(faults) => Err(faults),
        }
    }

    fn send_all(&self, source: &mut Source, progress: &mut Progress) -> Result<Total, Faults> {
        let bar = bar(source, progress, self.arguments.json);
        let started = Instant::now();
        let mut shown = vec![];
        loop {
            let place = source.place();
            let Some(batch) = source.next_batch()? else { break };
            let sequence = progress.sequence + 1;
            let sent = self.send(&batch, &progress.id, sequence, &bar);
            let ingested = sent.inspect_err(|_| {
                bar.finish_and_clear();
                terminal::complain("stopped; the same command goes on from here");
            })?;
            progress.sequence = sequence;
            progress.last = place;
            progress.position = batch.position;
            progress.line = batch.next_line;
            progress.rows += batch.rows;
            progress.accepted += ingested.accepted;
            progress.refused += ingested.refused;
            progress.save()?;
            for refusal in ingested.errors {
                if shown.len() < REFUSALS_SHOWN {
                    shown.push(refusal.text(&batch));
                }
            }
            bar.set_position(progress.position);
            bar.set_message(format!("{} rows", grouped(progress.rows)));
        }
        bar.finish_and_clear();
        progress.done = true;
        progress.save()?;
        let (accepted, refused) = (progress.accepted, progress.refused);
        Ok(Total { accepted, refused, shown, took: started.elapsed() })
    }

    /// Sends one batch until it is acknowledged; a repeat is harmless because batches are
    /// numbered.
    fn send(
        &self,
        batch: &Batch,
        id: &str,
        sequence: u64,
        bar: &ProgressBar,
    ) -> Result<Ingested, Faults> {
        let path = format!("/api/topics/{}", segment(&self.arguments.into));
        let mark = format!("{id};{sequence}");
        let headers = [("content-type", batch.content_type), ("watershed-import", &mark)];
        let started = Instant::now();
        let mut pause = Duration::from_millis(200);
        loop {
            let sent = self.platform.post::<Ingested>(&path, &headers, batch.body.clone());
            let faults = match sent {
                Ok(ingested) => return Ok(ingested),
                Err(faults) => faults,
            };
            // All lines refused: an answer like any other, only with a status of its own.
            if faults.first()["refused"].is_u64() {
                return serde_json::from_value(faults.first().clone())
                    .map_err(|e| Error::invalid(format!("the answer does not parse: {e}")).into());
            }
            if !faults.may_retry() || started.elapsed() > PATIENCE {
                return Err(faults);
            }
            bar.set_message("waiting for the platform");
            std::thread::sleep(pause);
            pause = (pause * 2).min(Duration::from_secs(5));
        }
    }
}

impl Refusal {
    fn text(&self, batch: &Batch) -> String {
        let line = batch.source_line(self.line);
        let column = self.column.as_ref().map(|c| format!(", column {c}")).unwrap_or_default();
        format!("line {line}{column}: {}", self.reason)
    }
}

fn bar(source: &Source, progress: &Progress, json: bool) -> ProgressBar {
    let target = match json {
        true => ProgressDrawTarget::hidden(),
        // Hides itself where stderr is no terminal.
        false => ProgressDrawTarget::stderr_with_hz(10),
    };
    let bar = ProgressBar::with_draw_target(Some(source.length()), target);
    let template = match source.counts_rows() {
        true => "{bar:30} {percent:>3}% {human_pos}/{human_len} rows  {per_sec}  {eta} left",
        false => "{bar:30} {percent:>3}% {msg}  {bytes}/{total_bytes}  {bytes_per_sec}  {eta} left",
    };
    // The template is a constant; a bad one would only cost the looks.
    if let Ok(style) = ProgressStyle::with_template(template) {
        bar.set_style(style);
    }
    bar.with_position(progress.position)
}

fn report(arguments: &Arguments, total: &Total) -> Outcome {
    let (accepted, refused) = (total.accepted, total.refused);
    if arguments.json {
        let out: Value = json!({
            "topic": arguments.into, "accepted": accepted, "refused": refused,
            "errors": total.shown,
        });
        terminal::say(&out.to_string());
    } else {
        let seconds = total.took.as_secs_f64();
        terminal::say(&format!(
            "imported {} rows into '{}' in {seconds:.1} s",
            grouped(accepted),
            arguments.into
        ));
    }
    if refused > 0 {
        let rows = if refused == 1 { "row was" } else { "rows were" };
        terminal::complain(&format!("{} {rows} refused:", grouped(refused)));
        for line in &total.shown {
            terminal::complain(&format!("  {line}"));
        }
        terminal::complain(&format!(
            "all of them with their text: watershed dead-letters --topic {}",
            arguments.into
        ));
    }
    let nothing = accepted == 0 && refused > 0;
    Ok(if nothing { common::Kind::Invalid.exit_code() } else { 0 })
}

/// 20631 as 20,631.
fn grouped(n: u64) -> String {
    let digits = n.to_string();
    let mut out = String::new();
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

#[cfg(test)]
mod tests {
    #[test]
    fn numbers_for_people() {
        for (n, text) in [(0, "0"), (999, "999"), (1_000, "1,000"), (20_631, "20,631")] {
            assert_eq!(super::grouped(n), text);
        }
    }
}
