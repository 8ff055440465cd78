//! The ways between a client and a server: directly, or through relays.

use crate::record::{PATIENCE, Record};
use hoptrail_relay::config::{Config, File, Inspect, Source};
use hoptrail_relay::tap::Taps;
use hoptrail_relay::upstream::Upstream;
use hoptrail_relay::{Parts, Relay};
use socket2::{Domain, Protocol, SockAddr, Socket, Type};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::Duration;

/// A server's listener, and how clients get there.
pub(crate) struct Route {
    pub(crate) listener: Socket,
    pub(crate) relay: Option<RunningRelay>,
    /// Where clients connect to.
    pub(crate) to: SocketAddr,
}

/// A relay in this process. Dropping it stops it.
pub(crate) struct RunningRelay {
    relay: Option<Relay>,
    pub(crate) record: Arc<Record>,
    pub(crate) at: SocketAddr,
}

/// Sizes of socket buffers; nothing leaves them to the system.
#[derive(Clone, Copy, Default, Debug)]
pub(crate) struct Buffers {
    pub(crate) send: Option<usize>,
    pub(crate) receive: Option<usize>,
}

impl Route {
    pub(crate) fn direct() -> Self {
        let listener = listener(Buffers::default());
        let to = address(&listener);
        Self { listener, relay: None, to }
    }

    pub(crate) fn relayed() -> Self {
        Self::relayed_by(|_| {})
    }

    /// Through a relay whose configuration `change` has altered.
    pub(crate) fn relayed_by(change: impl FnOnce(&mut Config)) -> Self {
        let listener = listener(Buffers::default());
        let relay = RunningRelay::to(address(&listener), change);
        Self { listener, to: relay.at, relay: Some(relay) }
    }

    /// Through a relay with rules and taps.
    pub(crate) fn relayed_with(rules: &str, taps: Option<Arc<dyn Taps>>) -> Self {
        let listener = listener(Buffers::default());
        let relay = RunningRelay::with(address(&listener), rules, taps, |_| {});
        Self { listener, to: relay.at, relay: Some(relay) }
    }

    /// Directly, through a relay that looks at first bytes, and through one that does not.
    pub(crate) fn each() -> [Self; 3] {
        [Self::direct(), Self::relayed(), Self::relayed_by(|c| c.inspect = Inspect::None)]
    }

    /// A client and the server's end of its connection.
    pub(crate) fn pair(&self) -> (TcpStream, TcpStream) {
        self.pair_with(Buffers::default(), Buffers::default())
    }

    /// The same with buffers of these sizes.
    pub(crate) fn pair_with(&self, client: Buffers, server: Buffers) -> (TcpStream, TcpStream) {
        server.apply(&self.listener);
        let client = connect(self.to, client);
        let server = self.accept();
        (client, server)
    }

    pub(crate) fn accept(&self) -> TcpStream {
        self.listener.set_read_timeout(Some(PATIENCE)).unwrap();
        let accepted: TcpStream = self.listener.accept().unwrap().0.into();
        accepted.set_read_timeout(Some(PATIENCE)).unwrap();
        accepted.set_write_timeout(Some(PATIENCE)).unwrap();
        accepted
    }

    pub(crate) fn record(&self) -> &Record {
        &self.relay.as_ref().unwrap().record
    }

    pub(crate) fn is_direct(&self) -> bool {
        self.relay.is_none()
    }
}

impl RunningRelay {
    /// A relay that forwards to an address.
    pub(crate) fn to(address: SocketAddr, change: impl FnOnce(&mut Config)) -> Self {
        Self::with(address, "", None, change)
    }

    /// The same with rules, as they are written in a file, and with taps.
    pub(crate) fn with(
        address: SocketAddr,
        rules: &str,
        taps: Option<Arc<dyn Taps>>,
        change: impl FnOnce(&mut Config),
    ) -> Self {
        let text = format!("listen = \"127.0.0.1:0\"\nforward = \"{address}\"\n{rules}");
        let file = File::parse(Source::new("relay.toml".as_ref(), text)).unwrap();
        let mut config = file.config();
        config.transports.udp = false;
        change(&mut config);
        let record = Arc::new(Record::default());
        let observer = record.clone();
        let parts = Parts { upstream: Upstream::Direct, rules: file.rules(), observer, taps };
        let relay = Relay::start(config, parts).unwrap();
        let at = relay.addresses()[0];
        Self { relay: Some(relay), record, at }
    }

    pub(crate) fn relay(&self) -> &Relay {
        self.relay.as_ref().unwrap()
    }

    /// Drains it, and says how its connections have ended.
    pub(crate) fn drain(mut self, within: Duration) -> hoptrail_relay::Ended {
        let relay = self.relay.take().unwrap();
        relay.drain(within);
        relay.wait().unwrap()
    }
}

impl Drop for RunningRelay {
    fn drop(&mut self) {
        if let Some(relay) = self.relay.take() {
            relay.drain(Duration::ZERO);
            let _ = relay.wait();
        }
    }
}

impl Buffers {
    fn apply(self, socket: &Socket) {
        if let Some(bytes) = self.send {
            socket.set_send_buffer_size(bytes).unwrap();
        }
        if let Some(bytes) = self.receive {
            socket.set_recv_buffer_size(bytes).unwrap();
        }
    }
}

/// A listener at a port of its own. Accepted sockets inherit the sizes of its buffers.
pub(crate) fn listener(buffers: Buffers) -> Socket {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, Some(Protocol::TCP)).unwrap();
    buffers.apply(&socket);
    socket.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into()).unwrap();
    socket.listen(1024).unwrap();
    socket
}

pub(crate) fn address(socket: &Socket) -> SocketAddr {
    socket.local_addr().ok().as_ref().and_then(SockAddr::as_socket).unwrap()
}

pub(crate) fn connect(to: SocketAddr, buffers: Buffers) -> TcpStream {
    let socket = Socket::new(Domain::for_address(to), Type::STREAM, Some(Protocol::TCP)).unwrap();
    buffers.apply(&socket);
    socket.connect(&to.into()).unwrap();
    let stream: TcpStream = socket.into();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.set_write_timeout(Some(PATIENCE)).unwrap();
    stream
}

/// The next close is a reset.
pub(crate) fn reset(stream: TcpStream) {
    let socket = Socket::from(stream);
    socket.set_linger(Some(Duration::ZERO)).unwrap();
}
