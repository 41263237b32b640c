//! Signed notes (C2SP signed-note) with Ed25519, and the keys that sign and verify them.

use std::fmt;

use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::signature::{ED25519, Ed25519KeyPair, KeyPair, UnparsedPublicKey};

use crate::base64;
use crate::error::AuditError;
use crate::verify_error::VerifyError;

/// The public key of a log together with its name, the log's origin. Its text is what the file
/// `log.vkey` holds and what an auditor keeps: `name+key id+base64`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VerifierKey {
    name: String,
    public: [u8; 32],
}

impl VerifierKey {
    /// The key that belongs to a seed and an origin.
    ///
    /// # Errors
    /// [`AuditError::Origin`] when the origin is malformed.
    pub fn from_seed(origin: &str, seed: &[u8; 32]) -> Result<VerifierKey, AuditError> {
        Ok(Signer::new(origin, seed)?.key)
    }

    /// Reads the text of a key, with or without the newline at its end.
    ///
    /// # Errors
    /// [`VerifyError::Malformed`] when it is not an Ed25519 verifier key or its id is wrong.
    pub fn parse(text: &str) -> Result<VerifierKey, VerifyError> {
        let text = text.strip_suffix('\n').unwrap_or(text);
        let mut parts = text.splitn(3, '+');
        let mut next = || parts.next().ok_or(VerifyError::Malformed);
        let (name, _id, encoded) = (next()?, next()?, next()?);
        let bytes = base64::decode(encoded).ok_or(VerifyError::Malformed)?;
        let public = match bytes.split_first() {
            Some((&ED25519_TYPE, public)) => {
                public.try_into().map_err(|_| VerifyError::Malformed)?
            }
            _ => return Err(VerifyError::Malformed),
        };
        if !is_name(name) {
            return Err(VerifyError::Malformed);
        }
        let key = VerifierKey {
            name: name.to_owned(),
            public,
        };
        if key.to_string() != text {
            return Err(VerifyError::Malformed);
        }
        Ok(key)
    }

    /// The name of the key, which is the origin of its log.
    pub fn origin(&self) -> &str {
        &self.name
    }

    fn id(&self) -> [u8; 4] {
        let mut input = self.name.clone().into_bytes();
        input.extend_from_slice(&[b'\n', ED25519_TYPE]);
        input.extend_from_slice(&self.public);
        let hash = digest(&SHA256, &input);
        let mut id = [0; 4];
        id.copy_from_slice(&hash.as_ref()[..4]);
        id
    }

    /// The text of a note, once a signature of this key over it has been verified.
    pub(crate) fn open<'a>(&self, note: &'a [u8]) -> Result<&'a str, VerifyError> {
        let (text, signatures) = split(note)?;
        let mut signed = false;
        for line in signatures.lines() {
            let (name, encoded) = line
                .strip_prefix("— ")
                .and_then(|line| line.split_once(' '))
                .ok_or(VerifyError::Malformed)?;
            let bytes = base64::decode(encoded).ok_or(VerifyError::Malformed)?;
            let Some((id, signature)) = bytes.split_at_checked(4) else {
                return Err(VerifyError::Malformed);
            };
            if !is_name(name) || signature.is_empty() {
                return Err(VerifyError::Malformed);
            }
            if name != self.name || id != self.id() {
                continue;
            }
            UnparsedPublicKey::new(&ED25519, &self.public)
                .verify(text.as_bytes(), signature)
                .map_err(|_| VerifyError::Signature)?;
            signed = true;
        }
        if signed {
            Ok(text)
        } else {
            Err(VerifyError::Signature)
        }
    }
}

impl fmt::Display for VerifierKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut encoded = vec![ED25519_TYPE];
        encoded.extend_from_slice(&self.public);
        let id = u32::from_be_bytes(self.id());
        write!(f, "{}+{id:08x}+{}", self.name, base64::encode(&encoded))
    }
}

/// Signs notes. The private half never leaves it.
pub(crate) struct Signer {
    pair: Ed25519KeyPair,
    pub(crate) key: VerifierKey,
}

impl Signer {
    pub(crate) fn new(origin: &str, seed: &[u8; 32]) -> Result<Signer, AuditError> {
        if !is_name(origin) || origin.len() > ORIGIN_LEN_MAX || origin.contains("://") {
            return Err(AuditError::Origin);
        }
        let pair =
            Ed25519KeyPair::from_seed_unchecked(seed).expect("every 32 bytes are an Ed25519 seed");
        let mut public = [0; 32];
        public.copy_from_slice(pair.public_key().as_ref());
        let key = VerifierKey {
            name: origin.to_owned(),
            public,
        };
        Ok(Signer { pair, key })
    }

    /// A note of `text`, which ends in a newline.
    pub(crate) fn sign(&self, text: &str) -> Vec<u8> {
        let mut signature = self.key.id().to_vec();
        signature.extend_from_slice(self.pair.sign(text.as_bytes()).as_ref());
        format!(
            "{text}\n— {} {}\n",
            self.key.name,
            base64::encode(&signature)
        )
        .into_bytes()
    }
}

/// Text (with its last newline) and signature lines of a note.
fn split(note: &[u8]) -> Result<(&str, &str), VerifyError> {
    if note.len() > NOTE_LEN_MAX {
        return Err(VerifyError::Malformed);
    }
    let note = std::str::from_utf8(note).map_err(|_| VerifyError::Malformed)?;
    if note.chars().any(|c| c < ' ' && c != '\n') || !note.ends_with('\n') {
        return Err(VerifyError::Malformed);
    }
    let end = note.rfind("\n\n").ok_or(VerifyError::Malformed)?;
    let (text, signatures) = (&note[..=end], &note[end + 2..]);
    if signatures.is_empty() || signatures.lines().count() > SIGNATURE_COUNT_MAX {
        return Err(VerifyError::Malformed);
    }
    Ok((text, signatures))
}

fn is_name(name: &str) -> bool {
    !name.is_empty()
        && !name
            .chars()
            .any(|c| c.is_whitespace() || c.is_control() || c == '+')
}

/// Signature type of C2SP signed-note.
const ED25519_TYPE: u8 = 1;
const ORIGIN_LEN_MAX: usize = 255;
/// Room for the signatures of witnesses, post-quantum ones included.
const NOTE_LEN_MAX: usize = 256 * 1024;
const SIGNATURE_COUNT_MAX: usize = 32;

#[cfg(test)]
mod tests {
    use super::*;

    /// The example of Go's golang.org/x/mod/sumdb/note: key, text and the exact note.
    #[test]
    fn the_note_of_the_reference_implementation_is_signed_byte_for_byte() {
        let text = "If you think cryptography is the answer to your problem,\nthen you don't know what your problem is.\n";
        let note = format!(
            "{text}\n— PeterNeumann x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM=\n"
        );
        let seed = base64::decode("AYEKFALVFGyNhPJEMzD1QIDr+Y7hfZx09iUvxdXHKDFz").expect("base64");
        let seed: [u8; 32] = seed[1..].try_into().expect("32 bytes");
        let signer = Signer::new("PeterNeumann", &seed).expect("signer");
        assert_eq!(
            signer.key.to_string(),
            "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW"
        );
        assert_eq!(signer.sign(text), note.as_bytes());
        assert_eq!(signer.key.open(note.as_bytes()).expect("opens"), text);
    }

    /// The test vector of the C2SP signed-note specification.
    #[test]
    fn the_note_of_the_specification_opens() {
        let key = VerifierKey::parse(
            "example.com/foo+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k",
        )
        .expect("key");
        let note = "This is an example message.\n\n— example.com/foo Uw2QOkn8srV1yJGh2VYRlL1Tnagv1YEq6TfXppzi2ONncAlTgK7Ztg1ERYNZXsYjOBH3mFXmRKuwHjG1Yu72IneyaQM=\n";
        assert_eq!(
            key.open(note.as_bytes()).expect("opens"),
            "This is an example message.\n"
        );
    }

    #[test]
    fn notes_of_others_and_malformed_notes_are_refused() {
        let signer = Signer::new("a.example/log", &[1; 32]).expect("signer");
        let other = Signer::new("a.example/log", &[2; 32]).expect("signer");
        let note = signer.sign("text\n");
        assert!(matches!(other.key.open(&note), Err(VerifyError::Signature)));
        // A signature of someone else beside ours is none of our business.
        let mut both = note.clone();
        both.extend_from_slice(&other.sign("else\n")["else\n\n".len()..]);
        assert_eq!(signer.key.open(&both).expect("opens"), "text\n");
        for wrong in [
            "",
            "\n",
            "\n\n",
            "text\n",
            "text\n\n",
            "text\n\n— a b\n",
            "text\n\n- a.example/log AAAAAAA=\n",
            "te\txt\n\n— a.example/log AAAAAAA=\n",
            "text\n\n— a.example/log AAAAAAA=",
        ] {
            assert!(
                matches!(
                    signer.key.open(wrong.as_bytes()),
                    Err(VerifyError::Malformed)
                ),
                "{wrong:?}"
            );
        }
        for origin in ["", "a b", "a+b", "https://a", "a\nb", "a\u{a0}b"] {
            assert!(
                matches!(Signer::new(origin, &[1; 32]), Err(AuditError::Origin)),
                "{origin:?}"
            );
        }
    }
}
