//! The keyvault-mock command.

fn main() {}
