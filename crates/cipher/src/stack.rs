//! What calls leave behind on the stack.

/// Overwrites the `N` bytes below the caller's own part of the stack: what functions that it called before have left there.
///
/// Ciphers copy keys into registers and from there, where the compiler has too few of them, onto the stack; and a value that is moved leaves a
/// copy where it was. Those copies are not wiped by any destructor.
#[inline(never)]
pub(crate) fn wash<const N: usize>() {
    let mut bytes = [0u8; N];
    core::hint::black_box(&mut bytes);
}
