//! A small network for the model check: providers, what their filters match, how their proxies
//! behave, and the policy that says so.

use hoptrail_core::compile::{Compiled, Filter, Members, Policy, Provider, compile};
use hoptrail_core::decide::{Flow, Process};
use hoptrail_core::image::Action;
use hoptrail_core::records::Exe;
use hoptrail_core::{Endpoint, Ip, Protocol};

/// Who makes a leg: the application, another one, or provider `n`'s proxy.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub(crate) enum Who {
    App,
    Other,
    Proxy(usize),
}

impl Who {
    pub(crate) fn exe(self) -> Exe {
        match self {
            Self::App => Exe { dev: 1, ino: 100 },
            Self::Other => Exe { dev: 1, ino: 99 },
            Self::Proxy(n) => Exe { dev: 1, ino: 101 + n as u64 },
        }
    }
}

impl Process for Who {
    fn exe(&self) -> Exe {
        Who::exe(*self)
    }

    fn uid(&self) -> u32 {
        1000
    }

    fn cgroup_at(&self, _: u32) -> u64 {
        0
    }
}

/// What a provider is and does at present.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Kind {
    /// Redirects, and its proxy dials on with the records that it was given.
    Declares,
    /// Redirects; its proxy sets no records, but its connections can be matched to accepted ones.
    Adoptable,
    /// Redirects; its proxy sets no records and nothing can be adopted.
    Rude,
    /// Would redirect, but nothing listens, and it says `block`.
    GoneBlock,
    /// Would redirect, but nothing listens, and it says `bypass`.
    GoneBypass,
    /// Its filter blocks.
    Blocks,
}

impl Kind {
    pub(crate) const ALL: [Self; 6] = [
        Self::Declares,
        Self::Adoptable,
        Self::Rude,
        Self::GoneBlock,
        Self::GoneBypass,
        Self::Blocks,
    ];
    /// Those whose proxies run.
    pub(crate) const UP: [Self; 3] = [Self::Declares, Self::Adoptable, Self::Rude];

    pub(crate) fn listens(self) -> bool {
        Self::UP.contains(&self)
    }

    /// Whether no matching connection may get past it while it cannot handle it.
    pub(crate) fn says_block(self) -> bool {
        matches!(self, Self::GoneBlock | Self::Blocks)
    }
}

/// What a provider's filter matches.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Matches {
    /// Legs of these: bit 0 is the application, bit n + 1 provider n's proxy, bit 7 the other one.
    Connecting(u8),
    /// Every leg of a trail that the application began.
    OriginalApp,
}

impl Matches {
    pub(crate) fn leg(self, who: Who, original: Exe) -> bool {
        match (self, who) {
            (Self::OriginalApp, _) => original == Who::App.exe(),
            (Self::Connecting(mask), Who::App) => mask & 1 != 0,
            (Self::Connecting(mask), Who::Other) => mask & 0x80 != 0,
            (Self::Connecting(mask), Who::Proxy(n)) => mask & (2 << n) != 0,
        }
    }
}

/// A provider.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Node {
    pub(crate) rank: i64,
    pub(crate) kind: Kind,
    pub(crate) matches: Matches,
}

/// Providers, numbered as given, and their compiled policy.
pub(crate) struct Network {
    pub(crate) nodes: Vec<Node>,
    pub(crate) compiled: Compiled,
    /// By their number in the image, their number here.
    pub(crate) asked: Vec<usize>,
}

/// Where the application wants to go.
pub(crate) const FLOW: Flow = Flow {
    protocol: Protocol::Tcp,
    remote: Endpoint::new(Ip::from_v4_word(0xc000_020a_u32.to_be()), 80),
};

impl Network {
    pub(crate) fn new(nodes: Vec<Node>) -> Self {
        let providers = (0..nodes.len()).map(|n| provider(&nodes, n)).collect();
        let compiled = compile(&Policy { providers }, 1).unwrap();
        let asked =
            compiled.providers.iter().map(|p| (p.handle() & 0xff) as usize).collect::<Vec<_>>();
        Self { nodes, compiled, asked }
    }

    /// The same providers with other kinds that compile to the same image.
    pub(crate) fn become_kinds(&mut self, kinds: &[Kind]) {
        for (node, kind) in self.nodes.iter_mut().zip(kinds) {
            assert!(node.kind.listens() && kind.listens(), "the image would be another");
            node.kind = *kind;
        }
    }

    pub(crate) fn handle(&self, n: usize) -> u64 {
        handle(n)
    }

    /// Whether some provider that says block matches the leg.
    pub(crate) fn must_block(&self, who: Who, original: Exe) -> bool {
        self.nodes.iter().any(|n| n.kind.says_block() && n.matches.leg(who, original))
    }
}

pub(crate) fn listener(n: usize) -> Endpoint {
    Endpoint::new(Ip::from_v4_word(0x7f00_0001_u32.to_be()), 15000 + n as u16)
}

fn handle(n: usize) -> u64 {
    0xabcd_0000 | n as u64
}

fn provider(nodes: &[Node], n: usize) -> Provider {
    let node = nodes[n];
    let action = if node.kind == Kind::Blocks { Action::Block } else { Action::Redirect };
    let mut guid = [0; 16];
    guid[..8].copy_from_slice(&handle(n).to_ne_bytes());
    Provider {
        name: format!("p{n}"),
        guid,
        rank: node.rank,
        listen_v4: Some(listener(n)),
        listen_v6: None,
        bypass: node.kind == Kind::GoneBypass,
        context: 0,
        members: Members { exes: vec![Who::Proxy(n).exe()], ..Members::default() },
        filters: vec![filter(action, node.matches, nodes.len())],
    }
}

fn filter(action: Action, matches: Matches, proxies: usize) -> Filter {
    let everybody = [Who::App, Who::Other].into_iter().chain((0..proxies).map(Who::Proxy));
    match matches {
        Matches::OriginalApp => {
            Filter { original_exes: Some(vec![Who::App.exe()]), ..Filter::all(action) }
        }
        Matches::Connecting(_) => {
            let exes = everybody.filter(|who| matches.leg(*who, who.exe())).map(Who::exe);
            Filter { exes: Some(exes.collect()), ..Filter::all(action) }
        }
    }
}
