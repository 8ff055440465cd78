//! The kernel engine: BPF programs, maps, links and pins.

mod btf;
mod hooks;
mod load;
mod maps;
mod pins;
mod ring;
mod sys;

pub use hooks::HOOKS;
pub use pins::{DEFAULT_PINS, cleanup, mount_bpffs};

use crate::engine::{Counters, Engine, EngineError, Resolved};
use crate::event::Event;
use hoptrail_core::Trail;
use hoptrail_core::compile::compile;
use load::Loaded;
use std::os::fd::{AsFd as _, BorrowedFd};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// How the kernel engine is opened.
#[derive(Clone, Debug, Default)]
pub struct KernelOptions {
    /// Directory of the pins, on a BPF file system. With pins the kernel side outlives the process, and
    /// what is there already is adopted; without, everything vanishes with the process.
    pub pins: Option<PathBuf>,
    /// Entries of the kernel's maps other than the built-in ones, by map name: for tests of full maps.
    pub map_entries: Vec<(String, u32)>,
}

/// One redirected TCP connection that is open, or UDP flow that is remembered.
#[derive(Clone, Debug)]
pub struct LiveLink {
    /// Its number in the kernel.
    pub id: u64,
    /// Its trail so far.
    pub trail: Trail,
}

/// The programs, their maps and links.
pub struct KernelEngine {
    loaded: Loaded,
    attachments: Vec<pins::Attachment>,
    pins: Option<pins::Pins>,
    generation: u64,
}

impl std::fmt::Debug for KernelEngine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("KernelEngine")
            .field("generation", &self.generation)
            .field("attachments", &self.attachments.len())
            .finish_non_exhaustive()
    }
}

impl KernelEngine {
    /// Loads the programs. Nothing is redirected before [`Engine::attach`].
    ///
    /// # Errors
    /// When the kernel cannot run them; the sentence says what is missing.
    pub fn open(options: &KernelOptions) -> Result<Self, EngineError> {
        let pins = options.pins.as_deref().map(pins::Pins::open).transpose()?;
        let mut loaded = load::load(pins.as_ref(), &options.map_entries)?;
        loaded.maps.prepare()?;
        let generation = loaded.maps.generation()?;
        Ok(Self { loaded, attachments: Vec::new(), pins, generation })
    }

    /// The open redirected TCP connections and the remembered UDP flows.
    ///
    /// # Errors
    /// When the maps cannot be read.
    pub fn links(&self) -> Result<Vec<LiveLink>, EngineError> {
        self.loaded.maps.links()
    }

    /// Detaches pinned links to cgroups to which this engine has not attached itself: those of an
    /// earlier daemon with another scope.
    ///
    /// # Errors
    /// When a pin cannot be removed.
    pub fn detach_others(&mut self) -> Result<(), EngineError> {
        let Some(pins) = &self.pins else {
            return Ok(());
        };
        pins.remove_links_but(&self.attachments)
    }

    /// Detaches from every cgroup that this engine has attached itself to. What is pinned stays.
    pub fn detach_all(&mut self) {
        self.attachments.clear();
    }

    /// The generation of the policy in force; 0 before the first.
    #[must_use]
    pub const fn generation(&self) -> u64 {
        self.generation
    }
}

impl Engine for KernelEngine {
    fn name(&self) -> &'static str {
        "kernel"
    }

    fn load_policy(&mut self, resolved: &Resolved) -> Result<u64, EngineError> {
        let mut policy = resolved.policy.clone();
        let mut contexts = self.loaded.maps.contexts()?;
        for provider in &mut policy.providers {
            let bytes = resolved.contexts.iter().find(|(name, _)| *name == provider.name);
            provider.context = match bytes {
                Some((_, bytes)) if !bytes.is_empty() => {
                    self.loaded.maps.intern_context(&mut contexts, bytes)?
                }
                _ => 0,
            };
        }
        let generation = self.generation + 1;
        let compiled = compile(&policy, generation).map_err(|e| EngineError::new(e.to_string()))?;
        self.loaded.maps.switch_policy(&compiled.words, generation)?;
        self.generation = generation;
        Ok(generation)
    }

    fn attach(&mut self, path: &Path) -> Result<(), EngineError> {
        let id = pins::cgroup_id(path)?;
        if self.attachments.iter().any(|a| a.is(path, id)) {
            return Ok(());
        }
        // Another cgroup had this path before: it is gone, and so is what was attached to it.
        let (gone, kept) = self.attachments.drain(..).partition(|a| a.path() == path);
        self.attachments = kept;
        let gone: Vec<pins::Attachment> = gone;
        for attachment in &gone {
            attachment.unpin(self.pins.as_ref())?;
        }
        let attachment = pins::attach(&self.loaded, self.pins.as_ref(), path)?;
        self.attachments.push(attachment);
        Ok(())
    }

    fn event_fd(&self) -> BorrowedFd<'_> {
        self.loaded.events.as_fd()
    }

    fn events(&mut self, timeout: Duration) -> Result<Vec<Event>, EngineError> {
        ring::read(&mut self.loaded, timeout)
    }

    fn counters(&self) -> Result<Counters, EngineError> {
        self.loaded.maps.counters()
    }
}

/// The open redirected connections behind the pins in `pins`, without an engine of one's own.
///
/// # Errors
/// When nothing is pinned there, or it cannot be read.
pub fn pinned_links(pins: &Path) -> Result<Vec<LiveLink>, EngineError> {
    maps::pinned_links(&pins::version_dir(pins))
}
