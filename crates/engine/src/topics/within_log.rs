//! What was read once must be in the log still: files of a log that were lost, or a folder that was
//! copied while its platform ran, are found here.

use std::collections::BTreeMap;

use common::{Error, Offset, Partition, Result};

/// The archive holds nothing that the log never had: with less in the log than in the archive, new
/// events would be taken for archived ones.
pub fn archive(log: &log::Topic, archived: &BTreeMap<Partition, Offset>) -> Result<()> {
    for (partition, next) in archived {
        let end = log.partition(*partition).map_or(Offset(0), |p| p.high_watermark());
        if *next > end {
            let topic = log.name();
            return Err(Error::corrupt(format!(
                "topic '{topic}' partition {partition} is archived up to offset {next}, \
                 its log ends at {end}"
            ))
            .hint("files of the log were lost: restore the data folder from a backup"));
        }
    }
    Ok(())
}

/// What was read once must be there still: without this a view of a log that was cut back would
/// wait in silence until the log is as long again.
pub fn view(view: &str, log: &log::PartitionLog, next: Offset) -> Result<()> {
    let end = log.high_watermark();
    if next <= end {
        return Ok(());
    }
    Err(beyond_log(view, log.topic(), log.id(), next, end))
}

/// The fault itself.
pub fn beyond_log(
    view: &str,
    topic: &str,
    partition: Partition,
    next: Offset,
    end: Offset,
) -> Error {
    Error::corrupt(format!(
        "'{view}' has read topic '{topic}' partition {partition} up to offset {next}, its log ends \
         at {end}: log and views are not of one moment"
    ))
    .hint(format!(
        "files of the log were lost, or the folder was copied while its platform ran: restore a \
         copy made by 'watershed backup', or go on with the events that are there: watershed view \
         rebuild {view}"
    ))
}
