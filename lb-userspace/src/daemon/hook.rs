//! Which hook the uplinks get.

use lb_common::abi::backend::way;

use crate::{
    dataplane::{Hook, links::Resolved},
    model::Attach,
};

/// The hook that suits the ways to the backends: TC keeps GRO and TSO for containers of this host;
/// XDP is the shorter way to backends elsewhere. Those that do not answer yet have no say.
pub(super) fn suitable<'a>(attach: Attach, ways: impl Iterator<Item = &'a Resolved>) -> Hook {
    let mut known = ways.filter(|resolved| !resolved.unresolved).peekable();
    let elsewhere = known.peek().is_some() && known.all(|known| known.way == way::LINK);
    match attach {
        Attach::Xdp => Hook::Xdp,
        Attach::XdpGeneric => Hook::XdpGeneric,
        Attach::Auto if elsewhere => Hook::Xdp,
        Attach::Auto | Attach::Tc => Hook::Tc,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn to(way: u8, unresolved: bool) -> Resolved {
        let (dst_mac, src_mac) = Default::default();
        Resolved {
            way,
            ifindex: 0,
            dst_mac,
            src_mac,
            on_link: true,
            mtu: 1500,
            source: None,
            veth: None,
            of_host: false,
            unresolved,
            why: String::new(),
        }
    }

    #[test]
    fn machines_elsewhere_get_xdp_and_those_that_do_not_answer_have_no_say() {
        let (link, peer, stack) =
            (to(way::LINK, false), to(way::PEER, false), to(way::STACK, false));
        let silent = to(way::STACK, true);
        let rows: [(&[&Resolved], Hook); 8] = [
            (&[&link], Hook::Xdp),
            (&[&link, &link], Hook::Xdp),
            (&[&link, &silent], Hook::Xdp),
            (&[&link, &peer], Hook::Tc),
            (&[&link, &stack], Hook::Tc),
            (&[&peer], Hook::Tc),
            (&[&silent], Hook::Tc),
            (&[], Hook::Tc),
        ];
        for (ways, hook) in rows {
            assert_eq!(suitable(Attach::Auto, ways.iter().copied()), hook, "{ways:?}");
            assert_eq!(suitable(Attach::Tc, ways.iter().copied()), Hook::Tc);
            assert_eq!(suitable(Attach::Xdp, ways.iter().copied()), Hook::Xdp);
            assert_eq!(suitable(Attach::XdpGeneric, ways.iter().copied()), Hook::XdpGeneric);
        }
    }
}
