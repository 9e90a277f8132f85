//! Dead letters written out, edited, sent again and removed.

use serde_json::{Value, json};

use crate::support::{Project, READINGS, Server};

fn start() -> Server {
    Project::new(READINGS).serve(&[])
}

const CSV: &[(&str, &str)] = &[("content-type", "text/csv")];

#[test]
fn edited_and_sent_again_each_once() {
    let server = start();
    let ndjson =
        "{\"sensor\":\"a\",\"celsius\":\"warm\"}\n{\"sensor\":\"b\",\"celsius\":900}\nno json\n";
    server.post("/api/topics/readings", ndjson);
    let csv = b"celsius,sensor\nhot,c\n2,\n";
    server.send("POST", "/api/topics/readings", CSV, csv);
    let letters = |server: &Server| -> Vec<Value> {
        let out = server.run(&["dead-letters", "--export"]).ok().out;
        out.lines().map(|l| serde_json::from_str(l).unwrap()).collect()
    };
    let all = letters(&server);
    let raws: Vec<&str> = all.iter().rev().map(|l| l["raw"].as_str().unwrap()).collect();
    let lines: Vec<&str> = ndjson.lines().collect();
    assert_eq!(raws, [lines[0], lines[2], lines[1], "hot,c", "2,"]);
    assert_eq!(all[0]["header"], "celsius,sensor");

    // Three are mended, one is left as it was.
    let mended: String = all
        .iter()
        .filter(|l| l["raw"] != "no json")
        .map(|l| {
            let raw = l["raw"].as_str().unwrap();
            let raw = raw.replace("\"warm\"", "20").replace("900", "21").replace("hot", "22");
            json!({ "id": l["id"], "raw": raw }).to_string() + "\n"
        })
        .collect();
    server.project.write("mended.ndjson", &mended);
    for (accepted, refused, left) in [(3, 1, 0), (0, 0, 4)] {
        let resend = ["dead-letters", "--resend", "mended.ndjson", "--json"];
        let answer: Value = serde_json::from_str(&server.run(&resend).ok().out).unwrap();
        assert_eq!((&answer["accepted"], &answer["refused"]), (&json!(accepted), &json!(refused)));
        assert_eq!(answer["left"].as_object().unwrap().len(), left, "{answer}");
    }
    let rows = "SELECT sensor, celsius FROM readings ORDER BY celsius";
    assert_eq!(server.sql(rows), json!([["a", 20.0], ["b", 21.0], ["c", 22.0]]));
    let done = "SELECT count(*), count(resent_at) FROM dead_letters";
    assert_eq!(server.sql(done), json!([[6, 4]]));

    // They stay so, and as they came they are refused again.
    let server = server.kill().serve(&[]);
    let ran = server.run(&["dead-letters", "--resend", "--kind", "parse"]);
    assert_eq!(ran.code, 2, "{}", ran.out);
    assert!(ran.out.contains("0 accepted, 1 refused again"), "{}", ran.out);
    let removed = server.run(&["dead-letters", "--delete", "--topic", "readings"]).ok();
    assert_eq!(removed.out.trim(), "7 removed");
    assert_eq!(server.sql(done), json!([[0, 0]]));
    for (arguments, says) in [
        (&["--delete"][..], "which dead letters?"),
        (&["--delete", "--ids", "99"], "no dead letter 99"),
        (&["--resend", "--kind", "wrong"], "no kind 'wrong'"),
    ] {
        let ran = server.run(&[&["dead-letters"], arguments].concat());
        assert!(ran.code != 0 && ran.err.contains(says), "{arguments:?}: {}", ran.err);
    }
}
