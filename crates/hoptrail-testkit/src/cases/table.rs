//! The cases. Addresses are of the documentation ranges, so that a kernel test can put them on an
//! interface of its own.

use super::{
    Case, EVERYONE, Expect, FilterSpec, MISSING, MembersBy, Outcome, ProviderSpec, To, TrailSpec,
};
use hoptrail_core::Protocol::{Tcp, Udp};
use hoptrail_core::image::Action;
use hoptrail_core::reason::Reason;

const fn filter(action: Action) -> FilterSpec {
    FilterSpec {
        action,
        protocol: None,
        remote: &[],
        ports: &[],
        exe: &[],
        user: &[],
        cgroup: &[],
        original_exe: &[],
        original_user: &[],
        loopback: false,
    }
}

const PERMIT: FilterSpec = filter(Action::Permit);
const BLOCK: FilterSpec = filter(Action::Block);
const REDIRECT: FilterSpec = filter(Action::Redirect);

const ACME: ProviderSpec = ProviderSpec {
    name: "acme",
    rank: 200,
    bypass: false,
    listens: (true, true),
    members: MembersBy::Cgroup,
    filters: &[REDIRECT],
};
const BETA: ProviderSpec =
    ProviderSpec { name: "beta", rank: 100, members: MembersBy::Exe, ..ACME };
const GAMMA: ProviderSpec =
    ProviderSpec { name: "gamma", rank: 50, members: MembersBy::User, ..ACME };

const WEB: To = To::Address("192.0.2.10:80");
const WEB6: To = To::Address("[2001:db8::10]:80");

const NOTHING: Expect =
    Expect { outcome: Outcome::Permit, reason: Reason::NoFilter, decided_by: None, also: &[] };

const fn permit(reason: Reason, by: &'static str) -> Expect {
    Expect { outcome: Outcome::Permit, reason, decided_by: Some((by, 0)), also: &[] }
}

const fn block(reason: Reason, by: &'static str) -> Expect {
    Expect { outcome: Outcome::Block, reason, decided_by: Some((by, 0)), also: &[] }
}

const fn redirect(to: &'static str) -> Expect {
    Expect {
        outcome: Outcome::RedirectTo(to),
        reason: Reason::FilterRedirect,
        decided_by: Some((to, 0)),
        also: &[],
    }
}

/// The application's own TCP connection to [`WEB`], everything listening.
const fn case(name: &'static str, providers: &'static [ProviderSpec], expect: Expect) -> Case {
    Case {
        name,
        providers,
        by: "app",
        trail: TrailSpec::Nothing,
        protocol: Tcp,
        to: WEB,
        down: &[],
        expect,
    }
}

/// The connection of the last provider's proxy in `trail`.
const fn onward(
    name: &'static str,
    providers: &'static [ProviderSpec],
    trail: &'static [&'static str],
    expect: Expect,
) -> Case {
    let by = trail[trail.len() - 1];
    Case { by, trail: TrailSpec::Declared(trail), ..case(name, providers, expect) }
}

/// A policy of one provider, acme, with these filters.
macro_rules! acme {
    ($($filter:expr),*) => { &[ProviderSpec { filters: &[$($filter),*], ..ACME }] };
}

/// Providers for a trail of 16 hops, and one more.
macro_rules! seventeen {
    ($($name:literal = $rank:literal),*) => {
        const SEVENTEEN: &[ProviderSpec] = &[$(ProviderSpec { name: $name, rank: $rank, ..ACME }),*];
        const SEVENTEEN_NAMES: &[&str] = &[$($name),*];
    };
}
seventeen!(
    "p01" = 17,
    "p02" = 16,
    "p03" = 15,
    "p04" = 14,
    "p05" = 13,
    "p06" = 12,
    "p07" = 11,
    "p08" = 10,
    "p09" = 9,
    "p10" = 8,
    "p11" = 7,
    "p12" = 6,
    "p13" = 5,
    "p14" = 4,
    "p15" = 3,
    "p16" = 2,
    "p17" = 1
);

/// The cases, each once.
pub const CASES: &[Case] = &[
    // Whether anything matches.
    case("no-provider-leaves-everything-alone", &[], NOTHING),
    case("a-redirect-goes-to-the-listener", &[ACME], redirect("acme")),
    Case { protocol: Udp, ..case("a-udp-flow-is-redirected", &[ACME], redirect("acme")) },
    Case { to: WEB6, ..case("an-ipv6-destination-is-redirected", &[ACME], redirect("acme")) },
    Case {
        to: To::Address("[::ffff:192.0.2.10]:80"),
        ..case(
            "a-mapped-address-is-the-ipv4-address",
            acme![FilterSpec { remote: &["192.0.2.0/24"], ..REDIRECT }],
            redirect("acme"),
        )
    },
    case("a-permit-filter-permits", acme![PERMIT], permit(Reason::FilterPermit, "acme")),
    case("a-block-filter-refuses", acme![BLOCK], block(Reason::FilterBlock, "acme")),
    case(
        "the-first-matching-filter-of-a-provider-decides",
        acme![FilterSpec { exe: &["other"], ..BLOCK }, PERMIT, REDIRECT],
        Expect { decided_by: Some(("acme", 1)), ..permit(Reason::FilterPermit, "acme") },
    ),
    // Each condition, holding and not holding.
    case(
        "a-tcp-filter-takes-tcp",
        acme![FilterSpec { protocol: Some(Tcp), ..BLOCK }],
        block(Reason::FilterBlock, "acme"),
    ),
    Case {
        protocol: Udp,
        ..case(
            "a-tcp-filter-leaves-udp",
            acme![FilterSpec { protocol: Some(Tcp), ..BLOCK }],
            NOTHING,
        )
    },
    case(
        "a-prefix-holds-inside",
        acme![FilterSpec { remote: &["198.51.100.0/24", "192.0.2.8/29"], ..REDIRECT }],
        redirect("acme"),
    ),
    case("a-prefix-ends", acme![FilterSpec { remote: &["192.0.2.0/29"], ..REDIRECT }], NOTHING),
    Case {
        to: WEB6,
        ..case(
            "an-ipv4-prefix-leaves-ipv6",
            acme![FilterSpec { remote: &["0.0.0.0/0"], ..BLOCK }],
            NOTHING,
        )
    },
    Case {
        to: WEB6,
        ..case(
            "an-ipv6-prefix-holds",
            acme![FilterSpec { remote: &["2001:db8::/64"], ..REDIRECT }],
            redirect("acme"),
        )
    },
    case(
        "an-exclusion-wins-over-its-prefix",
        acme![FilterSpec { remote: &["192.0.2.0/24", "!192.0.2.10/32"], ..REDIRECT }],
        NOTHING,
    ),
    Case {
        to: WEB6,
        ..case(
            "exclusions-alone-leave-everything-else",
            acme![FilterSpec { remote: &["!192.0.2.0/24"], ..REDIRECT }],
            redirect("acme"),
        )
    },
    case(
        "a-port-range-holds",
        acme![FilterSpec { ports: &[443..=443, 79..=80], ..REDIRECT }],
        redirect("acme"),
    ),
    case(
        "a-port-range-ends",
        acme![FilterSpec { ports: &[1..=79, 81..=65535], ..REDIRECT }],
        NOTHING,
    ),
    case(
        "an-executable-holds",
        acme![FilterSpec { exe: &["other", "app"], ..REDIRECT }],
        redirect("acme"),
    ),
    Case {
        by: "other",
        ..case("another-executable", acme![FilterSpec { exe: &["app"], ..REDIRECT }], NOTHING)
    },
    case("a-user-holds", acme![FilterSpec { user: &["app"], ..REDIRECT }], redirect("acme")),
    Case {
        by: "other",
        ..case("another-user", acme![FilterSpec { user: &["app"], ..REDIRECT }], NOTHING)
    },
    case("a-cgroup-holds", acme![FilterSpec { cgroup: &["app"], ..REDIRECT }], redirect("acme")),
    case(
        "a-cgroup-holds-for-what-is-below",
        acme![FilterSpec { cgroup: &[EVERYONE], ..REDIRECT }],
        redirect("acme"),
    ),
    Case {
        by: "other",
        ..case("another-cgroup", acme![FilterSpec { cgroup: &["app"], ..REDIRECT }], NOTHING)
    },
    case(
        "what-does-not-exist-never-holds",
        acme![FilterSpec { exe: &[MISSING], ..BLOCK }],
        NOTHING,
    ),
    // Loopback.
    Case { to: To::Address("127.0.0.1:80"), ..case("loopback-is-left-alone", &[ACME], NOTHING) },
    Case {
        to: To::Address("[::1]:80"),
        ..case("ipv6-loopback-is-left-alone", acme![BLOCK], NOTHING)
    },
    Case {
        to: To::Address("127.0.0.1:80"),
        ..case(
            "loopback-when-asked-for",
            acme![FilterSpec { loopback: true, ..REDIRECT }],
            redirect("acme"),
        )
    },
    Case {
        to: To::Address("0.0.0.0:80"),
        ..case(
            "the-unspecified-address-is-loopback",
            acme![FilterSpec { remote: &["127.0.0.1/32"], loopback: true, ..BLOCK }],
            block(Reason::FilterBlock, "acme"),
        )
    },
    Case {
        to: To::ListenerOf("acme"),
        ..case(
            "the-own-listener-is-reached-directly",
            acme![FilterSpec { loopback: true, ..REDIRECT }],
            permit(Reason::OwnListener, "acme"),
        )
    },
    Case {
        protocol: Udp,
        to: To::Address("224.0.0.251:5353"),
        ..case("multicast-is-not-redirected", &[ACME], permit(Reason::ManyReceivers, "acme"))
    },
    // Several providers on one leg.
    case(
        "the-higher-rank-redirects-first",
        &[BETA, ACME],
        Expect { also: &[("beta", Reason::AnotherRedirected)], ..redirect("acme") },
    ),
    case(
        "after-a-permit-the-next-provider-is-asked",
        &[ProviderSpec { filters: &[PERMIT], ..ACME }, BETA],
        redirect("beta"),
    ),
    case(
        "a-permit-does-not-overrule-a-block",
        &[ProviderSpec { filters: &[PERMIT], ..ACME }, ProviderSpec { filters: &[BLOCK], ..BETA }],
        block(Reason::FilterBlock, "beta"),
    ),
    case(
        "a-lower-block-refuses-what-a-higher-one-redirects",
        &[ACME, ProviderSpec { filters: &[BLOCK], ..BETA }],
        Expect { also: &[("acme", Reason::FilterRedirect)], ..block(Reason::FilterBlock, "beta") },
    ),
    // Listeners that are gone.
    Case {
        down: &["acme"],
        ..case("a-gone-listener-blocks", &[ACME], block(Reason::ListenerGoneBlock, "acme"))
    },
    Case {
        down: &["acme"],
        ..case(
            "a-gone-listener-is-bypassed",
            &[ProviderSpec { bypass: true, ..ACME }],
            permit(Reason::ListenerGoneBypass, "acme"),
        )
    },
    Case {
        down: &["acme"],
        ..case(
            "the-next-provider-redirects-when-one-is-bypassed",
            &[ProviderSpec { bypass: true, ..ACME }, BETA],
            redirect("beta"),
        )
    },
    Case {
        down: &["beta"],
        ..case(
            "a-gone-lower-listener-blocks-though-a-higher-one-redirects",
            &[ACME, BETA],
            block(Reason::ListenerGoneBlock, "beta"),
        )
    },
    Case {
        to: WEB6,
        ..case(
            "no-listener-for-the-family-is-a-gone-listener",
            &[ProviderSpec { listens: (true, false), ..ACME }],
            block(Reason::ListenerGoneBlock, "acme"),
        )
    },
    Case {
        down: &["beta"],
        ..onward(
            "a-bypass-is-told-even-after-another-provider",
            &[ACME, ProviderSpec { bypass: true, ..BETA }],
            &["acme"],
            permit(Reason::ListenerGoneBypass, "beta"),
        )
    },
    // Later legs with records.
    onward("who-redirected-permits", &[ACME], &["acme"], permit(Reason::AlreadyHandled, "acme")),
    Case {
        down: &["acme"],
        ..onward(
            "who-redirected-needs-no-listener",
            &[ACME],
            &["acme"],
            permit(Reason::AlreadyHandled, "acme"),
        )
    },
    onward(
        "the-lower-rank-redirects-next",
        &[ACME, BETA],
        &["acme"],
        Expect { also: &[("acme", Reason::AlreadyHandled)], ..redirect("beta") },
    ),
    onward("the-higher-rank-redirects-next", &[ACME, BETA], &["beta"], redirect("acme")),
    onward(
        "everybody-redirected-once",
        &[ACME, BETA],
        &["acme", "beta"],
        Expect {
            also: &[("beta", Reason::AlreadyHandled)],
            ..permit(Reason::AlreadyHandled, "acme")
        },
    ),
    onward(
        "a-block-refuses-a-later-leg",
        &[ACME, ProviderSpec { filters: &[FilterSpec { exe: &["acme"], ..BLOCK }], ..BETA }],
        &["acme"],
        block(Reason::FilterBlock, "beta"),
    ),
    onward(
        "the-original-executable-holds-on-a-later-leg",
        &[
            ACME,
            ProviderSpec { filters: &[FilterSpec { original_exe: &["app"], ..BLOCK }], ..BETA },
        ],
        &["acme"],
        block(Reason::FilterBlock, "beta"),
    ),
    onward(
        "the-original-user-holds-on-a-later-leg",
        &[
            ACME,
            ProviderSpec { filters: &[FilterSpec { original_user: &["app"], ..REDIRECT }], ..BETA },
        ],
        &["acme"],
        redirect("beta"),
    ),
    onward(
        "the-application-does-not-connect-on-a-later-leg",
        &[
            ACME,
            ProviderSpec {
                filters: &[FilterSpec { exe: &["app"], user: &["app"], ..BLOCK }],
                ..BETA
            },
        ],
        &["acme"],
        permit(Reason::AlreadyHandled, "acme"),
    ),
    case(
        "without-a-trail-the-connecting-process-is-the-original-one",
        acme![FilterSpec { original_exe: &["app"], original_user: &["app"], ..REDIRECT }],
        redirect("acme"),
    ),
    onward(
        "the-trail-has-all-its-hops",
        SEVENTEEN,
        SEVENTEEN_NAMES.split_at(16).0,
        block(Reason::TrailFull, "p17"),
    ),
    // Later legs without declared records.
    Case {
        trail: TrailSpec::Adopted(&["acme"]),
        ..onward(
            "adopted-records-count-like-declared-ones",
            &[ACME, BETA],
            &["acme"],
            redirect("beta"),
        )
    },
    Case {
        by: "acme",
        ..case("a-proxy-without-records-goes-on-to-lower-ranks", &[ACME, BETA], redirect("beta"))
    },
    Case {
        by: "beta",
        ..case(
            "a-proxy-without-records-is-not-sent-back-to-higher-ranks",
            &[ACME, BETA],
            Expect {
                also: &[("beta", Reason::AlreadyHandled)],
                ..permit(Reason::RankedBefore, "acme")
            },
        )
    },
    Case {
        by: "gamma",
        down: &["acme"],
        ..case(
            "a-gone-listener-blocks-also-before-a-proxy-without-records",
            &[ACME, GAMMA],
            block(Reason::ListenerGoneBlock, "acme"),
        )
    },
    Case {
        by: "beta",
        trail: TrailSpec::Unrecorded { by: "acme", then: &["beta"] },
        ..case(
            "records-that-begin-at-a-proxy-do-not-go-back-to-higher-ranks",
            &[ACME, BETA, GAMMA],
            Expect { also: &[("acme", Reason::RankedBefore)], ..redirect("gamma") },
        )
    },
];
