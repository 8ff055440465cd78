//! `relay` as a provider's proxy: the example with two of them.

use crate::client::CURL;
use crate::process::{Said, end};
use crate::stage::{HOPTRAIL, Stage};
use serde_json::Value;
use std::path::Path;
use std::process::Output;

const EXAMPLE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../examples/relay.toml");

/// How curl ends on a reset: while it connects, before an answer, or in the middle.
const RESET: [i32; 3] = [7, 52, 56];

/// `run` with the example, whose commands find the tested binary.
fn run(stage: &Stage, trail: &str, command: &[&str]) -> Output {
    let args = [HOPTRAIL, "run", "--config", EXAMPLE, "--trail", trail, "--"];
    let mut command = stage.command("apps", &[&args, command].concat());
    let dir = Path::new(HOPTRAIL).parent().unwrap().display();
    let path = std::env::var("PATH").unwrap();
    end(stage.start(command.env("PATH", format!("{dir}:{path}"))))
}

/// What a provider's relay printed.
fn of<'s>(said: &'s str, provider: &str) -> Vec<&'s str> {
    said.lines().filter_map(|line| line.strip_prefix(&format!("{provider}: "))).collect()
}

pub(crate) fn two_relays_inspect_one_connection_and_tell_the_same() {
    let stage = Stage::new();
    let output = run(&stage, "json", &[&CURL[..], &["-H", "Host: O.example:80"]].concat());
    let said = output.err();
    assert_eq!((output.code(), &*output.out()), (0, "directly\n"), "{said}");
    assert_eq!(stage.origin.new_connections(), 1);
    let trails: String = said.lines().filter(|line| line.starts_with('{')).collect();
    let trails: Value = serde_json::from_str(&trails).unwrap();
    let [trail] = trails["trails"].as_array().unwrap().as_slice() else { panic!("{said}") };

    let lines = of(&said, "beta");
    let json: Vec<&&str> = lines.iter().filter(|line| line.starts_with('{')).collect();
    let [line] = json.as_slice() else { panic!("one line: {said}") };
    let line: Value = serde_json::from_str(line).unwrap();
    assert_eq!(line["trail"], trail["id"]);
    for key in ["pid", "uid", "user", "name", "exe"] {
        assert_eq!(line["application"][key], trail["application"][key], "{key}");
    }
    assert_eq!((&line["destination"], &line["hops"]), (&"192.0.2.10:80".into(), &2.into()));
    assert_eq!(line["peer"], trail["legs"][1]["from"]);
    assert_eq!((&line["protocol"], &line["name"]), (&"http1".into(), &"o.example".into()));
    assert_eq!((&line["method"], &line["end"]), (&"GET".into(), &"closed".into()));

    let pid = &trail["application"]["pid"];
    let lines = of(&said, "acme");
    let told = lines.iter().filter(|line| line.contains(&format!(" curl[{pid}] root")));
    let told: Vec<&&str> = told.collect();
    let [line] = told.as_slice() else { panic!("one line: {said}") };
    assert!(line.contains(" → 192.0.2.10:80 ") && line.ends_with(" hop 1  closed"), "{line}");
    for provider in ["acme", "beta"] {
        let stopped = |line: &&str| line.starts_with("hoptrail: stopped");
        assert!(of(&said, provider).iter().any(stopped), "{said}");
        assert!(!said.contains("warning"), "an engine acts on them: {said}");
    }
}

pub(crate) fn what_connects_to_a_relay_itself_is_reset_and_told() {
    let stage = Stage::new();
    let output = run(&stage, "none", &["curl", "-q", "-sS", "http://127.0.0.1:15872/"]);
    let said = output.err();
    assert!(RESET.contains(&output.code()), "{said}");
    let lines = of(&said, "beta");
    let json = lines.iter().find(|line| line.starts_with('{')).unwrap();
    let line: Value = serde_json::from_str(json).unwrap();
    assert_eq!((&line["end"], &line["verdict"]), (&"direct".into(), &Value::Null));
    assert_eq!((&line["destination"], &line["application"]), (&Value::Null, &Value::Null));
}

pub(crate) fn an_unreachable_destination_is_a_reset_and_told_by_both() {
    let stage = Stage::new();
    let output = run(&stage, "none", &["curl", "-q", "-sS", "http://192.0.2.10:81/"]);
    let said = output.err();
    assert!(RESET.contains(&output.code()), "{said}");
    let lines = of(&said, "beta");
    let json = lines.iter().find(|line| line.starts_with('{')).unwrap();
    let line: Value = serde_json::from_str(json).unwrap();
    assert_eq!((&line["end"], &line["step"]), (&"unreachable".into(), &"connect".into()));
    assert_eq!((&line["errno"], &line["error"]), (&111.into(), &"Connection refused".into()));
    let lines = of(&said, "acme");
    // Whether beta's reset comes before or after the end of acme's connect is left to chance.
    let ends =
        [" hop 1  upstream-reset", " hop 1  unreachable (connect: Connection reset by peer)"];
    assert!(lines.iter().any(|line| ends.iter().any(|end| line.ends_with(end))), "{said}");
}
