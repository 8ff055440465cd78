//! Waiting for events and time, alertable or not.

use super::event::Event;
use crate::thread::{self, Thread};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How a wait ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Waited {
    /// The event of this index, or all of them (then 0).
    Signalled(usize),
    /// Completion routines of this thread have run.
    Alerted,
    TimedOut,
}

/// Waits for one of the events, or for all.
pub(crate) fn wait(
    events: &[Arc<Event>],
    all: bool,
    limit: Option<Duration>,
    alertable: bool,
) -> Waited {
    let thread = thread::current();
    let enlisted = Enlisted::new(events, &thread);
    let begun = Instant::now();
    loop {
        // What is there counts before what there is to do.
        if let Some(index) = if all { take_all(events) } else { take_one(events) } {
            return Waited::Signalled(index);
        }
        if alertable && thread::run_apcs(&thread) {
            return Waited::Alerted;
        }
        let rest = limit.map(|limit| limit.saturating_sub(begun.elapsed()));
        if rest == Some(Duration::ZERO) {
            return Waited::TimedOut;
        }
        enlisted.thread.park(rest);
    }
}

/// Waits for time to pass.
pub(crate) fn sleep(limit: Option<Duration>, alertable: bool) -> Waited {
    wait(&[], false, limit, alertable)
}

fn take_one(events: &[Arc<Event>]) -> Option<usize> {
    events.iter().position(|event| event.take())
}

fn take_all(events: &[Arc<Event>]) -> Option<usize> {
    for (n, event) in events.iter().enumerate() {
        if !event.take() {
            events[..n].iter().for_each(|event| event.give_back());
            return None;
        }
    }
    Some(0)
}

/// The events know the thread as long as this lives.
struct Enlisted<'a> {
    events: &'a [Arc<Event>],
    thread: Arc<Thread>,
}

impl<'a> Enlisted<'a> {
    fn new(events: &'a [Arc<Event>], thread: &Arc<Thread>) -> Self {
        events.iter().for_each(|event| event.enlist(thread));
        Self { events, thread: Arc::clone(thread) }
    }
}

impl Drop for Enlisted<'_> {
    fn drop(&mut self) {
        self.events.iter().for_each(|event| event.dismiss(&self.thread));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(manual: bool, signalled: bool) -> Arc<Event> {
        Arc::new(Event::new(manual, signalled))
    }

    #[test]
    fn the_first_that_is_signalled_counts() {
        let events = [event(true, false), event(true, true), event(true, true)];
        assert_eq!(wait(&events, false, None, false), Waited::Signalled(1));
        assert_eq!(wait(&events, true, Some(Duration::ZERO), false), Waited::TimedOut);
        events[0].set();
        assert_eq!(wait(&events, true, None, false), Waited::Signalled(0));
    }

    #[test]
    fn one_that_resets_itself_lets_one_wait_through() {
        let events = [event(false, true)];
        assert_eq!(wait(&events, false, None, false), Waited::Signalled(0));
        assert_eq!(wait(&events, false, Some(Duration::ZERO), false), Waited::TimedOut);
    }

    #[test]
    fn a_wait_for_all_takes_nothing_until_it_has_all() {
        let events = [event(false, true), event(true, false)];
        assert_eq!(wait(&events, true, Some(Duration::ZERO), false), Waited::TimedOut);
        assert_eq!(wait(&events[..1], false, Some(Duration::ZERO), false), Waited::Signalled(0));
    }

    #[test]
    fn another_thread_ends_a_wait() {
        let events = [event(false, false)];
        std::thread::scope(|scope| {
            let waiting = scope.spawn(|| wait(&events, false, None, false));
            events[0].set();
            assert_eq!(waiting.join().unwrap(), Waited::Signalled(0));
        });
    }

    #[test]
    fn routines_run_in_an_alertable_wait_only() {
        let ran = Arc::new(std::sync::atomic::AtomicU32::new(0));
        let counted = Arc::clone(&ran);
        thread::current().queue(Box::new(move || {
            counted.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
        }));
        assert_eq!(sleep(Some(Duration::from_millis(1)), false), Waited::TimedOut);
        assert_eq!(ran.load(std::sync::atomic::Ordering::SeqCst), 0);
        assert_eq!(sleep(None, true), Waited::Alerted);
        assert_eq!(ran.load(std::sync::atomic::Ordering::SeqCst), 1);
        assert_eq!(sleep(Some(Duration::ZERO), true), Waited::TimedOut);
    }
}
