//! The rooms of a crate hold: its files import each other without a circle, and a type that all
//! know has its methods in one file. What pages name is there.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use crate::Result;
use crate::tidy::Offence;

/// Crates whose files must have no circle, with the pairs that are one thing in two files: a
/// scheduler and its task, a cache and its items.
const WITHOUT_CIRCLE: [(&str, &[[&str; 2]]); 2] =
    [("engine", &[]), ("log", &[["flusher", "partition"], ["handles", "segment"]])];

/// Types with their methods in one file.
const ONE_IMPL: [(&str, &str); 2] = [("engine", "Platform"), ("engine", "Session")];

pub fn check(root: &Path, files: &[String], offences: &mut Vec<Offence>) -> Result<()> {
    for (room, pairs) in WITHOUT_CIRCLE {
        let src = format!("crates/{room}/src");
        let imports = imports(root, &src, files)?;
        for circle in circles(&imports) {
            if !pairs.iter().any(|pair| circle.iter().eq(pair.iter())) {
                let text = format!("files import each other in a circle: {}", circle.join(", "));
                offences.push(Offence { path: src.clone(), rule: "circle", text });
            }
        }
    }
    for (room, name) in ONE_IMPL {
        let src = format!("crates/{room}/src/");
        let head = format!("impl {name} {{");
        let mut found = vec![];
        for path in files.iter().filter(|p| p.starts_with(&src) && p.ends_with(".rs")) {
            let text = std::fs::read_to_string(root.join(path)).map_err(|e| e.to_string())?;
            if text.lines().any(|l| l == head) {
                found.push(path.clone());
            }
        }
        if found.len() != 1 {
            let text = format!("`{head}` stands in {} files, one is right", found.len());
            offences.push(Offence { path: src, rule: "impl", text });
        }
    }
    Ok(())
}

type Imports = BTreeMap<String, BTreeSet<String>>;

/// By module, the modules of the same crate that it names. Tests within a file do not count.
fn imports(root: &Path, src: &str, files: &[String]) -> Result<Imports> {
    let mut texts = BTreeMap::new();
    for path in files {
        let Some(file) = path.strip_prefix(src).and_then(|p| p.strip_suffix(".rs")) else {
            continue;
        };
        let module = file.trim_matches('/').trim_end_matches("/mod").replace('/', "::");
        if module != "lib" && !module.ends_with("_tests") {
            let text = std::fs::read_to_string(root.join(path)).map_err(|e| e.to_string())?;
            texts.insert(module, text);
        }
    }
    let modules: BTreeSet<&String> = texts.keys().collect();
    let named = |path: &str| {
        let parts: Vec<&str> = path.split("::").collect();
        let known = |n: &usize| modules.contains(&parts[..*n].join("::"));
        (1..=parts.len()).rev().find(known).map(|n| parts[..n].join("::"))
    };
    let of = |(module, text): (&String, &String)| {
        let product = text.split("#[cfg(test)]\nmod tests").next().unwrap_or(text);
        let code: String = product.lines().map(|l| l.split("//").next().unwrap_or(l)).collect();
        let mut found = BTreeSet::new();
        for part in code.split("crate::").skip(1) {
            match part.strip_prefix('{') {
                Some(list) => {
                    let list = list.split('}').next().unwrap_or(list);
                    found.extend(list.split(',').filter_map(|item| named(item.trim())));
                }
                None => {
                    let is_path = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == ':';
                    let path = part.split(|c| !is_path(c)).next().unwrap_or(part);
                    let list = part.strip_prefix(path).and_then(|rest| rest.strip_prefix('{'));
                    let items = list.map(|l| l.split('}').next().unwrap_or(l)).unwrap_or("");
                    let within = items.split(',').map(|i| format!("{path}{}", i.trim()));
                    found.extend(within.chain([path.to_string()]).filter_map(|p| named(&p)));
                }
            }
        }
        found.remove(module);
        (module.clone(), found)
    };
    Ok(texts.iter().map(of).collect())
}

/// Groups of modules that reach each other, each sorted.
fn circles(imports: &Imports) -> Vec<Vec<String>> {
    let reach = |from: &String| {
        let (mut seen, mut open) = (BTreeSet::new(), vec![from.clone()]);
        while let Some(at) = open.pop() {
            for next in imports.get(&at).into_iter().flatten() {
                if seen.insert(next.clone()) {
                    open.push(next.clone());
                }
            }
        }
        seen
    };
    let all: BTreeMap<&String, BTreeSet<String>> = imports.keys().map(|m| (m, reach(m))).collect();
    let mut found: BTreeSet<Vec<String>> = BTreeSet::new();
    for (module, seen) in &all {
        if seen.contains(*module) {
            let both = seen.iter().filter(|m| all.get(m).is_some_and(|s| s.contains(*module)));
            found.insert(both.cloned().collect());
        }
    }
    found.into_iter().collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_circle_is_found_and_a_line_is_none() {
        let dir = std::env::temp_dir().join(format!("watershed-rooms-{}", std::process::id()));
        let src = dir.join("src/room");
        std::fs::create_dir_all(&src).unwrap();
        let files = [
            ("src/lib.rs", "mod a; mod b; mod room;"),
            ("src/a.rs", "use crate::b::B;\n// use crate::room::x"),
            ("src/b.rs", "use crate::room::{c, d::D};"),
            ("src/room/mod.rs", "pub mod c; pub mod d;"),
            ("src/room/c.rs", "#[cfg(test)]\nmod tests { use crate::a::A; }"),
            ("src/room/d.rs", "fn f() -> crate::a::A {}"),
        ];
        for (path, text) in files {
            std::fs::write(dir.join(path), text).unwrap();
        }
        let names = files.map(|(path, _)| path.to_string());
        let found = circles(&imports(&dir, "src", &names).unwrap());
        assert_eq!(found, [["a", "b", "room::d"]]);
        std::fs::write(dir.join("src/room/d.rs"), "fn f() {}").unwrap();
        assert!(circles(&imports(&dir, "src", &names).unwrap()).is_empty());
        std::fs::remove_dir_all(&dir).unwrap();
    }
}
