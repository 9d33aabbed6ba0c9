//! Every way out of the pipeline has a name; one exhaustive match says what the kernel does.

use crate::maps::stage;

macro_rules! reasons {
    ($($(#[doc = $doc:literal])+ $variant:ident = $number:literal $name:literal $class:ident,)+) => {
        /// Why the pipeline ended. The number is the index of the counter in `REASONS`.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[repr(u8)]
        pub enum Reason { $($(#[doc = $doc])+ $variant = $number,)+ }

        impl Reason {
            /// All reasons, in the order of their numbers.
            pub const ALL: [Self; [$($number),+].len()] = [$(Self::$variant),+];
            /// How many reasons there are.
            pub const COUNT: usize = Self::ALL.len();

            /// The reason of a number.
            #[inline]
            #[must_use]
            pub const fn from_number(number: u32) -> Option<Self> {
                match number { $($number => Some(Self::$variant),)+ _ => None }
            }

            /// The name in `simulate`, `explain` and the metrics.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => $name),+ }
            }

            /// What the kernel does with such a packet.
            #[must_use]
            pub const fn class(self) -> Class {
                match self { $(Self::$variant => Class::$class),+ }
            }

            /// What it means, as said in the documentation.
            #[must_use]
            pub const fn meaning(self) -> &'static str {
                match self { $(Self::$variant => concat!($($doc),+)),+ }
            }
        }
    };
}

/// What happens to a packet, without where it goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// Rewritten and sent on its way.
    Forward,
    /// Left as it came, for the host's stack.
    Pass,
    /// Dropped.
    Drop,
}

reasons! {
    /// A client's packet went to its backend.
    Forwarded = 0 "forwarded" Forward,
    /// A backend's packet went back to its client, from the VIP.
    Replied = 1 "replied" Forward,
    /// Neither IPv4 nor IPv6.
    NotIp = 2 "not-ip" Pass,
    /// Neither TCP nor UDP.
    NotTransport = 3 "not-transport" Pass,
    /// ICMP or ICMPv6, and no error about a flow.
    Icmp = 4 "icmp" Pass,
    /// The headers end before the packet's own lengths say so, or contradict each other.
    Malformed = 5 "malformed" Pass,
    /// A fragment whose first one has not come, or of no flow.
    Fragment = 6 "fragment" Pass,
    /// More extension headers or tags than are looked through.
    TooManyHeaders = 7 "too-many-headers" Pass,
    /// No service listens on this port, no backend answers from it.
    NotService = 8 "not-service" Pass,
    /// The port is known, the address is not; or an unknown flow from a backend's port.
    NoListener = 9 "no-listener" Pass,
    /// TTL or hop limit at its end: the stack answers.
    HopLimit = 10 "hop-limit" Pass,
    /// A reply whose flow has ended; its entry is removed.
    StaleReply = 11 "stale-reply" Pass,
    /// The client's address is not in the service's allow list.
    SourceDenied = 12 "source-denied" Drop,
    /// The service has no backend that takes new flows.
    NoBackend = 13 "no-backend" Drop,
    /// The flow's backend is gone, and the flow cannot move.
    BackendGone = 14 "backend-gone" Drop,
    /// A flow could not be recorded; replies would not find their way.
    TableFull = 15 "table-full" Drop,
    /// A table lacks what another one names: an update in progress.
    TableFault = 16 "table-fault" Drop,
    /// The packet could not be written to.
    RewriteFailed = 17 "rewrite-failed" Drop,
    /// Not decided yet: the packet goes on in another stage. No packet ends with this.
    Undecided = 18 "undecided" Pass,
    /// An ICMP error about a flow went to who sent the packet.
    IcmpError = 19 "icmp-error" Forward,
    /// The service has more new flows than it takes (`limits: { new-flows }`).
    RateLimited = 20 "rate-limited" Drop,
    /// The client's address has more new flows than the service takes of one (`limits: { per-source }`).
    SourceLimited = 21 "source-limited" Drop,
    /// An echo request (ping) for a VIP was answered (`ping: answer`).
    Echo = 22 "echo" Forward,
    /// The next hop to the backend is not known, and the stack cannot send such a packet on.
    NoWay = 23 "no-way" Drop,
    /// Too large for the way to the backend once it is wrapped; its sender is told.
    TooBig = 24 "too-big" Drop,
    /// None of this host's ports towards the backend is free (`forward: full-nat`).
    NoPort = 25 "no-port" Drop,
    /// A fragment, an option, a tag, an ICMP error or a datagram without a checksum, of a flow between IPv6 and IPv4.
    NotTranslated = 26 "not-translated" Drop,
}

/// What the kernel is asked to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Action {
    /// To the host's stack.
    Pass,
    /// Nowhere.
    Drop,
    /// Out of the interface it came in by.
    Transmit,
    /// Out of another interface.
    Redirect,
    /// Into the network namespace behind a veth (TC); out of the veth (XDP).
    RedirectPeer,
    /// Not decided yet: on to [`track`](super::track::track). These are in the order of
    /// [`stage`](crate::maps::stage).
    Track,
    /// Not decided yet: on to [`open`](super::open::open).
    Open,
    /// Not decided yet: on to [`unusual`](super::unusual::unusual).
    Unusual,
    /// Not decided yet: on to [`icmp`](super::icmp::icmp).
    Icmp,
    /// Decided, but for the answer: on to [`refuse`](super::refuse::refuse).
    Refuse,
    /// Not decided yet: on to [`limit`](super::limit::limit).
    Limit,
    /// Not decided yet: on to [`ping`](super::ping::ping).
    Ping,
    /// Not decided yet: on to [`settle`](super::settle::settle).
    Settle,
    /// Decided, but for the tunnel: on to [`encap`](super::encap::encap).
    Encap,
    /// Decided, but for the answer: on to [`too_big`](super::too_big::too_big).
    TooBig,
    /// Decided, but for a port of this host: on to [`allocate`](super::allocate::allocate).
    Allocate,
    /// A flow of full NAT: on to [`track`](super::track::track) for those.
    FullNat,
    /// An error about such a flow: on to [`icmp`](super::icmp::icmp) for those.
    FullNatIcmp,
    /// Decided, but for the other family's header: on to [`translate`](super::translate::translate).
    Translate,
    /// Decided, but for the answer: on to [`unreachable`](super::unreachable::unreachable).
    Unreachable,
}

impl Action {
    /// The place of the stage that a packet goes on in.
    #[inline]
    #[must_use]
    pub const fn stage(self) -> u32 {
        self as u32 - Self::Track as u32
    }
}

const _: () = assert!(
    Action::Track.stage() == stage::TRACK
        && Action::Open.stage() == stage::OPEN
        && Action::Unusual.stage() == stage::UNUSUAL
        && Action::Icmp.stage() == stage::ICMP
        && Action::Refuse.stage() == stage::REFUSE
        && Action::Limit.stage() == stage::LIMIT
        && Action::Ping.stage() == stage::PING
        && Action::Settle.stage() == stage::SETTLE
        && Action::Encap.stage() == stage::ENCAP
        && Action::TooBig.stage() == stage::TOO_BIG
        && Action::Allocate.stage() == stage::ALLOCATE
        && Action::FullNat.stage() == stage::FULL_NAT
        && Action::FullNatIcmp.stage() == stage::FULL_NAT_ICMP
        && Action::Translate.stage() == stage::TRANSLATE
        && Action::Unreachable.stage() == stage::UNREACHABLE
);

/// The outcome of the pipeline for one packet.
///
/// A struct of plain fields, all of them always set: fields that only some variants of an enum
/// have would be read unset where the compiler joins paths, which the verifier refuses.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// Why.
    pub reason: Reason,
    /// What.
    pub action: Action,
    /// Always 0.
    pub zero: u16,
    /// The way out with [`Action::Redirect`] and [`Action::RedirectPeer`]; the flow's flags with
    /// [`Action::Encap`], the largest packet with [`Action::TooBig`].
    pub ifindex: u32,
    /// Service id, 0 if none.
    pub service: u32,
    /// Backend id, 0 if none.
    pub backend: u32,
}

impl Verdict {
    /// The verdict of a reason that ends without a way out.
    #[inline]
    #[must_use]
    pub const fn ended(reason: Reason) -> Self {
        let action = match reason.class() {
            Class::Forward | Class::Pass => Action::Pass,
            Class::Drop => Action::Drop,
        };
        Self { reason, action, zero: 0, ifindex: 0, service: 0, backend: 0 }
    }

    /// Ends for `reason`, which concerns a service and perhaps one of its backends.
    #[inline]
    #[must_use]
    pub const fn about(reason: Reason, service: u32, backend: u32) -> Self {
        Self { service, backend, ..Self::ended(reason) }
    }

    /// The same; who is served by nobody may have to be told.
    #[inline]
    #[must_use]
    pub const fn answered(self) -> Self {
        if matches!(self.reason, Reason::NoBackend | Reason::BackendGone) {
            return Self { action: Action::Refuse, ..self };
        }
        self
    }

    /// Goes on in another stage.
    #[inline]
    #[must_use]
    pub const fn goes_on(stage: Action) -> Self {
        Self { action: stage, ..Self::ended(Reason::Undecided) }
    }

    /// Whether this is the end of the packet's way through the pipeline.
    #[inline]
    #[must_use]
    pub const fn is_final(&self) -> bool {
        matches!(
            self.action,
            Action::Pass
                | Action::Drop
                | Action::Transmit
                | Action::Redirect
                | Action::RedirectPeer
        )
    }
}
