//! What a new set of definitions changes: pure, from what runs and what is wanted. `changes.rs`
//! does it: all that can fail is prepared first, then the new takes the old one's place at once.

use catalog::Kind;
use catalog::kind::TOPIC;

/// A definition, as far as another one may take its place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Part {
    /// Names are of one kind at a time.
    pub kind: &'static Kind,
    pub name: String,
    /// Two of one print are the same thing.
    pub print: String,
    /// How it is connected, if that may change under the same thing.
    pub connection: Option<u64>,
    /// Topics whose logs it follows.
    pub reads: Vec<String>,
    /// Topics that it holds on to as they are.
    pub holds: Vec<String>,
    /// Of a topic. With less of them its log is made anew.
    pub partitions: i32,
}

impl Part {
    /// Of an object that reads and holds nothing.
    pub fn new(kind: &'static Kind, name: &str, print: String) -> Part {
        let (connection, partitions) = (None, 0);
        let name = name.to_string();
        Part { kind, name, print, connection, reads: vec![], holds: vec![], partitions }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// It runs on as it is.
    Keep,
    Make,
    /// Another takes its place.
    Replace,
    /// It begins anew, whatever it has.
    Rebuild,
    /// It runs on, connected otherwise.
    Reconnect,
}

/// What becomes of each wanted part, in the same order, and which running ones end. The view
/// `rebuild` is to begin anew.
pub fn decide<'a>(
    running: &'a [Part],
    wanted: &[Part],
    rebuild: Option<&str>,
) -> (Vec<Change>, Vec<&'a Part>) {
    let find = |part: &Part| running.iter().find(|r| r.kind == part.kind && r.name == part.name);
    let topic = |name: &String| wanted.iter().find(|p| p.kind == &TOPIC && p.name == *name);
    // Its log is another one: what was read from the old one says nothing of it.
    let is_new_log = |name: &String| {
        let was = |t: &Part| find(t).is_none_or(|was| was.partitions > t.partitions);
        topic(name).is_some_and(was)
    };
    let is_other =
        |name: &String| topic(name).is_some_and(|t| find(t).is_none_or(|was| was.print != t.print));
    let change = |part: &Part| {
        let Some(was) = find(part) else { return Change::Make };
        if rebuild == Some(part.name.as_str()) {
            return Change::Rebuild;
        }
        let moves = part.reads.iter().any(is_new_log) || part.holds.iter().any(is_other);
        match (was.print == part.print && !moves, was.connection == part.connection) {
            (true, true) => Change::Keep,
            (true, false) => Change::Reconnect,
            (false, _) => Change::Replace,
        }
    };
    let is_wanted = |r: &&Part| wanted.iter().any(|w| w.kind == r.kind && w.name == r.name);
    let ended = running.iter().filter(|r| !is_wanted(r)).collect();
    (wanted.iter().map(change).collect(), ended)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::expect_used)]
    use super::*;

    /// `TOPIC t 1`, `SOURCE s 1 > t`, `SINK k 1 ~7 > t`: kind, name, print, connection, topics.
    fn parts(text: &str) -> Vec<Part> {
        let part = |line: &str| {
            let (head, topics) = line.split_once(" > ").unwrap_or((line, ""));
            let mut words = head.split(' ');
            let kind = words.next().and_then(Kind::named).expect("a kind");
            let name = words.next().unwrap_or_default();
            let print = words.next().unwrap_or_default().to_string();
            let connection = words.next().and_then(|w| w.trim_matches('~').parse().ok());
            let topics = topics.split_terminator(',').map(String::from).collect();
            let (reads, holds) =
                if kind == &catalog::kind::SOURCE { (vec![], topics) } else { (topics, vec![]) };
            let partitions = if kind == &TOPIC { print.parse().unwrap_or(1) } else { 0 };
            Part { connection, reads, holds, partitions, ..Part::new(kind, name, print) }
        };
        text.split("; ").filter(|line| !line.is_empty()).map(part).collect()
    }

    #[test]
    fn what_runs_and_what_is_wanted() {
        use Change::{Keep, Make, Rebuild, Reconnect, Replace};
        let all = "TOPIC t 2; SOURCE s 1 > t; VIEW v 1 > t; SINK k 1 ~7 > t";
        let same: &[Change] = &[Keep, Keep, Keep, Keep];
        let table: [(&str, &str, &str, &[Change], &str); 14] = [
            ("", all, "", &[Make, Make, Make, Make], ""),
            (all, all, "", same, ""),
            (all, "", "", &[], "t s v k"),
            (all, all, "v", &[Keep, Keep, Rebuild, Keep], ""),
            (all, all, "none", same, ""),
            // More partitions: the source writes to another topic, views follow the log.
            (all, &all.replace("t 2", "t 3"), "", &[Replace, Replace, Keep, Keep], ""),
            // Less of them: there is another log.
            (all, &all.replace("t 2", "t 1"), "", &[Replace, Replace, Replace, Replace], ""),
            (all, &all.replace("VIEW v 1", "VIEW v 2"), "", &[Keep, Keep, Replace, Keep], ""),
            (all, &all.replace("~7", "~8"), "", &[Keep, Keep, Keep, Reconnect], ""),
            (all, &all.replace("SINK k 1 ~7", "SINK k 2 ~8"), "", &[Keep, Keep, Keep, Replace], ""),
            // What can't be connected anew has its connection in its print.
            (all, &all.replace("SOURCE s 1", "SOURCE s 2"), "", &[Keep, Replace, Keep, Keep], ""),
            // A name that is of another kind now.
            ("TOPIC t 1; VIEW x 1 > t", "TOPIC t 1; SINK x 1 > t", "", &[Keep, Make], "x"),
            ("TOPIC t 1; VIEW t2 1 > t", "TOPIC t 1; TOPIC t2 1", "", &[Keep, Make], "t2"),
            // A topic that was not there.
            ("VIEW v 1 > t", "TOPIC t 1; VIEW v 1 > t", "", &[Make, Replace], ""),
        ];
        for (running, wanted, rebuild, changes, ended) in table {
            let (running, wanted) = (parts(running), parts(wanted));
            let rebuild = Some(rebuild).filter(|name| !name.is_empty());
            let (decided, gone) = decide(&running, &wanted, rebuild);
            assert_eq!(decided, changes, "{running:?} {wanted:?}");
            let gone: Vec<&str> = gone.iter().map(|p| p.name.as_str()).collect();
            assert_eq!(gone.join(" "), ended, "{running:?} {wanted:?}");
        }
    }
}
