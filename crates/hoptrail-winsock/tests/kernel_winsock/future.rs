//! The future.

use super::scene::{Scene, connecting, let_in};
use hoptrail_testkit::lab::stage::held;
use hoptrail_winsock::Error;
use hoptrail_winsock::ioctl::{QueryContext, QueryRecords, live, start};
use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::thread::Thread;

struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

fn block_on<F: Future>(future: F) -> F::Output {
    let waker = Waker::from(Arc::new(Unpark(std::thread::current())));
    let mut future = pin!(future);
    loop {
        match future.as_mut().poll(&mut Context::from_waker(&waker)) {
            Poll::Ready(output) => return output,
            Poll::Pending => std::thread::park(),
        }
    }
}

pub(crate) fn it_needs_no_runtime() {
    let scene = Scene::new();
    let accepted = scene.accepted();
    let blob = scene.acme.records(accepted).unwrap();
    let got = scene.acme.run(accepted.0, |fd| {
        let socket = held(fd)?;
        let both = block_on(async {
            let records = start(&socket, QueryRecords)?.await?;
            let context = start(&socket, QueryContext)?.await?;
            Ok::<_, Error>((records.as_bytes().to_vec(), context.hop()))
        });
        let (connecting, kept) = connecting()?;
        let later = start(&connecting, QueryRecords).unwrap();
        let _accepted = let_in(&kept)?;
        assert_eq!(block_on(later).err(), Some(Error::NoRecords));
        Ok(both.unwrap())
    });
    assert_eq!(got.unwrap(), (blob, 1));
}

pub(crate) fn dropping_it_cancels() {
    let scene = Scene::new();
    let left = scene.acme.run((), |()| {
        let (socket, _kept) = connecting()?;
        let several: Vec<_> = (0..5).map(|_| start(&socket, QueryRecords).unwrap()).collect();
        assert_eq!(live().operations, 5);
        drop(several);
        Ok(live().operations)
    });
    assert_eq!(left.unwrap(), 0);
}

pub(crate) fn cancelling_it_aborts() {
    let scene = Scene::new();
    let error = scene.acme.run((), |()| {
        let (socket, _kept) = connecting()?;
        let pending = start(&socket, QueryRecords).unwrap();
        pending.cancel();
        assert!(pending.is_ready());
        pending.cancel();
        Ok(block_on(pending).unwrap_err().to_string())
    });
    assert_eq!(error.unwrap(), Error::ABORTED.to_string());
}
