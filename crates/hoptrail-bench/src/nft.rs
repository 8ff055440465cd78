//! nftables' REDIRECT of the same connections, to compare with, where `nft` is installed.

use crate::Result;
use crate::policy::Target;
use hoptrail_engine::EngineError;
use std::io::Write;
use std::process::{Command, Stdio};

const TABLE: &str = "hoptrail_bench";

/// A table with one rule; it goes when this is dropped.
pub(crate) struct Redirect(());

pub(crate) fn installed() -> bool {
    let version = Command::new("nft").arg("--version").stdout(Stdio::null()).status();
    version.is_ok_and(|status| status.success())
}

impl Redirect {
    /// Sends what goes to [`Target::Nftables`] to this port instead.
    pub(crate) fn load(port: u16) -> Result<Self> {
        let to = Target::Nftables.ip();
        nft(&format!(
            "table ip {TABLE} {{ chain output {{ type nat hook output priority -100; \
             ip daddr {to} meta l4proto {{ tcp, udp }} redirect to :{port}; }}; }}"
        ))?;
        Ok(Self(()))
    }
}

impl Drop for Redirect {
    fn drop(&mut self) {
        // In our own network namespace, which goes anyway.
        let _ = nft(&format!("delete table ip {TABLE}"));
    }
}

fn nft(script: &str) -> Result<()> {
    let run = || {
        let mut child = Command::new("nft").args(["-f", "-"]).stdin(Stdio::piped()).spawn()?;
        if let Some(mut stdin) = child.stdin.take() {
            stdin.write_all(script.as_bytes())?;
        }
        child.wait()
    };
    match run() {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => Err(EngineError::new(format!("nft ended with {status} at: {script}"))),
        Err(e) => Err(EngineError::os("cannot run nft", e)),
    }
}
