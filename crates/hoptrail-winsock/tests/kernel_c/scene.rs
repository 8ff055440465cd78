//! Sets the scene of a test (`tests/c/scene.h`), runs the program in it, and does what it asks for meanwhile.

use crate::build::Listed;
use crate::with::With;
use hoptrail_core::compile::Provider;
use hoptrail_testkit::lab::{Lab, listener};
use libtest_mimic::Failed;
use std::io::{BufRead, BufReader, Read, Write};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::Duration;

const ACME_CONTEXT: &[u8] = b"acme\0\xff\x01";
const BETA_CONTEXT: &[u8] = b"beta\0\xfe\x02!";
/// Who may act, each in a cgroup of that name.
const PEOPLE: [&str; 5] = ["acme", "beta", "app", "origin", "other"];
/// Longer than any test takes, under valgrind on a busy machine.
const PATIENCE: Duration = Duration::from_secs(300);

/// Runs the test; fails with what it said.
pub(crate) fn play(test: &Listed, with: With) -> Result<(), Failed> {
    let mut command = with.command(&test.executable);
    command.arg(&test.name).env("CALLS", with.calls());
    command.env("COUNT_MEMORY", if with == With::Nothing { "1" } else { "0" });
    if test.scene == "none" {
        return finish(start(&mut command), |order| panic!("{order} without a lab"));
    }
    let lab = Lab::new();
    for person in PEOPLE {
        let _ = lab.cgroup(person);
    }
    policy(&lab, &test.scene);
    command.env("LAB", lab.cgroup_dir());
    for (name, provider) in [("ACME", "acme"), ("BETA", "beta")] {
        command.env(name, listener(provider, true).port().to_string());
    }
    let child = lab.inside(|| start(&mut command));
    finish(child, |order| obey(&lab, order))
}

fn policy(lab: &Lab, scene: &str) {
    let acme: fn(&Lab) -> Vec<Provider> = |lab| vec![lab.provider("acme", 200)];
    match scene {
        "acme" => lab.load_with(acme(lab), &[("acme", ACME_CONTEXT)]),
        "bare" => lab.load(acme(lab)),
        "two" => lab.load_with(lab.two(), &[("acme", ACME_CONTEXT), ("beta", BETA_CONTEXT)]),
        other => panic!("there is no scene {other}"),
    };
}

/// What a program asks for by `harness`.
fn obey(lab: &Lab, order: &str) {
    let acme = || vec![lab.provider("acme", 200)];
    match order {
        "another-context" => {
            lab.load_with(acme(), &[("acme", b"another")]);
        }
        "context-of-all-bytes" => {
            let all: Vec<u8> = (0..=255).collect();
            lab.load_with(acme(), &[("acme", &all)]);
        }
        "detach" => lab.engine.borrow_mut().detach_all(),
        other => panic!("the program asks for {other}"),
    }
}

fn start(command: &mut Command) -> Child {
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
}

/// Answers orders until the program ends. It is killed when it does not.
fn finish(mut child: Child, obey: impl Fn(&str)) -> Result<(), Failed> {
    let mut stdin = child.stdin.take().unwrap();
    let (stdout, mut stderr) = (child.stdout.take().unwrap(), child.stderr.take().unwrap());
    let said = std::thread::spawn(move || {
        let mut text = Vec::new();
        let _ = stderr.read_to_end(&mut text);
        String::from_utf8_lossy(&text).into_owned()
    });
    let (sender, lines) = channel();
    std::thread::spawn(move || {
        for line in BufReader::new(stdout).lines().map_while(Result::ok) {
            let _ = sender.send(line);
        }
    });
    loop {
        match lines.recv_timeout(PATIENCE) {
            Ok(line) => {
                if let Some(order) = line.strip_prefix('?') {
                    obey(order);
                    writeln!(stdin, "done").unwrap();
                }
            }
            Err(RecvTimeoutError::Disconnected) => break,
            Err(RecvTimeoutError::Timeout) => {
                child.kill().unwrap();
                child.wait().unwrap();
                return Err(format!("does not end; it said: {}", said.join().unwrap()).into());
            }
        }
    }
    let status = child.wait().unwrap();
    let said = said.join().unwrap();
    if status.success() { Ok(()) } else { Err(format!("{status}\n{said}").into()) }
}
