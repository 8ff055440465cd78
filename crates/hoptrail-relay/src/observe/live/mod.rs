//! The live line: connections and rates in the last line of a terminal.

mod line;
mod meter;
mod screen;

pub use screen::{Screen, TerminalSink};

use super::Observation;
use crate::counters::Counters;
use std::io;
use std::sync::Arc;
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// Four times a second is seen as at once, and costs nothing.
const PAUSE: Duration = Duration::from_millis(250);

/// A live line; it goes away with this.
#[derive(Debug)]
pub struct Live {
    stop: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Live {
    /// Draws it on `screen` until this is dropped.
    ///
    /// # Errors
    /// When no thread can be started.
    pub fn start(
        screen: Arc<Screen>,
        observation: Arc<Observation>,
        counters: Vec<Arc<Counters>>,
    ) -> io::Result<Self> {
        let (stop, stopped) = channel();
        let thread = std::thread::Builder::new().name("live".into()).spawn(move || {
            let mut meter = meter::Meter::default();
            loop {
                let sample = meter::Sample::take(Instant::now(), &observation, &counters);
                let now = meter.advance(sample);
                screen.show(|columns| line::draw(&now, columns));
                if stopped.recv_timeout(PAUSE) != Err(RecvTimeoutError::Timeout) {
                    return screen.clear();
                }
            }
        })?;
        Ok(Self { stop: Some(stop), thread: Some(thread) })
    }
}

impl Drop for Live {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
