//! What the dataplane is told of times and addresses.

use std::time::Duration;

use lb_common::abi::{
    ABI_VERSION,
    address::Address,
    settings::{Settings, settings_flag},
};

use super::{reach, state::State};
use crate::model::Unserved;

impl State {
    pub(super) fn settings(&self) -> Settings {
        let timeouts = &self.config.timeouts;
        let settings = Settings {
            abi_version: ABI_VERSION,
            flags: match self.config.unserved {
                Unserved::Reset => settings_flag::RESETS,
                Unserved::Drop => 0,
            },
            tcp_new_ticks: self.ticks(timeouts.tcp_new),
            tcp_established_ticks: self.ticks(timeouts.tcp_established),
            tcp_half_closed_ticks: self.ticks(timeouts.tcp_half_closed),
            tcp_closed_ticks: self.ticks(timeouts.tcp_closed),
            udp_new_ticks: self.ticks(timeouts.udp_new),
            udp_established_ticks: self.ticks(timeouts.udp_established),
            hairpin_v4: Address::from_v4(self.config.hairpin.v4.octets()),
            hairpin_v6: Address::from_v6(self.config.hairpin.v6.octets()),
            ticks_per_second: self.ticks_per_second,
            // An entry then stays for four seconds at least, until another flow takes its room.
            source_port_first: self.config.source_ports.first(),
            source_ports: self.config.source_ports.width().into(),
            pressure: (self.config.limits.embryos / 4).max(1),
            ..Settings::default()
        };
        reach::with_tunnel(settings, &self.config.tunnel)
    }

    /// A duration in ticks, at least one; at most half of what 32 bits hold, so that an age can
    /// be told from a time to come.
    pub(super) fn ticks(&self, time: Duration) -> u32 {
        let ticks = time.as_millis() * u128::from(self.ticks_per_second) / 1000;
        u32::try_from(ticks).unwrap_or(u32::MAX).clamp(1, u32::MAX / 2)
    }
}
