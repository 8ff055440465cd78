//! The verbs that need no privileges, as a user sees them: the built binary's words and exit status.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking, its own functions too")]

use serde_json::Value;
use std::path::PathBuf;
use std::process::{Command, Output};

fn hoptrail(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_hoptrail")).args(args).output().unwrap()
}

fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

fn example(name: &str) -> String {
    format!("{}/../../examples/{name}", env!("CARGO_MANIFEST_DIR"))
}

/// A file of our own, with what `explain` says of a connection under it.
struct Case {
    _dir: tempfile::TempDir,
    file: PathBuf,
}

impl Case {
    fn new(text: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("t.toml");
        std::fs::write(&file, text).unwrap();
        Self { _dir: dir, file }
    }

    fn path(&self) -> &str {
        self.file.to_str().unwrap()
    }

    fn check(&self) -> Output {
        hoptrail(&["check", "--config", self.path()])
    }

    fn explain(&self, args: &[&str]) -> Output {
        hoptrail(&[&["explain", "--config", self.path()], args].concat())
    }

    /// Verdict, reason, deciding provider, and each provider's outcome.
    fn verdict(&self, args: &[&str]) -> String {
        let output = self.explain(&[args, &["--json"]].concat());
        assert!(output.status.success(), "{}", stderr(&output));
        let said: Value = serde_json::from_slice(&output.stdout).unwrap();
        let text = |value: &Value| value.as_str().unwrap_or("-").to_owned();
        let outcomes = said["providers"].as_array().unwrap().iter();
        let outcomes: Vec<String> =
            outcomes.map(|p| format!("{}={}", text(&p["provider"]), text(&p["outcome"]))).collect();
        let decided = text(&said["decided-by"]["provider"]);
        format!("{} {decided} | {}", text(&said["action"]), outcomes.join(" "))
    }
}

const THREE: &str = r#"
[provider.acme]
rank = 300
listen = ["127.0.0.1:15871", "[::1]:15871"]
members = { user = 4001 }
[[provider.acme.filter]]
action = "permit"
exe = "/bin/sh"
[[provider.acme.filter]]
action = "redirect"
ports = 80

[provider.beta]
rank = 200
listen = ["127.0.0.1:15872", "[::1]:15872"]
on-unavailable = "bypass"
members = { user = 4002 }
[[provider.beta.filter]]
action = "redirect"
protocol = "tcp"

[provider.guard]
rank = 100
[[provider.guard.filter]]
action = "block"
original-user = 4003
"#;

#[test]
fn the_examples_are_right() {
    for (name, providers) in [("two.toml", 2), ("agent-egress.toml", 1)] {
        let output = hoptrail(&["check", "--json", "--config", &example(name)]);
        assert!(output.status.success(), "{name}: {}", stderr(&output));
        let said: Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!(said["ok"], true, "{name}");
        assert_eq!(said["warnings"].as_array().unwrap().len(), 0, "{name}: {said}");
        assert_eq!(said["providers"].as_array().unwrap().len(), providers, "{name}");
        assert!(said["image"]["bytes"].as_u64().unwrap() > 100, "{name}");
    }
}

#[test]
fn check_shows_providers_in_the_order_of_asking() {
    let case = Case::new(THREE);
    let output = case.check();
    assert!(output.status.success(), "{}", stderr(&output));
    let said = stdout(&output);
    assert!(said.starts_with("right: 3 providers, 4 filters\n"), "{said}");
    let at = |text: &str| said.find(text).unwrap_or_else(|| panic!("no {text} in {said}"));
    assert!(
        at("acme  rank 300") < at("beta  rank 200") && at("beta  rank 200") < at("guard  rank 100")
    );
    assert!(said.contains("listens  127.0.0.1:15872, [::1]:15872; when gone: bypass"), "{said}");
    assert!(said.contains("filters  1 redirect, 1 permit"), "{said}");
    assert!(said.contains("listens  nowhere"), "{said}");
    assert!(said.contains("members  user 4001"), "{said}");
    assert!(!said.contains('\x1b'), "no colours into a pipe");
}

#[test]
fn check_says_every_error_with_its_place() {
    let case = Case::new(&THREE.replace("rank = 200", "rank = 300").replace("ports", "prots"));
    let output = case.check();
    assert_eq!(output.status.code(), Some(1));
    let said = stderr(&output);
    let path = case.path();
    assert!(
        said.contains(&format!("hoptrail: {path}:11:1: unknown key \"prots\"; did you mean \"ports\"?\n  11 | prots = 80\n     | ^^^^^\n")),
        "{said}"
    );
    assert!(said.contains(&format!("{path}:14:8: providers acme and beta both have rank 300; the other stands at {path}:3:8.")), "{said}");
    assert!(said.contains("hoptrail: 2 errors in the configuration"), "{said}");
    assert_eq!(stdout(&output), "");

    let output = hoptrail(&["check", "--json", "--config", path]);
    assert_eq!(output.status.code(), Some(1));
    let said: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(said["ok"], false);
    assert_eq!(said["errors"][0]["place"]["line"], 11);
    assert_eq!(said["errors"][1]["place"]["column"], 8);
}

#[test]
fn check_warns_of_what_has_no_effect() {
    let case = Case::new(&THREE.replace("/bin/sh", "/nowhere/sh"));
    let output = case.check();
    assert!(output.status.success());
    let warning = format!("warning: {}:8:7: there is no /nowhere/sh at present\n", case.path());
    assert!(stdout(&output).contains(&warning), "{}", stdout(&output));
}

#[test]
fn explain_walks_the_providers() {
    let case = Case::new(THREE);
    let user = ["--user", "4000"];
    let verdict = |args: &[&str]| case.verdict(&[&user[..], args].concat());
    let to = ["--to", "192.0.2.10:80"];
    assert_eq!(
        verdict(&to),
        "redirect acme | acme=filter-redirect beta=another-redirected guard=no-filter"
    );
    let with = |args: &[&str]| verdict(&[&to[..], args].concat());
    assert_eq!(
        with(&["--trail", "acme"]),
        "redirect beta | acme=already-handled beta=filter-redirect guard=no-filter"
    );
    assert_eq!(
        with(&["--trail", "acme,beta"]),
        "permit acme | acme=already-handled beta=already-handled guard=no-filter"
    );
    assert_eq!(
        with(&["--trail", "beta"]),
        "redirect acme | acme=filter-redirect beta=already-handled guard=no-filter"
    );
    assert_eq!(
        with(&["--as", "acme"]),
        "redirect beta | acme=already-handled beta=filter-redirect guard=no-filter"
    );
    assert_eq!(
        with(&["--as", "beta"]),
        "permit acme | acme=ranked-before beta=already-handled guard=no-filter"
    );
    assert_eq!(
        with(&["--down", "acme"]),
        "block acme | acme=listener-gone-block beta=not-asked guard=not-asked"
    );
    assert_eq!(
        with(&["--down", "beta"]),
        "redirect acme | acme=filter-redirect beta=listener-gone-bypass guard=no-filter"
    );
    assert_eq!(
        with(&["--exe", "/bin/sh"]),
        "redirect beta | acme=filter-permit beta=filter-redirect guard=no-filter"
    );
    assert_eq!(with(&["--exe", "sh"]), with(&["--exe", "/bin/sh"]));
    assert_eq!(
        with(&["--protocol", "udp"]),
        "redirect acme | acme=filter-redirect beta=no-filter guard=no-filter"
    );
    assert_eq!(
        with(&["--trail", "acme,beta", "--original-user", "4003"]),
        "block guard | acme=already-handled beta=already-handled guard=filter-block"
    );
    let v6 = ["--to", "[2001:db8::1]:80"];
    assert_eq!(
        verdict(&v6),
        "redirect acme | acme=filter-redirect beta=another-redirected guard=no-filter"
    );
    assert_eq!(
        case.verdict(&[&v6[..], &["--user", "4003"]].concat()),
        "block guard | acme=filter-redirect beta=another-redirected guard=filter-block"
    );
    assert_eq!(
        verdict(&["--to", "127.0.0.1:80"]),
        "permit - | acme=no-filter beta=no-filter guard=no-filter"
    );
    assert_eq!(
        case.verdict(&["--to", "192.0.2.10:443", "--user", "4002"]),
        "permit beta | acme=no-filter beta=already-handled guard=no-filter"
    );
}

#[test]
fn explain_in_words() {
    let case = Case::new(THREE);
    let output = case.explain(&["--to", "192.0.2.10:80", "--user", "4000"]);
    let path = case.path();
    let expected = [
        "redirect to 127.0.0.1:15871: a redirect filter matches".to_owned(),
        format!("decided by acme, filter 2, {path}:9"),
        format!("     300 acme   a redirect filter matches (filter 2, {path}:9)"),
        format!(
            "     200 beta   a provider of higher rank redirects it first; this one is asked again on the next leg (filter 1, {path}:18)"
        ),
        "     100 guard  no filter matches".to_owned(),
    ];
    assert_eq!(stdout(&output).lines().collect::<Vec<_>>(), expected);
    let output = case.explain(&["--to", "[2001:db8::1]:80", "--as", "beta"]);
    assert!(
        stdout(&output).contains("the connecting process is a proxy of beta and sets no records"),
        "{}",
        stdout(&output)
    );
}

#[test]
fn explain_says_what_it_cannot_find() {
    let case = Case::new(THREE);
    for (args, said) in [
        (
            ["--trail", "acmee"],
            "hoptrail: there is no provider \"acmee\" in the configuration; it has acme, beta, guard\n",
        ),
        (
            ["--user", "no-such-user"],
            "hoptrail: there is no user \"no-such-user\" on this machine; write its number\n",
        ),
        (
            ["--exe", "/nowhere/x"],
            "hoptrail: cannot look at /nowhere/x: No such file or directory (os error 2)\n",
        ),
        (
            ["--exe", "no-such-program-here"],
            "hoptrail: there is no no-such-program-here in PATH; name the executable by its path\n",
        ),
    ] {
        let output = case.explain(&["--to", "192.0.2.10:80", args[0], args[1]]);
        assert_eq!(output.status.code(), Some(1), "{args:?}");
        assert_eq!(stderr(&output), said, "{args:?}");
    }
}

#[test]
fn usage_errors_have_status_2() {
    for args in [&["explain"][..], &["no-such-verb"], &["check", "--no-such-option"], &[]] {
        assert_eq!(hoptrail(args).status.code(), Some(2), "{args:?}");
    }
    let output = hoptrail(&["explain", "--to", "192.0.2.10"]);
    assert_eq!(output.status.code(), Some(2), "an address without a port");
    assert!(stderr(&output).contains("invalid socket address"), "{}", stderr(&output));
}

#[test]
fn version_and_completions() {
    let version = hoptrail(&["--version"]);
    assert_eq!(stdout(&version), format!("hoptrail {}\n", env!("CARGO_PKG_VERSION")));
    for (shell, mark) in [
        ("bash", "complete -F _hoptrail"),
        ("zsh", "#compdef hoptrail"),
        ("fish", "complete -c hoptrail"),
    ] {
        let output = hoptrail(&["completions", shell]);
        assert!(output.status.success());
        let script = stdout(&output);
        assert!(script.contains(mark) && script.contains("explain"), "{shell}");
    }
}

#[test]
fn a_reader_that_leaves_is_no_error() {
    let mut child = Command::new(env!("CARGO_BIN_EXE_hoptrail"))
        .args(["completions", "bash"])
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success());
    assert_eq!(stderr(&output), "");
}
