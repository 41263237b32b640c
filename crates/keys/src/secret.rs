//! Keys in memory.

use zeroize::Zeroize;

use crate::arena::{CELL_LEN, Cell};
use crate::{KeysError, random};

/// `N` secret bytes, at most 128.
///
/// The bytes live outside the stack, in memory that is not swapped, not dumped and not inherited by a
/// forked child, as far as the system grants it; they are zeroed on drop. There is no `Debug`, no
/// `Clone` and no comparison: use the bytes where they are needed, and nowhere else.
///
/// ```
/// # fn main() -> Result<(), cofferdam_keys::KeysError> {
/// let secret = cofferdam_keys::Secret::<32>::random()?;
/// assert_eq!(secret.expose().len(), 32);
/// # Ok(())
/// # }
/// ```
///
/// ```compile_fail
/// let secret = cofferdam_keys::Secret::<32>::random().unwrap();
/// println!("{secret:?}");
/// ```
pub struct Secret<const N: usize>(Cell);

impl<const N: usize> Secret<N> {
    const FITS: () = assert!(N <= CELL_LEN);

    /// `N` random bytes.
    ///
    /// # Errors
    ///
    /// [`KeysError::Random`] when the cryptographic module gives no random bytes.
    pub fn random() -> Result<Self, KeysError> {
        Self::try_fill_with(random::fill)
    }

    /// A secret that takes over the given bytes and leaves zeros in their place.
    pub fn take(bytes: &mut [u8; N]) -> Self {
        let secret = Self::fill_with(|place| place.copy_from_slice(bytes));
        bytes.zeroize();
        secret
    }

    /// A secret whose bytes are written in place, so that no copy of them is left elsewhere.
    pub fn fill_with(write: impl FnOnce(&mut [u8])) -> Self {
        let Ok(secret) = Self::try_fill_with::<std::convert::Infallible>(|place| {
            write(place);
            Ok(())
        });
        secret
    }

    /// The same for a writer that may fail.
    ///
    /// # Errors
    ///
    /// Whatever the writer returns.
    pub fn try_fill_with<E>(write: impl FnOnce(&mut [u8]) -> Result<(), E>) -> Result<Self, E> {
        let () = Self::FITS;
        let mut cell = Cell::new();
        let (place, _) = cell.bytes_mut().split_at_mut(N);
        write(place)?;
        Ok(Self(cell))
    }

    /// The bytes.
    ///
    /// # Panics
    ///
    /// In a forked child, where the system has wiped the bytes: whoever may run in one asks
    /// [`Secret::is_wiped`] first.
    pub fn expose(&self) -> &[u8; N] {
        assert!(
            !self.is_wiped(),
            "a secret of the parent process was used in a forked child"
        );
        self.0.bytes().first_chunk().expect("FITS holds")
    }

    /// A copy, for an owner of its own. It is not `Clone`, so that every copy is a decision.
    pub(crate) fn duplicate(&self) -> Self {
        Self::fill_with(|place| place.copy_from_slice(self.expose()))
    }

    /// Whether this process is a fork of the one that made the secret, and the bytes are gone.
    pub fn is_wiped(&self) -> bool {
        self.0.is_wiped()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn taking_bytes_leaves_zeros_behind() {
        let mut bytes = [7; 32];
        let secret = Secret::take(&mut bytes);
        assert_eq!((bytes, *secret.expose()), ([0; 32], [7; 32]));
    }

    #[test]
    fn many_secrets_keep_their_own_bytes() {
        // More than one chunk of the arena holds, with every other one dropped and reused.
        let mut secrets: Vec<_> = (0..1000u32).map(numbered).collect();
        let mut even = false;
        secrets.retain(|_| {
            even = !even;
            even
        });
        secrets.extend((1000..1600).map(numbered));
        let expected = (0..1000u32).step_by(2).chain(1000..1600);
        for (secret, number) in secrets.iter().zip(expected) {
            assert_eq!(secret.expose()[28..], number.to_le_bytes());
        }
    }

    #[test]
    fn a_failed_writer_leaves_no_secret() {
        assert!(Secret::<16>::try_fill_with(|_| Err("no")).is_err());
    }

    fn numbered(number: u32) -> Secret<32> {
        Secret::fill_with(|place| place[28..].copy_from_slice(&number.to_le_bytes()))
    }
}
