//! The C programs of `tests/c`, each of whose tests is one here: they are compiled against the header and the shared
//! library, and run in a lab, on the real kernel. `HOPTRAIL_C_WITH=sanitizers` or `valgrind` looks at their memory, too.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "kernel_c/build.rs"]
mod build;
#[path = "kernel_c/header.rs"]
mod header;
#[path = "kernel_c/scene.rs"]
mod scene;
#[path = "kernel_c/with.rs"]
mod with;

use build::Listed;
use hoptrail_testkit::lab::Case;
use hoptrail_testkit::lab::harness::{required, run_cases};
use std::process::ExitCode;
use with::With;

fn main() -> ExitCode {
    let with = With::told();
    if let Some(missing) = with.missing() {
        return run_cases(vec![instead(missing)]);
    }
    match build::all(with) {
        Ok(tests) => {
            let tests = tests.into_iter().map(|test| case(test, with));
            run_cases(header::cases().into_iter().chain(tests).collect())
        }
        Err(problem) => run_cases(vec![failing("the-programs-compile", problem.to_string())]),
    }
}

fn case(test: Listed, with: With) -> Case {
    let kernel = test.scene != "none";
    let name = format!("{}::{}", test.program, test.name);
    Case { name, kernel, body: Box::new(move || scene::play(&test, with)) }
}

/// Without the tools there is nothing to list.
fn instead(missing: &str) -> Case {
    let told = format!("{missing} is not installed");
    if required() {
        return failing("the-c-programs-can-be-run", told);
    }
    eprintln!("no test of C programs: {told}");
    Case { name: "the-c-programs-are-left-out".into(), kernel: true, body: Box::new(|| Ok(())) }
}

fn failing(name: &str, why: String) -> Case {
    Case { name: name.into(), kernel: false, body: Box::new(move || Err(why.into())) }
}
