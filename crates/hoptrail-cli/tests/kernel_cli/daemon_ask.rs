//! `providers`, `flows`, `doctor`, the daemon's log: what machines read.

use crate::client::Held;
use crate::daemon::Daemon;
use crate::foreign::Foreign;
use crate::process::Said;
use crate::stage::{HOPTRAIL, Stage, in_turn, provider, provider_with, python_proxy, two};
use hoptrail_testkit::lab::eventually;
use nix::sys::signal::Signal;
use serde_json::{Value, json};

pub(crate) fn providers_tell_who_is_there() {
    let stage = Stage::new();
    let absent = provider_with(
        "absent",
        50,
        15879,
        "",
        &format!("members = {{ cgroup = {:?} }}", stage.cgroup_name("vendor")),
    );
    let daemon = Daemon::start(&stage, &(two() + &absent));
    let said = daemon.json("providers");
    assert_eq!((&said["generation"], &said["daemon"]), (&json!(1), &json!(daemon.pid())));
    assert_eq!((&said["pins"], &said["config"]), (&json!(daemon.pins), &json!(daemon.config)));
    let providers = said["providers"].as_array().unwrap();
    let names: Vec<_> = providers
        .iter()
        .map(|p| {
            (
                p["name"].as_str().unwrap(),
                p["rank"].as_u64().unwrap(),
                p["on_unavailable"].as_str().unwrap(),
            )
        })
        .collect();
    assert_eq!(names, [("acme", 200, "block"), ("beta", 100, "block"), ("absent", 50, "block")]);
    let listen = |port: u16, there: bool| json!([{ "address": format!("127.0.0.1:{port}"), "listening": there }, { "address": format!("[::1]:{port}"), "listening": there }]);
    assert_eq!(providers[0]["listen"], listen(15871, true));
    assert_eq!(providers[2]["listen"], listen(15879, false));
    assert_eq!(providers[0]["processes"], json!(daemon.proxy("acme")));
    assert_eq!((&providers[2]["processes"], &providers[2]["command"]), (&json!([]), &Value::Null));
    assert_eq!(providers[0]["handle"].as_str().unwrap().len(), 16);
    let text = daemon.verb("providers", &[]).out();
    assert!(
        text.contains(
            "absent  rank    50    1 filters  block  127.0.0.1:15879 (gone) [::1]:15879 (gone)\n"
        ),
        "{text}"
    );
}

pub(crate) fn flows_tell_what_is_open() {
    let stage = Stage::new();
    let python =
        |name: &str, rank, port| provider_with(name, rank, port, "", &python_proxy(name, port));
    let daemon = Daemon::start(&stage, &(python("acme", 200, 15871) + &python("beta", 100, 15872)));
    assert_eq!(daemon.json("flows"), json!({ "flows": [] }));
    let held = Held::open(&stage);
    let said = daemon.json("flows");
    let [one, two] = said["flows"].as_array().unwrap().as_slice() else { panic!("{said}") };
    assert_eq!(one["trail"], two["trail"]);
    for leg in [one, two] {
        assert_eq!(
            (&leg["destination"], &leg["protocol"]),
            (&json!("192.0.2.10:80"), &json!("tcp"))
        );
        assert_eq!(leg["application"]["pid"], held.pid());
    }
    let hops = |leg: &Value| {
        leg["hops"]
            .as_array()
            .unwrap()
            .iter()
            .map(|hop| {
                format!(
                    "{} {} {}",
                    hop["provider"].as_str().unwrap(),
                    hop["to"].as_str().unwrap(),
                    hop["provenance"].as_str().unwrap()
                )
            })
            .collect::<Vec<_>>()
    };
    assert_eq!(hops(one), ["acme 127.0.0.1:15871 fresh"]);
    assert_eq!(hops(two), ["acme 127.0.0.1:15871 fresh", "beta 127.0.0.1:15872 declared"]);
    let text = daemon.verb("flows", &[]).out();
    assert_eq!(text.lines().count(), 2, "{text}");
    assert!(
        text.lines().all(|l| l
            .contains(&format!("[{}] (root) → 192.0.2.10:80  acme 127.0.0.1:15871", held.pid()))),
        "{text}"
    );
    drop(held);
    eventually("a closed connection is no flow", || daemon.json("flows") == json!({ "flows": [] }));
}

pub(crate) fn the_log_as_json() {
    let stage = Stage::new();
    let mut daemon = Daemon::start(&stage, &provider("acme", 200, 15871, ""));
    assert_eq!(daemon.end(Signal::SIGTERM), 0);
    daemon.start_again(&["--log-format", "json"]);
    assert_eq!(stage.get(), "through acme");
    daemon.await_log("\"event\":\"reached\"", 1);
    let log = daemon.log();
    // What the proxy prints stands between.
    let lines: Vec<Value> = log.lines().filter_map(|l| serde_json::from_str(l).ok()).collect();
    let first = &lines[0];
    assert_eq!(first["level"], "info");
    assert!(first["time_unix_us"].as_u64().unwrap() > 1_700_000_000_000_000);
    let events: Vec<&Value> = lines.iter().filter(|l| l["event"].is_string()).collect();
    let [redirected, reached] = events.as_slice() else { panic!("{log}") };
    assert_eq!(
        (&redirected["event"], &redirected["provider"], &redirected["filter"]),
        (&json!("redirected"), &json!("acme"), &json!(1))
    );
    assert_eq!(
        (&redirected["asked"], &redirected["to"]),
        (&json!("192.0.2.10:80"), &json!("127.0.0.1:15871"))
    );
    assert_eq!(
        (&reached["hops"], &reached["provenance"], &reached["reason"]),
        (&json!(1), &json!("declared"), &json!("already-handled"))
    );
    assert_eq!(reached["trail"], redirected["trail"]);
    assert_eq!(
        (&reached["generation"], &reached["application"]["name"]),
        (&json!(2), &json!("curl"))
    );
}

pub(crate) fn without_a_daemon_one_sentence_says_so() {
    let _turn = in_turn();
    let stage = Stage::new();
    let dir = stage.dir.path().join("none");
    let dir = dir.to_str().unwrap();
    for (verb, expected) in [
        ("providers", "no hoptrail daemon has loaded a policy here"),
        ("reload", "no hoptrail daemon listens at"),
    ] {
        let output = stage.output("ctl", &[HOPTRAIL, verb, "--run-dir", dir]);
        assert_eq!(output.code(), 1, "{verb}");
        assert!(
            output.sentence().starts_with(&format!("hoptrail: {expected}")),
            "{}",
            output.err()
        );
    }
    let flows =
        stage.output("ctl", &[HOPTRAIL, "flows", "--run-dir", dir, "--pins", "/sys/fs/bpf/none"]);
    assert_eq!(flows.code(), 1);
    assert!(flows.sentence().contains("/sys/fs/bpf/none"), "{}", flows.err());
    let cleanup = stage.output("ctl", &[HOPTRAIL, "cleanup", "--run-dir", dir, "--pins", dir]);
    assert_eq!((cleanup.code(), &*cleanup.out()), (0, "nothing of hoptrail was left\n"));
}

pub(crate) fn a_daemon_that_cannot_start_says_why_and_leaves_nothing() {
    let stage = Stage::new();
    let config = stage.file("bad.toml", "[provider.acme]\nrank = 1\nlissten = []\n");
    let run_dir = stage.dir.path().join("run");
    let daemon = |config: &str, cgroup: &str| {
        let argv = [
            HOPTRAIL,
            "daemon",
            "--config",
            config,
            "--cgroup",
            cgroup,
            "--run-dir",
            run_dir.to_str().unwrap(),
        ];
        let output =
            stage.output("ctl", &[&argv[..], &["--pins", "/sys/fs/bpf/test-none"]].concat());
        assert_eq!(output.code(), 1, "{config}");
        assert!(!std::path::Path::new("/sys/fs/bpf/test-none").exists());
        assert_eq!(stage.cgroups_below("apps"), [""; 0]);
        output.err()
    };
    let apps = stage.cgroup_name("apps");
    let said = daemon(config.to_str().unwrap(), &apps);
    assert!(
        said.contains("bad.toml:3:1: unknown key \"lissten\"; did you mean \"listen\"?"),
        "{said}"
    );
    let said = daemon("/nowhere.toml", &apps);
    assert!(said.contains("/nowhere.toml") && said.lines().count() == 1, "{said}");
    let good = stage.file("good.toml", &two());
    let said = daemon(good.to_str().unwrap(), "/no/such/cgroup");
    assert!(
        said.starts_with("hoptrail: there is no cgroup at ") && said.lines().count() == 1,
        "{said}"
    );
}

pub(crate) fn doctor_has_stable_ids_and_lists_what_is_foreign() {
    let stage = Stage::new();
    let daemon = Daemon::start(&stage, &provider("acme", 200, 15871, ""));
    let _foreign = Foreign::put(&stage, "apps", &daemon.pins);
    let output = stage.output("ctl", &[HOPTRAIL, "doctor", "--json"]);
    let said: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((output.code(), &said["ok"]), (0, &json!(true)), "{said}");
    let checks = said["checks"].as_array().unwrap();
    let ids: Vec<_> = checks.iter().map(|c| c["id"].as_str().unwrap()).collect();
    let expected: Vec<String> = (1..=11).map(|n| format!("HT-D{n:03}")).collect();
    assert_eq!(ids, expected);
    assert!(
        checks
            .iter()
            .all(|c| c["status"] != "failure" && !c["message"].as_str().unwrap().is_empty())
    );
    assert_eq!(
        (&checks[9]["name"], &checks[9]["status"]),
        (&json!("engine"), &json!("ok")),
        "{said}"
    );
    assert_eq!(checks[8]["status"], "warning");
    let here = stage.cgroup("apps").path().display().to_string();
    let foreign: Vec<_> = said["foreign_programs"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|p| p["cgroup"] == here)
        .collect();
    assert_eq!(foreign.len(), 1, "the daemon's own are not foreign: {foreign:?}");
    assert_eq!(
        (&foreign[0]["name"], &foreign[0]["hook"]),
        (&json!("other_vendor"), &json!("connect4"))
    );
    assert_eq!(stage.cgroups_below("ctl"), [""; 0], "the trial is cleared up");
    let text = stage.output("ctl", &[HOPTRAIL, "doctor"]).out();
    assert_eq!(text.lines().count(), 11, "{text}");
    assert!(text.starts_with("HT-D001 ok       privilege         "), "{text}");
}
