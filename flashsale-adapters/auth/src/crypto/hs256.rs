use hmac::{Hmac, KeyInit, Mac};
use jsonwebtoken::crypto::{JwtSigner, JwtVerifier};
use jsonwebtoken::errors::{ErrorKind, Result, new_error};
use jsonwebtoken::signature::{Error, Signer, Verifier};
use jsonwebtoken::{Algorithm, AlgorithmFamily, DecodingKey, EncodingKey};
use sha2::Sha256;

/// HMAC with SHA-256.
pub(super) struct Hs256(Hmac<Sha256>);

impl Hs256 {
    pub(super) fn for_signing(key: &EncodingKey) -> Result<Self> {
        Self::new(key.family(), key.as_bytes())
    }

    pub(super) fn for_verifying(key: &DecodingKey) -> Result<Self> {
        Self::new(key.family(), key.try_get_as_bytes()?)
    }

    /// Takes secrets only: the bytes of a public key are known to everyone.
    fn new(family: AlgorithmFamily, secret: &[u8]) -> Result<Self> {
        if family != AlgorithmFamily::Hmac {
            return Err(new_error(ErrorKind::InvalidKeyFormat));
        }
        let mac = Hmac::new_from_slice(secret).map_err(|_| ErrorKind::InvalidKeyFormat)?;
        Ok(Self(mac))
    }

    fn over(&self, message: &[u8]) -> Hmac<Sha256> {
        self.0.clone().chain_update(message)
    }
}

impl Signer<Vec<u8>> for Hs256 {
    fn try_sign(&self, message: &[u8]) -> std::result::Result<Vec<u8>, Error> {
        Ok(self.over(message).finalize().into_bytes().to_vec())
    }
}

impl Verifier<Vec<u8>> for Hs256 {
    fn verify(&self, message: &[u8], signature: &Vec<u8>) -> std::result::Result<(), Error> {
        // Takes the same time wherever the first wrong byte is.
        self.over(message)
            .verify_slice(signature)
            .map_err(|_| Error::new())
    }
}

impl JwtSigner for Hs256 {
    fn algorithm(&self) -> Algorithm {
        Algorithm::HS256
    }
}

impl JwtVerifier for Hs256 {
    fn algorithm(&self) -> Algorithm {
        Algorithm::HS256
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 4231, test case 2.
    #[test]
    fn it_is_the_hmac_of_the_standard() {
        let mac = Hs256::new(AlgorithmFamily::Hmac, b"Jefe").unwrap();
        let signature = mac.sign(b"what do ya want for nothing?");
        let hex: String = signature.iter().map(|b| format!("{b:02x}")).collect();
        assert_eq!(
            hex,
            "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"
        );
    }

    #[test]
    fn only_the_whole_signature_verifies() {
        let mac = Hs256::new(AlgorithmFamily::Hmac, &[1; 32]).unwrap();
        let signature = mac.sign(b"message");
        assert!(mac.verify(b"message", &signature).is_ok());
        assert!(mac.verify(b"massage", &signature).is_err());
        for len in 0..signature.len() {
            assert!(mac.verify(b"message", &signature[..len].to_vec()).is_err());
        }
        let longer = [signature.as_slice(), &[0]].concat();
        assert!(mac.verify(b"message", &longer).is_err());
    }

    #[test]
    fn a_public_key_is_no_secret() {
        assert!(Hs256::for_verifying(&DecodingKey::from_ed_der(&[1; 32])).is_err());
        assert!(Hs256::for_signing(&EncodingKey::from_ed_der(&[1; 32])).is_err());
    }
}
