//! Seals and opens one page or one value.
