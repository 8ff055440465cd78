//! What systemd wants to know of a service (sd_notify(3)): a datagram to the socket that it names.

use nix::time::{ClockId, clock_gettime};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};

/// The daemon serves.
pub(crate) fn ready(status: &str) {
    send(&format!("READY=1\nSTATUS={}", status.replace('\n', " ")));
}

/// It reads its configuration anew; `ready` follows.
pub(crate) fn reloading() {
    let now = clock_gettime(ClockId::CLOCK_MONOTONIC)
        .map(|time| time.tv_sec() * 1_000_000 + time.tv_nsec() / 1000);
    send(&format!("RELOADING=1\nMONOTONIC_USEC={}", now.unwrap_or_default()));
}

/// It ends.
pub(crate) fn stopping() {
    send("STOPPING=1");
}

fn send(message: &str) {
    // Without systemd nobody waits for this, and with it a lost message shows as a start that never ends.
    if let Some(name) = std::env::var_os("NOTIFY_SOCKET") {
        let _ = deliver(name.as_encoded_bytes(), message);
    }
}

fn deliver(name: &[u8], message: &str) -> std::io::Result<()> {
    let address = match name.strip_prefix(b"@") {
        Some(name) => SocketAddr::from_abstract_name(name)?,
        None => SocketAddr::from_pathname(std::ffi::OsStr::from_bytes(name))?,
    };
    UnixDatagram::unbound()?.send_to_addr(message.as_bytes(), &address).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_arrives_at_either_kind_of_socket() {
        let id = std::process::id();
        let path = std::env::temp_dir().join(format!("hoptrail-notify-{id}"));
        let by_path = UnixDatagram::bind(&path).unwrap();
        deliver(path.as_os_str().as_bytes(), "READY=1").unwrap();
        let mut buffer = [0; 64];
        let n = by_path.recv(&mut buffer).unwrap();
        assert_eq!(&buffer[..n], b"READY=1");
        std::fs::remove_file(&path).unwrap();
        let name = format!("hoptrail-notify-{id}");
        let abstract_ =
            UnixDatagram::bind_addr(&SocketAddr::from_abstract_name(&name).unwrap()).unwrap();
        deliver(format!("@{name}").as_bytes(), "STOPPING=1").unwrap();
        let n = abstract_.recv(&mut buffer).unwrap();
        assert_eq!(&buffer[..n], b"STOPPING=1");
    }
}
