//! `run`: what `--trail` prints when the command has ended.

use crate::client::CURL;
use crate::process::Said;
use crate::stage::{Stage, two};
use hoptrail_testkit::lab::need;
use serde_json::Value;

const TWO: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../examples/two.toml");

pub(crate) fn the_example_shows_a_trail_as_text() {
    need("python3", "python3");
    let stage = Stage::new();
    let output = stage.run(TWO.as_ref(), &[&["--"], &CURL[..]].concat());
    assert_eq!((output.code(), &*output.out()), (0, "directly\n"), "{}", output.err());
    assert_eq!(stage.origin.new_connections(), 1);
    let said = output.err();
    let trail: Vec<_> =
        said.lines().filter(|l| !l.starts_with("acme: ") && !l.starts_with("beta: ")).collect();
    let [heading, first, second, end] = trail.as_slice() else { panic!("{said}") };
    assert!(
        heading.starts_with("curl[")
            && heading.contains("(root, /")
            && heading.ends_with("/curl) → 192.0.2.10:80"),
        "{said}"
    );
    assert!(
        first.starts_with("   1  acme  filter 1  ") && first.contains(" → 127.0.0.1:15871 "),
        "{said}"
    );
    assert!(
        second.starts_with("   2  beta  filter 1  ")
            && second.contains(" → 127.0.0.1:15872 ")
            && second.ends_with(" declared"),
        "{said}"
    );
    assert!(
        end.starts_with("   ✓  192.0.2.10:80 reached from beta's python3[")
            && end.ends_with(" declared"),
        "{said}"
    );
    assert!(!said.contains('\x1b'), "no colours into a pipe");
}

pub(crate) fn the_trail_as_json_or_not_at_all() {
    let stage = Stage::new();
    let config = stage.file("t.toml", &two());
    let output = stage.run(&config, &[&["--trail", "none", "--"], &CURL[..]].concat());
    assert_eq!((output.code(), &*output.out()), (0, "through acme, beta\n"));
    assert!(
        output.err().lines().all(|l| l.starts_with("acme: ") || l.starts_with("beta: ")),
        "{}",
        output.err()
    );

    let output = stage.run(&config, &[&["--trail", "json", "--"], &CURL[..]].concat());
    let json: String = output.err().lines().filter(|l| l.starts_with('{')).collect();
    let said: Value = serde_json::from_str(&json).unwrap();
    assert_eq!(
        (&said["version"], &said["forgotten"], &said["events_lost"]),
        (&1.into(), &0.into(), &0.into())
    );
    let [trail] = said["trails"].as_array().unwrap().as_slice() else { panic!("{said}") };
    assert_eq!(trail["id"].as_str().unwrap().len(), 32);
    assert_eq!((&trail["protocol"], &trail["outcome"]), (&"tcp".into(), &"reached".into()));
    assert_eq!(trail["destination"], "192.0.2.10:80");
    assert_eq!(
        (&trail["application"]["name"], &trail["application"]["uid"]),
        (&"curl".into(), &0.into())
    );
    assert!(trail["began_unix_us"].as_u64().unwrap() > 1_700_000_000_000_000);
    let legs = trail["legs"].as_array().unwrap();
    let kinds: Vec<_> = legs
        .iter()
        .map(|l| {
            (
                l["kind"].as_str().unwrap(),
                l["provider"]["name"].as_str(),
                l["provenance"].as_str().unwrap(),
            )
        })
        .collect();
    assert_eq!(
        kinds,
        [
            ("hop", Some("acme"), "fresh"),
            ("hop", Some("beta"), "declared"),
            ("reached", None, "declared")
        ]
    );
    assert_eq!((&legs[0]["depth"], &legs[2]["depth"]), (&1.into(), &3.into()));
    assert_eq!(legs[0]["by"]["pid"], trail["application"]["pid"]);
    assert_eq!(legs[1]["to"], "127.0.0.1:15872");
}

pub(crate) fn a_refusal_is_in_the_trail() {
    let stage = Stage::new();
    let guard = "[provider.guard]\nrank = 1\n[[provider.guard.filter]]\naction = \"block\"\nremote = \"192.0.2.0/24\"\n";
    let config = stage.file("t.toml", guard);
    let output = stage.run(&config, &[&["--"], &CURL[..]].concat());
    assert_eq!(output.code(), 7, "curl's own status");
    assert!(output.err().contains("   ✗  192.0.2.10:80 refused to curl["), "{}", output.err());
    assert!(output.err().contains("(guard, filter 1)"), "{}", output.err());
    assert_eq!(stage.origin.new_connections(), 0);
}
