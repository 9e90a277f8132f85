//! `watershed explain`: how a view is kept up to date, operator by operator, drawn as a tree from
//! the view down to the topics it reads.

use clap::Args;
use serde::Deserialize;

use crate::client::{Target, segment};
use crate::sql::{Form, run_one};
use crate::topic::quoted;
use crate::{Outcome, terminal};

/// Say how a view is kept up to date.
///
/// For each operator: how it is kept up to date (incremental, or computed anew), what it
/// remembers, and how far that may grow.
#[derive(Args)]
pub struct Arguments {
    /// Name of the view.
    view: String,
    /// The operators as JSON.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    target: Target,
}

#[derive(Deserialize)]
struct Answer {
    rows: Vec<Operator>,
}

/// A row of EXPLAIN.
#[derive(Deserialize)]
struct Operator {
    level: usize,
    title: String,
    kept: String,
    state: String,
    bound: String,
}

pub fn run(arguments: &Arguments) -> Outcome {
    let platform = arguments.target.connect()?;
    let statement = format!("EXPLAIN {}", quoted(&arguments.view));
    // Asked first, so that an unknown name gets the nearest one and not a place in a query.
    let path = format!("/api/views/{}?limit=1", segment(&arguments.view));
    platform.text(&path)?;
    if arguments.json {
        run_one(&platform, &statement, Form { json: true, csv: false })?;
        return Ok(0);
    }
    let answer: Answer = platform.sql(&statement)?;
    terminal::say(&tree(&answer.rows));
    Ok(0)
}

fn tree(operators: &[Operator]) -> String {
    let mut out = vec![];
    for (i, operator) in operators.iter().enumerate() {
        let rest = operators.get(i + 1..).unwrap_or_default();
        // Whether one more follows at a level, before the tree goes back above it.
        let follows = |level: usize| {
            let below = rest.iter().take_while(|o| o.level >= level);
            below.into_iter().any(|o| o.level == level)
        };
        let bars: String =
            (1..operator.level).map(|l| if follows(l) { "│  " } else { "   " }).collect();
        let (knot, under) = match (operator.level, follows(operator.level)) {
            (0, _) => ("", String::new()),
            (_, true) => ("├─ ", format!("{bars}│  ")),
            (_, false) => ("└─ ", format!("{bars}   ")),
        };
        let inputs =
            if rest.first().is_some_and(|o| o.level > operator.level) { "│" } else { " " };
        out.push(format!("{bars}{knot}{}", operator.title));
        let line = |label: &str, text: &str| format!("{under}{inputs}    {label}  {text}");
        if operator.state == "none" {
            out.push(line("kept ", &format!("{}, without state", operator.kept)));
            continue;
        }
        out.push(line("kept ", &operator.kept));
        out.push(line("state", &operator.state));
        out.push(line("bound", &operator.bound));
    }
    out.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_join_has_two_branches() {
        let operator = |level, title: &str| Operator {
            level,
            title: title.into(),
            kept: "incremental".into(),
            state: format!("of {title}"),
            bound: "none".into(),
        };
        let drawn = tree(&[
            operator(0, "view"),
            operator(1, "join"),
            operator(2, "filter"),
            operator(3, "read a"),
            operator(2, "read b"),
        ]);
        let titles: Vec<&str> = drawn.lines().step_by(4).collect();
        assert_eq!(titles, ["view", "└─ join", "   ├─ filter", "   │  └─ read a", "   └─ read b"]);
        let states: Vec<&str> = drawn.lines().filter(|l| l.contains("state")).collect();
        assert_eq!(
            states,
            [
                "│    state  of view",
                "   │    state  of join",
                "   │  │    state  of filter",
                "   │          state  of read a",
                "           state  of read b",
            ]
        );
    }
}
