//! Makes sure that the folder the console is embedded from exists, so that the server also builds
//! where Node was not run, and that a fresh console build is picked up.

use std::path::Path;

fn main() {
    let dist = Path::new("../../console/dist");
    // A folder that cannot be made is not a fault: the embedding allows it to be missing.
    let _ = std::fs::create_dir_all(dist);
    println!("cargo::rerun-if-changed={}", dist.display());
    println!("cargo::rerun-if-changed=build.rs");
}
