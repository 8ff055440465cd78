//! Starts without privileges, and the demo.

use crate::daemon::Daemon;
use crate::process::{Said, end};
use crate::stage::{HOPTRAIL, Stage, two};
use hoptrail_testkit::lab::stage::copy_executable;
use serde_json::{Value, json};
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

/// A user without privileges.
struct Nobody<'s> {
    stage: &'s Stage,
    binary: PathBuf,
}

impl<'s> Nobody<'s> {
    fn new(stage: &'s Stage) -> Self {
        // The build directory may be out of a user's reach.
        let binary = stage.dir.path().join("hoptrail");
        copy_executable(HOPTRAIL.as_ref(), &binary);
        Self { stage, binary }
    }

    fn start(&self, args: &[&str]) -> Output {
        let mut command = Command::new(&self.binary);
        command.args(args).uid(65534).gid(65534).current_dir("/").stdin(Stdio::null());
        end(self.stage.start(command.stdout(Stdio::piped()).stderr(Stdio::piped())))
    }
}

pub(crate) fn a_daemon_is_asked_by_root_only() {
    let stage = Stage::new();
    let daemon = Daemon::start(&stage, &two());
    let nobody = Nobody::new(&stage);
    let dir = ["--run-dir", &daemon.run_dir];
    let reload = nobody.start(&[&["reload"], &dir[..]].concat());
    assert_eq!(reload.code(), 1);
    assert_eq!(
        reload.sentence(),
        format!("hoptrail: {}/control is for root only: use sudo", daemon.run_dir)
    );
    let providers = nobody.start(&[&["providers", "--json"], &dir[..]].concat());
    assert_eq!(providers.code(), 0, "{}", providers.err());
    let said: Value = serde_json::from_slice(&providers.stdout).unwrap();
    assert_eq!(said["daemon"], daemon.pid());
    let flows = nobody.start(&[&["flows", "--pins", &daemon.pins], &dir[..]].concat());
    assert_eq!(flows.code(), 1);
    assert!(flows.sentence().contains("root"), "{}", flows.err());
    assert_eq!(daemon.generation(), 1);
}

pub(crate) fn without_privileges_one_sentence_says_what_is_missing() {
    let stage = Stage::new();
    let config = stage.file("t.toml", &two());
    let config = config.to_str().unwrap();
    let nobody = Nobody::new(&stage);
    let start = |args: &[&str]| nobody.start(args);
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
