//! `watershed import`: files into a topic, in numbered batches over HTTP. The server takes each
//! number once, and what was acknowledged is written down, so that a stopped import goes on where
//! it was and doubles nothing. Lines are judged by the server, as with every other door.

mod arguments;
mod convert;
mod delimited;
mod input;
mod into;
mod late;
mod lines;
mod names;
mod parquet_file;
mod resume;
mod source;

use std::path::Path;
use std::time::{Duration, Instant};

use common::Error;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::client::{Platform, segment};
use crate::render::Faults;
use crate::{Outcome, terminal};
pub use arguments::Arguments;
use resume::Progress;
use source::{Batch, Source};

/// Of each of many files so much is looked at.
const SAMPLE_BYTES_MIN: u64 = 256 << 10;
/// Refused lines that are shown.
const REFUSALS_SHOWN: usize = 10;
/// A platform that does not take a batch is asked again for so long.
const PATIENCE: Duration = Duration::from_secs(60);

#[derive(Deserialize)]
struct Ingested {
    accepted: u64,
    refused: u64,
    #[serde(default)]
    partitions: Vec<late::Range>,
    #[serde(default)]
    errors: Vec<Refusal>,
}

#[derive(Deserialize)]
struct Refusal {
    /// Of the file: the server knows how its lines and those of the body go together.
    line: u64,
    column: Option<String>,
    reason: String,
}

/// What came of it, over all runs of this import.
#[derive(Default)]
struct Total {
    accepted: u64,
    refused: u64,
    shown: Vec<String>,
    took: Duration,
    /// Where the rows of this run are.
    ranges: late::Ranges,
    /// Files that were imported before.
    known: Vec<String>,
}

pub fn run(arguments: &Arguments) -> Outcome {
    let paths = arguments.paths()?;
    let platform = arguments.target.connect()?;
    let wanted = arguments.types.as_deref().map(into::wanted_types).transpose()?;
    let sample_bytes = (source::SAMPLE_BYTES / paths.len().max(1) as u64).max(SAMPLE_BYTES_MIN);
    let topics: Vec<Value> = platform.get("/api/topics")?;
    let is_new = topics.iter().all(|t| t["name"] != arguments.into.as_str());
    let mut first = None;
    let columns = match (is_new, wanted) {
        (false, None) => into::columns_of(&platform, &arguments.into)?,
        (false, Some(_)) => {
            let e = Error::invalid(format!("topic '{}' has its types already", arguments.into));
            return Err(e.hint("--types is for a topic that the import makes").into());
        }
        (true, wanted) => {
            let mut fields = into::Fields::default();
            for path in &paths {
                let source = Source::open(arguments, path, sample_bytes)?;
                fields.add(&source)?;
                first.get_or_insert(source);
            }
            let is_json = first.as_ref().is_none_or(|source| !source.is_delimited());
            fields.columns(is_json, &wanted.unwrap_or_default())?
        }
    };
    if is_new {
        let statement = into::create_statement(&arguments.into, &columns);
        terminal::complain(&format!(
            "there is no topic '{}' yet; made from what is imported:\n{statement}",
            arguments.into
        ));
        if !arguments.dry_run {
            let _: Value = platform.sql(&statement)?;
        }
    }
    let import = Import { platform, arguments, columns, is_new };
    let mut total = Total::default();
    for path in &paths {
        // Standard input is open already.
        let mut source = match first.take() {
            Some(source) => source,
            None => Source::open(arguments, path, sample_bytes)?,
        };
        into::bind(&mut source, &arguments.into, &import.columns)?;
        match arguments.dry_run {
            true => terminal::say(&source.understood()),
            false => import.file(path, source, &mut total)?,
        }
    }
    match arguments.dry_run {
        true => terminal::say("nothing was imported: --dry-run"),
        false => return report(&import, &total),
    }
    Ok(0)
}

struct Import<'a> {
    platform: Platform,
    arguments: &'a Arguments,
    columns: into::Columns,
    /// The topic was made for it.
    is_new: bool,
}

impl Import<'_> {
    /// One file, from where it was left.
    fn file(&self, path: &Path, mut source: Source, total: &mut Total) -> Result<(), Faults> {
        if !self.arguments.json {
            terminal::complain(&source.understood());
        }
        let start = source.place();
        let mut progress = Progress::load(self.arguments, path, self.is_new)?;
        if progress.sequence > 0 {
            source.seek((progress.position, progress.line))?;
            let first = match progress.done {
                true => None,
                false => source.next_batch()?,
            };
            if self.is_known(first, &mut source, &progress)? {
                if progress.done {
                    total.known.push(source.input.name());
                    total.accepted += progress.accepted;
                    return Ok(());
                }
                terminal::complain(&format!("going on behind row {}", grouped(progress.rows)));
                source.seek((progress.position, progress.line))?;
            } else {
                progress.restart();
                source.seek(start)?;
            }
        }
        self.send_all(&mut source, &mut progress, total)
    }

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
        let name = source.input.name();
        match self.send(&batch, &name, &progress.id, sequence, &ProgressBar::hidden()) {
            Ok(_) => Ok(true),
            Err(faults) if faults.first()["code"] == "conflict" => Ok(false),
            Err(faults) => Err(faults),
        }
    }

    fn send_all(
        &self,
        source: &mut Source,
        progress: &mut Progress,
        total: &mut Total,
    ) -> Result<(), Faults> {
        let bar = bar(source, progress, self.arguments.json);
        let started = Instant::now();
        let name = source.input.name();
        loop {
            let place = source.place();
            let Some(batch) = source.next_batch()? else { break };
            let sequence = progress.sequence + 1;
            let sent = self.send(&batch, &name, &progress.id, sequence, &bar);
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
            total.ranges.add(&ingested.partitions);
            for refusal in ingested.errors {
                if total.shown.len() < REFUSALS_SHOWN {
                    total.shown.push(refusal.text(&name));
                }
            }
            bar.set_position(progress.position);
            bar.set_message(rows(progress.rows));
        }
        bar.finish_and_clear();
        progress.done = true;
        progress.save()?;
        total.accepted += progress.accepted;
        total.refused += progress.refused;
        total.took += started.elapsed();
        Ok(())
    }

    /// Sends one batch until it is acknowledged; a repeat is harmless because batches are
    /// numbered.
    fn send(
        &self,
        batch: &Batch,
        file: &str,
        id: &str,
        sequence: u64,
        bar: &ProgressBar,
    ) -> Result<Ingested, Faults> {
        let path = format!("/api/topics/{}", segment(&self.arguments.into));
        let mark = format!("{id};{sequence}");
        let (file, lines) = (segment(file), batch.lines_text());
        let headers = [
            ("content-type", batch.content_type),
            ("watershed-import", &mark),
            ("watershed-file", &file),
            ("watershed-lines", &lines),
        ];
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
    fn text(&self, file: &str) -> String {
        let column = self.column.as_ref().map(|c| format!(", column {c}")).unwrap_or_default();
        format!("{file}, line {}{column}: {}", self.line, self.reason)
    }
}

fn bar(source: &Source, progress: &Progress, json: bool) -> ProgressBar {
    let target = match json {
        true => ProgressDrawTarget::hidden(),
        // Hides itself where stderr is no terminal.
        false => ProgressDrawTarget::stderr_with_hz(10),
    };
    let bar = ProgressBar::with_draw_target(source.length(), target);
    let template = match source.counts_rows() {
        _ if source.length().is_none() => "{msg}  {bytes}  {bytes_per_sec}",
        true => "{bar:30} {percent:>3}% {human_pos}/{human_len} rows  {per_sec}  {eta} left",
        false => "{bar:30} {percent:>3}% {msg}  {bytes}/{total_bytes}  {bytes_per_sec}  {eta} left",
    };
    // The template is a constant; a bad one would only cost the looks.
    if let Ok(style) = ProgressStyle::with_template(template) {
        bar.set_style(style);
    }
    bar.with_position(progress.position)
}

fn report(import: &Import<'_>, total: &Total) -> Outcome {
    let (topic, json) = (&import.arguments.into, import.arguments.json);
    let (accepted, refused) = (total.accepted, total.refused);
    let late = late::count(&import.platform, topic, &total.ranges)?;
    if json {
        let mut out: Value = json!({
            "topic": topic, "accepted": accepted, "refused": refused,
            "errors": total.shown, "late": late,
        });
        if !total.known.is_empty() {
            out["already_imported"] = json!(total.known);
        }
        terminal::say(&out.to_string());
    } else {
        for file in &total.known {
            terminal::say(&format!(
                "'{file}' is in '{topic}' already (--again imports it once more)"
            ));
        }
        let rows = rows(accepted);
        let seconds = total.took.as_secs_f64();
        terminal::say(&match total.took.is_zero() && !total.known.is_empty() {
            true => format!("{rows} in '{topic}'"),
            false => format!("imported {rows} into '{topic}' in {seconds:.1} s"),
        });
    }
    for (view, rows) in &late {
        terminal::complain(&format!(
            "{} of them came too late for view '{view}', which is past their time",
            grouped(*rows)
        ));
    }
    if refused > 0 {
        let rows = if refused == 1 { "row was" } else { "rows were" };
        terminal::complain(&format!("{} {rows} refused:", grouped(refused)));
        for line in &total.shown {
            terminal::complain(&format!("  {line}"));
        }
        terminal::complain(&format!(
            "all of them with their text: watershed dead-letters --topic {topic}"
        ));
    }
    Ok(if refused > accepted { common::Kind::Invalid.exit_code() } else { 0 })
}

fn rows(n: u64) -> String {
    format!("{} {}", grouped(n), if n == 1 { "row" } else { "rows" })
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
