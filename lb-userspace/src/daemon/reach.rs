//! Whether a service's packets reach a backend in the way that its forward mode wants.

use lb_common::abi::backend::way;

use super::state::State;
use crate::model::{Endpoint, Forward, Service};

impl State {
    /// Why they do not.
    pub(super) fn out_of_reach(&self, service: &Service, endpoint: &Endpoint) -> Option<String> {
        if service.forward == Forward::Nat {
            return None;
        }
        let mode = service.forward.name();
        let Some(way) = self.ways().get(&endpoint.address) else {
            return Some(format!("forward: {mode} needs its MAC address; not looked for yet"));
        };
        if way.way == way::STACK {
            return Some(format!("forward: {mode} needs its MAC address; {}", way.why));
        }
        if !way.on_link {
            let link = &way.why;
            let needs = format!("forward: {mode} needs it on a link of this host");
            return Some(format!("{needs}, and it is behind a router ({link})"));
        }
        None
    }
}
