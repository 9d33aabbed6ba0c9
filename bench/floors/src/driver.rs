//! Drivers: a test run with many repetitions hands every one of them the packet that the last one
//! left behind. A driver writes the frame anew, of the next flow, and then becomes the program
//! under test.

use crate::{
    frame::Frame,
    layout::{Plan, Variation, shape},
    maps::PLAN,
};

/// Writes the next frame of the plan.
#[inline]
pub fn next_frame(frame: Frame) -> Option<()> {
    let plan = PLAN.get_ptr_mut(0)?;
    // SAFETY: nobody else uses the element while a driver runs.
    let plan: &mut Plan = unsafe { &mut *plan };
    let counter = plan.counter;
    plan.counter = counter.wrapping_add(1);
    let flow = plan.flow(counter);
    if plan.alternate != 0 && counter & 1 != 0 {
        return write(frame, PLAN.get(1)?, flow);
    }
    write(frame, plan, flow)
}

/// Writes the frame of a flow.
///
/// `inline(always)`: both uses are hot, and a call costs as much as ten instructions.
#[inline(always)]
fn write(frame: Frame, plan: &Plan, flow: u32) -> Option<()> {
    let Variation { address, port, ident, filler } = Variation::of(flow);
    let lane = |value: u16, byte: u32| u64::from(value.to_be()) << (byte * 8);
    let [w0, w1, w2, w3, w4, w5, w6, w7] = plan.words;
    let (mut w0, mut w1, mut w2, mut w4, mut w5, mut w7) = (w0, w1, w2, w4, w5, w7);
    match plan.shape {
        shape::CLIENT_V4 => {
            w0 |= lane(ident, 4);
            w1 |= lane(address, 6);
            w2 |= lane(port, 4);
        }
        shape::REPLY_V4 => {
            w0 |= lane(ident, 4);
            w2 |= lane(address, 2) | lane(port, 6);
        }
        shape::CLIENT_V6 => {
            w2 |= lane(address, 6);
            w5 |= lane(port, 0);
        }
        shape::REPLY_V6 => {
            w4 |= lane(address, 6);
            w5 |= lane(port, 2);
        }
        shape::FIXED => {}
        _ => return None,
    }
    if plan.shape != shape::FIXED {
        w7 |= lane(filler, 6);
    }
    frame.store64::<0>(plan.start);
    frame.store32::<8>(u64::from(plan.start2));
    frame.store16::<12>(u64::from(plan.start3));
    frame.store64::<14>(w0);
    frame.store64::<22>(w1);
    frame.store64::<30>(w2);
    frame.store64::<38>(w3);
    frame.store64::<46>(w4);
    frame.store64::<54>(w5);
    frame.store64::<62>(w6);
    frame.store64::<70>(w7);
    Some(())
}
