//! Starts without privileges, and the demo.

use crate::process::{Said, end};
use crate::stage::{HOPTRAIL, Stage, two};
use serde_json::{Value, json};
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};

pub(crate) fn without_privileges_one_sentence_says_what_is_missing() {
    let stage = Stage::new();
    // The build directory may be out of a user's reach.
    let binary = stage.dir.path().join("hoptrail");
    std::fs::copy(HOPTRAIL, &binary).unwrap();
    let config = stage.file("t.toml", &two());
    let config = config.to_str().unwrap();
    let start = |args: &[&str]| {
        let mut command = Command::new(&binary);
        command.args(args).uid(65534).gid(65534).current_dir("/");
        end(stage.start(command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped())))
    };
    let missing = "hoptrail needs root to load its kernel side (CAP_BPF, CAP_PERFMON, CAP_NET_ADMIN, CAP_SYS_ADMIN \
                   missing): run it with sudo";
    for (args, code) in [
        (&["run", "--config", config, "--", "true"][..], 125),
        (&["daemon", "--config", config], 1),
        (&["demo"], 1),
        (&["demo", "--json"], 1),
    ] {
        let output = start(args);
        assert_eq!(output.code(), code, "{args:?}");
        assert_eq!(output.sentence(), format!("hoptrail: {missing} (HT-D001)"), "{args:?}");
    }
    let cleanup = start(&["cleanup"]);
    assert_eq!(cleanup.code(), 1);
    assert_eq!(
        cleanup.sentence(),
        "hoptrail: hoptrail needs root to remove its kernel side: run it with sudo"
    );
    let doctor = start(&["doctor", "--json"]);
    let said: Value = serde_json::from_slice(&doctor.stdout).unwrap();
    assert_eq!((doctor.code(), &said["ok"], &*doctor.err()), (1, &json!(false), ""));
    assert_eq!(
        said["checks"][0],
        json!({ "id": "HT-D001", "name": "privilege", "status": "failure", "message": missing })
    );
    assert_eq!(said["checks"].as_array().unwrap().len(), 11);
}

pub(crate) fn the_demo_shows_and_checks_two_providers() {
    let stage = Stage::new();
    let output = stage.hoptrail(&["demo"]);
    let said = output.out();
    assert_eq!(output.code(), 0, "{said}{}", output.err());
    for destination in ["192.0.2.10:80", "[2001:db8::10]:80"] {
        assert!(
            said.contains(&format!(
                "Hello from {destination}. Your request came through acme and beta."
            )),
            "{said}"
        );
        assert!(said.contains(&format!(") → {destination}\n   1  acme  filter 1 ")), "{said}");
        assert!(
            said.contains(&format!("   ✓  {destination} reached from beta's hoptrail[")),
            "{said}"
        );
    }
    assert!(said.ends_with("✓ each proxy saw each connection exactly once\n"), "{said}");
    assert_eq!(stage.cgroups_below("apps"), [""; 0]);
    assert_eq!(stage.processes(""), [0; 0]);
}

pub(crate) fn the_rude_demo_ends_too() {
    let stage = Stage::new();
    let output = stage.hoptrail(&["demo", "--rude"]);
    assert_eq!(output.code(), 0, "{}{}", output.out(), output.err());
    assert!(
        output.out().ends_with(
            "✓ each proxy saw each connection exactly once, though acme set no records\n"
        ),
        "{}",
        output.out()
    );
    assert!(output.out().contains(" inferred\n"), "{}", output.out());
}

pub(crate) fn the_demo_for_machines() {
    let stage = Stage::new();
    for (args, second) in
        [(&["demo", "--json"][..], "declared"), (&["demo", "--json", "--rude"], "inferred")]
    {
        let output = stage.hoptrail(args);
        let said: Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!(output.code(), 0, "{said}");
        assert_eq!(said["demo"], json!({ "ok": true, "rude": args.len() == 3, "wrong": [] }));
        let trails = said["trails"].as_array().unwrap();
        assert_eq!(trails.len(), 2, "IPv4 and IPv6");
        for trail in trails {
            let legs: Vec<_> = trail["legs"]
                .as_array()
                .unwrap()
                .iter()
                .map(|leg| leg["provenance"].as_str().unwrap())
                .collect();
            assert_eq!(legs, ["fresh", second, "declared"]);
        }
    }
}
