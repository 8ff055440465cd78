//! What a program is run with.

use hoptrail_testkit::lab::cc;
use std::path::Path;
use std::process::Command;

/// What looks at its memory.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum With {
    Nothing,
    /// AddressSanitizer, which finds leaks too, and UndefinedBehaviorSanitizer.
    Sanitizers,
    Valgrind,
}

impl With {
    /// What the environment says.
    pub(crate) fn told() -> Self {
        match std::env::var("HOPTRAIL_C_WITH").as_deref() {
            Ok("sanitizers") => Self::Sanitizers,
            Ok("valgrind") => Self::Valgrind,
            Ok("") | Err(_) => Self::Nothing,
            Ok(other) => panic!("HOPTRAIL_C_WITH={other}: say sanitizers or valgrind"),
        }
    }

    /// A tool that is needed and not there.
    pub(crate) fn missing(self) -> Option<&'static str> {
        let has = |tool: &str| Command::new(tool).arg("--version").output().is_ok();
        if !cc::installed() {
            return Some("a C compiler (cc)");
        }
        (self == Self::Valgrind && !has("valgrind")).then_some("valgrind")
    }

    /// Where its executables are.
    pub(crate) const fn dir(self) -> &'static str {
        match self {
            Self::Nothing | Self::Valgrind => "c",
            Self::Sanitizers => "c-sanitizers",
        }
    }

    pub(crate) const fn flags(self) -> &'static [&'static str] {
        match self {
            Self::Nothing | Self::Valgrind => &[],
            Self::Sanitizers => &[
                "-fsanitize=address,undefined",
                "-fno-sanitize-recover=all",
                "-fno-omit-frame-pointer",
            ],
        }
    }

    /// The command that runs it.
    pub(crate) fn command(self, program: &Path) -> Command {
        if self != Self::Valgrind {
            let mut command = Command::new(program);
            command.env("ASAN_OPTIONS", "detect_leaks=1:detect_stack_use_after_return=1");
            return command;
        }
        let mut command = Command::new("valgrind");
        command.args(["--quiet", "--error-exitcode=99", "--leak-check=full", "--fair-sched=yes"]);
        command.args(["--errors-for-leak-kinds=definite", "--show-leak-kinds=definite"]);
        let suppressions = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/c/valgrind.supp");
        command.arg(format!("--suppressions={suppressions}")).arg(program);
        command
    }

    /// Calls of the tests that make many.
    pub(crate) const fn calls(self) -> &'static str {
        match self {
            Self::Nothing => "1000000",
            Self::Sanitizers => "200000",
            Self::Valgrind => "8000",
        }
    }
}
