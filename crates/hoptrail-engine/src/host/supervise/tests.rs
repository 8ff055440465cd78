//! Supervision with real processes; the cgroup is an ordinary directory with the kernel's files, so that no
//! privilege is needed.

use super::*;
use std::path::PathBuf;
use std::thread::sleep;

struct Dir(PathBuf);

impl Dir {
    fn new(name: &str) -> Self {
        let path =
            std::env::temp_dir().join(format!("hoptrail-supervise-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        std::fs::write(path.join("cgroup.procs"), "").unwrap();
        std::fs::write(path.join("cgroup.events"), "populated 0\n").unwrap();
        Self(path)
    }

    fn proxy(&self, command: &[&str]) -> Proxy {
        let spec = ProxySpec {
            provider: "acme".into(),
            command: command.iter().map(|&part| part.into()).collect(),
            listen: vec![(Protocol::Tcp, Endpoint::new(std::net::Ipv4Addr::LOCALHOST.into(), 1))],
        };
        let cgroup = CgroupDir::open(&self.0).unwrap();
        Proxy::new(spec, cgroup, Output::Inherited, SigSet::empty(), Instant::now())
    }
}

impl Drop for Dir {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn none() -> Listeners {
    Listeners::default()
}

fn until_dead(proxy: &mut Proxy, now: Instant) -> Notice {
    for _ in 0..500 {
        // That it does not listen may be said before.
        if let Some(notice @ Notice::Died { .. }) = proxy.tick(now, &none()) {
            return notice;
        }
        sleep(Duration::from_millis(4));
    }
    panic!("it does not die")
}

#[test]
fn pauses_double_up_to_ten_seconds_and_begin_anew_after_a_healthy_minute() {
    let dir = Dir::new("pauses");
    let mut proxy = dir.proxy(&["false"]);
    let mut now = Instant::now();
    let mut pauses = Vec::new();
    for _ in 0..9 {
        assert!(matches!(proxy.tick(now, &none()), Some(Notice::Started { .. })));
        let Notice::Died { status, again_in } = until_dead(&mut proxy, now) else {
            panic!("no death")
        };
        assert_eq!(status.and_then(|s| s.code()), Some(1));
        assert!(
            proxy.tick(now + again_in - Duration::from_millis(1), &none()).is_none(),
            "too early"
        );
        pauses.push(again_in.as_millis());
        now += again_in;
    }
    assert_eq!(pauses, [100, 200, 400, 800, 1600, 3200, 6400, 10000, 10000]);
    assert!(matches!(proxy.tick(now, &none()), Some(Notice::Started { .. })));
    let Notice::Died { again_in, .. } = until_dead(&mut proxy, now + HEALTHY) else {
        panic!("no death")
    };
    assert_eq!(again_in, FIRST_PAUSE);
}

#[test]
fn a_command_that_is_not_there_is_named() {
    let dir = Dir::new("missing");
    let mut proxy = dir.proxy(&["/no/such/proxy"]);
    let notice = proxy.tick(Instant::now(), &none()).unwrap();
    assert!(matches!(notice, Notice::NotStarted { error: LaunchError::NotFound { .. }, .. }));
    assert!(notice.to_string().starts_with("/no/such/proxy: no such command"), "{notice}");
}

#[test]
fn one_that_does_not_listen_is_told_once_and_one_that_does_is_ready() {
    let dir = Dir::new("deaf");
    let mut proxy = dir.proxy(&["sleep", "100"]);
    let now = Instant::now();
    assert!(matches!(proxy.tick(now, &none()), Some(Notice::Started { .. })));
    assert!(proxy.tick(now + PATIENCE - Duration::from_millis(1), &none()).is_none());
    let deaf = proxy.tick(now + PATIENCE, &none()).unwrap();
    assert!(deaf.to_string().contains("nothing listens at tcp/127.0.0.1:1"), "{deaf}");
    assert!(proxy.tick(now + PATIENCE * 2, &none()).is_none(), "said once");
    assert!(!proxy.listens());
    proxy.spec.listen.clear();
    assert!(matches!(proxy.tick(now + PATIENCE * 2, &none()), Some(Notice::Listening { .. })));
    assert!(proxy.listens());
    let State::Running { child: Some(child), .. } = &mut proxy.state else { panic!("it runs") };
    child.kill().unwrap();
    child.wait().unwrap();
}

#[test]
fn one_that_already_runs_is_taken_over_until_its_cgroup_is_empty() {
    let dir = Dir::new("adopt");
    let mut proxy = dir.proxy(&["false"]);
    let now = Instant::now();
    assert!(proxy.adopt(now).is_none(), "nothing runs");
    std::fs::write(dir.0.join("cgroup.procs"), "5000000\n").unwrap();
    std::fs::write(dir.0.join("cgroup.events"), "populated 1\n").unwrap();
    assert!(matches!(proxy.adopt(now), Some(Notice::Adopted { pids }) if pids == [5000000]));
    assert!(proxy.tick(now, &none()).is_none(), "not started a second time");
    std::fs::write(dir.0.join("cgroup.events"), "populated 0\n").unwrap();
    assert!(matches!(proxy.tick(now, &none()), Some(Notice::Died { status: None, .. })));
}
