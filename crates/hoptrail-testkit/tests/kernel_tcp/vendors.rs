//! Several providers inspect one connection, whatever their manners.

use hoptrail_testkit::lab::{Lab, Manner, PORT, V4};

/// Statement 50.
pub(crate) fn two_declaring() {
    let lab = Lab::of(Lab::two);
    let origin = lab.origin((V4, PORT).into());
    let proxies = [lab.proxy("acme", Manner::Declares), lab.proxy("beta", Manner::Declares)];
    let app = lab.actor("app");
    let connection = app.dial(origin.at()).unwrap();
    app.send(connection, b"hello").unwrap();
    assert_eq!(app.recv(connection).unwrap(), b"hello");
    assert_eq!(origin.accepted(), 1);
    for proxy in &proxies {
        assert_eq!(proxy.seen().len(), 1);
    }
}
