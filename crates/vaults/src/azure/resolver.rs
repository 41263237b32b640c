//! Names to addresses.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use ureq::Error;
use ureq::config::Config;
use ureq::http::Uri;
use ureq::unversioned::resolver::{DefaultResolver, ResolvedSocketAddrs, Resolver};
use ureq::unversioned::transport::NextTimeout;

/// The system's resolver, but for names below `localhost`, which are this machine by RFC 6761 section 6.3 and which not
/// every system knows to be.
#[derive(Debug)]
pub(super) struct LocalhostResolver(DefaultResolver);

impl LocalhostResolver {
    pub(super) fn new() -> Self {
        Self(DefaultResolver::default())
    }
}

impl Resolver for LocalhostResolver {
    fn resolve(
        &self,
        uri: &Uri,
        config: &Config,
        timeout: NextTimeout,
    ) -> Result<ResolvedSocketAddrs, Error> {
        let host = uri.host().unwrap_or_default();
        if !host.ends_with(".localhost") {
            return self.0.resolve(uri, config, timeout);
        }
        let port = uri.port_u16().unwrap_or(443);
        let mut addresses = self.empty();
        for address in [
            IpAddr::V4(Ipv4Addr::LOCALHOST),
            IpAddr::V6(Ipv6Addr::LOCALHOST),
        ] {
            addresses.push(SocketAddr::new(address, port));
        }
        Ok(addresses)
    }
}
