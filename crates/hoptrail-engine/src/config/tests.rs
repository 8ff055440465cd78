//! Whole configurations, right and wrong, and the exact words that are said about them.

use super::*;
use crate::host::cgroup2::Mount;
use crate::host::mounts::Mounts;
use hoptrail_core::compile::{Cgroup, compile};
use std::collections::BTreeMap;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

const ACME: &str = r#"
[provider.acme]
rank = 200
listen = ["127.0.0.1:15871", "[::1]:15871"]
on-unavailable = "bypass"
command = ["python3", "acme_proxy.py"]
context = "acme/v1"

[[provider.acme.filter]]
action = "redirect"
protocol = ["tcp"]
remote = ["0.0.0.0/0", "::/0", "!10.0.0.0/8"]
ports = ["80", 443, "8000-8099"]
exe = ["/usr/bin/curl"]
user = ["www-data", 1000]
cgroup = "/user.slice"
original-exe = "/usr/bin/git"
original-user = 0
loopback = true
"#;

fn parse(text: &str) -> Result<Config, ConfigError> {
    Config::from_texts([(PathBuf::from("t.toml"), text.to_owned())])
}

fn wrong(text: &str) -> String {
    parse(text).unwrap_err().to_string()
}

/// A provider that is right but for `extra`.
fn with(extra: &str) -> String {
    format!("[provider.acme]\nrank = 1\nlisten = [\"127.0.0.1:1\"]\n{extra}")
}

/// A provider with one filter that is right but for `extra`.
fn filter(extra: &str) -> String {
    with(&format!("command = [\"x\"]\n[[provider.acme.filter]]\naction = \"redirect\"\n{extra}"))
}

#[test]
fn everything_at_once() {
    let config = parse(ACME).unwrap();
    assert_eq!(config.warnings, []);
    let acme = config.provider("acme").unwrap();
    assert_eq!(acme.rank.value, 200);
    assert_eq!(acme.rank.place.to_string(), "t.toml:3:8");
    assert_eq!(acme.on_unavailable, OnUnavailable::Bypass);
    assert_eq!(acme.command.as_deref().unwrap(), ["python3", "acme_proxy.py"]);
    assert_eq!(acme.context, b"acme/v1");
    assert_eq!(acme.listen_v6.unwrap().to_string(), "[::1]:15871");
    let filter = &acme.filters[0];
    assert_eq!(filter.place.line, 9);
    assert_eq!((filter.tcp, filter.udp, filter.loopback), (true, false, true));
    assert_eq!((filter.remote.len(), filter.remote_not.len()), (2, 1));
    assert_eq!(filter.ports, [80..=80, 443..=443, 8000..=8099]);
    let users = filter.users.as_ref().unwrap().iter().map(|user| user.value.to_string());
    assert_eq!(users.collect::<Vec<_>>(), ["www-data", "1000"]);
    assert_eq!(filter.cgroups.as_ref().unwrap()[0].value, "/user.slice");
    assert_eq!(filter.original_users.as_ref().unwrap()[0].value, User::Id(0));
}

#[test]
fn the_identity_comes_from_the_name() {
    let of = |text: &str| parse(text).unwrap().providers[0].guid.to_string();
    // Written down, since a change would give every provider another redirect handle.
    assert_eq!(of(ACME), "ef34ff3c-60da-5035-8ace-fdd309025839");
    assert_eq!(
        of(&ACME
            .replace("context =", "guid = \"6ba7b810-9dad-11d1-80b4-00c04fd430c8\"\ncontext =")),
        "6ba7b810-9dad-11d1-80b4-00c04fd430c8"
    );
}

#[test]
fn an_unknown_key_names_the_nearest() {
    assert_eq!(
        wrong(&with("lisen = [\"127.0.0.1:1\"]\ncommand = [\"x\"]")),
        "t.toml:4:1: unknown key \"lisen\"; did you mean \"listen\"?\n  4 | lisen = [\"127.0.0.1:1\"]\n    | ^^^^^"
    );
    assert!(
        wrong(&filter("exec = \"/bin/x\""))
            .contains("7:1: unknown key \"exec\"; did you mean \"exe\"?")
    );
    assert!(
        wrong("[providers.acme]\nrank = 1")
            .contains("1:2: unknown key \"providers\"; did you mean \"provider\"?")
    );
    assert!(
        wrong(&filter("zzz = 1"))
            .contains("unknown key \"zzz\"; known here are \"action\", \"protocol\",")
    );
    assert!(
        wrong(&with("members = { pid = 1 }"))
            .contains("unknown key \"pid\"; known here are \"cgroup\", \"exe\", \"user\"")
    );
    assert!(wrong(&with("command = [\"x\"]\nports = 80")).contains(
        "\"ports\" does not belong to [provider.NAME]; it belongs to [[provider.NAME.filter]]"
    ));
    assert!(
        wrong("rank = 1")
            .contains("\"rank\" stands outside any table; it belongs to [provider.NAME]")
    );
    assert!(wrong("[provider]\nrank = 1").contains("write [provider.NAME] above it"));
}

#[test]
fn every_problem_of_a_file_is_said_in_order() {
    let all = wrong(&filter(
        "ports = \"http\"\nremote = [\"10.0.0.1/8\", \"x\"]\nuser = true\nloopback = 1",
    ));
    let places: Vec<&str> = all.lines().filter(|l| l.starts_with("t.toml")).collect();
    assert_eq!(
        places,
        [
            "t.toml:7:9: \"http\" is no port or range of ports, such as \"80\" or \"8000-8099\"",
            "t.toml:8:11: \"10.0.0.1/8\" has bits set beyond its length; the prefix is \"10.0.0.0/8\", the single address \"10.0.0.1\"",
            "t.toml:8:25: \"x\" is no prefix, such as \"10.0.0.0/8\", \"2001:db8::/32\" or \"192.0.2.1\"",
            "t.toml:9:8: \"user\" takes a string or an integer; this is of type boolean",
            "t.toml:10:12: \"loopback\" takes true or false; this is of type integer",
        ]
    );
}

#[test]
fn broken_toml_is_shown() {
    let said = wrong("[provider.acme\nrank = 1\n[provider.beta]\nrank = ]\n");
    assert!(said.starts_with("t.toml:1:15: "), "{said}");
    assert!(said.contains("\n  1 | [provider.acme\n"), "{said}");
    assert!(said.contains("t.toml:4:8: "), "{said}");
    assert!(wrong("[provider.a]\nrank = 1\nrank = 2").contains("3:1: duplicate key"));
}

#[test]
fn required_and_excluded_keys() {
    assert!(wrong("[provider.acme]\nlisten = \"127.0.0.1:1\"\ncommand = [\"x\"]").starts_with(
        "t.toml:1:11: missing \"rank\" in [provider.NAME], which takes an integer: Providers of higher rank"
    ));
    assert!(wrong(&filter("").replace("action = \"redirect\"", "")).contains("missing \"action\""));
    assert!(
        wrong(&with(""))
            .contains("provider acme has neither \"command\" nor \"members\", so nobody could act")
    );
    assert!(wrong(&with("members = {}")).contains("\"members\" names nobody"));
    assert!(
        wrong(&with("command = [\"x\"]\nmembers = { user = 7 }"))
            .contains("has both \"command\" and \"members\"")
    );
    assert!(
        wrong("[provider.acme]\nrank = 1\ncommand = [\"x\"]")
            .contains("provider acme has no \"listen\"")
    );
    let only_blocks = "[provider.acme]\nrank = 1\n[[provider.acme.filter]]\naction = \"block\"\n";
    assert!(parse(only_blocks).is_ok(), "who redirects nothing needs no proxy");
}

#[test]
fn values_out_of_range() {
    for (extra, said) in [
        ("command = \"python3 x.py\"", "not a line for a shell: [\"python3\", \"x.py\"]"),
        ("command = [\"./x\"]", "t.toml:4:12: \"./x\" is a relative path"),
        ("command = []", "\"command\" is an empty list"),
        (
            "members = { exe = \"curl\" }",
            "\"curl\" is a relative path; an executable is named by its absolute path",
        ),
        ("members = { user = -1 }", "-1 is no user number"),
        ("guid = \"x\"", "\"x\" is no UUID"),
        (
            "guid = \"00000000-0000-0000-0000-000000000001\"",
            "the first half of a guid cannot be all zero",
        ),
        (
            "on-unavailable = \"bypas\"",
            "\"on-unavailable\" cannot be \"bypas\"; did you mean \"bypass\"?",
        ),
        ("on-unavailable = \"x\"", "it is one of \"block\", \"bypass\""),
        ("filter = 3", "write [[provider.acme.filter]]"),
    ] {
        let all = wrong(&with(extra));
        assert!(all.contains(said), "{extra}: {all}");
    }
    let long = format!("context = \"{}\"", "x".repeat(257));
    assert!(wrong(&with(&long)).contains("\"context\" has 257 bytes; at most 256 are possible"));
    assert!(
        wrong("[provider.acme]\nrank = 99999999999999999999")
            .contains("99999999999999999999 is too large")
    );
    assert!(wrong("[provider.\"a/b\"]\nrank = 1").contains("\"a/b\" is no provider name"));
    let two =
        "[provider.acme]\nrank = 1\ncommand = [\"x\"]\nlisten = [\"127.0.0.1:1\", \"127.0.0.2:1\"]";
    assert!(wrong(two).contains("t.toml:4:26: a second IPv4 listener"));
    assert!(wrong(&filter("exe = []")).contains("\"exe\" is an empty list"));
}

#[test]
fn equal_ranks_and_guids_name_both_places() {
    let beta = ACME.replace("acme", "beta");
    assert!(wrong(&format!("{ACME}{beta}")).contains(
        "t.toml:22:8: providers acme and beta both have rank 200; the other stands at t.toml:3:8. Give each its own"
    ));
    let guid = "guid = \"6ba7b810-9dad-11d1-80b4-00c04fd430c8\"\ncontext =";
    let both = format!("{ACME}{}", beta.replace("200", "100")).replace("context =", guid);
    assert!(wrong(&both).contains(
        "providers acme and beta have guids with the same first half; the other stands at"
    ));
}

#[test]
fn files_beside_the_main_one() {
    let dir = tempfile::tempdir().unwrap();
    let main = dir.path().join("hoptrail.toml");
    let missing = Config::load(&main).unwrap_err().to_string();
    assert!(missing.contains("hoptrail.toml: No such file"), "{missing}");
    assert!(missing.contains("name another with --config"), "{missing}");

    std::fs::create_dir(dir.path().join("conf.d")).unwrap();
    std::fs::write(dir.path().join("conf.d/20.toml"), ACME).unwrap();
    std::fs::write(
        dir.path().join("conf.d/10.toml"),
        ACME.replace("acme", "beta").replace("200", "300"),
    )
    .unwrap();
    std::fs::write(dir.path().join("conf.d/README"), "no configuration").unwrap();
    std::fs::write(dir.path().join("conf.d/.hidden.toml"), "no configuration").unwrap();
    let config = Config::load(&main).unwrap();
    let names: Vec<&str> = config.providers.iter().map(|p| p.name.as_str()).collect();
    assert_eq!(names, ["beta", "acme"], "by falling rank");
    assert_eq!(config.files.len(), 2);

    std::fs::write(&main, ACME.replace("200", "1")).unwrap();
    let twice = Config::load(&main).unwrap_err().to_string();
    assert!(twice.contains("conf.d/20.toml:2:11: provider acme is already defined at"), "{twice}");
    assert!(twice.contains("hoptrail.toml:2:11; a provider is written in one file"), "{twice}");
    std::fs::write(&main, b"\xff").unwrap();
    assert!(Config::load(&main).unwrap_err().to_string().contains("write it in UTF-8"));
}

#[test]
fn doubtful_configurations_warn() {
    let said = |text: &str| {
        parse(text).unwrap().warnings.iter().map(ToString::to_string).collect::<Vec<_>>()
    };
    assert_eq!(said(""), ["no provider is configured, so nothing is redirected or blocked"]);
    assert_eq!(
        said(&with("command = [\"x\"]")),
        ["t.toml:1:11: provider acme has no filters, so it does nothing"]
    );
    assert_eq!(
        said(&filter("")),
        [
            "t.toml:5:1: this filter also redirects IPv6 destinations, but provider acme listens on no IPv6 address: they are refused"
        ]
    );
    assert!(said(&filter("remote = \"10.0.0.0/8\"")).is_empty());
}

#[test]
fn no_text_makes_it_panic() {
    let say = |text: &str| match parse(text) {
        Ok(config) => config.providers.len().to_string(),
        Err(error) => error.to_string(),
    };
    let text = format!("{ACME}# ünïcode\n{}", ACME.replace("acme", "büta"));
    let others = ["", "\"", "'''", "[", "]", "\0", "\r", "\n", "ü", "{", "=", "-", "\u{feff}"];
    for (i, c) in text.char_indices() {
        say(&text[..i]);
        for other in others {
            say(&format!("{}{other}{}", &text[..i], &text[i + c.len_utf8()..]));
        }
    }
}

#[test]
fn the_largest_configuration() {
    let mut text = String::new();
    for i in 0..64 {
        let provider = ACME.replace("acme", &format!("p{i}")).replace("200", &i.to_string());
        text.push_str(&provider[..provider.find("[[").unwrap()]);
        for j in 0..64 {
            let filter = format!(
                "[[provider.p{i}.filter]]\naction = \"redirect\"\nremote = [\"10.{i}.{j}.0/24\", \"2001:db8:{i}:{j}::/64\"]\nexe = \"/bin/sh\"\nuser = {j}\n"
            );
            text.push_str(&filter);
        }
    }
    let config = parse(&text).unwrap();
    let resolution = resolve(&config, &BTreeMap::new()).unwrap();
    let compiled = compile(&resolution.resolved.policy, 1).unwrap();
    assert_eq!(compiled.providers.len(), 64);
    assert!(compiled.filter(4095).is_some() && compiled.filter(4096).is_none());
    let filter = "[[provider.p0.filter]]\naction = \"block\"\n";
    assert!(
        wrong(&format!("{text}{}", filter.replace("p0", "p63")))
            .contains("4097 filters in all; at most 4096 are possible")
    );
    let provider = ACME.replace("acme", "last").replace("200", "999");
    assert!(wrong(&format!("{text}{provider}")).contains("65 providers; at most 64 are possible"));
}

fn host(root: &Path) -> Host {
    Host { mounts: Mounts::read().unwrap(), cgroups: Ok(Mount::at(root)) }
}

#[test]
fn names_resolve_to_what_the_kernel_knows() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::create_dir(dir.path().join("user.slice")).unwrap();
    let exe = dir.path().join("tool");
    std::fs::write(&exe, "\x7fELF").unwrap();
    let text = ACME
        .replace("/usr/bin/curl", &exe.display().to_string())
        .replace("/usr/bin/git", "/nowhere/git")
        .replace("www-data", "root");
    let config = parse(&text).unwrap();
    let command = Cgroup { path: vec![1, 77] };
    let commands = BTreeMap::from([("acme".to_owned(), command.clone())]);
    let resolution = resolve_on(&host(dir.path()), &config, &commands).unwrap();
    let acme = &resolution.resolved.policy.providers[0];
    assert_eq!(acme.members.cgroups, [command]);
    assert!(acme.bypass);
    assert_eq!(resolution.resolved.contexts, [("acme".to_owned(), b"acme/v1".to_vec())]);
    let filter = &acme.filters[0];
    let ino = |path: &Path| std::fs::metadata(path).unwrap().ino();
    assert_eq!(filter.exes.as_ref().unwrap()[0].ino, ino(&exe));
    assert_eq!(filter.users.as_deref(), Some(&[0, 1000][..]));
    let cgroup = &filter.cgroups.as_ref().unwrap()[0];
    assert_eq!(cgroup.path, [ino(dir.path()), ino(&dir.path().join("user.slice"))]);
    assert_eq!(filter.original_exes.as_deref(), Some(&[][..]), "never holds");
    let warnings: Vec<String> = resolution.warnings.iter().map(ToString::to_string).collect();
    assert_eq!(warnings, ["t.toml:17:16: there is no /nowhere/git at present"]);
    for path in [exe.as_path(), Path::new("/nowhere/git"), &dir.path().join("user.slice")] {
        assert!(resolution.watch.iter().any(|watched| watched == path), "{}", path.display());
    }
    compile(&resolution.resolved.policy, 1).unwrap();
}

#[test]
fn what_cannot_be_resolved_is_said() {
    let dir = tempfile::tempdir().unwrap();
    let resolved =
        |text: &str, host: &Host| resolve_on(host, &parse(text).unwrap(), &BTreeMap::new());
    let unknown = resolved(&filter("user = [\"no-such-user\"]"), &host(dir.path())).unwrap_err();
    assert_eq!(
        unknown.to_string(),
        "t.toml:7:9: there is no user \"no-such-user\" on this machine; correct the name or write its number"
    );
    let none = Host { cgroups: Err("cgroup2 is not mounted".into()), ..host(dir.path()) };
    assert_eq!(
        resolved(&filter("cgroup = \"/a\""), &none).unwrap_err().to_string(),
        "t.toml:7:10: cgroup2 is not mounted"
    );
    assert!(resolved(&filter(""), &none).is_ok(), "cgroups are asked for only when named");
    let gone = resolved(&filter("cgroup = \"/a\""), &host(dir.path())).unwrap();
    assert_eq!(gone.warnings[0].to_string(), "t.toml:7:10: there is no cgroup /a at present");
    let script = dir.path().join("script");
    std::fs::write(&script, "#!/bin/sh\n").unwrap();
    let text = filter(&format!("exe = \"{}\"\noriginal-exe = \"{0}\"", script.display()));
    let warnings = resolved(&text, &host(dir.path())).unwrap().warnings;
    assert_eq!(warnings.len(), 1, "said once");
    assert!(warnings[0].message.contains("is a script: the executable of its process is /bin/sh"));
}
