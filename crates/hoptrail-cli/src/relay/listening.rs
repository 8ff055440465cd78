//! What a relay needs from the system at its start: descriptors, ports, an engine.

use super::settings::Settings;
use crate::failure::Failure;
use hoptrail::ErrorKind;
use hoptrail_relay::config::Config;
use hoptrail_relay::ledger::Observer;
use hoptrail_relay::tap::Taps;
use hoptrail_relay::upstream::Upstream;
use hoptrail_relay::watch::Watch;
use hoptrail_relay::{Parts, Relay, StartError};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use socket2::{Domain, Socket, Type};
use std::io::{self, ErrorKind as Io};
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;

/// Said once when nothing can be redirected here.
pub(super) const NO_ENGINE: &str = "no engine acts on this process, so nothing is redirected here, and what connects is \
     reset: make this the `command` of a provider and start it by `hoptrail run` or `hoptrail daemon`, or give \
     --forward ADDR for a plain forwarder";

/// Each connection takes two descriptors, and the usual soft limit is 1024, for programs that use select(2).
pub(super) fn allow_many_files() {
    if let Ok((soft, hard)) = getrlimit(Resource::RLIMIT_NOFILE)
        && soft < hard
    {
        // With fewer, fewer connections are accepted at a time.
        let _ = setrlimit(Resource::RLIMIT_NOFILE, hard, hard);
    }
}

/// Whether an engine answers this process's sockets.
pub(super) fn engine_acts_here() -> bool {
    let Ok(socket) = Socket::new(Domain::IPV4, Type::STREAM, None) else { return true };
    !matches!(hoptrail::version(&socket), Err(error) if error.kind() == ErrorKind::NoEngine)
}

/// The listener for metrics, if they are wanted.
pub(super) fn metrics(config: &Config) -> Result<Option<TcpListener>, Failure> {
    let Some(at) = config.metrics else { return Ok(None) };
    let listener = TcpListener::bind(at).map_err(|error| cannot("serve metrics", at, &error))?;
    Ok(Some(listener))
}

/// The relay itself.
pub(super) fn relay(settings: &Settings, observer: Arc<dyn Observer>) -> Result<Relay, Failure> {
    let upstream = upstream(&settings.config)?;
    let rules = Arc::clone(&settings.rules);
    let parts = Parts { upstream, rules, observer, taps: taps(&settings.config)? };
    Relay::start(settings.config.clone(), parts).map_err(|error| match error {
        StartError::Listen(at, error) => cannot("listen", at, &error),
        StartError::Udp(_) => Failure::new(error.to_string()),
        StartError::Worker(error) => Failure::os("cannot start the relay", error),
    })
}

fn taps(config: &Config) -> Result<Option<Arc<dyn Taps>>, Failure> {
    if config.watch.is_empty() {
        return Ok(None);
    }
    let watch = Watch::new(&config.watch, config.on_match);
    Ok(Some(Arc::new(watch.map_err(|error| Failure::new(error.to_string()))?)))
}

/// A name in it is looked up once, here.
fn upstream(config: &Config) -> Result<Upstream, Failure> {
    let Some(url) = &config.upstream else { return Ok(Upstream::Direct) };
    Upstream::of(url).map_err(|error| Failure::new(format!("\"upstream\": {error}")))
}

fn cannot(what: &str, at: SocketAddr, error: &io::Error) -> Failure {
    let port = at.port();
    let advice = match error.kind() {
        Io::AddrInUse => format!(
            ": something listens there already; `ss -lntup 'sport = :{port}'` says what, or choose another port"
        ),
        Io::PermissionDenied if port < 1024 => format!(
            ": ports below 1024 need root or CAP_NET_BIND_SERVICE; choose a port above, such as {}",
            10_000 + port
        ),
        Io::AddrNotAvailable => {
            ": no network interface has this address; `ip address` lists them".into()
        }
        _ => String::new(),
    };
    Failure::new(format!("cannot {what} at {at}: {}{advice}", words(error)))
}

/// The system's words without its number.
fn words(error: &io::Error) -> String {
    let text = error.to_string();
    text.split(" (os error").next().unwrap_or(&text).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_to_do_is_said() {
        let said = |kind: i32, at: &str| {
            let error = io::Error::from_raw_os_error(kind);
            cannot("listen", at.parse().unwrap(), &error).to_string()
        };
        assert_eq!(
            said(nix::libc::EADDRINUSE, "127.0.0.1:15871"),
            "cannot listen at 127.0.0.1:15871: Address already in use: something listens there already; \
             `ss -lntup 'sport = :15871'` says what, or choose another port"
        );
        assert!(said(nix::libc::EACCES, "[::1]:443").contains("such as 10443"));
        assert!(said(nix::libc::EADDRNOTAVAIL, "192.0.2.1:1").contains("`ip address`"));
    }
}
