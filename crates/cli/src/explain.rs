//! `watershed explain`: how a view is kept up to date, operator by operator.

use clap::Args;

use crate::Outcome;
use crate::client::{Target, segment};
use crate::sql::{Form, run_one};
use crate::topic::quoted;

/// Say how a view is kept up to date.
#[derive(Args)]
pub struct Arguments {
    view: String,
    /// The plan as JSON.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    target: Target,
}

pub fn run(arguments: &Arguments) -> Outcome {
    let platform = arguments.target.connect()?;
    // Asked first, so that an unknown name gets the nearest one and not a place in a query.
    let path = format!("/api/views/{}?limit=1", segment(&arguments.view));
    platform.text(&path)?;
    let form = Form { json: arguments.json, csv: false };
    run_one(&platform, &format!("EXPLAIN {}", quoted(&arguments.view)), form)?;
    Ok(0)
}
