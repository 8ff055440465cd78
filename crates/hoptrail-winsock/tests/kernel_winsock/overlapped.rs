//! Overlapped calls of C.

use super::pending::udp_pair;
use super::scene::{RECORDS, Scene, Started, connecting, ioctl, let_in, overlapped};
use super::winsock::{
    CancelIoEx, CloseHandle, CreateIoCompletionPort, GetQueuedCompletionStatus, SleepEx,
    WSACloseEvent, WSACreateEvent, WSAGetLastError, WSAGetOverlappedResult, WSAIoctl,
    WSAWaitForMultipleEvents, closesocket,
};
use hoptrail_testkit::lab::{PORT, V4};
use hoptrail_winsock::codes;
use hoptrail_winsock::ioctl::live;
use hoptrail_winsock::types::{DWORD, HANDLE, LPWSAOVERLAPPED, WSAOVERLAPPED};
use std::os::fd::{AsRawFd, IntoRawFd};
use std::ptr::{null_mut, without_provenance_mut};
use std::sync::atomic::{AtomicU32, Ordering};

const PENDING: i32 = codes::WSA_IO_PENDING;

/// Starts a query into a buffer that outlives it.
fn begin(fd: i32, overlapped: &mut WSAOVERLAPPED, buffer: &mut [u8]) -> i32 {
    let out = (buffer.as_mut_ptr().cast(), buffer.len() as u32);
    ioctl(fd, RECORDS, &mut [], out, null_mut(), overlapped)
}

/// WSAGetOverlappedResult's error (0 for success) and count.
fn result(fd: i32, overlapped: &mut WSAOVERLAPPED, wait: bool) -> (i32, u32) {
    let (mut count, mut flags) = (0xdead, 0xdead);
    let wait = i32::from(wait);
    let over = &raw mut *overlapped;
    let ok = WSAGetOverlappedResult(fd as usize, over, &raw mut count, wait, &raw mut flags);
    (if ok != 0 { 0 } else { WSAGetLastError() }, count)
}

fn signalled(event: HANDLE, limit: u32) -> bool {
    WSAWaitForMultipleEvents(1, &raw const event, 0, limit, 0) == codes::WSA_WAIT_EVENT_0
}

/// Statements 83 to 85.
pub(crate) fn a_pending_call_signals_its_event() {
    let scene = Scene::new();
    let (proxy, application) = udp_pair(&scene);
    let task = scene.acme.begin(proxy.0, |fd| {
        let _started = Started::new();
        let event = WSACreateEvent();
        let (mut over, mut buffer) = (overlapped(event as usize), vec![0u8; 4096]);
        assert_eq!(begin(fd, &mut over, &mut buffer), PENDING);
        assert_eq!(result(fd, &mut over, false), (codes::WSA_IO_INCOMPLETE, 0xdead));
        assert!(!signalled(event, 0));
        assert!(signalled(event, 10_000));
        let outcome = result(fd, &mut over, true);
        assert_eq!(result(fd, &mut over, false), outcome);
        assert_eq!(WSACloseEvent(event), 1);
        buffer.truncate(outcome.1 as usize);
        Ok((outcome.0, buffer, live().operations, live().handles))
    });
    assert!(task.runs_for(std::time::Duration::from_millis(200)));
    scene.app.send_to(application, b"hello", (V4, PORT).into()).unwrap();
    let (error, records, operations, handles) = task.wait().unwrap();
    assert_eq!((error, operations, handles), (0, 0, 0));
    let trail = hoptrail::Records::from_bytes(&records).trail().unwrap();
    assert_eq!(trail.destination(), (V4, PORT).into());
}

/// Statements 82, 89 and 90.
pub(crate) fn a_failure_at_once_signals_nothing() {
    let scene = Scene::new();
    let accepted = scene.accepted();
    let size = scene.acme.records(accepted).unwrap().len();
    let fds = (accepted.0, scene.listener.0, size);
    scene
        .acme
        .run(fds, |(accepted, listener, size)| {
            let _started = Started::new();
            let event = WSACreateEvent();
            let (mut over, mut buffer) = (overlapped(event as usize), vec![0u8; 4096]);
            assert_eq!(begin(listener, &mut over, &mut buffer), codes::WSAENOTCONN);
            assert!(!signalled(event, 0));
            let short = &mut buffer[..8];
            assert_eq!(begin(accepted, &mut over, short), codes::ERROR_INSUFFICIENT_BUFFER);
            assert!(!signalled(event, 0));
            assert_eq!(begin(accepted, &mut over, &mut buffer), 0);
            assert!(signalled(event, 0));
            assert_eq!(result(accepted, &mut over, true), (0, size as u32));
            over.hEvent = 12;
            assert_eq!(begin(accepted, &mut over, &mut buffer), codes::WSA_INVALID_HANDLE);
            WSACloseEvent(event);
            Ok(())
        })
        .unwrap();
}

static ROUTINES: AtomicU32 = AtomicU32::new(0);
static IN_ROUTINE: AtomicU32 = AtomicU32::new(0);

#[expect(unsafe_code, reason = "the type of a completion routine")]
unsafe extern "C" fn routine(error: DWORD, bytes: DWORD, over: LPWSAOVERLAPPED, flags: DWORD) {
    assert_eq!((error, flags), (0, 0));
    assert!(!over.is_null());
    ROUTINES.fetch_add(bytes, Ordering::SeqCst);
    let mut count = 0;
    let inside = ioctl(0, RECORDS, &mut [], (null_mut(), 0), &raw mut count, null_mut());
    IN_ROUTINE.store(inside.cast_unsigned(), Ordering::SeqCst);
}

/// Statement 86; WSAEINPROGRESS.
pub(crate) fn a_completion_routine_runs_in_an_alertable_wait() {
    let scene = Scene::new();
    let accepted = scene.accepted();
    let size = scene.acme.records(accepted).unwrap().len();
    let ran = scene.acme.run(accepted.0, |fd| {
        let _started = Started::new();
        let (mut over, mut buffer) = (overlapped(0x1234), vec![0u8; 4096]);
        let (out, room) = (buffer.as_mut_ptr().cast(), 4096);
        let over_at = &raw mut *over;
        let begun = WSAIoctl(
            fd as usize,
            RECORDS,
            null_mut(),
            0,
            out,
            room,
            null_mut(),
            over_at,
            Some(routine),
        );
        assert_eq!(begun, 0);
        assert_eq!(ROUTINES.load(Ordering::SeqCst), 0);
        assert_eq!(SleepEx(10, 0), 0);
        assert_eq!(ROUTINES.load(Ordering::SeqCst), 0);
        assert_eq!(SleepEx(10_000, 1), codes::WAIT_IO_COMPLETION);
        assert_eq!(SleepEx(0, 1), 0);
        Ok((ROUTINES.load(Ordering::SeqCst), IN_ROUTINE.load(Ordering::SeqCst)))
    });
    assert_eq!(ran.unwrap(), (size as u32, codes::WSAEINPROGRESS.cast_unsigned()));
}

pub(crate) fn a_port_gets_what_completes() {
    let scene = Scene::new();
    let accepted = scene.accepted();
    let size = scene.acme.records(accepted).unwrap().len();
    scene
        .acme
        .run((accepted.0, size as u32), |(fd, size)| {
            let packet = |port, limit| {
                let (mut bytes, mut key, mut over) = (0, 0, null_mut());
                let ok = GetQueuedCompletionStatus(
                    port,
                    &raw mut bytes,
                    &raw mut key,
                    &raw mut over,
                    limit,
                );
                (if ok != 0 { 0 } else { WSAGetLastError() }, bytes, key, over as usize)
            };
            let _started = Started::new();
            let socket = without_provenance_mut(fd as usize);
            let port = CreateIoCompletionPort(socket, null_mut(), 77, 0);
            assert!(!port.is_null());
            assert!(CreateIoCompletionPort(socket, port, 78, 0).is_null());
            assert_eq!(WSAGetLastError(), codes::WSA_INVALID_PARAMETER);
            let (mut over, mut buffer) = (overlapped(0), vec![0u8; 4096]);
            let at = &raw mut *over as usize;
            assert_eq!(begin(fd, &mut over, &mut buffer), 0);
            assert_eq!(packet(port, 0), (0, size, 77, at));
            // The lowest bit of the event keeps the port out of it.
            let event = WSACreateEvent();
            over.hEvent = event as usize | 1;
            assert_eq!(begin(fd, &mut over, &mut buffer), 0);
            assert!(signalled(event, 0));
            assert_eq!(packet(port, 0), (258, 0, 0, 0));
            let (connecting, _kept) = connecting()?;
            let number = connecting.into_raw_fd();
            let handle = without_provenance_mut(number as usize);
            assert_eq!(CreateIoCompletionPort(handle, port, 79, 0), port);
            let mut over = overlapped(0);
            assert_eq!(begin(number, &mut over, &mut buffer), PENDING);
            assert_eq!(closesocket(number as usize), 0);
            let at = &raw mut *over as usize;
            assert_eq!(packet(port, 10_000), (codes::WSA_OPERATION_ABORTED, 0, 79, at));
            assert_eq!((CloseHandle(port), WSACloseEvent(event)), (1, 1));
            Ok(())
        })
        .unwrap();
}

/// Statement 87.
pub(crate) fn closesocket_flush_and_cancel_abort() {
    let scene = Scene::new();
    scene
        .acme
        .run((), |()| {
            let _started = Started::new();
            let (socket, kept) = connecting()?;
            let fd = socket.into_raw_fd();
            let event = WSACreateEvent();
            let (mut over, mut buffer) = (overlapped(event as usize), vec![0u8; 4096]);
            let handle = without_provenance_mut(fd as usize);
            for way in 0..3 {
                assert_eq!(begin(fd, &mut over, &mut buffer), PENDING, "{way}");
                let again = begin(fd, &mut over, &mut buffer);
                assert_eq!(again, codes::WSAEINVAL, "an OVERLAPPED in use");
                let mut count = 0;
                let none = (null_mut(), 0);
                match way {
                    0 => assert_eq!(CancelIoEx(handle, &raw mut *over), 1),
                    1 => assert_eq!(
                        ioctl(fd, codes::SIO_FLUSH, &mut [], none, &raw mut count, null_mut()),
                        0
                    ),
                    _ => assert_eq!(closesocket(fd as usize), 0),
                }
                assert!(signalled(event, 10_000), "{way}");
                let (error, _) = result(fd, &mut over, true);
                assert_eq!(error, codes::WSA_OPERATION_ABORTED, "{way}");
                if way == 0 {
                    assert_eq!(CancelIoEx(handle, null_mut()), 0);
                    assert_eq!(WSAGetLastError(), codes::ERROR_NOT_FOUND);
                }
            }
            assert_eq!(closesocket(fd as usize), -1);
            assert_eq!(WSAGetLastError(), codes::WSAENOTSOCK);
            drop(kept);
            WSACloseEvent(event);
            assert_eq!(live().operations, 0);
            Ok(())
        })
        .unwrap();
}

/// Statement 88.
pub(crate) fn a_thread_that_ends_aborts() {
    let scene = Scene::new();
    scene
        .acme
        .run((), |()| {
            let _started = Started::new();
            let (socket, kept) = connecting()?;
            let fd = socket.as_raw_fd();
            let event = WSACreateEvent();
            let (mut over, mut buffer) = (overlapped(event as usize), vec![0u8; 4096]);
            std::thread::scope(|scope| {
                let begun = scope.spawn(|| begin(fd, &mut over, &mut buffer));
                assert_eq!(begun.join().unwrap(), PENDING);
            });
            assert!(signalled(event, 10_000));
            assert_eq!(result(fd, &mut over, false).0, codes::WSA_OPERATION_ABORTED);
            // One's own goes on.
            assert_eq!(begin(fd, &mut over, &mut buffer), PENDING);
            let _accepted = let_in(&kept)?;
            assert_eq!(result(fd, &mut over, true).0, codes::WSAEINVAL);
            WSACloseEvent(event);
            Ok(())
        })
        .unwrap();
}

pub(crate) fn a_number_given_again_is_another_socket() {
    let scene = Scene::new();
    scene
        .acme
        .run((), |()| {
            let _started = Started::new();
            let (mut over, mut buffer) = (overlapped(0), vec![0u8; 4096]);
            let (socket, _kept) = connecting()?;
            let fd = socket.into_raw_fd();
            assert_eq!(begin(fd, &mut over, &mut buffer), PENDING);
            // Behind the library's back: the number becomes another socket's.
            let other = std::net::TcpListener::bind("127.0.0.1:0")?;
            #[expect(unsafe_code, reason = "dup2 onto a number in use")]
            // SAFETY: both numbers are open; the first one's owner was given up.
            let replaced = unsafe { libc::dup2(other.as_raw_fd(), fd) };
            assert_eq!(replaced, fd);
            let (error, _) = result(fd, &mut over, true);
            assert_eq!(error, codes::WSA_OPERATION_ABORTED);
            assert_eq!(begin(fd, &mut over, &mut buffer), codes::WSAENOTCONN);
            assert_eq!(closesocket(fd as usize), 0);
            Ok(())
        })
        .unwrap();
}
