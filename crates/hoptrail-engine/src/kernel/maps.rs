//! The kernel's maps, typed: the only place in user space that reads and writes them.

use super::LiveLink;
use super::load::chain;
use crate::engine::{Counters, EngineError};
use aya::Ebpf;
use aya::maps::{Array, ArrayOfMaps, HashMap, Map, MapData, PerCpuArray};
use hoptrail_core::Trail;
use hoptrail_core::image::IMAGE_WORDS;
use hoptrail_core::records::Exe;
use hoptrail_core::shared::{ContextBytes, Counter, ExeKey, ExePath, MAX_CONTEXTS, PATH_END, map};
use std::io::Read as _;
use std::path::Path;
use zerocopy::{FromZeros as _, IntoBytes as _};

/// A value that may cross to the kernel as its bytes.
#[derive(Clone, Copy)]
#[repr(transparent)]
pub(super) struct Plain<T>(pub(super) T);

#[expect(unsafe_code, reason = "the loader library's marker for plain data")]
// SAFETY: `FromBytes` and `IntoBytes` say that every bit pattern is a value and that there is no
// padding, which is what the marker promises.
unsafe impl<T> aya::Pod for Plain<T> where
    T: zerocopy::FromBytes + zerocopy::IntoBytes + zerocopy::Immutable + Copy + 'static
{
}

type ImageValue = [u64; IMAGE_WORDS];

pub(super) struct Maps {
    policy: ArrayOfMaps<MapData, Array<MapData, ImageValue>>,
    generation: Array<MapData, u64>,
    links: HashMap<MapData, u64, Plain<Trail>>,
    flow_trails: HashMap<MapData, u64, Plain<Trail>>,
    contexts: Array<MapData, Plain<ContextBytes>>,
    paths: HashMap<MapData, Plain<ExeKey>, Plain<ExePath>>,
    key: Array<MapData, [u64; 2]>,
    counters: PerCpuArray<MapData, u64>,
}

fn broken(name: &str, error: &dyn std::error::Error) -> EngineError {
    EngineError::new(format!("BPF map {name}: {}", chain(error)))
}

/// Takes a map out of the loaded object.
pub(super) fn typed<T: TryFrom<Map, Error = aya::maps::MapError>>(
    ebpf: &mut Ebpf,
    name: &str,
) -> Result<T, EngineError> {
    let map = ebpf
        .take_map(name)
        .ok_or_else(|| EngineError::new(format!("the BPF object has no map {name}")))?;
    T::try_from(map).map_err(|e| broken(name, &e))
}

impl Maps {
    pub(super) fn take(ebpf: &mut Ebpf) -> Result<Self, EngineError> {
        Ok(Self {
            policy: typed(ebpf, map::POLICY)?,
            generation: typed(ebpf, map::GENERATION)?,
            links: typed(ebpf, map::LINKS)?,
            flow_trails: typed(ebpf, map::FLOW_TRAILS)?,
            contexts: typed(ebpf, map::CONTEXTS)?,
            paths: typed(ebpf, map::PATHS)?,
            key: typed(ebpf, map::KEY)?,
            counters: typed(ebpf, map::COUNTERS)?,
        })
    }

    /// Gives a new kernel side its key. An adopted one keeps its own: blobs that proxies hold stay
    /// valid.
    pub(super) fn prepare(&mut self) -> Result<(), EngineError> {
        let key = self.key.get(&0, 0).map_err(|e| broken(map::KEY, &e))?;
        if key != [0, 0] {
            return Ok(());
        }
        let mut key = [0u64; 2];
        std::fs::File::open("/dev/urandom")
            .and_then(|mut file| file.read_exact(key.as_mut_bytes()))
            .map_err(|e| EngineError::os("cannot read /dev/urandom", e))?;
        self.key.set(0, key, 0).map_err(|e| broken(map::KEY, &e))
    }

    pub(super) fn generation(&self) -> Result<u64, EngineError> {
        self.generation.get(&0, 0).map_err(|e| broken(map::GENERATION, &e))
    }

    /// The context bytes that are numbered already; position 0 stands for none.
    pub(super) fn contexts(&self) -> Result<Vec<Vec<u8>>, EngineError> {
        let mut all = vec![Vec::new()];
        for number in 1..MAX_CONTEXTS as u32 {
            let entry = self.contexts.get(&number, 0).map_err(|e| broken(map::CONTEXTS, &e))?.0;
            if entry.length == 0 {
                break;
            }
            let length = (entry.length as usize).min(entry.bytes.len());
            all.push(entry.bytes[..length].to_vec());
        }
        Ok(all)
    }

    /// The number of `bytes`, which are numbered now if they were not.
    pub(super) fn intern_context(
        &mut self,
        known: &mut Vec<Vec<u8>>,
        bytes: &[u8],
    ) -> Result<u32, EngineError> {
        if let Some(number) = known.iter().position(|k| k == bytes) {
            return Ok(number as u32);
        }
        let mut entry = ContextBytes::new_zeroed();
        if bytes.len() > entry.bytes.len() {
            let (is, most) = (bytes.len(), entry.bytes.len());
            return Err(EngineError::new(format!("a context of {is} bytes; at most {most} fit")));
        }
        if known.len() >= MAX_CONTEXTS {
            return Err(EngineError::new(format!(
                "the kernel side has seen {MAX_CONTEXTS} different contexts and cannot forget one while it lives; run hoptrail cleanup and start again"
            )));
        }
        entry.length = bytes.len() as u32;
        entry.bytes[..bytes.len()].copy_from_slice(bytes);
        let number = known.len() as u32;
        self.contexts.set(number, Plain(entry), 0).map_err(|e| broken(map::CONTEXTS, &e))?;
        known.push(bytes.to_vec());
        Ok(number)
    }

    /// Makes a new inner map of `words` and puts it in the place of the old one: one pointer changes,
    /// and the kernel waits until nobody uses the old one.
    pub(super) fn switch_policy(
        &mut self,
        words: &[u64],
        generation: u64,
    ) -> Result<(), EngineError> {
        // On the heap from the start: 2 MiB are a whole thread's stack.
        let mut value = words.to_vec();
        value.resize(IMAGE_WORDS, 0);
        let value: Box<ImageValue> = value
            .into_boxed_slice()
            .try_into()
            .map_err(|_| EngineError::new("the policy image is too large"))?;
        let mut inner =
            Array::<MapData, ImageValue>::create(1, 0).map_err(|e| broken("for the policy", &e))?;
        inner.set(0, value, 0).map_err(|e| broken("for the policy", &e))?;
        self.policy.set(0, &inner, 0).map_err(|e| broken(map::POLICY, &e))?;
        self.generation.set(0, generation, 0).map_err(|e| broken(map::GENERATION, &e))
    }

    pub(super) fn links(&self) -> Result<Vec<LiveLink>, EngineError> {
        let mut links = live(&self.links, map::LINKS)?;
        links.extend(live(&self.flow_trails, map::FLOW_TRAILS)?);
        Ok(links)
    }

    pub(super) fn counters(&self) -> Result<Counters, EngineError> {
        let read = |counter: Counter| {
            self.counters
                .get(&(counter as u32), 0)
                .map(|cpus| cpus.iter().sum::<u64>())
                .map_err(|e| broken(map::COUNTERS, &e))
        };
        Ok(Counters {
            considered: read(Counter::Considered)?,
            redirected: read(Counter::Redirected)?,
            blocked: read(Counter::Blocked)?,
            listener_gone: read(Counter::ListenerGone)?,
            table_full: read(Counter::TableFull)?,
            trail_full: read(Counter::TrailFull)?,
            linked: read(Counter::Linked)?,
            link_failed: read(Counter::LinkFailed)?,
            records_set: read(Counter::RecordsSet)?,
            records_refused: read(Counter::RecordsRefused)?,
            adopted: read(Counter::Adopted)?,
            events_lost: read(Counter::EventsLost)?,
        })
    }

    /// Path of an executable, if the kernel side has seen it.
    pub(super) fn path(&self, exe: Exe) -> Option<String> {
        let key = ExeKey { ino: exe.ino, dev: exe.dev.into() };
        let path = self.paths.get(&Plain(key), 0).ok()?.0;
        let start = usize::try_from(path.start).ok().filter(|&s| s > 0 && s < PATH_END)?;
        Some(String::from_utf8_lossy(&path.bytes[start..PATH_END]).into_owned())
    }
}

fn live(
    table: &HashMap<MapData, u64, Plain<Trail>>,
    name: &str,
) -> Result<Vec<LiveLink>, EngineError> {
    let mut links = Vec::new();
    for id in table.keys() {
        let id = id.map_err(|e| broken(name, &e))?;
        // One that is closed meanwhile is not live.
        if let Ok(trail) = table.get(&id, 0) {
            links.push(LiveLink { id, trail: trail.0 });
        }
    }
    Ok(links)
}

pub(super) fn pinned_links(dir: &Path) -> Result<Vec<LiveLink>, EngineError> {
    let mut links = Vec::new();
    for (name, lru) in [(map::LINKS, false), (map::FLOW_TRAILS, true)] {
        let path = dir.join(name);
        let data = MapData::from_pin(&path).map_err(|e| {
            EngineError::new(format!(
                "nothing is pinned at {}: no daemon has been started, or it was cleaned up ({})",
                path.display(),
                chain(&e)
            ))
        })?;
        let map = if lru { Map::LruHashMap(data) } else { Map::HashMap(data) };
        let table = HashMap::try_from(map).map_err(|e| broken(name, &e))?;
        links.extend(live(&table, name)?);
    }
    Ok(links)
}
