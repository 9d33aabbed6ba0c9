//! The layouts of the floor programs, from the very file that the kernel side is built of.

#[expect(unreachable_pub, reason = "the kernel side includes the same file")]
#[path = "../../floors/src/layout.rs"]
mod shared;

pub(crate) use shared::*;

macro_rules! pod {
    ($($type:ty),+) => {$(
        // SAFETY: the type is made of integers, in an order that leaves no gaps.
        unsafe impl aya::Pod for $type {}
    )+};
}

pod!(Plan, ListenKey, Service, Backend, Traffic);
