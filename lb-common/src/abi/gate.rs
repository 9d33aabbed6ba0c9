//! How many first packets of flows come that nobody answers.

use super::abi;

abi! {
    /// The count of a protocol, shared by all CPUs: element of `GATES`. Index of the array: 0 TCP, 1 UDP. Of CPUs
    /// that end a second at the same moment one may take a few from another: it is a count of many.
    pub struct Gate: 12 {
        /// Jiffies when this second began.
        pub since: u32,
        /// First packets of this second whose flows are not answered (UDP), or whose clients have not gone
        /// on (TCP).
        pub level: u32,
        /// 1 if there were too many in the second before.
        pub pressed: u32,
    }
}

impl Gate {
    /// Whether there are more than `limit` of them in this second, or were in the one before; a limit of 0 is
    /// none. The second of pressure that follows a flood bridges the beginnings of its seconds, too.
    #[inline]
    pub const fn is_pressed(&mut self, now: u32, second: u32, limit: u32) -> bool {
        let elapsed = now.wrapping_sub(self.since);
        if elapsed >= second {
            self.pressed = (self.exceeds(limit) && elapsed < second.wrapping_mul(2)) as u32;
            self.level = 0;
            self.since = now;
        }
        self.pressed != 0 || self.exceeds(limit)
    }

    #[inline]
    const fn exceeds(&self, limit: u32) -> bool {
        limit != 0 && self.level > limit
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u32 = 100;

    /// Lets so many flows begin at a tick; whether the last one met pressure.
    fn begin(gate: &mut Gate, now: u32, count: u32) -> bool {
        (0..count).fold(false, |_, _| {
            let pressed = gate.is_pressed(now, SECOND, 10);
            gate.level += 1;
            pressed
        })
    }

    #[test]
    fn pressure_begins_above_the_limit_and_ends_a_second_after_the_flood() {
        let mut gate = Gate { since: u32::MAX - 20, ..Gate::default() };
        // Ticks wrap on the way.
        for (what, now, count, expected) in [
            ("as many as may be", u32::MAX - 10, 11, false),
            ("one more", u32::MAX - 10, 1, true),
            ("the next second begins under pressure", 90, 1, true),
            ("which is not its own", 150, 9, true),
            ("and ends with it", 195, 1, false),
            ("another flood", 200, 12, true),
            ("a long silence", 900, 1, false),
        ] {
            assert_eq!(begin(&mut gate, now, count), expected, "{what}");
        }
    }

    #[test]
    fn without_a_limit_there_is_none() {
        let mut gate = Gate { level: u32::MAX, pressed: 0, since: 5 };
        assert!(!gate.is_pressed(6, SECOND, 0));
        assert!(!gate.is_pressed(5 + SECOND, SECOND, 0));
    }
}
