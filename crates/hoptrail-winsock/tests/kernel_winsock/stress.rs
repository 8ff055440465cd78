//! Very many calls, and that nothing is left of them.
//!
//! `HOPTRAIL_IOCTLS` says how many calls the first test makes: 1000000 in CI.

use super::scene::{CONTEXT, RECORDS, Scene, Started, connecting, ioctl, overlapped};
use super::winsock::{
    CancelIoEx, CloseHandle, CreateIoCompletionPort, GetQueuedCompletionStatus, SleepEx,
    WSACloseEvent, WSACreateEvent, WSAGetLastError, WSAIoctl, WSAWaitForMultipleEvents,
};
use hoptrail_winsock::codes;
use hoptrail_winsock::ioctl::{Live, live};
use hoptrail_winsock::types::{DWORD, HANDLE, LPWSAOVERLAPPED};
use std::os::fd::AsRawFd;
use std::ptr::{null_mut, without_provenance_mut};
use std::sync::atomic::{AtomicU64, Ordering};

const THREADS: u64 = 8;
const CALLS: u64 = 200_000;

static ROUTINES: AtomicU64 = AtomicU64::new(0);

#[expect(unsafe_code, reason = "the type of a completion routine")]
unsafe extern "C" fn routine(error: DWORD, _: DWORD, _: LPWSAOVERLAPPED, _: DWORD) {
    assert_eq!(error, 0);
    ROUTINES.fetch_add(1, Ordering::Relaxed);
}

fn descriptors() -> usize {
    std::fs::read_dir("/proc/self/fd").unwrap().count()
}

/// All four ways to be told, in turn: nothing (synchronous), event, routine, port.
pub(crate) fn many_calls_from_eight_threads() {
    let calls = std::env::var("HOPTRAIL_IOCTLS").map_or(CALLS, |n| n.parse().unwrap());
    let scene = Scene::new();
    let (one, other) = (scene.accepted(), scene.accepted());
    let told = scene.acme.begin((one.0, other.0, calls), |(one, other, calls)| {
        let _started = Started::new();
        let other_handle = without_provenance_mut(other as usize);
        let port = CreateIoCompletionPort(other_handle, null_mut(), 5, 0) as usize;
        let before = (descriptors(), live());
        std::thread::scope(|scope| {
            for _ in 0..THREADS {
                scope.spawn(|| calls_of_a_thread(one, other, port, calls / THREADS));
            }
        });
        assert_eq!((descriptors(), live()), before);
        let packets = drain(port);
        CloseHandle(without_provenance_mut(port));
        Ok((packets, ROUTINES.load(Ordering::SeqCst)))
    });
    let each = calls / THREADS;
    let expected = |way: u64| THREADS * (0..each).filter(|n| n % 4 == way).count() as u64;
    assert_eq!(told.wait().unwrap(), (expected(3), expected(2)));
}

fn calls_of_a_thread(one: i32, other: i32, port: usize, calls: u64) {
    let event = WSACreateEvent();
    let mut buffer = vec![0u8; 2048];
    let mut over = overlapped(0);
    let mut count = 0;
    for n in 0..calls {
        let code = if n % 8 < 4 { RECORDS } else { CONTEXT };
        let out = (buffer.as_mut_ptr().cast(), 2048);
        let error = match n % 4 {
            0 => ioctl(one, code, &mut [], out, &raw mut count, null_mut()),
            1 => {
                over.hEvent = event as usize;
                let error = ioctl(one, code, &mut [], out, &raw mut count, &raw mut *over);
                let waited = WSAWaitForMultipleEvents(1, &raw const event, 0, 10_000, 0);
                assert_eq!(waited, codes::WSA_WAIT_EVENT_0, "a lost completion");
                error
            }
            2 => {
                let (s, at, over) = (one as usize, &raw mut count, &raw mut *over);
                let done = WSAIoctl(s, code, null_mut(), 0, out.0, out.1, at, over, Some(routine));
                assert_eq!(SleepEx(10_000, 1), codes::WAIT_IO_COMPLETION, "a lost completion");
                if done == 0 { 0 } else { WSAGetLastError() }
            }
            _ => {
                over.hEvent = 0;
                ioctl(other, code, &mut [], out, &raw mut count, &raw mut *over)
            }
        };
        assert_eq!(error, 0);
        assert!(count > 0);
    }
    assert_eq!(WSACloseEvent(event), 1);
    let _ = port;
}

fn drain(port: usize) -> u64 {
    let port: HANDLE = without_provenance_mut(port);
    let mut packets = 0;
    loop {
        let (mut bytes, mut key, mut over) = (0, 0, null_mut());
        let at = (&raw mut bytes, &raw mut key, &raw mut over);
        if GetQueuedCompletionStatus(port, at.0, at.1, at.2, 0) == 0 {
            return packets;
        }
        assert_eq!(key, 5);
        packets += 1;
    }
}

/// Each pending operation ends exactly once, whoever ends it.
pub(crate) fn many_pending_calls_and_cancellations() {
    let scene = Scene::new();
    scene
        .acme
        .run((), |()| {
            let _started = Started::new();
            let (socket, _kept) = connecting()?;
            let fd = socket.as_raw_fd();
            let (cancelled, routines) = (AtomicU64::new(0), AtomicU64::new(0));
            let before = descriptors();
            std::thread::scope(|scope| {
                for _ in 0..THREADS {
                    scope.spawn(|| pend_and_cancel(fd, &cancelled, &routines));
                }
            });
            assert_eq!(cancelled.load(Ordering::SeqCst), THREADS * 1000);
            assert_eq!(routines.load(Ordering::SeqCst), THREADS * 1000);
            assert_eq!(live(), Live { operations: 0, handles: 0, sockets: 0 });
            // The reactor has its epoll and its eventfd.
            assert!(descriptors() <= before + 2, "{} descriptors", descriptors() - before);
            Ok(())
        })
        .unwrap();
}

fn pend_and_cancel(fd: i32, cancelled: &AtomicU64, told: &AtomicU64) {
    let event = WSACreateEvent();
    let (mut buffer, mut over) = (vec![0u8; 2048], overlapped(event as usize));
    let handle = without_provenance_mut(fd as usize);
    for _ in 0..1000 {
        let out = (buffer.as_mut_ptr().cast(), 2048);
        let error = ioctl(fd, RECORDS, &mut [], out, null_mut(), &raw mut *over);
        assert_eq!(error, codes::WSA_IO_PENDING);
        assert_eq!(CancelIoEx(handle, &raw mut *over), 1);
        cancelled.fetch_add(1, Ordering::SeqCst);
        let waited = WSAWaitForMultipleEvents(1, &raw const event, 0, 10_000, 0);
        assert_eq!(waited, codes::WSA_WAIT_EVENT_0);
        told.fetch_add(1, Ordering::SeqCst);
    }
    WSACloseEvent(event);
}
