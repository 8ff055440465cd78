//! Why a connect was decided as it was: each reason once, with its code, name and sentence.

macro_rules! reasons {
    ($($(#[$doc:meta])* $name:ident = $code:literal, $id:literal, $text:literal;)*) => {
        /// Why. The numbers cross the kernel boundary in events and never change meaning.
        #[derive(Clone, Copy, PartialEq, Eq, Debug)]
        #[repr(u8)]
        pub enum Reason { $($(#[$doc])* #[doc = $text] $name = $code,)* }

        impl Reason {
            /// Every reason, in the order of their codes.
            pub const ALL: &[Self] = &[$(Self::$name,)*];

            /// From its code.
            #[must_use]
            pub const fn from_code(code: u8) -> Option<Self> {
                match code { $($code => Some(Self::$name),)* _ => None }
            }

            /// Stable identifier for machines.
            #[must_use]
            pub const fn id(self) -> &'static str {
                match self { $(Self::$name => $id,)* }
            }

            /// A sentence for people.
            #[must_use]
            pub const fn text(self) -> &'static str {
                match self { $(Self::$name => $text,)* }
            }
        }
    };
}

reasons! {
    NoFilter = 0, "no-filter", "no filter matches";
    FilterPermit = 1, "filter-permit", "a permit filter matches";
    FilterBlock = 2, "filter-block", "a block filter matches";
    FilterRedirect = 3, "filter-redirect", "a redirect filter matches";
    AlreadyHandled = 4, "already-handled", "the provider has already handled this connection";
    RankedBefore = 5, "ranked-before",
        "the trail has lost its records on the way, and from there on only providers of lower rank may redirect";
    AnotherRedirected = 6, "another-redirected",
        "a provider of higher rank redirects it first; this one is asked again on the next leg";
    ListenerGoneBlock = 7, "listener-gone-block",
        "nothing listens at the provider's address and it says on-unavailable = \"block\"";
    ListenerGoneBypass = 8, "listener-gone-bypass",
        "nothing listens at the provider's address and it says on-unavailable = \"bypass\"";
    TrailFull = 9, "trail-full", "the trail already has 16 hops";
    ManyReceivers = 10, "many-receivers", "multicast and broadcast cannot be redirected";
    OwnListener = 11, "own-listener", "the destination is the provider's own listener";
    TableFull = 12, "table-full", "the kernel's table of open redirected connections is full";
    NoPolicy = 13, "no-policy", "the engine holds no policy";
    NoPort = 14, "no-port", "no free local port for a connected UDP socket";
}

#[cfg(test)]
mod tests {
    use super::Reason;

    #[test]
    fn codes_are_their_positions() {
        for (i, reason) in Reason::ALL.iter().enumerate() {
            assert_eq!(*reason as usize, i);
            assert_eq!(Reason::from_code(i as u8), Some(*reason));
        }
    }
}
