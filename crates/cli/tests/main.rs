//! The real program, driven as a user drives it: over HTTP and from the command line. Golden files
//! stand in `tests/http` and `tests/cli`; `BLESS=1` rewrites them.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stderr)]

mod support;

mod backup;
mod bad_input;
mod changing_tables;
mod cli_golden;
mod console;
mod damage;
mod dead_letters;
mod dev;
mod doctor_deep;
mod external_kafka;
mod guide;
mod http_golden;
mod import;
mod kafka;
mod kafka_admin;
mod kafka_cluster;
mod kafka_fuzz;
mod kafka_groups;
mod kafka_hostile;
mod kafka_sasl;
mod kafka_tls;
mod kafka_tokens;
mod kafka_tools;
mod metrics;
mod objects;
mod pgwire;
mod pgwire_hostile;
mod pgwire_prepared;
mod pgwire_values;
mod process;
mod queries;
mod readme;
mod secrets;
mod shell;
mod slow_clients;
mod sql_doors;
mod sse;
mod types_golden;
mod writing;
