//! What one version of a key is, and whether it may be used.

use base64ct::{Base64UrlUnpadded, Encoding};
use cofferdam_keys::{
    CLOCK_SKEW_MAX_S, KeyState, KeyVersion, Reason, Revocation, UnixTime, VersionDescription,
    WRAPPED_ROOT_LEN, WrapAlgorithm,
};

use super::failure::Failure;
use super::wire::{Attributes, JsonWebKey, at};

/// How a key of this kind wraps, and how strong it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Kind {
    /// `RSA-3072`, `AES-256`.
    pub(super) name: String,
    pub(super) strength_bits: u16,
    pub(super) algorithm: WrapAlgorithm,
    /// The bytes of a wrapped root.
    pub(super) blob_len: usize,
}

impl Kind {
    /// RSA of 2048, 3072 or 4096 bits, or AES of 256, in software or in an HSM. The strengths of RSA are those of NIST
    /// SP 800-57 part 1 revision 5 table 2; 4096 bits lie between two of its rows, and have 152 by the formula of FIPS 140-2
    /// implementation guidance 7.5. An AES key does not show its length; the one algorithm that is asked of it works with
    /// 256 bits alone.
    ///
    /// # Errors
    ///
    /// [`Reason::PolicyMismatch`] for every other key.
    pub(super) fn of(key: &JsonWebKey) -> Result<Self, Failure> {
        let kind = |name: &str, strength_bits, algorithm, blob_len| {
            Ok(Self {
                name: name.to_owned(),
                strength_bits,
                algorithm,
                blob_len,
            })
        };
        let rsa = WrapAlgorithm::RsaOaep256;
        match (key.kty.as_str(), modulus_len(key)) {
            ("oct" | "oct-HSM", _) => kind(
                "AES-256",
                256,
                WrapAlgorithm::Aes256Kw,
                WRAPPED_ROOT_LEN + 8,
            ),
            ("RSA" | "RSA-HSM", Some(256)) => kind("RSA-2048", 112, rsa, 256),
            ("RSA" | "RSA-HSM", Some(384)) => kind("RSA-3072", 128, rsa, 384),
            ("RSA" | "RSA-HSM", Some(512)) => kind("RSA-4096", 152, rsa, 512),
            (kty, len) => {
                let size = len.map_or_else(String::new, |len| format!(" of {} bits", len * 8));
                let kty = super::classify::printable(kty, 16);
                Err(Failure::new(
                    Reason::PolicyMismatch,
                    format!(
                        "a key of type {kty}{size} wraps nothing here; use RSA or RSA-HSM of 2048, 3072 or 4096 bits, or oct-HSM of 256"
                    ),
                ))
            }
        }
    }
}

/// The vault's name for an algorithm.
pub(super) fn wire_name(algorithm: WrapAlgorithm) -> Option<&'static str> {
    match algorithm {
        WrapAlgorithm::Aes256Kw => Some("A256KW"),
        WrapAlgorithm::RsaOaep256 => Some("RSA-OAEP-256"),
        _ => None,
    }
}

/// Judges a version's dates by our own clock, because the vault unwraps under expired keys.
///
/// When the vault's clock says something very different, neither is believed, and dates do not count: a key is not taken
/// away because a clock is wrong.
///
/// # Errors
///
/// [`Revocation::Expired`], or [`Reason::PolicyMismatch`] for a version whose time has not come.
pub(super) fn check_dates(
    attributes: &Attributes,
    now: UnixTime,
    vault_time: Option<UnixTime>,
) -> Result<(), Failure> {
    if vault_time.is_some_and(|time| time.seconds.abs_diff(now.seconds) > CLOCK_SKEW_MAX_S) {
        return Ok(());
    }
    if let Some(end) = attributes.exp.filter(|&end| end <= now.seconds) {
        return Err(Failure::new(
            Reason::Revoked(Revocation::Expired),
            format!("its end was {}", at(end)),
        ));
    }
    if let Some(beginning) = attributes.nbf.filter(|&nbf| nbf > now.seconds) {
        return Err(Failure::new(
            Reason::PolicyMismatch,
            format!("it may not be used before {}", at(beginning)),
        ));
    }
    Ok(())
}

/// One version, as the vault lists it.
#[derive(Clone)]
pub(super) struct Listed {
    pub(super) version: KeyVersion,
    pub(super) attributes: Attributes,
}

impl Listed {
    pub(super) fn describe(&self) -> VersionDescription {
        VersionDescription {
            version: self.version.clone(),
            state: state(&self.attributes),
            created_at: self.attributes.created.map(at),
            not_before: self.attributes.nbf.map(at),
            expires_at: self.attributes.exp.map(at),
        }
    }
}

pub(super) fn state(attributes: &Attributes) -> KeyState {
    if attributes.enabled {
        KeyState::Enabled
    } else {
        KeyState::Disabled
    }
}

/// Bytes of an RSA modulus without leading zeros.
fn modulus_len(key: &JsonWebKey) -> Option<usize> {
    let modulus = Base64UrlUnpadded::decode_vec(key.n.as_deref()?.trim_end_matches('=')).ok()?;
    let zeros = modulus.iter().take_while(|&&byte| byte == 0).count();
    // A modulus that begins with zero bits is shorter than its bytes say.
    (*modulus.get(zeros)? >= 0x80).then_some(modulus.len() - zeros)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(kty: &str, modulus: Option<Vec<u8>>) -> JsonWebKey {
        JsonWebKey {
            kid: String::new(),
            kty: kty.to_owned(),
            key_ops: None,
            n: modulus.map(|bytes| Base64UrlUnpadded::encode_string(&bytes)),
        }
    }

    #[test]
    fn only_keys_that_wrap_well_are_accepted() {
        let bits = |key: &JsonWebKey| Kind::of(key).map(|kind| (kind.strength_bits, kind.blob_len));
        for (kty, len, expected) in [
            ("RSA", 256, (112, 256)),
            ("RSA-HSM", 384, (128, 384)),
            ("RSA", 512, (152, 512)),
        ] {
            assert_eq!(bits(&key(kty, Some(vec![0xff; len]))), Ok(expected));
            let led_by_zero = [vec![0], vec![0xff; len]].concat();
            assert_eq!(bits(&key(kty, Some(led_by_zero))), Ok(expected));
        }
        assert_eq!(bits(&key("oct-HSM", None)), Ok((256, 88)));
        for refused in [
            key("EC", None),
            key("EC-HSM", None),
            key("RSA", None),
            key("RSA", Some(vec![])),
            key("RSA", Some(vec![0xff; 128])),
            key("RSA", Some(vec![0x7f; 256])),
            key("", None),
        ] {
            let failure = Kind::of(&refused).unwrap_err();
            assert_eq!(failure.reason, Reason::PolicyMismatch);
        }
    }

    #[test]
    fn dates_are_judged_here_unless_the_clocks_disagree() {
        let now = at(10_000);
        let attributes = |nbf, exp| Attributes {
            nbf,
            exp,
            ..Attributes::default()
        };
        let reason = |attributes: &Attributes, vault_time: Option<u64>| {
            check_dates(attributes, now, vault_time.map(at))
                .err()
                .map(|failure| failure.reason)
        };
        let expired = Some(Reason::Revoked(Revocation::Expired));
        assert_eq!(reason(&attributes(None, None), None), None);
        assert_eq!(reason(&attributes(Some(10_000), Some(10_001)), None), None);
        assert_eq!(reason(&attributes(None, Some(10_000)), None), expired);
        assert_eq!(
            reason(&attributes(None, Some(10_000)), Some(10_300)),
            expired
        );
        assert_eq!(reason(&attributes(None, Some(10_000)), Some(10_301)), None);
        assert_eq!(reason(&attributes(None, Some(10_000)), Some(9_699)), None);
        assert_eq!(
            reason(&attributes(Some(10_001), None), Some(10_000)),
            Some(Reason::PolicyMismatch)
        );
    }
}
