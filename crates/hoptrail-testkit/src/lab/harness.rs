//! What stands around the tests: where the kernel cannot run them they are ignored with the reason, or
//! fail when `HOPTRAIL_REQUIRE_KERNEL=1` says that they must run.

use super::{stage, sweep};
use hoptrail_engine::host::doctor;
use libtest_mimic::{Arguments, Trial};
use std::process::ExitCode;

/// A test: its name and its body.
pub type Test = (&'static str, fn());

/// Lists the functions in brackets as tests named after them.
#[macro_export]
macro_rules! tests {
    ($($module:ident: [$($name:ident),* $(,)?]),* $(,)?) => {
        &[$($((concat!(stringify!($module), "::", stringify!($name)), $module::$name as fn()),)*)*]
    };
}

/// Runs the tests of a binary, or plays an actor's part. Give its result from `main`.
#[must_use]
pub fn run(tests: &[Test]) -> ExitCode {
    if stage::play() {
        return ExitCode::SUCCESS;
    }
    let required = std::env::var_os("HOPTRAIL_REQUIRE_KERNEL").is_some_and(|v| v == "1");
    let obstacle = obstacle();
    let trials = match &obstacle {
        Some(reason) if required => vec![Trial::test("the-kernel-can-run-the-tests", {
            let reason = format!("HOPTRAIL_REQUIRE_KERNEL=1, but {reason}");
            move || Err(reason.into())
        })],
        Some(reason) => {
            let kind = format!("not here: {reason}");
            tests.iter().map(|t| trial(t).with_kind(&*kind).with_ignored_flag(true)).collect()
        }
        None => {
            sweep();
            tests.iter().map(trial).collect()
        }
    };
    let mut arguments = Arguments::from_args();
    // Each test is several processes; more at once only makes their waiting longer.
    arguments.test_threads.get_or_insert(2);
    if obstacle.is_some() && !required {
        // `--ignored` cannot make them possible.
        arguments.ignored = false;
        arguments.include_ignored = false;
    }
    libtest_mimic::run(&arguments, trials).exit_code()
}

fn trial(&(name, body): &Test) -> Trial {
    Trial::test(name, move || {
        body();
        Ok(())
    })
}

/// Why kernel tests cannot run here.
fn obstacle() -> Option<String> {
    if !nix::unistd::Uid::effective().is_root() {
        return Some("kernel tests need root".into());
    }
    doctor::ready().err().map(|e| e.to_string())
}
