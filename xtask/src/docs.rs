//! References made from code, so that they can't be wrong: the configuration keys, and all limits.

use std::fmt::Write;

use common::Config;

use crate::{Result, root};

const CONFIG: &str = "docs/reference/config.md";
const LIMITS: &str = "docs/limits.md";

/// Writes the references.
pub fn run() -> Result<()> {
    for (name, page) in pages()? {
        let path = root().join(name);
        if let Some(dir) = path.parent() {
            std::fs::create_dir_all(dir).map_err(|e| e.to_string())?;
        }
        std::fs::write(&path, page).map_err(|e| format!("{name}: {e}"))?;
        println!("wrote {name}");
    }
    Ok(())
}

/// Whether what is checked in is what `run` would write.
pub fn fresh() -> Result<bool> {
    let same = |(name, page): &(&str, String)| {
        std::fs::read_to_string(root().join(name)).unwrap_or_default() == *page
    };
    Ok(pages()?.iter().all(same))
}

fn pages() -> Result<[(&'static str, String); 2]> {
    Ok([(CONFIG, config()?), (LIMITS, limits()?)])
}

/// Keys that are limits, by how they are named.
const LIMIT_WORDS: [&str; 6] = ["max", "timeout", "memory", "retention", "interval", "rate_min"];

fn limits() -> Result<String> {
    let config = Config::load(None, [], &[]).map_err(|e| format!("{e:?}"))?;
    let mut page = String::from(
        "# Limits\n\nMade by `make docs` from the configuration tree and the constants of the code. \
         What passes a limit is refused alone, with the name of\nthe limit; the others go on.\n\n\
         ## That can be set\n\n| key | default | what happens |\n| --- | --- | --- |\n",
    );
    let is_limit = |key: &str| LIMIT_WORDS.iter().any(|w| key.contains(w));
    for key in config.show().iter().filter(|k| is_limit(k.key)) {
        let _ =
            writeln!(page, "| `{}` | `{}` | {} |", key.key, key.value.trim_matches('"'), key.doc);
    }
    page.push_str("\n## That are fixed\n\n| limit | value | what it is | where |\n");
    page.push_str("| --- | --- | --- | --- |\n");
    let mut files = vec![];
    sources(&root().join("crates"), &mut files)?;
    files.sort();
    for file in files {
        let text = std::fs::read_to_string(&file).map_err(|e| e.to_string())?;
        let shown = file.strip_prefix(root()).unwrap_or(&file).display().to_string();
        for (name, value, doc) in constants(&text) {
            let _ = writeln!(page, "| `{name}` | `{value}` | {doc} | `{shown}` |");
        }
    }
    Ok(page)
}

/// `const …_MAX: type = value;` with the comment in front of it.
fn constants(text: &str) -> Vec<(String, String, String)> {
    let (mut found, mut doc) = (vec![], String::new());
    for line in text.lines() {
        let line = line.trim();
        if let Some(comment) = line.strip_prefix("///") {
            doc.push_str(comment);
            continue;
        }
        let constant = line.trim_start_matches("pub ").trim_start_matches("pub(crate) ");
        if let Some((name, rest)) = constant.strip_prefix("const ").and_then(|c| c.split_once(':'))
            && name.ends_with("_MAX")
            && let Some((_, value)) = rest.split_once('=')
            && let Some(value) = value.trim().strip_suffix(';')
            && !doc.is_empty()
        {
            found.push((name.into(), value.into(), doc.trim().to_string()));
        }
        doc.clear();
    }
    found
}

fn sources(dir: &std::path::Path, found: &mut Vec<std::path::PathBuf>) -> Result<()> {
    for entry in std::fs::read_dir(dir).map_err(|e| e.to_string())? {
        let path = entry.map_err(|e| e.to_string())?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if path.is_dir() && name != "tests" && name != "testkit" {
            sources(&path, found)?;
        } else if name.ends_with(".rs") && !name.ends_with("tests.rs") {
            found.push(path);
        }
    }
    Ok(())
}

fn config() -> Result<String> {
    let config = Config::load(None, [], &[]).map_err(|e| format!("{e:?}"))?;
    let mut page = String::from(
        "# Configuration\n\nMade by `make docs` from `crates/common/src/config.rs`. Order: default < \
         `watershed.toml` < environment < flag; `watershed config show`\nnames the origin of each \
         value. Keys with a dot stand in a table: `[http]`, `port = 4680`.\n\n\
         | key | default | environment | meaning |\n| --- | --- | --- | --- |\n",
    );
    for key in config.show() {
        let environment = key.key.replace('.', "_").to_uppercase();
        let value = key.value.trim_matches('"');
        let _ = writeln!(
            page,
            "| `{}` | `{value}` | `WATERSHED_{environment}` | {} |",
            key.key, key.doc
        );
    }
    Ok(page)
}
