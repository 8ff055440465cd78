//! The header alone: it compiles in every standard that programs are written in, included twice and first.

use hoptrail_testkit::lab::{Case, cc, need};
use libtest_mimic::Failed;
use std::path::Path;
use std::process::Command;

const STANDARDS: [(&str, &str); 5] = [
    ("cc", "-std=c99"),
    ("cc", "-std=gnu11"),
    ("cc", "-std=c17"),
    ("c++", "-std=c++11"),
    ("c++", "-std=c++20"),
];

pub(crate) fn cases() -> Vec<Case> {
    let case = |&(compiler, standard): &(&'static str, &'static str)| Case {
        name: format!("header::compiles{}", standard.replace("-std=", "_as_").replace('+', "p")),
        kernel: false,
        body: Box::new(move || compiles(compiler, standard)),
    };
    STANDARDS.iter().map(case).collect()
}

fn compiles(compiler: &str, standard: &str) -> Result<(), Failed> {
    need(compiler, "build-essential");
    let (language, body) = if compiler == "cc" {
        ("c", "#include <hoptrail_winsock.h>\n#include <hoptrail_winsock.h>\n".to_owned())
    } else {
        let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/c/header.cc");
        ("c++", std::fs::read_to_string(file)?)
    };
    let dir = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let source = dir.join(format!("header-{}-{}", std::process::id(), &standard[5..]));
    std::fs::write(&source, body)?;
    let output = Command::new(compiler)
        .args([
            standard,
            "-Wall",
            "-Wextra",
            "-Wpedantic",
            "-Werror",
            "-fsyntax-only",
            "-x",
            language,
        ])
        .arg("-I")
        .arg(cc::include_dir())
        .arg(&source)
        .output();
    std::fs::remove_file(&source)?;
    let output = output?;
    if output.status.success() {
        return Ok(());
    }
    Err(String::from_utf8_lossy(&output.stderr).into_owned().into())
}
