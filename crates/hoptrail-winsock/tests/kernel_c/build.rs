//! Compiles the programs, and asks each which tests it has.

use crate::with::With;
use hoptrail_testkit::lab::cc::Program;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;

/// What every program is linked with.
const SHARED: [&str; 4] = ["check.c", "scene.c", "datagram.c", "completion.c"];

/// A test of a program.
#[derive(Clone)]
pub(crate) struct Listed {
    /// The program's name, without `.c`.
    pub(crate) program: String,
    pub(crate) executable: PathBuf,
    pub(crate) scene: String,
    pub(crate) name: String,
}

/// Compiles all and lists their tests.
pub(crate) fn all(with: With) -> io::Result<Vec<Listed>> {
    let dir = Path::new(env!("CARGO_TARGET_TMPDIR")).join(with.dir());
    fs::create_dir_all(&dir)?;
    let sources = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/c");
    let headers = files(&sources, "h")?;
    let shared: Vec<_> = SHARED.iter().map(|file| sources.join(file)).collect();
    let programs = files(&sources, "c")?.into_iter().filter(|file| !shared.contains(file));
    let builds: Vec<_> = std::thread::scope(|scope| {
        let threads: Vec<_> = programs
            .map(|program| scope.spawn(|| build(program, &shared, &headers, &dir, with)))
            .collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    Ok(builds.into_iter().collect::<io::Result<Vec<_>>>()?.concat())
}

fn build(
    program: PathBuf,
    shared: &[PathBuf],
    headers: &[PathBuf],
    dir: &Path,
    with: With,
) -> io::Result<Vec<Listed>> {
    let name = program.file_stem().unwrap().to_string_lossy().into_owned();
    let executable = dir.join(&name);
    let sources = [&[program], shared].concat();
    let flags = with.flags();
    Program { executable: &executable, sources: &sources, headers, flags }.compile()?;
    list(&name, &executable)
}

fn list(program: &str, executable: &Path) -> io::Result<Vec<Listed>> {
    let output = Command::new(executable).arg("--list").output()?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        return Err(io::Error::other(format!("{program} --list: {}\n{said}", output.status)));
    }
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let tests = text.lines().filter_map(|line| line.split_once(' '));
    Ok(tests
        .map(|(scene, name)| Listed {
            program: program.into(),
            executable: executable.into(),
            scene: scene.into(),
            name: name.into(),
        })
        .collect())
}

fn files(dir: &Path, extension: &str) -> io::Result<Vec<PathBuf>> {
    let paths = fs::read_dir(dir)?.map(|entry| entry.map(|e| e.path()));
    let mut paths = paths.collect::<io::Result<Vec<_>>>()?;
    paths.retain(|path| path.extension().is_some_and(|e| e == extension));
    paths.sort();
    Ok(paths)
}
