//! HANDLEs of events, completion ports and threads: numbers that are never given twice, so that one
//! that was closed is known as such for good.

use crate::overlapped::{Event, Port};
use crate::thread::Thread;
use crate::{Error, Result};
use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

/// Above every descriptor and below every address, so that neither is taken for a handle.
const FIRST: usize = 0x0048_5400_0000_0000_u64 as usize;
/// Low bits are free: the lowest one of an event's handle has a meaning for completion ports.
const STEP: usize = 4;

#[derive(Clone)]
pub(crate) enum Object {
    Event(Arc<Event>),
    Port(Arc<Port>),
    Thread(Arc<Thread>),
}

#[derive(Default)]
pub(crate) struct Handles {
    given: AtomicUsize,
    objects: RwLock<HashMap<usize, Object>>,
}

impl Handles {
    pub(crate) fn open(&self, object: Object) -> usize {
        let handle = FIRST + STEP * self.given.fetch_add(1, Ordering::Relaxed);
        self.objects.write().unwrap_or_else(PoisonError::into_inner).insert(handle, object);
        handle
    }

    /// # Errors
    /// WSA_INVALID_HANDLE.
    pub(crate) fn event(&self, handle: usize) -> Result<Arc<Event>> {
        match self.get(handle) {
            Some(Object::Event(event)) => Ok(event),
            _ => Err(Error::BAD_HANDLE),
        }
    }

    /// # Errors
    /// WSA_INVALID_HANDLE.
    pub(crate) fn port(&self, handle: usize) -> Result<Arc<Port>> {
        match self.get(handle) {
            Some(Object::Port(port)) => Ok(port),
            _ => Err(Error::BAD_HANDLE),
        }
    }

    /// # Errors
    /// WSA_INVALID_HANDLE.
    pub(crate) fn thread(&self, handle: usize) -> Result<Arc<Thread>> {
        match self.get(handle) {
            Some(Object::Thread(thread)) => Ok(thread),
            _ => Err(Error::BAD_HANDLE),
        }
    }

    /// Closes a handle of a kind. Whoever waits for the object goes on waiting for it.
    ///
    /// # Errors
    /// WSA_INVALID_HANDLE.
    pub(crate) fn close(&self, handle: usize, kind: fn(&Object) -> bool) -> Result<()> {
        let mut objects = self.objects.write().unwrap_or_else(PoisonError::into_inner);
        if !objects.get(&handle).is_some_and(kind) {
            return Err(Error::BAD_HANDLE);
        }
        let object = objects.remove(&handle);
        drop(objects);
        if let Some(Object::Port(port)) = object {
            port.close();
        }
        Ok(())
    }

    /// In a child of fork: none is open, and none of the parent's is given again.
    pub(crate) fn of_child(&self) -> Self {
        let given = AtomicUsize::new(self.given.load(Ordering::Relaxed));
        Self { given, objects: RwLock::default() }
    }

    /// How many are open.
    pub(crate) fn count(&self) -> usize {
        self.objects.read().unwrap_or_else(PoisonError::into_inner).len()
    }

    fn get(&self, handle: usize) -> Option<Object> {
        self.objects.read().unwrap_or_else(PoisonError::into_inner).get(&handle).cloned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_closed_handle_is_invalid_for_good() {
        let handles = Handles::default();
        let event = || Object::Event(Arc::new(Event::new(true, false)));
        let first = handles.open(event());
        assert!(handles.event(first).is_ok());
        assert_eq!(handles.port(first).err(), Some(Error::BAD_HANDLE));
        assert_eq!(handles.close(first, |_| true), Ok(()));
        assert_eq!(handles.close(first, |_| true), Err(Error::BAD_HANDLE));
        assert_ne!(handles.open(event()), first);
        assert_eq!(handles.event(first).err(), Some(Error::BAD_HANDLE));
        assert_eq!(handles.count(), 1);
    }

    #[test]
    fn a_child_does_not_give_its_parents_handles() {
        let handles = Handles::default();
        let open = |h: &Handles| h.open(Object::Event(Arc::new(Event::new(true, false))));
        let parents = open(&handles);
        let child = handles.of_child();
        assert_eq!(child.event(parents).err(), Some(Error::BAD_HANDLE));
        assert_ne!(open(&child), parents);
    }

    #[test]
    fn handles_have_free_low_bits_and_are_no_descriptors() {
        let handle = Handles::default().open(Object::Port(Arc::default()));
        assert_eq!(handle & 3, 0);
        assert!(handle > i32::MAX as usize);
    }
}
