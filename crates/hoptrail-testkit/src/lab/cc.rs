//! C programs against the shared library of `hoptrail-winsock`, which a test's own crate depends on so that it is built.

use std::ffi::OsStr;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::SystemTime;

/// A program to compile.
#[derive(Debug)]
pub struct Program<'a> {
    /// Where its executable is put.
    pub executable: &'a Path,
    /// What it is made of.
    pub sources: &'a [PathBuf],
    /// What else makes it anew when it changes.
    pub headers: &'a [PathBuf],
    /// Further arguments of the compiler.
    pub flags: &'a [&'a str],
}

/// The directory of the shared library: that of the test binary.
///
/// # Panics
/// When it is not there: the test's crate must depend on `hoptrail-winsock`.
#[must_use]
pub fn library_dir() -> PathBuf {
    let binary = std::env::current_exe().expect("the test binary");
    let dir = binary.parent().expect("a directory").to_owned();
    let library = dir.join("libhoptrail_winsock.so");
    assert!(library.exists(), "{} is not there", library.display());
    dir
}

/// The directory of `hoptrail_winsock.h`.
#[must_use]
pub fn include_dir() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../hoptrail-winsock/include")
}

/// Whether there is a C compiler.
#[must_use]
pub fn installed() -> bool {
    Command::new("cc").arg("--version").output().is_ok_and(|output| output.status.success())
}

impl Program<'_> {
    /// Compiles it with every warning as an error, unless it is newer than all that it is made of.
    ///
    /// # Errors
    /// What the compiler says.
    pub fn compile(&self) -> io::Result<()> {
        let header = include_dir().join("hoptrail_winsock.h");
        let library = library_dir().join("libhoptrail_winsock.so");
        let parts = self.sources.iter().chain(self.headers).chain([&header, &library]);
        let newest = parts.map(|part| changed(part)).collect::<io::Result<Vec<_>>>()?;
        if changed(self.executable).is_ok_and(|made| newest.iter().all(|part| *part < made)) {
            return Ok(());
        }
        // Another run of the same tests may be starting the former one.
        let fresh = self.executable.with_extension(std::process::id().to_string());
        let mut command = Command::new("cc");
        command.args(["-std=c11", "-D_GNU_SOURCE", "-g", "-O1", "-pthread"]);
        command.args(["-Wall", "-Wextra", "-Wpedantic", "-Wstrict-prototypes", "-Werror"]);
        command.args(self.flags).arg("-I").arg(include_dir()).args(self.sources);
        command.arg("-L").arg(library_dir()).arg("-lhoptrail_winsock");
        command.arg("-o").arg(&fresh).arg("-Wl,-rpath").arg(rpath(&library_dir()));
        let output = command.output()?;
        if !output.status.success() {
            let said = String::from_utf8_lossy(&output.stderr);
            return Err(io::Error::other(format!("{}: {said}", self.executable.display())));
        }
        fs::rename(fresh, self.executable)
    }
}

fn rpath(dir: &Path) -> std::ffi::OsString {
    [OsStr::new("-Wl,"), dir.as_os_str()].into_iter().collect()
}

fn changed(path: &Path) -> io::Result<SystemTime> {
    fs::metadata(path)?.modified()
}
