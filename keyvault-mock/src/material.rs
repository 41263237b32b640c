//! Material.
