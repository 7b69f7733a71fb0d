use ed25519_dalek::pkcs8::DecodePrivateKey;
use ed25519_dalek::{Signature, SigningKey, VerifyingKey};
use jsonwebtoken::crypto::{JwtSigner, JwtVerifier};
use jsonwebtoken::errors::{ErrorKind, Result, new_error};
use jsonwebtoken::signature::{Error, Signer, Verifier};
use jsonwebtoken::{Algorithm, AlgorithmFamily, DecodingKey, EncodingKey};

/// Ed25519 with a private key (DER, PKCS #8).
pub(super) struct EdDsaSigner(SigningKey);

impl EdDsaSigner {
    pub(super) fn new(key: &EncodingKey) -> Result<Self> {
        of_ed_family(key.family())?;
        let key = SigningKey::from_pkcs8_der(key.as_bytes());
        Ok(Self(key.map_err(|_| ErrorKind::InvalidEddsaKey)?))
    }
}

/// Ed25519 with a public key (its 32 bytes).
pub(super) struct EdDsaVerifier(VerifyingKey);

impl EdDsaVerifier {
    pub(super) fn new(key: &DecodingKey) -> Result<Self> {
        of_ed_family(key.family())?;
        let key = VerifyingKey::try_from(key.try_get_as_bytes()?);
        Ok(Self(key.map_err(|_| ErrorKind::InvalidEddsaKey)?))
    }
}

fn of_ed_family(family: AlgorithmFamily) -> Result<()> {
    if family == AlgorithmFamily::Ed {
        Ok(())
    } else {
        Err(new_error(ErrorKind::InvalidKeyFormat))
    }
}

impl Signer<Vec<u8>> for EdDsaSigner {
    fn try_sign(&self, message: &[u8]) -> std::result::Result<Vec<u8>, Error> {
        let signature: Signature = self.0.try_sign(message)?;
        Ok(signature.to_bytes().to_vec())
    }
}

impl Verifier<Vec<u8>> for EdDsaVerifier {
    fn verify(&self, message: &[u8], signature: &Vec<u8>) -> std::result::Result<(), Error> {
        // Strict: one message has one signature, and no weak key verifies anything.
        self.0
            .verify_strict(message, &Signature::from_slice(signature)?)
    }
}

impl JwtSigner for EdDsaSigner {
    fn algorithm(&self) -> Algorithm {
        Algorithm::EdDSA
    }
}

impl JwtVerifier for EdDsaVerifier {
    fn algorithm(&self) -> Algorithm {
        Algorithm::EdDSA
    }
}
