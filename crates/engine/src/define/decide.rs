//! What a new set of definitions changes: pure, from what runs and what is wanted. `changes.rs`
//! does it: all that can fail is prepared first, then the new takes the old one's place at once.

/// A definition, as far as another one may take its place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Part {
    /// As written in `CREATE …`. Names are of one kind at a time.
    pub kind: &'static str,
    pub name: String,
    /// Two of one print are the same thing.
    pub print: String,
    /// How it is connected, which may change under the same thing.
    pub connection: u64,
    /// Topics that it reads, or writes into.
    pub topics: Vec<String>,
    /// Of a topic. With less of them its log is made anew.
    pub partitions: i32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// It runs on as it is.
    Keep,
    Make,
    /// Another takes its place.
    Replace,
    /// It runs on, connected otherwise.
    Reconnect,
}

/// What becomes of each wanted part, in the same order, and which running ones end. A view is to
/// begin anew, whatever it has, if it is `rebuild`.
pub fn decide<'a>(
    running: &'a [Part],
    wanted: &[Part],
    rebuild: Option<&str>,
) -> (Vec<Change>, Vec<&'a Part>) {
    let find = |part: &Part| running.iter().find(|r| r.kind == part.kind && r.name == part.name);
    let topic = |name: &String| wanted.iter().find(|p| p.kind == "TOPIC" && p.name == *name);
    // Its log is another one: what was read from the old one says nothing of it.
    let is_new_log = |name: &String| {
        let was = |t: &Part| find(t).is_none_or(|was| was.partitions > t.partitions);
        topic(name).is_some_and(was)
    };
    let is_other =
        |name: &String| topic(name).is_some_and(|t| find(t).is_none_or(|was| was.print != t.print));
    let change = |part: &Part| {
        let Some(was) = find(part) else { return Change::Make };
        let is_anew = part.kind == "MATERIALIZED VIEW" && rebuild == Some(part.name.as_str());
        // A source holds on to its topic as it is; a pipeline follows the log.
        let moves = match part.kind {
            "SOURCE" => part.topics.iter().any(is_other),
            _ => part.topics.iter().any(is_new_log),
        };
        match (was.print == part.print && !is_anew && !moves, was.connection == part.connection) {
            (true, true) => Change::Keep,
            // Nothing of a source waits for a delivery: it is made anew.
            (true, false) if part.kind == "SINK" => Change::Reconnect,
            _ => Change::Replace,
        }
    };
    let is_wanted = |r: &&Part| wanted.iter().any(|w| w.kind == r.kind && w.name == r.name);
    let ended = running.iter().filter(|r| !is_wanted(r)).collect();
    (wanted.iter().map(change).collect(), ended)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `TOPIC t 1`, `SOURCE s 1 > t`, `SINK k 1 ~7 > t`: kind, name, print, connection, topics.
    fn parts(text: &str) -> Vec<Part> {
        let part = |line: &str| {
            let (head, topics) = line.split_once(" > ").unwrap_or((line, ""));
            let mut words = head.split(' ');
            let kind = match words.next() {
                Some("TOPIC") => "TOPIC",
                Some("SOURCE") => "SOURCE",
                Some("VIEW") => "MATERIALIZED VIEW",
                _ => "SINK",
            };
            let name = words.next().unwrap_or_default().to_string();
            let print = words.next().unwrap_or_default().to_string();
            let connection = words.next().and_then(|w| w.trim_matches('~').parse().ok());
            Part {
                kind,
                name,
                partitions: if kind == "TOPIC" { print.parse().unwrap_or(1) } else { 0 },
                print,
                connection: connection.unwrap_or_default(),
                topics: topics.split_terminator(',').map(String::from).collect(),
            }
        };
        text.split("; ").filter(|line| !line.is_empty()).map(part).collect()
    }

    #[test]
    fn what_runs_and_what_is_wanted() {
        use Change::{Keep, Make, Reconnect, Replace};
        let all = "TOPIC t 2; SOURCE s 1 > t; VIEW v 1 > t; SINK k 1 ~7 > t";
        let same: &[Change] = &[Keep, Keep, Keep, Keep];
        let table: [(&str, &str, &str, &[Change], &str); 14] = [
            ("", all, "", &[Make, Make, Make, Make], ""),
            (all, all, "", same, ""),
            (all, "", "", &[], "t s v k"),
            (all, all, "v", &[Keep, Keep, Replace, Keep], ""),
            (all, all, "s", same, ""),
            // More partitions: the source writes to another topic, views follow the log.
            (all, &all.replace("t 2", "t 3"), "", &[Replace, Replace, Keep, Keep], ""),
            // Less of them: there is another log.
            (all, &all.replace("t 2", "t 1"), "", &[Replace, Replace, Replace, Replace], ""),
            (all, &all.replace("VIEW v 1", "VIEW v 2"), "", &[Keep, Keep, Replace, Keep], ""),
            (all, &all.replace("~7", "~8"), "", &[Keep, Keep, Keep, Reconnect], ""),
            (all, &all.replace("SINK k 1 ~7", "SINK k 2 ~8"), "", &[Keep, Keep, Keep, Replace], ""),
            (
                "TOPIC t 1; SOURCE s 1 ~1 > t",
                "TOPIC t 1; SOURCE s 1 ~2 > t",
                "",
                &[Keep, Replace],
                "",
            ),
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
