//! The emulator's own certificate authority, and the certificates of its server.
//!
//! The authority is kept in the state directory, so that what trusts it goes on doing so. The server's certificate
//! is made anew at every start. The two are different certificates on purpose: rustls refuses an authority that
//! presents itself as a server, and the Azure SDK for Rust then retries in silence for more than 90 seconds.

use std::fs;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::Arc;

use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa,
    Issuer, KeyPair, KeyUsagePurpose, SanType, date_time_ymd,
};
use rustls::ServerConfig;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};

/// The certificates, ready for a server.
#[derive(Debug)]
pub struct Tls {
    ca_pem: String,
    config: Arc<ServerConfig>,
    expired_config: Arc<ServerConfig>,
}

impl Tls {
    /// Reads the authority from the directory, or makes one and keeps it there, and issues a certificate for
    /// `localhost`, `127.0.0.1`, `::1`, `*.vault.localhost` and each of the vaults by name. `now` is the system's
    /// time in seconds since the epoch, by which clients judge certificates, and not that of the virtual clock.
    ///
    /// # Errors
    /// Files that cannot be read or written or hold something else, and vault names that no certificate can hold,
    /// in words.
    pub fn open(directory: Option<&Path>, vault_names: &[String], now: i64) -> Result<Tls, String> {
        let authority = Authority::open(directory, now)?;
        let day = 86_400;
        // 397 days is the most that public clients accept of a server's certificate.
        let good = authority.leaf(vault_names, now - day, now + 397 * day)?;
        let expired = authority.leaf(vault_names, now - 30 * day, now - day)?;
        Ok(Tls {
            config: good.config()?,
            expired_config: expired.config()?,
            ca_pem: authority.certificate_pem,
        })
    }

    /// The authority's certificate, for clients to trust.
    pub fn ca_pem(&self) -> &str {
        &self.ca_pem
    }

    /// The server's configuration.
    pub fn config(&self) -> Arc<ServerConfig> {
        Arc::clone(&self.config)
    }

    /// The same with a certificate that ended yesterday, for fault tests.
    pub fn expired_config(&self) -> Arc<ServerConfig> {
        Arc::clone(&self.expired_config)
    }
}

/// A certificate authority of our own.
struct Authority {
    certificate_pem: String,
    issuer: Issuer<'static, KeyPair>,
}

impl Authority {
    fn open(directory: Option<&Path>, now: i64) -> Result<Authority, String> {
        let Some(directory) = directory else {
            return Authority::make(now).map(|(authority, _)| authority);
        };
        let (key_path, certificate_path) = (directory.join(KEY_FILE), directory.join(CA_FILE));
        if certificate_path.exists() {
            let read = |path: &Path| {
                fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()))
            };
            let certificate_pem = read(&certificate_path)?;
            let key = KeyPair::from_pem(&read(&key_path)?).map_err(|error| {
                format!(
                    "{} holds no private key ({error}); delete it and {CA_FILE}, and trust the new authority",
                    key_path.display()
                )
            })?;
            return Ok(Authority {
                certificate_pem,
                issuer: Issuer::new(ca_params(now)?, key),
            });
        }
        let (authority, key_pem) = Authority::make(now)?;
        // The certificate last: where it is, the key is whole.
        write_file(&key_path, &key_pem, 0o600)?;
        write_file(&certificate_path, &authority.certificate_pem, 0o644)?;
        Ok(authority)
    }

    /// A new authority, and its key in PEM.
    fn make(now: i64) -> Result<(Authority, String), String> {
        let params = ca_params(now)?;
        let key = KeyPair::generate().map_err(in_words)?;
        let certificate = params.self_signed(&key).map_err(in_words)?;
        let key_pem = key.serialize_pem();
        let authority = Authority {
            certificate_pem: certificate.pem(),
            issuer: Issuer::new(params, key),
        };
        Ok((authority, key_pem))
    }

    fn leaf(&self, vault_names: &[String], from: i64, until: i64) -> Result<Leaf, String> {
        let mut names: Vec<String> = ["localhost", "*.vault.localhost"]
            .map(String::from)
            .to_vec();
        names.extend(
            vault_names
                .iter()
                .map(|name| format!("{name}.vault.localhost")),
        );
        let mut params = CertificateParams::new(names)
            .map_err(|error| format!("a vault's name does not fit into a certificate ({error})"))?;
        for address in [
            std::net::IpAddr::from([127, 0, 0, 1]),
            std::net::IpAddr::from(std::net::Ipv6Addr::LOCALHOST),
        ] {
            params.subject_alt_names.push(SanType::IpAddress(address));
        }
        params.distinguished_name = named("keyvault-mock");
        params.is_ca = IsCa::ExplicitNoCa;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        params.use_authority_key_identifier_extension = true;
        let (year, month, on) = day(from)?;
        params.not_before = date_time_ymd(year, month, on);
        let (year, month, on) = day(until)?;
        params.not_after = date_time_ymd(year, month, on);
        let key = KeyPair::generate().map_err(in_words)?;
        let certificate = params.signed_by(&key, &self.issuer).map_err(in_words)?;
        Ok(Leaf {
            certificate: certificate.der().clone(),
            key: key.serialize_der(),
        })
    }
}

/// The server's certificate and its key in PKCS#8.
struct Leaf {
    certificate: CertificateDer<'static>,
    key: Vec<u8>,
}

impl Leaf {
    /// The authority is not sent along: a client that does not have it would not trust it.
    fn config(self) -> Result<Arc<ServerConfig>, String> {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(self.key));
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(in_words)?
            .with_no_client_auth()
            .with_single_cert(vec![self.certificate], key)
            .map_err(in_words)?;
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        // A session that is resumed brings no certificate, so a fault that swaps the certificate would go unseen.
        config.session_storage = Arc::new(rustls::server::NoServerSessionStorage {});
        config.send_tls13_tickets = 0;
        Ok(Arc::new(config))
    }
}

fn ca_params(now: i64) -> Result<CertificateParams, String> {
    let mut params = CertificateParams::default();
    params.distinguished_name = named("keyvault-mock certificate authority");
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    let (year, month, on) = day(now - 86_400)?;
    params.not_before = date_time_ymd(year, month, on);
    let (year, month, on) = day(now + 3650 * 86_400)?;
    params.not_after = date_time_ymd(year, month, on);
    Ok(params)
}

fn named(common_name: &str) -> DistinguishedName {
    let mut name = DistinguishedName::new();
    name.push(DnType::OrganizationName, "keyvault-mock");
    name.push(DnType::CommonName, common_name);
    name
}

/// The midnight before a time, as rcgen takes dates.
fn day(seconds: i64) -> Result<(i32, u8, u8), String> {
    let (year, month, day) = crate::clock::calendar_day(seconds);
    match i32::try_from(year) {
        Ok(year @ 1970..=9999) => Ok((year, month, day)),
        _ => Err(format!(
            "the clock shows the year {year}, which no certificate can hold"
        )),
    }
}

fn write_file(path: &Path, text: &str, mode: u32) -> Result<(), String> {
    fs::OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(mode)
        .open(path)
        .and_then(|mut file| {
            file.write_all(text.as_bytes())
                .and_then(|()| file.sync_all())
        })
        .map_err(|error| format!("{}: {error}", path.display()))
}

fn in_words(error: impl std::fmt::Display) -> String {
    format!("no certificate could be made: {error}")
}

/// The authority's certificate in the state directory, PEM.
pub const CA_FILE: &str = "ca.pem";

/// The authority's private key in the state directory, PEM.
const KEY_FILE: &str = "ca-key.pem";

#[cfg(test)]
mod tests {
    use super::*;
    use rustls::RootCertStore;
    use rustls::client::WebPkiServerVerifier;
    use rustls::client::danger::ServerCertVerifier;
    use rustls::pki_types::pem::PemObject;
    use rustls::pki_types::{ServerName, UnixTime};
    use std::time::Duration;

    const NOW: i64 = 1_700_000_000;

    /// What a client that trusts `ca_pem` makes of the certificate, at a time and under a name.
    fn judge(
        ca_pem: &str,
        leaf: &CertificateDer<'_>,
        name: &str,
        now: i64,
    ) -> Result<(), rustls::Error> {
        let mut roots = RootCertStore::empty();
        roots
            .add(CertificateDer::from_pem_slice(ca_pem.as_bytes()).unwrap())
            .unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider)
            .build()
            .unwrap();
        let now = UnixTime::since_unix_epoch(Duration::from_secs(now.unsigned_abs()));
        let name = ServerName::try_from(name.to_owned()).unwrap();
        verifier
            .verify_server_cert(leaf, &[], &name, &[], now)
            .map(|_| ())
    }

    /// Goal: rustls, the strictest of the clients, accepts the certificate for each of its names and no other.
    #[test]
    fn clients_accept_the_server_under_its_names() {
        let authority = Authority::open(None, NOW).unwrap();
        let leaf = authority
            .leaf(&["prod".into()], NOW - 1, NOW + 86_400)
            .unwrap();
        for name in [
            "localhost",
            "127.0.0.1",
            "::1",
            "prod.vault.localhost",
            "other.vault.localhost",
        ] {
            judge(&authority.certificate_pem, &leaf.certificate, name, NOW).unwrap();
        }
        for name in ["vault.azure.net", "127.0.0.2", "a.b.vault.localhost"] {
            assert!(judge(&authority.certificate_pem, &leaf.certificate, name, NOW).is_err());
        }
        let stranger = Authority::open(None, NOW).unwrap();
        assert!(
            judge(
                &stranger.certificate_pem,
                &leaf.certificate,
                "localhost",
                NOW
            )
            .is_err()
        );
    }

    /// Goal: the authority is one and the server's certificate is none, which rustls insists upon.
    #[test]
    fn the_authority_is_no_server() {
        let authority = Authority::open(None, NOW).unwrap();
        let ca = CertificateDer::from_pem_slice(authority.certificate_pem.as_bytes()).unwrap();
        assert!(judge(&authority.certificate_pem, &ca, "localhost", NOW).is_err());
    }

    /// Goal: the expired certificate is refused for its date alone.
    #[test]
    fn the_expired_certificate_has_expired() {
        let authority = Authority::open(None, NOW).unwrap();
        let day = 86_400;
        let leaf = authority.leaf(&[], NOW - 30 * day, NOW - day).unwrap();
        let pem = &authority.certificate_pem;
        let refusal = judge(pem, &leaf.certificate, "localhost", NOW).unwrap_err();
        assert!(format!("{refusal:?}").contains("Expired"), "{refusal:?}");
        judge(pem, &leaf.certificate, "localhost", NOW - 2 * day).unwrap();
    }

    /// Goal: what trusted the authority once trusts the server's next certificates, and nobody else can read the key.
    #[test]
    fn the_authority_survives_in_its_directory() {
        use std::os::unix::fs::PermissionsExt;
        let directory = tempfile::tempdir().unwrap();
        let first = Authority::open(Some(directory.path()), NOW).unwrap();
        let again = Authority::open(Some(directory.path()), NOW + 86_400).unwrap();
        let leaf = again.leaf(&[], NOW, NOW + 86_400).unwrap();
        judge(
            &first.certificate_pem,
            &leaf.certificate,
            "localhost",
            NOW + 1,
        )
        .unwrap();
        let mode = fs::metadata(directory.path().join(KEY_FILE))
            .unwrap()
            .permissions()
            .mode();
        assert_eq!(mode & 0o077, 0);
        let tls = Tls::open(Some(directory.path()), &[], NOW).unwrap();
        assert_eq!(tls.ca_pem(), first.certificate_pem);
        fs::write(directory.path().join(KEY_FILE), "no key").unwrap();
        let refusal = Tls::open(Some(directory.path()), &[], NOW).unwrap_err();
        assert!(refusal.contains(KEY_FILE), "{refusal}");
    }

    /// Goal: a name or a clock that no certificate can hold is an error and not a panic.
    #[test]
    fn what_fits_into_no_certificate_is_refused() {
        assert!(Tls::open(None, &["\u{e9}t\u{e9}".into()], NOW).is_err());
        assert!(Tls::open(None, &[], i64::MAX / 4).is_err());
    }
}
