//! References made from code, so that they can't be wrong: the configuration keys.

use std::fmt::Write;

use common::Config;

use crate::{Result, root};

const CONFIG: &str = "docs/reference/config.md";

/// Writes the references.
pub fn run() -> Result<()> {
    let path = root().join(CONFIG);
    if let Some(dir) = path.parent() {
        std::fs::create_dir_all(dir).map_err(|e| e.to_string())?;
    }
    std::fs::write(&path, config()?).map_err(|e| format!("{CONFIG}: {e}"))?;
    println!("wrote {CONFIG}");
    Ok(())
}

/// Whether what is checked in is what `run` would write.
pub fn fresh() -> Result<bool> {
    Ok(std::fs::read_to_string(root().join(CONFIG)).unwrap_or_default() == config()?)
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
