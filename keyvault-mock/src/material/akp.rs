//! ML-DSA keys (FIPS 204), `AKP` in JSON web keys: a preview of the service, from api-version 2026-05-01-preview on.

use aws_lc_rs::signature::UnparsedPublicKey;
use aws_lc_rs::signature::{
    self, KeyPair as _, PqdsaKeyPair, PqdsaSigningAlgorithm, PqdsaVerificationAlgorithm,
};
use zeroize::Zeroizing;

use super::{incompatible, module_failed};
use crate::error::Refusal;

/// A set of parameters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Parameters {
    /// ML-DSA-44.
    MlDsa44,
    /// ML-DSA-65.
    MlDsa65,
    /// ML-DSA-87.
    MlDsa87,
}

impl Parameters {
    /// Every set.
    pub const ALL: [Parameters; 3] = [
        Parameters::MlDsa44,
        Parameters::MlDsa65,
        Parameters::MlDsa87,
    ];

    /// The set of that name.
    ///
    /// # Errors
    /// Another name.
    pub fn named(name: &str) -> Result<Parameters, Refusal> {
        Self::ALL
            .into_iter()
            .find(|parameters| parameters.name() == name)
            .ok_or_else(|| Refusal::bad_property("alg"))
    }

    /// The name, which is also the algorithm's.
    pub fn name(self) -> &'static str {
        match self {
            Parameters::MlDsa44 => "ML-DSA-44",
            Parameters::MlDsa65 => "ML-DSA-65",
            Parameters::MlDsa87 => "ML-DSA-87",
        }
    }

    fn signing(self) -> &'static PqdsaSigningAlgorithm {
        match self {
            Parameters::MlDsa44 => &signature::ML_DSA_44_SIGNING,
            Parameters::MlDsa65 => &signature::ML_DSA_65_SIGNING,
            Parameters::MlDsa87 => &signature::ML_DSA_87_SIGNING,
        }
    }

    fn verification(self) -> &'static PqdsaVerificationAlgorithm {
        match self {
            Parameters::MlDsa44 => &signature::ML_DSA_44,
            Parameters::MlDsa65 => &signature::ML_DSA_65,
            Parameters::MlDsa87 => &signature::ML_DSA_87,
        }
    }
}

/// An ML-DSA key pair.
pub struct AkpKey {
    parameters: Parameters,
    pair: PqdsaKeyPair,
}

impl AkpKey {
    /// A new key.
    ///
    /// # Errors
    /// The module's failure.
    pub fn generate(parameters: Parameters) -> Result<AkpKey, Refusal> {
        let pair = PqdsaKeyPair::generate(parameters.signing()).map_err(|_| module_failed())?;
        Ok(AkpKey { parameters, pair })
    }

    /// The key in a PKCS#8 document.
    ///
    /// # Errors
    /// No ML-DSA key.
    pub fn from_pkcs8(document: &[u8]) -> Result<AkpKey, Refusal> {
        Parameters::ALL
            .into_iter()
            .find_map(|parameters| {
                let pair = PqdsaKeyPair::from_pkcs8(parameters.signing(), document).ok()?;
                Some(AkpKey { parameters, pair })
            })
            .ok_or_else(|| Refusal::bad_parameter("The document holds no ML-DSA key."))
    }

    /// The parameters.
    pub fn parameters(&self) -> Parameters {
        self.parameters
    }

    /// The public key in FIPS 204's encoding.
    pub fn public(&self) -> Vec<u8> {
        self.pair.public_key().as_ref().to_vec()
    }

    /// Signs `message` itself: ML-DSA digests inside.
    pub(super) fn sign(&self, algorithm: &str, message: &[u8]) -> Result<Vec<u8>, Refusal> {
        self.accepts(algorithm)?;
        let mut signature = vec![0; self.parameters.signing().signature_len()];
        let length = self
            .pair
            .sign(message, &mut signature)
            .map_err(|_| module_failed())?;
        signature.truncate(length);
        Ok(signature)
    }

    pub(super) fn verify(
        &self,
        algorithm: &str,
        message: &[u8],
        signature: &[u8],
    ) -> Result<bool, Refusal> {
        self.accepts(algorithm)?;
        let key = UnparsedPublicKey::new(self.parameters.verification(), self.pair.public_key());
        Ok(key.verify(message, signature).is_ok())
    }

    pub(super) fn expose(&self) -> Result<Zeroizing<Vec<u8>>, Refusal> {
        let document = self.pair.to_pkcs8v1().map_err(|_| module_failed())?;
        Ok(Zeroizing::new(document.as_ref().to_vec()))
    }

    fn accepts(&self, algorithm: &str) -> Result<(), Refusal> {
        if algorithm == self.parameters.name() {
            return Ok(());
        }
        Err(incompatible(algorithm, "AKP"))
    }
}
