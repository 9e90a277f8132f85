//! Every function with arguments that people do not think of: the answer is rows or an error that
//! says something, never a panic and never a gigabyte.

use rand::rngs::SmallRng;
use rand::seq::IndexedRandom;
use rand::{Rng, SeedableRng};

use crate::functions::names;
use crate::testing::{rows, state};

const VALUES: [&str; 40] = [
    "NULL",
    "0",
    "1",
    "-1",
    "3",
    "2147483647",
    "-2147483648",
    "9223372036854775807",
    "-9223372036854775807",
    "1.5",
    "-0.0",
    "1e308",
    "CAST('NaN' AS DOUBLE)",
    "CAST('Infinity' AS DOUBLE)",
    "99999999999999999999999999999999999999",
    "0.00000000000000000000000000000000000001",
    "''",
    "'a'",
    "'\u{1F600}é'",
    "'%1000000d %s'",
    "'yyyy-MM-dd'",
    "'yyyyyyyyyyyyyyyy'",
    "'[a-z'",
    "'(a+)+$'",
    "'{\"a\":[1,{\"b\":null}]}'",
    "'2024-02-30'",
    "'Europe/Berlin'",
    "X'ff00fe'",
    "true",
    "DATE '0001-01-01'",
    "DATE '9999-12-31'",
    "CAST(2147483647 AS INT)",
    "TIMESTAMP '1969-12-31 23:59:59.999999'",
    "TIMESTAMP '9999-12-31 23:59:59.999999'",
    "INTERVAL '1 day'",
    "INTERVAL '178956970 years'",
    "INTERVAL '0 seconds'",
    "array(1, NULL, 3)",
    "array()",
    "named_struct('a', 1, 'b', 'x')",
];

fn call(rng: &mut SmallRng, names: &[String], depth: usize) -> String {
    let Some(name) = names.choose(rng) else { return "1".into() };
    let n = rng.random_range(0..=4);
    let argument = |rng: &mut SmallRng| match depth < 2 && rng.random_bool(0.25) {
        true => call(rng, names, depth + 1),
        false => VALUES.choose(rng).unwrap().to_string(),
    };
    let arguments: Vec<String> = (0..n).map(|_| argument(rng)).collect();
    format!("{name}({})", arguments.join(", "))
}

#[tokio::test(flavor = "multi_thread")]
async fn no_function_panics() {
    let seed = std::env::var("SEED").ok().and_then(|s| s.parse().ok()).unwrap_or(1);
    let calls = std::env::var("CALLS").ok().and_then(|s| s.parse().ok()).unwrap_or(500);
    let mut rng = SmallRng::seed_from_u64(seed);
    let names: Vec<String> = names().into_iter().filter(|n| n != "sleep").collect();
    let (mut panics, mut answered, mut told) = (vec![], 0, 0);
    for _ in 0..calls {
        let from = if rng.random_bool(0.3) { " FROM events" } else { "" };
        let query = format!("SELECT {}{from}", call(&mut rng, &names, 0));
        let asked = query.clone();
        let run = tokio::spawn(async move { rows(&state().await, &asked).await });
        match run.await {
            Ok(text) if text.contains(": ") => told += 1,
            Ok(_) => answered += 1,
            Err(_) => panics.push(query),
        }
    }
    assert!(panics.is_empty(), "SEED={seed}: {} panics:\n{}", panics.len(), panics.join("\n"));
    assert!(answered > calls / 50 && told > calls / 50, "{answered} answered, {told} refused");
}
