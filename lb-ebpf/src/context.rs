//! The programs' contexts.

/// Reads a field of the context at its fixed offset. The compiler would otherwise keep the field's
/// address across the program, and the verifier refuses to read through a moved context pointer.
macro_rules! context_field {
    ($type:ty, $context:expr, $field:ident) => {{
        let value: usize;
        // SAFETY: the context is the kernel's for the time of the call.
        unsafe {
            core::arch::asm!("{0} = *(u32 *)({1} + {2})", out(reg) value, in(reg) $context,
                const core::mem::offset_of!($type, $field), options(pure, readonly, nostack));
        }
        value
    }};
}
pub(crate) use context_field;

/// The same address, of which the compiler knows nothing: it then derives every access from the
/// one pointer whose bounds were checked, as the verifier wants it.
#[inline]
pub fn opaque(mut address: usize) -> usize {
    // SAFETY: moves a register to itself. An empty body would leave line information without an
    // instruction, which the kernel refuses.
    unsafe {
        core::arch::asm!("{0} = {0}", inout(reg) address, options(nomem, nostack, preserves_flags))
    };
    address
}
