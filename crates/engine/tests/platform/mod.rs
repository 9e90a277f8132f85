mod apply;
mod archive;
mod closing;
mod damage;
mod dead_letters;
mod disk_full;
mod evolution;
mod lifecycle;
mod limits;
mod locks;
mod on_close;
mod once;
mod other_producers;
mod power_cuts;
mod replaced;
mod retention;
mod row_cache;
mod sinks;
mod subscriptions;
mod support;
mod uncomputable;
mod view_pages;

/// What a child does until it crashes.
fn scenario(name: &str, bench: &support::Bench) {
    match name {
        "import" => once::importing(bench),
        "archive" => archive::archiving(bench),
        "drop" => lifecycle::dropping(bench),
        "sink" => sinks::delivering(bench),
        other => panic!("no scenario '{other}'"),
    }
}
