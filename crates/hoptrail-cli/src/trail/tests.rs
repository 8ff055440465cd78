//! What a trail looks like, word for word.

use super::*;
use hoptrail_core::reason::Reason;
use hoptrail_core::{Endpoint, Protocol};
use hoptrail_engine::trails::Application;
use std::net::SocketAddr;

const ACME: u64 = 0xac;
const BETA: u64 = 0xbe;

fn at(text: &str) -> Endpoint {
    text.parse::<SocketAddr>().unwrap().into()
}

fn names() -> Names {
    Names(HashMap::from([(ACME, "acme".into()), (BETA, "beta".into())]))
}

fn hop(depth: usize, handle: u64, from: &str, to: &str, us: u64) -> Leg {
    Leg {
        depth,
        end: End::Redirected { handle, filter: 0, time_ns: us * 1000 },
        from: Some(at(from)),
        to: at(to),
        by: (4100 + depth as u32, Some("curl".into())),
        provenance: if depth == 1 { Provenance::Fresh } else { Provenance::Declared },
        after: Some(Duration::from_micros(us)),
    }
}

fn trail(last: End) -> TrailRecord {
    TrailRecord {
        id: [1, 2],
        protocol: Protocol::Tcp,
        application: Application {
            pid: 4100,
            uid: 0,
            name: "curl".into(),
            exe: Some("/usr/bin/curl".into()),
        },
        destination: at("192.0.2.10:80"),
        local: at("192.0.2.10:40112"),
        legs: vec![
            hop(1, ACME, "127.0.0.1:40112", "127.0.0.1:15871", 0),
            hop(2, BETA, "127.0.0.1:9", "127.0.0.1:15872", 900),
            Leg {
                depth: 3,
                end: last,
                from: None,
                to: at("192.0.2.10:80"),
                by: (5012, Some("proxy".into())),
                provenance: Provenance::Inferred,
                after: Some(Duration::from_micros(1400)),
            },
        ],
        began: Some(SystemTime::UNIX_EPOCH + Duration::from_secs(1)),
    }
}

#[test]
fn a_line_per_leg_in_columns() {
    let plain = anstream::adapter::strip_str(&one(&trail(End::Reached), &names())).to_string();
    assert_eq!(
        plain,
        "\
curl[4100] (root, /usr/bin/curl) → 192.0.2.10:80
   1  acme  filter 1  127.0.0.1:40112 → 127.0.0.1:15871    +0.0 ms
   2  beta  filter 1      127.0.0.1:9 → 127.0.0.1:15872    +0.9 ms   declared
   ✓  192.0.2.10:80 reached from beta's proxy[5012]  +1.4 ms  inferred
"
    );
}

#[test]
fn a_refusal_says_who_refused_and_why() {
    let refused = End::Refused { reason: Reason::FilterBlock, handle: BETA, filter: 3 };
    let plain = anstream::adapter::strip_str(&one(&trail(refused), &names())).to_string();
    let last = plain.lines().last().unwrap();
    assert_eq!(
        last,
        "   ✗  192.0.2.10:80 refused to beta's proxy[5012]: a block filter matches (beta, filter 4)  +1.4 ms  inferred"
    );
}

#[test]
fn json_has_the_documented_keys() {
    let value = value(&trail(End::Reached), &names());
    assert_eq!(value["id"], "00000000000000010000000000000002");
    assert_eq!(value["outcome"], "reached");
    assert_eq!(value["began_unix_us"], 1_000_000);
    assert_eq!(value["application"]["exe"], "/usr/bin/curl");
    let legs = value["legs"].as_array().unwrap();
    assert_eq!(legs.len(), 3);
    assert_eq!(legs[0]["provider"]["name"], "acme");
    assert_eq!(legs[0]["filter"], 1);
    assert_eq!((&legs[1]["after_us"], &legs[1]["provenance"]), (&json!(900), &json!("declared")));
    assert_eq!(legs[2]["kind"], "reached");
    assert_eq!(legs[2]["from"], Value::Null);
}

/// Every key that can be printed is in the document, and the document's own example reads as JSON.
#[test]
fn the_document_describes_every_key() {
    let text = include_str!("../../../../docs/trail-json.md");
    let refused = End::Refused { reason: Reason::FilterBlock, handle: BETA, filter: 3 };
    let mut book = document(&TrailBook::new(1), &names(), 0);
    book["trails"] =
        json!([value(&trail(End::Reached), &names()), value(&trail(refused), &names())]);
    let mut keys = std::collections::BTreeSet::new();
    collect(&book, &mut keys);
    for key in keys {
        assert!(text.contains(&format!("`{key}`")), "docs/trail-json.md does not describe {key}");
    }
    let example = text.split("```json\n").nth(1).and_then(|rest| rest.split("```").next()).unwrap();
    let example: Value = serde_json::from_str(example).unwrap();
    let (mut shown, mut real) = Default::default();
    collect(&example, &mut shown);
    collect(&value(&trail(End::Reached), &names()), &mut real);
    assert!(shown.is_superset(&real), "the example lacks {:?}", real.difference(&shown));
}

fn collect(value: &Value, keys: &mut std::collections::BTreeSet<String>) {
    match value {
        Value::Object(object) => {
            for (key, value) in object {
                keys.insert(key.clone());
                collect(value, keys);
            }
        }
        Value::Array(values) => values.iter().for_each(|value| collect(value, keys)),
        _ => {}
    }
}
