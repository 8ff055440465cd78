//! The choice of an engine. An unprivileged one will be another line here.

use crate::failure::Failure;
use hoptrail_engine::Engine;
use hoptrail_engine::host::doctor;
use hoptrail_engine::kernel::{KernelEngine, KernelOptions};
use std::path::PathBuf;

/// `--engine`.
#[derive(clap::ValueEnum, Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum EngineChoice {
    /// The BPF programs; needs root
    Kernel,
    /// The best that can be had
    #[default]
    Auto,
}

/// Opens the chosen engine; it ends with this process.
pub(crate) fn open_engine(choice: EngineChoice) -> Result<Box<dyn Engine>, Failure> {
    match choice {
        EngineChoice::Kernel | EngineChoice::Auto => {
            doctor::ready()?;
            Ok(Box::new(KernelEngine::open(&KernelOptions::default())?))
        }
    }
}

/// Opens the engine that outlives this process; only the kernel can be that.
pub(crate) fn open_pinned(pins: PathBuf) -> Result<KernelEngine, Failure> {
    doctor::ready()?;
    Ok(KernelEngine::open(&KernelOptions { pins: Some(pins), ..KernelOptions::default() })?)
}
