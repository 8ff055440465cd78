//! What a connection speaks, from its first bytes. Nothing here does I/O, keeps time, panics, or does more work than in
//! proportion to the bytes it is shown.
//!
//! The bytes are only looked at: whoever calls passes them on unchanged.

mod dns;
mod finding;
mod greeting;
mod hello;
mod http1;
mod http2;
pub(crate) mod name;
mod quic;
mod ssh;
mod tls;

pub use finding::{AppProtocol, Finding, Look, Method};

/// The most bytes that are kept while a recogniser asks for more.
pub const LIMIT: usize = 16 * 1024;

/// Looks at all that a TCP client has sent so far, to `port` of its destination.
///
/// [`Look::More`] only while fewer than [`LIMIT`] bytes can still become something known; the first byte that rules out
/// everything gives [`AppProtocol::Unknown`]. What was found stays the same for any longer input.
#[must_use]
pub fn client(bytes: &[u8], port: u16) -> Look {
    Bytes::new(bytes, port).look(&CLIENT)
}

/// What `bytes`, from a client, are when no more of them will come, or no more will be waited for.
#[must_use]
pub fn last(bytes: &[u8], port: u16) -> Finding {
    Bytes::new(bytes, port).last(&CLIENT)
}

/// Looks at all that a TCP server has sent so far, the client having sent nothing.
///
/// [`Look::More`] and [`Look::Found`] as in [`client`].
#[must_use]
pub fn server(bytes: &[u8]) -> Look {
    Bytes::new(bytes, 0).look(&SERVER)
}

/// What `bytes`, from a server, are when no more of them will come, or no more will be waited for.
#[must_use]
pub fn server_last(bytes: &[u8]) -> Finding {
    Bytes::new(bytes, 0).last(&SERVER)
}

/// What the first datagram of a UDP flow is, to `port` of its destination; see [`FlowLook`] for those that do not say
/// everything in one.
#[must_use]
pub fn datagram(bytes: &[u8], port: u16) -> Finding {
    match FlowLook::default().datagram(bytes, port) {
        Look::Found(finding) => finding,
        Look::More => Finding::of(AppProtocol::Quic),
    }
}

/// A look at a UDP flow whose ClientHello may be spread over several datagrams, in any order. Bounded: it keeps about
/// [`LIMIT`] bytes at most, and frees them when something was found.
#[derive(Default, Debug)]
pub struct FlowLook {
    quic: Option<Box<quic::Flow>>,
}

impl FlowLook {
    /// Looks at the next datagram that the client sent, to `port` of its destination.
    ///
    /// [`Look::More`] while QUIC's ClientHello is incomplete: until then the flow is known to be QUIC, and no more.
    pub fn datagram(&mut self, bytes: &[u8], port: u16) -> Look {
        let _ = port;
        let flow = match self.quic.take() {
            Some(flow) => Some(flow),
            None => quic::Flow::begin(bytes).map(Box::new),
        };
        let Some(mut flow) = flow else {
            return Look::Found(dns::datagram(bytes).unwrap_or(Finding::unknown()));
        };
        let look = flow.datagram(bytes);
        if look == Look::More {
            self.quic = Some(flow);
        }
        look
    }
}

/// In the order in which they are asked: while one is undecided, later ones are not. So what was found can only change
/// by a recogniser changing its mind, which none does.
const CLIENT: [Recogniser; 5] = [tls::look, http2::look, http1::look, ssh::look, dns::look];
const SERVER: [Recogniser; 4] = [ssh::look, greeting::look, greeting::ready, greeting::mysql];

type Recogniser = fn(Bytes<'_>) -> Step;

/// What a recogniser says. `No` and `Is` hold for any longer input.
#[derive(Clone, PartialEq, Eq, Debug)]
enum Step {
    No,
    More,
    Is(Finding),
}

/// The first bytes of one side, at most [`LIMIT`] of them.
#[derive(Clone, Copy)]
struct Bytes<'a> {
    all: &'a [u8],
    port: u16,
    /// No more will come: say what can be said.
    ended: bool,
}

impl<'a> Bytes<'a> {
    fn new(all: &'a [u8], port: u16) -> Self {
        Self { all: &all[..all.len().min(LIMIT)], port, ended: all.len() >= LIMIT }
    }

    fn look(self, recognisers: &[Recogniser]) -> Look {
        let mut steps = recognisers.iter().map(|recogniser| recogniser(self));
        match steps.find(|step| *step != Step::No) {
            Some(Step::More) => Look::More,
            Some(Step::Is(finding)) => Look::Found(finding),
            Some(Step::No) | None => Look::Found(Finding::unknown()),
        }
    }

    fn last(self, recognisers: &[Recogniser]) -> Finding {
        let mut steps =
            recognisers.iter().map(|recogniser| recogniser(Self { ended: true, ..self }));
        let found = steps.find_map(|step| match step {
            Step::Is(finding) => Some(finding),
            Step::No | Step::More => None,
        });
        found.unwrap_or(Finding::unknown())
    }

    /// The bytes begin with `text`.
    fn literal(self, text: &[u8], finding: impl FnOnce() -> Finding) -> Step {
        let same = self.all.iter().zip(text).take_while(|(is, wanted)| is == wanted).count();
        match same {
            _ if same == text.len() => Step::Is(finding()),
            _ if same == self.all.len() && !self.ended => Step::More,
            _ => Step::No,
        }
    }
}
