//! `daemon`: what the next one takes over, and from whom.

use crate::client::CURL;
use crate::daemon::Daemon;
use crate::process::Said;
use crate::stage::{HOPTRAIL, Stage, in_turn, provider, two};
use nix::sys::signal::Signal;
use std::os::unix::net::UnixDatagram;
use std::time::Duration;

pub(crate) fn a_restart_with_another_configuration() {
    let stage = Stage::new();
    let mut daemon = Daemon::start(&stage, &two());
    let (acme, beta) = (daemon.proxy("acme"), daemon.proxy("beta"));
    daemon.end(Signal::SIGKILL);
    // Beta's command is another now.
    let changed = provider("beta", 100, 15872, "").replace("\"beta\", \"127", "\"bravo\", \"127");
    daemon.configure(&(provider("acme", 200, 15871, "") + &changed));
    daemon.start_again(&[]);
    assert_eq!(stage.get(), "through acme, bravo");
    assert_eq!(daemon.proxy("acme"), acme);
    assert!(daemon.proxy("beta").iter().all(|pid| !beta.contains(pid)));

    daemon.end(Signal::SIGTERM);
    daemon.configure(&provider("gamma", 10, 15873, ""));
    daemon.start_again(&[]);
    assert_eq!(stage.get(), "through gamma");
    assert_eq!(daemon.proxies(), ["provider-gamma"]);
    assert_eq!(daemon.generation(), 3);
}

pub(crate) fn a_state_that_cannot_be_read_is_no_obstacle() {
    let stage = Stage::new();
    let mut daemon = Daemon::start(&stage, &two());
    let acme = daemon.proxy("acme");
    daemon.end(Signal::SIGKILL);
    std::fs::write(format!("{}/state.json", daemon.run_dir), "{").unwrap();
    let providers = daemon.verb("providers", &[]);
    assert_eq!(providers.code(), 1);
    assert!(
        providers.sentence().contains("state.json is not what a daemon of this version wrote"),
        "{}",
        providers.err()
    );
    daemon.start_again(&[]);
    assert_eq!(daemon.proxy("acme"), acme);
    assert_eq!(stage.get(), "through acme, beta");
    assert_eq!(daemon.generation(), 2);
}

/// What the former one began elsewhere must not go on there, or hold the ports of its successor's proxies.
pub(crate) fn a_restart_on_another_cgroup_leaves_the_former() {
    let _turn = in_turn();
    let stage = Stage::new();
    let mut daemon = Daemon::start(&stage, &two());
    daemon.end(Signal::SIGTERM);
    daemon.cgroup = "other";
    daemon.start_again(&[]);
    assert_eq!(stage.get(), "directly");
    let output = stage.output("other", &CURL);
    assert_eq!(output.out(), "through acme, beta\n", "{}", output.err());
    assert_eq!(stage.cgroups_below("apps"), [""; 0]);
    assert_eq!(stage.processes("apps"), [0; 0]);
    assert!(stage.programs(stage.cgroup("apps").path()).is_empty());
    daemon.end(Signal::SIGTERM);
    assert_eq!(daemon.verb("cleanup", &[]).code(), 0);
    assert_eq!(stage.processes(""), [0; 0]);
}

/// Another run directory does not make another kernel side.
pub(crate) fn the_same_pins_are_for_one_daemon() {
    let stage = Stage::new();
    let daemon = Daemon::start(&stage, &two());
    let dir = stage.dir.path().join("run2");
    let argv = daemon.argv();
    let argv: Vec<&str> = argv.iter().map(String::as_str).collect();
    let argv = [&argv[..argv.len() - 1], &[dir.to_str().unwrap()]].concat();
    let second = stage.output("ctl", &argv);
    assert_eq!(second.code(), 1);
    let expected = format!("hoptrail: another hoptrail daemon uses the pins in {}", daemon.pins);
    assert!(second.sentence().starts_with(&expected), "{}", second.err());
    assert_eq!((daemon.generation(), stage.get()), (1, "through acme, beta".to_owned()));
    let cleanup = [HOPTRAIL, "cleanup", "--pins", &daemon.pins, "--run-dir", dir.to_str().unwrap()];
    let cleanup = stage.output("ctl", &cleanup);
    assert_eq!(cleanup.code(), 1);
    assert!(cleanup.sentence().starts_with(&expected), "{}", cleanup.err());
    assert_eq!(stage.get(), "through acme, beta");
}

/// sd_notify(3): a unit of Type=notify-reload.
pub(crate) fn systemd_is_told() {
    let stage = Stage::new();
    let socket = stage.dir.path().join("notify");
    let systemd = UnixDatagram::bind(&socket).unwrap();
    systemd.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    let told = || {
        let mut buffer = [0; 512];
        let n = systemd.recv(&mut buffer).unwrap();
        String::from_utf8_lossy(&buffer[..n]).into_owned()
    };
    let mut daemon = Daemon::start(&stage, &two());
    daemon.end(Signal::SIGTERM);
    let mut command =
        stage.command("ctl", &daemon.argv().iter().map(String::as_str).collect::<Vec<_>>());
    let running = stage.start(command.env("NOTIFY_SOCKET", &socket));
    assert!(
        told().starts_with("READY=1\nSTATUS=generation 2 with 2 providers and 2 filters acts on /")
    );
    running.signal(Signal::SIGHUP);
    let reloading = told();
    assert!(reloading.starts_with("RELOADING=1\nMONOTONIC_USEC="), "{reloading}");
    assert!(told().starts_with("READY=1\nSTATUS=generation 3 "));
    running.signal(Signal::SIGTERM);
    assert_eq!(told(), "STOPPING=1");
    assert_eq!(running.code(), 0);
}
