//! The admin API. (server.rs calls: `route(emulator: &Emulator, request: &Request) -> Reply` on its plain HTTP port.)
