//! Listeners that are not on loopback, and trails whose providers are gone.

use crate::scene::{Scene, errno, trail};
use hoptrail_core::RedirectState;
use hoptrail_core::compile::{Provider, handle_of};
use hoptrail_testkit::cases::guid;
use hoptrail_testkit::lab::socket::Kind;
use hoptrail_testkit::lab::{Actor, Fd, Lab, V4_OTHER, at, eventually, listener};
use std::net::SocketAddr;

/// On the lab's machine, but not on loopback.
const OTHER_ADDRESS: (std::net::Ipv4Addr, u16) = (V4_OTHER, 15999);

fn listening_at(lab: &Lab, at: SocketAddr, bypass: bool) -> Provider {
    Provider { listen_v4: Some(at.into()), bypass, ..lab.provider("acme", 200) }
}

/// Dials `to` with these records.
fn dial_with(proxy: &Actor, blob: &[u8], to: SocketAddr) -> std::io::Result<Fd> {
    let socket = proxy.socket(to, Kind::Tcp)?;
    proxy.set_records(socket, blob)?;
    proxy.connect(socket, to).map(|()| socket)
}

/// Statement 99, its first half: a listener at another address of this machine, and a client that is
/// bound to it.
pub(crate) fn a_listener_at_another_own_address() {
    let s = Scene::of(|lab| vec![listening_at(lab, OTHER_ADDRESS.into(), false)]);
    let there = s.acme.listen(OTHER_ADDRESS.into(), 8).unwrap();
    let client = s.app.socket(s.origin.at(), Kind::Tcp).unwrap();
    s.app.bind(client, (V4_OTHER, 0).into()).unwrap();
    s.app.connect(client, s.origin.at()).unwrap();
    let (accepted, peer) = s.acme.accept(there).unwrap();
    assert_eq!(peer, s.app.local(client).unwrap());
    assert_eq!(s.app.peer(client).unwrap(), s.origin.at());
    let blob = s.acme.records(accepted).unwrap();
    assert_eq!(SocketAddr::from(trail(&blob).hops()[0].to()), OTHER_ADDRESS.into());
    let context = hoptrail::Context::parse(&s.acme.context(accepted).unwrap()).unwrap();
    assert_eq!(context.destination(), s.origin.at());
    dial_with(&s.acme, &blob, s.origin.at()).unwrap();
    eventually("one connection at the origin", || s.origin.accepted() == 1);
}

/// Statement 99, its second half, decided otherwise: whether a listener on another machine is alive
/// cannot be asked here, so it counts as gone, and the provider's word on that holds.
pub(crate) fn a_listener_on_another_machine_counts_as_gone() {
    let there = at("198.51.100.2:15999");
    let s = Scene::of(|lab| vec![listening_at(lab, there, true)]);
    let neighbour = s.lab.neighbour("ht0");
    let proxy = neighbour.origin(there);
    s.app.dial(s.origin.at()).unwrap();
    eventually("a connection at the origin", || s.origin.accepted() == 1);
    assert_eq!(proxy.accepted(), 0);
    s.lab.load(vec![listening_at(&s.lab, there, false)]);
    assert_eq!(errno(s.app.dial(s.origin.at())), libc::ECONNREFUSED);
    assert_eq!((s.origin.accepted(), proxy.accepted()), (1, 0));
}

/// Statement 64: acme is removed while its hop is in a trail. Its own records can no longer be set,
/// but beta's, which follow it, can, and gamma's turn comes as ever.
pub(crate) fn the_hops_of_a_removed_provider_stay() {
    let s = Scene::of(Lab::two);
    let [beta, gamma] = ["beta", "gamma"].map(|name| s.lab.actor(name));
    let beta_listener = beta.listen(listener("beta", true), 8).unwrap();
    let gamma_listener = gamma.listen(listener("gamma", true), 8).unwrap();
    let first = s.blob();
    dial_with(&s.acme, &first, s.origin.at()).unwrap();
    let (accepted, _) = beta.accept(beta_listener).unwrap();

    s.lab.load(vec![s.lab.provider("beta", 100), s.lab.provider("gamma", 50)]);
    let second = beta.records(accepted).unwrap();
    dial_with(&beta, &second, s.origin.at()).unwrap();
    let (accepted, _) = gamma.accept(gamma_listener).unwrap();
    let third = gamma.records(accepted).unwrap();
    let states = ["acme", "beta", "gamma"].map(|name| {
        let hops = trail(&third);
        RedirectState::of(hops.hops().iter().map(|hop| hop.handle), handle_of(guid(name)))
    });
    use RedirectState::{PreviouslyRedirectedBySelf as Before, RedirectedBySelf as Last};
    assert_eq!(states, [Before, Before, Last]);
    dial_with(&gamma, &third, s.origin.at()).unwrap();
    eventually("one connection at the origin", || s.origin.accepted() == 1);
    assert_eq!(errno(dial_with(&s.acme, &first, s.origin.at())), libc::EACCES);
}
