//! What Weir's kernel side and user side agree on, and the whole packet logic.
//!
//! The crate has no allocator, no floats, no system calls: the same code runs inside the kernel
//! (`lb-ebpf`), in plain `cargo test`, and behind `weir simulate` and `weir explain`.
//! Dependencies run one way: `wire <- packet <- pipeline -> tables`, `abi` under all of them.
#![cfg_attr(not(any(test, feature = "memory")), no_std)]
#![cfg_attr(target_arch = "bpf", feature(asm_experimental_arch))]
#![deny(clippy::float_arithmetic, clippy::indexing_slicing)]
#![expect(
    clippy::cast_possible_truncation,
    reason = "headers and tables have fixed widths; a checked conversion is a branch for each packet"
)]

pub mod abi;
pub mod decap;
pub mod maps;
pub mod packet;
pub mod pipeline;
pub mod tables;
pub mod wire;
