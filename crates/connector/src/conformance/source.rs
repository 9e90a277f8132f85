//! What every source must hold: it goes on after any position it gave, loses nothing when its
//! futures are dropped, names only columns of the topic, and stays at its end.

use std::collections::BTreeSet;
use std::time::Duration;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use arrow::json::LineDelimitedWriter;
use common::{Error, Result};
use tokio::time::timeout;

use super::ensure;
use crate::{Rows, Source, SourceBatch};

/// What this source, made as in the test, should show.
#[derive(Clone, Debug)]
pub struct Expected {
    /// The topic's columns.
    pub schema: SchemaRef,
    /// Batches to look at.
    pub batches: usize,
    /// Ends by itself within that many batches.
    pub bounded: bool,
    /// Gives positions, and the same rows again after each of them.
    pub resumes: bool,
}

/// Runs the suite. `make` gives a new, unopened source that reads the same things each time.
pub async fn check_source(
    make: impl Fn() -> Result<Box<dyn Source>>,
    expected: &Expected,
) -> Result<()> {
    let mut source = make()?;
    source.open(None).await?;
    let whole = read(source.as_mut(), expected.batches).await?;
    ensure(!whole.is_empty(), || "the source gave nothing".into())?;
    for batch in &whole {
        check_columns(&batch.rows, &expected.schema)?;
        ensure(batch.position.is_some() == expected.resumes, || {
            format!("a batch has the position {:?}", batch.position)
        })?;
    }
    if expected.bounded {
        for _ in 0..2 {
            ensure(source.next().await?.is_none(), || "there was more after the end".into())?;
        }
    }
    if expected.resumes {
        check_resume(&make, expected, &whole).await?;
        check_cancel(&make, expected, &whole).await?;
        let refused = make()?.open(Some("\u{0}not a position")).await;
        ensure(refused.is_err(), || "a senseless position was taken".into())?;
    }
    Ok(())
}

/// All rows as JSON lines, up to so many batches.
pub async fn read_all(source: &mut dyn Source, batches: usize) -> Result<Vec<String>> {
    lines(&read(source, batches).await?)
}

async fn read(source: &mut dyn Source, batches: usize) -> Result<Vec<SourceBatch>> {
    let mut found = vec![];
    while found.len() < batches {
        let Some(batch) = source.next().await? else {
            break;
        };
        found.push(batch);
    }
    Ok(found)
}

async fn check_resume(
    make: &impl Fn() -> Result<Box<dyn Source>>,
    expected: &Expected,
    whole: &[SourceBatch],
) -> Result<()> {
    let all = lines(whole)?;
    let mut before = 0;
    for (i, batch) in whole.iter().enumerate() {
        before += batch.rows.len();
        let mut source = make()?;
        source.open(batch.position.as_deref()).await?;
        // How rows are cut into batches may differ, so at least the first rows are compared.
        let rest = lines(&read(source.as_mut(), expected.batches - i).await?)?;
        let compared = if expected.bounded { all.len() - before } else { rest.len() };
        let same = rest.iter().zip(&all[before..]).take(compared).all(|(a, b)| a == b);
        ensure(same && (!expected.bounded || rest.len() == compared), || {
            format!("after position {:?} come {} rows, not the same", batch.position, rest.len())
        })?;
        if let Some(position) = &batch.position {
            source.committed(position).await?;
        }
    }
    Ok(())
}

/// Drops most futures of `next` at their first wait.
async fn check_cancel(
    make: &impl Fn() -> Result<Box<dyn Source>>,
    expected: &Expected,
    whole: &[SourceBatch],
) -> Result<()> {
    let mut source = make()?;
    source.open(None).await?;
    let all = lines(whole)?;
    let mut found = vec![];
    let mut patience = Duration::ZERO;
    while found.len() < all.len() {
        match timeout(patience, source.next()).await {
            Ok(batch) => match batch? {
                Some(batch) => found.extend(lines(&[batch])?),
                None => break,
            },
            Err(_) => patience += Duration::from_millis(1),
        }
    }
    let shared = if expected.bounded { found.len().max(all.len()) } else { all.len() };
    let same = found.len() >= all.len() && found.iter().take(shared).eq(all.iter().take(shared));
    ensure(same, || "dropping futures of next() lost or doubled rows".into())
}

fn check_columns(rows: &Rows, schema: &SchemaRef) -> Result<()> {
    let known: BTreeSet<&str> = schema.fields().iter().map(|f| f.name().as_str()).collect();
    let Rows::Arrow(batch) = rows else {
        return Ok(());
    };
    for field in batch.schema().fields() {
        ensure(known.contains(field.name().as_str()), || {
            format!("the column '{}' is not one of the topic", field.name())
        })?;
    }
    Ok(())
}

fn lines(batches: &[SourceBatch]) -> Result<Vec<String>> {
    let mut lines = vec![];
    for batch in batches {
        let text = match &batch.rows {
            Rows::Json(bytes) => bytes.to_vec(),
            Rows::Arrow(batch) => to_json(batch)?,
        };
        let text = String::from_utf8(text)
            .map_err(|e| Error::internal("a row is not UTF-8 text").caused_by(e))?;
        lines.extend(text.lines().filter(|l| !l.trim().is_empty()).map(str::to_string));
    }
    Ok(lines)
}

fn to_json(batch: &RecordBatch) -> Result<Vec<u8>> {
    let mut writer = LineDelimitedWriter::new(vec![]);
    let wrote = writer.write(batch).and_then(|()| writer.finish());
    wrote.map_err(|e| Error::internal(format!("writing rows as JSON: {e}")))?;
    Ok(writer.into_inner())
}
