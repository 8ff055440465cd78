//! A directory for the configurations of others, which goes with this.

use crate::Result;
use hoptrail_engine::EngineError;
use std::fs;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

pub(crate) struct Scratch {
    path: PathBuf,
}

impl Scratch {
    /// Fails rather than to use one that another has made.
    pub(crate) fn make() -> Result<Self> {
        let path = std::env::temp_dir().join(format!("hoptrail-bench-{}", std::process::id()));
        fs::DirBuilder::new().mode(0o700).create(&path).map_err(|e| failed(&path, e))?;
        Ok(Self { path })
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// A directory in it, made if it is not there.
    pub(crate) fn sub(&self, name: &str) -> Result<PathBuf> {
        let path = self.path.join(name);
        fs::create_dir_all(&path).map_err(|e| failed(&path, e))?;
        Ok(path)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.path);
    }
}

fn failed(path: &Path, error: std::io::Error) -> EngineError {
    EngineError::os(format!("cannot make {}", path.display()), error)
}
