//! What stands around the tests: where the kernel cannot run them they are ignored with the reason, or
//! fail when `HOPTRAIL_REQUIRE_KERNEL=1` says that they must run.

use super::{stage, sweep};
use hoptrail_engine::host::doctor;
use libtest_mimic::{Arguments, Completion, Failed, Trial};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::path::{Path, PathBuf};
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

/// A test that is made when the binary runs.
pub struct Case {
    /// Its name.
    pub name: String,
    /// Whether it needs root and the kernel's side.
    pub kernel: bool,
    /// Its body.
    pub body: Box<dyn FnOnce() -> Result<(), Failed> + Send>,
}

/// Runs the tests of a binary, or plays an actor's part. Give its result from `main`.
#[must_use]
pub fn run(tests: &[Test]) -> ExitCode {
    if stage::play() {
        return ExitCode::SUCCESS;
    }
    run_cases(tests.iter().map(case).collect())
}

/// As [`run`], of tests that need neither root nor the kernel's side, but perhaps a program ([`need`]).
#[must_use]
pub fn run_anywhere(tests: &[Test]) -> ExitCode {
    run_cases(tests.iter().map(|test| Case { kernel: false, ..case(test) }).collect())
}

/// Ends a test that wants a program which is not installed: it is ignored with the reason, or fails when
/// everything must run. `package` is Debian's.
///
/// # Panics
/// When everything must run.
pub fn need(program: &str, package: &str) {
    const SYSTEM: [&str; 3] = ["/usr/local/sbin", "/usr/sbin", "/sbin"];
    let path = std::env::var_os("PATH").unwrap_or_default();
    let places = std::env::split_paths(&path).chain(SYSTEM.map(PathBuf::from));
    if places.map(|place| place.join(program)).any(|file| Path::is_file(&file)) {
        return;
    }
    let reason = format!("{program} is not installed: apt-get install {package}");
    assert!(!required(), "HOPTRAIL_REQUIRE_KERNEL=1, but {reason}");
    // Not a panic: nothing is wrong.
    resume_unwind(Box::new(NotHere(reason)));
}

/// Why a test has ended before it could tell anything.
struct NotHere(String);

/// As [`run`], of tests without actors. Those that need no kernel run everywhere.
#[must_use]
pub fn run_cases(cases: Vec<Case>) -> ExitCode {
    let required = required();
    let obstacle = obstacle();
    let (kernel, elsewhere): (Vec<_>, Vec<_>) = cases.into_iter().partition(|case| case.kernel);
    let mut trials: Vec<_> = elsewhere.into_iter().map(Case::trial).collect();
    match &obstacle {
        Some(reason) if required => trials.push(Trial::test("the-kernel-can-run-the-tests", {
            let reason = format!("HOPTRAIL_REQUIRE_KERNEL=1, but {reason}");
            move || Err(reason.into())
        })),
        Some(reason) => {
            let kind = format!("not here: {reason}");
            let ignored = |case: Case| case.trial().with_kind(&*kind).with_ignored_flag(true);
            trials.extend(kernel.into_iter().map(ignored));
        }
        None => {
            sweep();
            trials.extend(kernel.into_iter().map(Case::trial));
        }
    }
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

impl Case {
    fn trial(self) -> Trial {
        let body = self.body;
        Trial::ignorable_test(self.name, || match catch_unwind(AssertUnwindSafe(body)) {
            Ok(done) => done.map(|()| Completion::Completed),
            Err(thrown) => match thrown.downcast::<NotHere>() {
                Ok(here) => Ok(Completion::ignored_with(here.0)),
                Err(thrown) => resume_unwind(thrown),
            },
        })
    }
}

impl std::fmt::Debug for Case {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Case").field("name", &self.name).finish_non_exhaustive()
    }
}

/// Whether what cannot run here is a failure.
#[must_use]
pub fn required() -> bool {
    std::env::var_os("HOPTRAIL_REQUIRE_KERNEL").is_some_and(|v| v == "1")
}

fn case(&(name, body): &Test) -> Case {
    let body = Box::new(move || {
        body();
        Ok(())
    });
    Case { name: name.into(), kernel: true, body }
}

/// Why kernel tests cannot run here.
fn obstacle() -> Option<String> {
    if !nix::unistd::Uid::effective().is_root() {
        return Some("kernel tests need root".into());
    }
    doctor::ready().err().map(|e| e.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_that_is_not_there_ends_the_test() {
        need("sh", "dash");
        let thrown = catch_unwind(|| need("no-such-program", "no-such-package")).unwrap_err();
        let reason = "no-such-program is not installed: apt-get install no-such-package";
        if required() {
            let said = thrown.downcast::<String>().expect("a message");
            assert_eq!(*said, format!("HOPTRAIL_REQUIRE_KERNEL=1, but {reason}"));
        } else {
            assert_eq!(thrown.downcast::<NotHere>().expect("no panic").0, reason);
        }
    }
}
