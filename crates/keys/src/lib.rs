//! Secrets, keyring, wrapping, and the seam to key vaults.
