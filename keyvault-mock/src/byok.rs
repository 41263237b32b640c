//! byok
