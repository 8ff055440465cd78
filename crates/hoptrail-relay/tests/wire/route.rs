//! The ways between a client and a server: directly, or through relays.

use crate::record::{PATIENCE, Record};
use hoptrail_relay::config::{Config, Inspect};
use hoptrail_relay::rules::Rules;
use hoptrail_relay::upstream::Upstream;
use hoptrail_relay::{Parts, Relay};
use socket2::{Domain, Protocol, SockAddr, Socket, Type};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::Duration;

/// A server's listener, and how clients get there.
pub struct Route {
    pub listener: Socket,
    pub relay: Option<RunningRelay>,
    /// Where clients connect to.
    pub to: SocketAddr,
}

/// A relay in this process. Dropping it stops it.
pub struct RunningRelay {
    relay: Option<Relay>,
    pub record: Arc<Record>,
    pub at: SocketAddr,
}

/// Sizes of socket buffers; nothing leaves them to the system.
#[derive(Clone, Copy, Default, Debug)]
pub struct Buffers {
    pub send: Option<usize>,
    pub receive: Option<usize>,
}

impl Route {
    pub fn direct() -> Self {
        let listener = listener(Buffers::default());
        let to = address(&listener);
        Self { listener, relay: None, to }
    }

    pub fn relayed() -> Self {
        Self::relayed_by(|_| {})
    }

    /// Through a relay whose configuration `change` has altered.
    pub fn relayed_by(change: impl FnOnce(&mut Config)) -> Self {
        let listener = listener(Buffers::default());
        let relay = RunningRelay::to(address(&listener), change);
        Self { listener, to: relay.at, relay: Some(relay) }
    }

    /// Directly, through a relay that looks at first bytes, and through one that does not.
    pub fn each() -> [Self; 3] {
        [Self::direct(), Self::relayed(), Self::relayed_by(|c| c.inspect = Inspect::None)]
    }

    /// A client and the server's end of its connection.
    pub fn pair(&self) -> (TcpStream, TcpStream) {
        self.pair_with(Buffers::default(), Buffers::default())
    }

    /// The same with buffers of these sizes.
    pub fn pair_with(&self, client: Buffers, server: Buffers) -> (TcpStream, TcpStream) {
        server.apply(&self.listener);
        let client = connect(self.to, client);
        let server = self.accept();
        (client, server)
    }

    pub fn accept(&self) -> TcpStream {
        self.listener.set_read_timeout(Some(PATIENCE)).unwrap();
        let accepted: TcpStream = self.listener.accept().unwrap().0.into();
        accepted.set_read_timeout(Some(PATIENCE)).unwrap();
        accepted.set_write_timeout(Some(PATIENCE)).unwrap();
        accepted
    }

    pub fn record(&self) -> &Record {
        &self.relay.as_ref().unwrap().record
    }

    pub fn is_direct(&self) -> bool {
        self.relay.is_none()
    }
}

impl RunningRelay {
    /// A relay that forwards to an address.
    pub fn to(address: SocketAddr, change: impl FnOnce(&mut Config)) -> Self {
        Self::with_rules(address, Rules::default(), change)
    }

    pub fn with_rules(address: SocketAddr, rules: Rules, change: impl FnOnce(&mut Config)) -> Self {
        let mut config = Config {
            listen: vec![SocketAddr::from(([127, 0, 0, 1], 0))],
            forward: Some(address),
            ..Config::default()
        };
        config.transports.udp = false;
        change(&mut config);
        let record = Arc::new(Record::default());
        let rules = Arc::new(rules);
        let observer = record.clone();
        let parts = Parts { upstream: Upstream::Direct, rules, observer, taps: None };
        let relay = Relay::start(config, parts).unwrap();
        let at = relay.addresses()[0];
        Self { relay: Some(relay), record, at }
    }

    pub fn relay(&self) -> &Relay {
        self.relay.as_ref().unwrap()
    }

    /// Drains it, and says how its connections have ended.
    pub fn drain(mut self, within: Duration) -> hoptrail_relay::Ended {
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
pub fn listener(buffers: Buffers) -> Socket {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, Some(Protocol::TCP)).unwrap();
    buffers.apply(&socket);
    socket.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into()).unwrap();
    socket.listen(1024).unwrap();
    socket
}

pub fn address(socket: &Socket) -> SocketAddr {
    socket.local_addr().ok().as_ref().and_then(SockAddr::as_socket).unwrap()
}

pub fn connect(to: SocketAddr, buffers: Buffers) -> TcpStream {
    let socket = Socket::new(Domain::for_address(to), Type::STREAM, Some(Protocol::TCP)).unwrap();
    buffers.apply(&socket);
    socket.connect(&to.into()).unwrap();
    let stream: TcpStream = socket.into();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.set_write_timeout(Some(PATIENCE)).unwrap();
    stream
}

/// The next close is a reset.
pub fn reset(stream: TcpStream) {
    let socket = Socket::from(stream);
    socket.set_linger(Some(Duration::ZERO)).unwrap();
}
