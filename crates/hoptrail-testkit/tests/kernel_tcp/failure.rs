//! What happens when something is missing, full or forbidden: DESIGN.md section 2, points 3, 5 and 9,
//! and statements 49, 56, 58, 60 to 62.

use crate::scene::{Scene, acme, errno};
use hoptrail_core::compile::{Filter, Provider};
use hoptrail_core::image::Action;
use hoptrail_core::reason::Reason;
use hoptrail_core::records::MAX_HOPS;
use hoptrail_engine::event::EventKind;
use hoptrail_engine::kernel::KernelOptions;
use hoptrail_testkit::lab::{Lab, Manner, Person, at, eventually, exe_of, listener, stage};

const WEB: &str = "192.0.2.10:80";

/// Nothing listens and the provider says block: refused, counted, told.
pub(crate) fn a_gone_listener_blocks() {
    let lab = Lab::of(|lab| vec![lab.provider("acme", 200)]);
    let origin = lab.origin(at(WEB));
    let app = lab.actor("app");
    assert_eq!(errno(app.dial(at(WEB))), libc::ECONNREFUSED);
    assert_eq!(origin.accepted(), 0);
    assert_eq!(lab.counters().listener_gone, 1);
    let events = lab.events();
    assert_eq!((events[0].kind, events[0].reason), (EventKind::Refused, Reason::ListenerGoneBlock));
    assert_eq!(events[0].trail.header.pid, app.pid());
    // It comes up, and goes again.
    let proxy = lab.actor("acme");
    let listening = proxy.listen(listener("acme", true), 8).unwrap();
    app.dial(at(WEB)).unwrap();
    proxy.close(listening);
    assert_eq!(errno(app.dial(at(WEB))), libc::ECONNREFUSED);
    // One that is bound and connected elsewhere listens as little.
    let bound = proxy.socket(at(WEB), hoptrail_testkit::lab::socket::Kind::Tcp).unwrap();
    proxy.bind(bound, listener("acme", true)).unwrap();
    assert_eq!(errno(app.dial(at(WEB))), libc::ECONNREFUSED);
    assert_eq!(origin.accepted(), 0);
}

/// Nothing listens and the provider says bypass: straight on.
pub(crate) fn a_gone_listener_is_bypassed() {
    let lab = Lab::of(|lab| {
        let [a, beta] = <[Provider; 2]>::try_from(lab.two()).unwrap();
        vec![Provider { bypass: true, ..a }, beta]
    });
    let origin = lab.origin(at(WEB));
    let beta = lab.proxy("beta", Manner::Declares);
    let app = lab.actor("app");
    let socket = app.dial(at(WEB)).unwrap();
    app.send(socket, b"x").unwrap();
    assert_eq!(app.recv(socket).unwrap(), b"x");
    assert_eq!((origin.accepted(), beta.seen().len()), (1, 1), "the next provider has its turn");
    assert_eq!(lab.counters().listener_gone, 0);
}

/// Statement 56: it matters who listens, not who the members are.
pub(crate) fn a_listener_of_nobody_in_particular() {
    let lab = Lab::of(|lab| {
        let nobody = hoptrail_core::compile::Members::default();
        vec![Provider { members: nobody, ..lab.provider("acme", 200) }]
    });
    let (app, stranger) = (lab.actor("app"), lab.actor("stranger"));
    let listening = stranger.listen(listener("acme", true), 8).unwrap();
    app.dial(at(WEB)).unwrap();
    let (accepted, _) = stranger.accept(listening).unwrap();
    stranger.records(accepted).unwrap();
}

/// A proxy is killed in the middle: its connections end, new ones are refused, nothing is left.
pub(crate) fn a_killed_proxy() {
    let lab = Lab::of(Lab::two);
    let origin = lab.origin(at(WEB));
    let _acme = lab.proxy("acme", Manner::Declares);
    let mut beta = lab.proxy("beta", Manner::Declares);
    let app = lab.actor("app");
    let socket = app.dial(at(WEB)).unwrap();
    app.send(socket, b"x").unwrap();
    assert_eq!(app.recv(socket).unwrap(), b"x");
    assert_eq!(lab.links().len(), 2);
    beta.actor.kill();
    let end = app.recv(socket);
    assert!(end.as_ref().is_ok_and(Vec::is_empty) || errno_of(&end) == libc::ECONNRESET, "{end:?}");
    assert_eq!(errno(app.dial(at(WEB))), libc::ECONNREFUSED);
    assert_eq!(origin.accepted(), 1);
    app.close(socket);
    eventually("every link is gone", || lab.links().is_empty());
    // A new one takes its place.
    let _beta = lab.proxy("beta", Manner::Declares);
    let socket = app.dial(at(WEB)).unwrap();
    app.send(socket, b"y").unwrap();
    assert_eq!(app.recv(socket).unwrap(), b"y");
}

fn errno_of<T>(result: &std::io::Result<T>) -> i32 {
    result.as_ref().err().and_then(std::io::Error::raw_os_error).unwrap_or(0)
}

/// Statement 60 as Hoptrail has it: a block of any provider refuses, whatever its rank.
pub(crate) fn a_block_of_any_provider() {
    let lab = Lab::new();
    let origin = lab.origin(at(WEB));
    let _proxies = [lab.proxy("acme", Manner::Declares), lab.proxy("beta", Manner::Declares)];
    let app = lab.actor("app");
    for blocker in [0, 1] {
        let mut two = lab.two();
        two[blocker].filters = vec![Filter::all(Action::Block)];
        lab.load(two);
        assert_eq!(errno(app.dial(at(WEB))), libc::EACCES);
    }
    let mut two = lab.two();
    two[0].filters = vec![Filter::all(Action::Permit)];
    two[1].filters = vec![Filter::all(Action::Block)];
    lab.load(two);
    assert_eq!(errno(app.dial(at(WEB))), libc::EACCES);
    assert_eq!(lab.counters().blocked, 3);
    assert_eq!(lab.counters().redirected, 0);
    assert_eq!(origin.accepted(), 0);
    let refused: Vec<_> = lab.events().iter().map(|e| (e.kind, e.reason)).collect();
    assert_eq!(refused, [(EventKind::Refused, Reason::FilterBlock); 3]);
}

/// Statements 58 and 62: the original application is known on every leg.
pub(crate) fn the_original_application_is_blocked_on_later_legs() {
    let lab = Lab::new();
    let origin = lab.origin(at(WEB));
    let proxy = lab.proxy("acme", Manner::Declares);
    let exe = stage::copy_of_binary("evil");
    let evil = Person { cgroup: "app", uid: Some(6666), exe: Some(exe.path()) };
    let (good, evil) = (lab.actor("app"), lab.person(&evil));
    let by_exe = Filter { original_exes: Some(vec![exe_of(exe.path())]), ..later_leg(&lab) };
    let by_user = Filter { original_users: Some(vec![6666]), ..later_leg(&lab) };
    for (n, filter) in [by_exe, by_user].into_iter().enumerate() {
        let blocks = Provider { filters: vec![filter], ..lab.provider("beta", 100) };
        lab.load(vec![lab.provider("acme", 200), blocks]);
        let socket = evil.dial(at(WEB)).unwrap();
        assert_eq!(errno(evil.recv(socket)), libc::ECONNRESET);
        assert_eq!(proxy.seen().last().unwrap().errno, libc::EACCES);
        assert_eq!(origin.accepted(), n);
        let socket = good.dial(at(WEB)).unwrap();
        good.send(socket, b"x").unwrap();
        assert_eq!(good.recv(socket).unwrap(), b"x");
    }
}

/// Blocks what acme's proxy dials.
fn later_leg(lab: &Lab) -> Filter {
    Filter { cgroups: Some(vec![lab.cgroup("acme")]), ..Filter::all(Action::Block) }
}

/// Statement 61: the first matching filter of a provider decides.
pub(crate) fn the_first_filter_of_a_provider() {
    let lab = Lab::of(|lab| {
        let own = Filter { users: Some(vec![1001]), ..Filter::all(Action::Permit) };
        acme(lab, vec![own, Filter::all(Action::Block)])
    });
    let origin = lab.origin(at(WEB));
    let who = |uid| lab.person(&Person { cgroup: "app", uid: Some(uid), exe: None });
    who(1001).dial(at(WEB)).unwrap();
    assert_eq!(errno(who(1002).dial(at(WEB))), libc::EACCES);
    eventually("the permitted one arrives", || origin.accepted() == 1);
}

/// A full table refuses, counts, and works again when there is room.
pub(crate) fn a_full_table() {
    let options = KernelOptions { map_entries: vec![("LINKS".into(), 2)], ..Default::default() };
    let lab = Lab::with(&options);
    lab.load(vec![lab.provider("acme", 200)]);
    let s = Scene::on(lab);
    let open = [s.connect(), s.connect()];
    for n in 1..=3 {
        assert_eq!(errno(s.app.dial(s.origin.at())), libc::ENOBUFS);
        assert_eq!(s.lab.counters().table_full, n);
    }
    let told = s.lab.events().iter().filter(|e| e.reason == Reason::TableFull).count();
    assert_eq!(told, 3);
    assert_eq!(s.origin.accepted(), 0);
    for redirected in &open {
        s.acme.records(redirected.accepted).unwrap();
    }
    s.acme.close(open[0].accepted);
    s.app.close(open[0].client);
    eventually("there is room", || s.lab.links().len() == 1);
    for _ in 0..20 {
        let redirected = s.connect();
        s.app.close(redirected.client);
        s.acme.close(redirected.accepted);
        eventually("there is room", || s.lab.links().len() == 1);
    }
}

/// Statement 49's bound: sixteen providers in one trail, not one more.
pub(crate) fn sixteen_hops_and_no_more() {
    let names: Vec<String> = (1..=17).map(|n| format!("p{n:02}")).collect();
    let lab = Lab::new();
    let origin = lab.origin(at(WEB));
    let proxies: Vec<_> = names.iter().map(|name| lab.proxy(name, Manner::Declares)).collect();
    let providers = |n: usize| {
        let all = names[..n].iter().enumerate();
        all.map(|(i, name)| lab.provider(name, 100 - i as i64)).collect::<Vec<_>>()
    };
    let app = lab.actor("app");
    lab.load(providers(MAX_HOPS));
    let socket = app.dial(at(WEB)).unwrap();
    app.send(socket, b"x").unwrap();
    assert_eq!(app.recv(socket).unwrap(), b"x");
    assert_eq!(origin.accepted(), 1);
    let events = lab.events();
    assert_eq!(events.last().unwrap().trail.hops().len(), MAX_HOPS);
    app.close(socket);
    lab.load(providers(MAX_HOPS + 1));
    let socket = app.dial(at(WEB)).unwrap();
    assert_eq!(errno(app.recv(socket)), libc::ECONNRESET);
    assert_eq!(origin.accepted(), 1, "refused, not cut short");
    assert_eq!(lab.counters().trail_full, 1);
    assert_eq!(proxies[15].seen().last().unwrap().errno, libc::ELOOP);
    assert!(proxies[16].seen().is_empty());
    app.close(socket);
    eventually("every link is gone", || lab.links().is_empty());
}

/// Before there is a policy, and after there is none any more, everything goes straight on.
pub(crate) fn without_a_policy() {
    let lab = Lab::new();
    let origin = lab.origin(at(WEB));
    let app = lab.actor("app");
    app.dial(at(WEB)).unwrap();
    lab.load(lab.two());
    assert_eq!(errno(app.dial(at(WEB))), libc::ECONNREFUSED);
    lab.load(Vec::new());
    app.dial(at(WEB)).unwrap();
    eventually("both arrived", || origin.accepted() == 2);
}
