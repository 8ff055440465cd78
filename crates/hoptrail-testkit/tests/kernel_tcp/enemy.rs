//! What an enemy, or an unusual program, may try: nothing of it gets past a provider, confuses two
//! connections or leaves something behind.

use crate::scene::{Scene, errno, trail};
use hoptrail_core::compile::Filter;
use hoptrail_core::context::Context;
use hoptrail_core::image::Action;
use hoptrail_testkit::lab::socket::Kind;
use hoptrail_testkit::lab::{Actor, Fd, Lab, Person, at, eventually, listener, option, stage};
use socket2::{Domain, SockRef, Socket, Type};
use std::net::SocketAddr;
use std::os::fd::AsFd;
use std::time::Duration;

/// The same four addresses again and again, with another destination each time: no connection is told
/// the trail of one before it.
pub(crate) fn the_same_four_addresses_again() {
    let s = Scene::new();
    let from = at("192.0.2.20:4444");
    for port in 1000..1100 {
        let to = SocketAddr::from(([192, 0, 2, 10], port));
        let socket = s.app.socket(to, Kind::Tcp).unwrap();
        s.app.bind(socket, from).unwrap();
        s.app.connect(socket, to).unwrap();
        let (accepted, peer) = s.acme.accept(s.listener).unwrap();
        assert_eq!(peer, from);
        let trail = trail(&s.acme.records(accepted).unwrap());
        assert_eq!(SocketAddr::from(trail.header.destination()), to);
        let context = s.acme.context(accepted).unwrap();
        assert_eq!(Context::parse(&context).unwrap().destination(), to.into());
        if port % 2 == 0 {
            s.app.reset(socket)
        } else {
            s.acme.reset(accepted)
        }
        s.app.close(socket);
        s.acme.close(accepted);
    }
    eventually("every link is gone", || s.lab.links().is_empty());
    assert_eq!(s.lab.counters().link_failed, 0);
}

/// A client that resets before the proxy accepts: the proxy is told the truth or nothing, and the next
/// connection is not taken for this one.
pub(crate) fn reset_before_accept() {
    let s = Scene::new();
    for round in 0..20 {
        let to = SocketAddr::from(([192, 0, 2, 10], 2000 + round));
        let socket = s.app.dial(to).unwrap();
        s.app.send(socket, b"data that nobody reads").unwrap();
        s.app.reset(socket);
        let (accepted, _) = s.acme.accept(s.listener).unwrap();
        match s.acme.records(accepted) {
            Ok(blob) => {
                let destination = trail(&blob).header.destination();
                assert_eq!(SocketAddr::from(destination), to);
            }
            Err(e) => {
                let expected = [libc::ENODATA, libc::ENOTCONN];
                assert!(expected.contains(&e.raw_os_error().unwrap()), "{e}");
            }
        }
        s.acme.close(accepted);
    }
    eventually("every link is gone", || s.lab.links().is_empty());
}

/// Several listeners share the port, as those of a proxy with several workers do.
pub(crate) fn listeners_that_share_a_port() {
    let s = Scene::new();
    s.acme.close(s.listener);
    let share = |on: SocketAddr| {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
        socket.set_reuse_port(true)?;
        socket.bind(&on.into())?;
        socket.listen(64)?;
        socket.set_nonblocking(true)?;
        Ok(Fd(stage::keep(socket)))
    };
    let workers: Vec<Actor> = (0..3).map(|_| s.lab.actor("acme")).collect();
    let listeners: Vec<Fd> =
        workers.iter().map(|w| w.run(listener("acme", true), share).unwrap()).collect();
    for port in 3000..3030 {
        let _ = s.app.dial(([192, 0, 2, 10], port).into()).unwrap();
    }
    let mut served = 0;
    for (worker, listening) in workers.iter().zip(listeners) {
        while let Ok((accepted, _)) = worker.accept(listening) {
            let trail = trail(&worker.records(accepted).unwrap());
            assert!((3000..3030).contains(&trail.header.destination().port));
            served += 1;
        }
    }
    assert_eq!(served, 30);
}

/// The accept waits for data (TCP_DEFER_ACCEPT).
pub(crate) fn a_deferred_accept() {
    let s = Scene::new();
    let tcp = libc::IPPROTO_TCP;
    s.acme.set_at(s.listener, tcp, libc::TCP_DEFER_ACCEPT, &5i32.to_ne_bytes()).unwrap();
    for _ in 0..10 {
        let client = s.app.dial(s.origin.at()).unwrap();
        s.app.send(client, b"data").unwrap();
        let (accepted, _) = s.acme.accept(s.listener).unwrap();
        s.acme.records(accepted).unwrap();
        s.acme.context(accepted).unwrap();
        assert_eq!(s.acme.recv(accepted).unwrap(), b"data");
        s.app.close(client);
        s.acme.close(accepted);
    }
    eventually("every link is gone", || s.lab.links().is_empty());
}

/// Addresses of the wrong family or length: refused by the kernel, and nothing stays in the table,
/// not even while the socket is open for more.
pub(crate) fn addresses_that_are_none() {
    let s = Scene::new();
    let to4: Vec<u8> = [&2u16.to_ne_bytes()[..], &80u16.to_be_bytes(), &[192, 0, 2, 10]].concat();
    let mut to6 = [&10u16.to_ne_bytes()[..], &80u16.to_be_bytes(), &[0; 4]].concat();
    to6.extend([0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x10, 0, 0, 0, 0]);
    for v6 in [false, true] {
        for base in [&to4, &to6] {
            for family in [1u16, 2, 10, 16, 17, 0xffff] {
                let bytes = [&family.to_ne_bytes()[..], &base[2..]].concat();
                for length in [0, 2, 8, 15, 16, 24, 28, 128] {
                    attempt(&s, v6, &bytes, length);
                }
            }
        }
    }
    assert!(s.lab.links().len() <= 1, "{:?}", s.lab.links().len());
    let counters = s.lab.counters();
    assert_eq!(counters.link_failed, 0);
    eventually("every link is gone", || s.lab.links().is_empty());
}

/// One connect, alone on its socket, with `bytes` at `length`.
fn attempt(s: &Scene, v6: bool, bytes: &[u8], length: usize) {
    let mut bytes = bytes.to_vec();
    bytes.resize(length, 0);
    let right = (v6 && bytes.starts_with(&10u16.to_ne_bytes()) && length >= 24)
        || (!v6 && bytes.starts_with(&2u16.to_ne_bytes()) && length >= 16);
    let result = s.app.run((v6, bytes.clone()), |(v6, bytes): (bool, Vec<u8>)| {
        let domain = if v6 { Domain::IPV6 } else { Domain::IPV4 };
        let socket = Socket::new(domain, Type::STREAM, None)?;
        socket.set_nonblocking(true)?;
        option::connect_with(socket.as_fd(), &bytes)
    });
    let errno = errno(result);
    // Over IPv6 nothing listens for acme.
    let expected = [libc::EINPROGRESS, libc::ECONNREFUSED];
    assert!(!right || expected.contains(&errno), "{v6} {length} {bytes:?}: {errno}");
    // An address that was read in another family's place may be loopback, which is left alone.
    if !s.lab.links().is_empty() {
        let (accepted, _) = s.acme.accept(s.listener).unwrap();
        s.acme.close(accepted);
    }
    eventually("the link of a failed connect is gone", || s.lab.links().is_empty());
}

/// An IPv6-only socket cannot reach IPv4, redirected or not, and leaves nothing behind.
pub(crate) fn a_v6_only_socket() {
    let s = Scene::new();
    let outcome = |actor: &Actor| {
        let result = actor.run((), |()| {
            let socket = Socket::new(Domain::IPV6, Type::STREAM, None)?;
            socket.set_only_v6(true)?;
            socket.connect(&at("[::ffff:192.0.2.10]:80").into())
        });
        errno(result)
    };
    assert_eq!(outcome(&s.app), outcome(&s.lab.outsider()));
    eventually("every link is gone", || s.lab.links().is_empty());
}

/// A socket whose memory for options is spent has no room for what is to be known of it: refused, not
/// let past.
pub(crate) fn a_socket_without_memory() {
    let s = Scene::new();
    let limit = "/proc/sys/net/core/optmem_max";
    let own = s.lab.inside(|| std::fs::metadata(limit).is_ok());
    if !own {
        return eprintln!("not shown: this kernel has one optmem_max for all namespaces");
    }
    let before = s.connect();
    let blob = s.acme.records(before.accepted).unwrap();
    s.lab.inside(|| std::fs::write(limit, "8")).unwrap();
    assert_eq!(errno(s.app.dial(s.origin.at())), libc::ENOBUFS);
    let socket = s.acme.socket(s.origin.at(), Kind::Tcp).unwrap();
    assert_eq!(errno(s.acme.set_records(socket, &blob)), libc::ENOBUFS);
    assert_eq!(s.origin.accepted(), 0);
    assert_eq!(s.lab.links().len(), 1);
    s.lab.inside(|| std::fs::write(limit, "131072")).unwrap();
    s.connect();
}

/// In another network namespace there is no listener: refused, since the provider says so.
pub(crate) fn another_network_namespace() {
    let s = Scene::new();
    let result = s.app.run(s.origin.at(), |to: SocketAddr| {
        nix::sched::unshare(nix::sched::CloneFlags::CLONE_NEWNET)?;
        std::net::TcpStream::connect(to).map(drop)
    });
    assert_eq!(errno(result), libc::ECONNREFUSED);
    assert_eq!(s.lab.counters().listener_gone, 1);
}

/// A program that was renamed goes by its new name.
pub(crate) fn a_renamed_program() {
    let s = Scene::new();
    let copy = stage::copy_of_binary("old-name");
    let new = copy.path().with_file_name("new-name");
    let path = |exe: &std::path::Path| {
        let app = s.lab.person(&Person { cgroup: "app", uid: None, exe: Some(exe) });
        let _client = app.dial(s.origin.at()).unwrap();
        let (accepted, _) = s.acme.accept(s.listener).unwrap();
        let context = s.acme.context(accepted).unwrap();
        String::from_utf8(Context::parse(&context).unwrap().path.to_vec()).unwrap()
    };
    assert_eq!(path(copy.path()), copy.path().to_str().unwrap());
    std::fs::rename(copy.path(), &new).unwrap();
    assert_eq!(path(&new), new.to_str().unwrap());
}

/// Another program at the inode of one that is gone goes by its own name.
pub(crate) fn a_reused_inode() {
    use std::os::unix::fs::MetadataExt;
    let s = Scene::new();
    let ino = |path: &std::path::Path| std::fs::metadata(path).unwrap().ino();
    let mut last: Option<u64> = None;
    for n in 0..10 {
        let copy = stage::copy_of_binary(&format!("program-{n}"));
        let app = s.lab.person(&Person { cgroup: "app", uid: None, exe: Some(copy.path()) });
        let client = app.dial(s.origin.at()).unwrap();
        let (accepted, _) = s.acme.accept(s.listener).unwrap();
        let context = s.acme.context(accepted).unwrap();
        let path = String::from_utf8(Context::parse(&context).unwrap().path.to_vec()).unwrap();
        assert_eq!(path, copy.path().to_str().unwrap(), "as inode {:?}, then again", last);
        last = Some(ino(copy.path()));
        app.close(client);
    }
}

/// A member is a member in every cgroup below.
pub(crate) fn members_below_their_cgroup() {
    let s = Scene::new();
    let blob = s.blob();
    let _ = s.lab.cgroup("acme/worker");
    let deep = s.lab.actor("acme/worker/deep");
    let socket = deep.socket(s.origin.at(), Kind::Tcp).unwrap();
    deep.set_records(socket, &blob).unwrap();
    deep.connect(socket, s.origin.at()).unwrap();
    s.origin.expect(1);
}

/// A proxy that dials something else than it was asked for: the next provider is told what it dials,
/// and the trail still tells what the application wanted.
pub(crate) fn a_proxy_that_dials_elsewhere() {
    let s = Scene::of(Lab::two);
    let beta = s.lab.actor("beta");
    let beta_listener = beta.listen(listener("beta", true), 8).unwrap();
    let blob = s.blob();
    let elsewhere = at("192.0.2.20:81");
    let socket = s.acme.socket(elsewhere, Kind::Tcp).unwrap();
    s.acme.set_records(socket, &blob).unwrap();
    s.acme.connect(socket, elsewhere).unwrap();
    let (accepted, _) = beta.accept(beta_listener).unwrap();
    let bytes = beta.context(accepted).unwrap();
    assert_eq!(Context::parse(&bytes).unwrap().destination(), elsewhere.into());
    let trail = trail(&beta.records(accepted).unwrap());
    assert_eq!(trail.header.destination(), s.origin.at().into());
    assert_eq!(trail.hops()[0].asked(), s.origin.at().into());
    assert_eq!(trail.hops()[1].asked(), elsewhere.into());
}

/// The accepted socket itself is dissolved and dials: it carries nothing of the connection it was.
pub(crate) fn an_accepted_socket_that_dials() {
    let s = Scene::new();
    let redirected = s.connect();
    let blob = s.acme.records(redirected.accepted).unwrap();
    let dissolve = |Fd(fd): Fd| option::dissolve(stage::held(fd)?.as_fd());
    s.acme.run(redirected.accepted, dissolve).unwrap();
    let gone = errno(s.acme.records(redirected.accepted));
    assert!([libc::ENODATA, libc::ENOTCONN].contains(&gone), "{gone}");
    s.acme.set_records(redirected.accepted, &blob).unwrap();
    assert_eq!(s.acme.records(redirected.accepted).unwrap(), blob, "it is a socket like any other");
    s.acme.connect(redirected.accepted, s.origin.at()).unwrap();
    s.origin.expect(1);
    eventually("every link is gone", || s.lab.links().is_empty());
}

/// Every other socket option is as it is without Hoptrail: errno and length, for any room.
pub(crate) fn other_options_are_untouched() {
    let s = Scene::new();
    s.lab.load(Vec::new());
    let outsider = s.lab.outsider();
    let sockets = |actor: &Actor, connected: bool| {
        if connected { actor.dial(s.origin.at()) } else { actor.socket(s.origin.at(), Kind::Tcp) }
    };
    for connected in [false, true] {
        let pair = [&s.app, &outsider].map(|a| (a, sockets(a, connected).unwrap()));
        let [inside, outside] = pair.map(|(actor, socket)| {
            actor
                .run(socket, |Fd(fd)| {
                    let held = stage::held(fd)?;
                    let mut all = Vec::new();
                    for level in [libc::SOL_SOCKET, libc::IPPROTO_IP, libc::IPPROTO_TCP] {
                        for option in 0..100 {
                            for room in [0, 1, 3, 4, 16, 100, 4096, 4097, 70_000] {
                                let p = option::get(held.as_fd(), level, option, room);
                                all.push((level, option, room, p.errno, p.length));
                            }
                        }
                    }
                    Ok(all)
                })
                .unwrap()
        });
        let differing: Vec<_> =
            inside.iter().zip(&outside).filter(|(one, other)| one != other).collect();
        assert!(differing.is_empty(), "{differing:?}");
    }
}

/// A large value to be set, which the programs do not see, goes to the kernel as it is.
pub(crate) fn large_values_pass() {
    let s = Scene::new();
    let outsider = s.lab.outsider();
    let outcome = |actor: &Actor, level: i32, option: i32, length: usize| {
        let socket = actor.socket(s.origin.at(), Kind::Tcp).unwrap();
        let value = vec![1; length];
        actor.set_at(socket, level, option, &value).err().and_then(|e| e.raw_os_error())
    };
    for (level, option) in [
        (libc::SOL_SOCKET, libc::SO_RCVBUF),
        (libc::SOL_SOCKET, libc::SO_KEEPALIVE),
        (libc::IPPROTO_IP, libc::IP_TOS),
        (libc::IPPROTO_TCP, libc::TCP_NODELAY),
        (libc::IPPROTO_TCP, libc::TCP_CONGESTION),
        (libc::IPPROTO_IP, 41),
        (0x1234, 1),
    ] {
        for length in [4, 4095, 4096, 4097, 8192, 100_000] {
            let [inside, outside] =
                [&s.app, &outsider].map(|actor| outcome(actor, level, option, length));
            assert_eq!(inside, outside, "level {level}, option {option}, {length} bytes");
        }
    }
}

/// A policy as large as policies get: every filter of every provider is found.
pub(crate) fn a_policy_at_its_limits() {
    const PER_PROVIDER: u16 = 64;
    let names: Vec<String> = (0..64).map(|n| format!("q{n:02}")).collect();
    let s = Scene::on(Lab::new());
    let port_of = |provider: usize, filter: u16| 10_000 + provider as u16 * PER_PROVIDER + filter;
    let providers = names.iter().enumerate().map(|(i, name)| {
        let filters = (0..PER_PROVIDER).map(|f| {
            let port = port_of(i, f);
            Filter { ports: vec![port..=port], ..Filter::all(Action::Block) }
        });
        let mut provider = s.lab.provider(name, 1000 - i as i64);
        provider.filters = filters.collect();
        provider
    });
    s.lab.load(providers.collect());
    for provider in [0, 1, 31, 62, 63] {
        for filter in [0, 1, 32, 63] {
            let to = ([192, 0, 2, 10], port_of(provider, filter)).into();
            assert_eq!(errno(s.app.dial(to)), libc::EACCES);
            let events = s.lab.events();
            assert_eq!(events[0].filter, u32::from(filter));
            assert_eq!(events[0].handle, s.lab.provider(&names[provider], 1).handle());
        }
    }
    assert_eq!(errno(s.app.dial(([192, 0, 2, 10], 9_999).into())), libc::ECONNREFUSED);
    s.app.dial(s.origin.at()).unwrap();
    s.origin.expect(1);
}

/// Nobody may make others wait: options in a tight loop from four threads while connections come and go.
pub(crate) fn options_in_a_storm() {
    let s = Scene::new();
    let blob = s.blob();
    let storms: Vec<_> = (0..3u8)
        .map(|n| {
            s.acme.begin((s.listener, blob.clone(), n), |(Fd(fd), mut blob, n)| {
                let held = stage::held(fd)?;
                let end = std::time::Instant::now() + Duration::from_secs(1);
                let fresh = Socket::new(Domain::IPV4, Type::STREAM, None)?;
                while std::time::Instant::now() < end {
                    blob[usize::from(n) + 20] ^= 1;
                    for option in -2..9 {
                        let _ = option::get(held.as_fd(), 0x4854, option, 1600);
                        let _ = option::get(fresh.as_fd(), 0x4854, option, 1600);
                        let _ = option::set(fresh.as_fd(), 0x4854, option, &blob);
                    }
                }
                Ok(SockRef::from(&fresh).local_addr().is_ok())
            })
        })
        .collect();
    for _ in 0..100 {
        let redirected = s.connect();
        assert_eq!(trail(&s.acme.records(redirected.accepted).unwrap()).hops().len(), 1);
        s.app.close(redirected.client);
        s.acme.close(redirected.accepted);
    }
    storms.into_iter().for_each(|storm| assert!(storm.wait().unwrap()));
}
