//! Keys and values of the BPF maps, shared by the kernel and the user side.
//!
//! Every type is declared through [`abi!`], which fixes its layout (`repr(C)`), proves its size,
//! and proves by `bytemuck::Pod` that it has no padding: what one side writes, the other reads,
//! byte for byte. Whoever changes a layout changes [`ABI_VERSION`] with it.
//!
//! Addresses and ports stay in network byte order (as on the wire) inside these types.

pub mod address;
pub mod backend;
pub mod decap;
pub mod flow;
pub mod fragment;
pub mod gate;
pub mod rate;
pub mod service;
pub mod settings;
pub mod signals;
pub mod socket;
pub mod stats;
pub mod trace;

/// Layout version of everything in this module. It lives in the `SETTINGS` map and in the name of
/// the pin directory, so that a loader never reads the maps of another layout.
pub const ABI_VERSION: u32 = 5;

/// Declares a type that crosses the kernel boundary: `abi! { pub struct Name: SIZE { fields } }`.
macro_rules! abi {
    ($(#[$meta:meta])* pub struct $name:ident: $size:literal {
        $($(#[$field_meta:meta])* pub $field:ident: $type:ty,)*
    }) => {
        $(#[$meta])*
        #[repr(C)]
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, bytemuck::Pod, bytemuck::Zeroable)]
        pub struct $name { $($(#[$field_meta])* pub $field: $type,)* }

        const _: () = assert!(core::mem::size_of::<$name>() == $size);

        // SAFETY: `bytemuck::Pod` is derived above, which proves that any bit pattern is valid
        // and that no byte of the type is padding: all that aya's marker promises.
        #[cfg(feature = "aya")]
        unsafe impl aya::Pod for $name {}
    };
}
pub(crate) use abi;
