use std::fmt;

use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey};
use zeroize::Zeroizing;

use crate::error::ConfigError;

/// A key of the table that tokens are signed and verified with.
///
/// Its id goes into the header of each token it signs (`kid`) and finds it again when the token
/// comes back; its algorithm is the only one such a token may have. Neither the secret nor
/// anything else that was handed in shows in `Debug` output, and secrets are wiped on drop. What is
/// handed in is checked by [`JwtConfig::validate`](crate::JwtConfig::validate) and
/// [`JwtTokenIssuer::rotate`](crate::JwtTokenIssuer::rotate).
///
/// ```
/// use flashsale_auth::{JwtAlgorithm, JwtKey};
///
/// let key = JwtKey::hs256("2030-01", *b"32 bytes, and better random ones");
/// assert_eq!(key.kid(), "2030-01");
/// assert_eq!(key.algorithm(), JwtAlgorithm::Hs256);
/// assert_eq!(format!("{key:?}"), r#"JwtKey { kid: "2030-01", algorithm: Hs256, .. }"#);
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct JwtKey {
    pub(crate) kid: String,
    pub(crate) material: KeyMaterial,
}

/// How a key signs.
///
/// ```
/// use flashsale_auth::{JwtAlgorithm, JwtKey};
///
/// assert_eq!(JwtKey::hs256("a", [7; 32]).algorithm(), JwtAlgorithm::Hs256);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum JwtAlgorithm {
    /// HMAC with SHA-256: one secret signs and verifies.
    Hs256,
    /// Ed25519, `EdDSA` in a token's header: a private key signs, its public key verifies.
    #[cfg(feature = "eddsa")]
    Ed25519,
    /// RSA, PKCS #1 v1.5, with SHA-256; for verifying only.
    #[cfg(feature = "rs256")]
    Rs256,
}

#[derive(Clone, PartialEq, Eq)]
pub(crate) enum KeyMaterial {
    Secret(Zeroizing<Vec<u8>>),
    #[cfg(feature = "eddsa")]
    Ed25519PrivatePem(Zeroizing<String>),
    #[cfg(feature = "eddsa")]
    Ed25519PublicPem(String),
    #[cfg(feature = "rs256")]
    RsaPublicPem(String),
}

impl JwtKey {
    /// The shortest secret, in bytes: the output of SHA-256, as RFC 7518 section 3.2 demands.
    pub const SECRET_MIN: usize = 32;
    /// The longest secret, in bytes.
    pub const SECRET_MAX: usize = 1_024;
    /// The longest key id, in bytes.
    pub const KID_MAX: usize = 64;

    /// A secret of 32 to 1,024 bytes that signs and verifies.
    ///
    /// Whoever can verify with it can also sign; give other parties a public key instead.
    pub fn hs256(kid: impl Into<String>, secret: impl Into<Vec<u8>>) -> Self {
        Self::new(kid, KeyMaterial::Secret(Zeroizing::new(secret.into())))
    }

    /// A private Ed25519 key (PEM, PKCS #8) that signs and verifies.
    #[cfg(feature = "eddsa")]
    pub fn ed25519_private(kid: impl Into<String>, pem: impl Into<String>) -> Self {
        let pem = Zeroizing::new(pem.into());
        Self::new(kid, KeyMaterial::Ed25519PrivatePem(pem))
    }

    /// A public Ed25519 key (PEM, SubjectPublicKeyInfo) that verifies what another party signs.
    #[cfg(feature = "eddsa")]
    pub fn ed25519_public(kid: impl Into<String>, pem: impl Into<String>) -> Self {
        Self::new(kid, KeyMaterial::Ed25519PublicPem(pem.into()))
    }

    /// A public RSA key of at least 2,048 bits (PEM) that verifies what another party signs.
    #[cfg(feature = "rs256")]
    pub fn rs256_public(kid: impl Into<String>, pem: impl Into<String>) -> Self {
        Self::new(kid, KeyMaterial::RsaPublicPem(pem.into()))
    }

    fn new(kid: impl Into<String>, material: KeyMaterial) -> Self {
        let kid = kid.into();
        Self { kid, material }
    }

    /// What names the key in the header of a token.
    pub fn kid(&self) -> &str {
        &self.kid
    }

    /// How it signs.
    pub fn algorithm(&self) -> JwtAlgorithm {
        match self.material {
            KeyMaterial::Secret(_) => JwtAlgorithm::Hs256,
            #[cfg(feature = "eddsa")]
            KeyMaterial::Ed25519PrivatePem(_) | KeyMaterial::Ed25519PublicPem(_) => {
                JwtAlgorithm::Ed25519
            }
            #[cfg(feature = "rs256")]
            KeyMaterial::RsaPublicPem(_) => JwtAlgorithm::Rs256,
        }
    }
}

impl fmt::Debug for JwtKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JwtKey")
            .field("kid", &self.kid)
            .field("algorithm", &self.algorithm())
            .finish_non_exhaustive()
    }
}

/// The most keys a configuration may have.
const KEYS_MAX: usize = 16;

/// Checks a table of keys.
pub(crate) fn validate_all(keys: &[JwtKey]) -> Result<(), ConfigError> {
    if !(1..=KEYS_MAX).contains(&keys.len()) {
        let (count, max) = (keys.len(), KEYS_MAX);
        return Err(ConfigError::KeyCount { count, max });
    }
    for (index, key) in keys.iter().enumerate() {
        let (kid, max) = (key.kid.clone(), JwtKey::KID_MAX);
        let fits = (1..=max).contains(&kid.len()) && kid.bytes().all(|b| b.is_ascii_graphic());
        if !fits {
            return Err(ConfigError::KeyId { kid, max });
        }
        if keys[..index].iter().any(|earlier| earlier.kid == kid) {
            return Err(ConfigError::KeyIdTwice { kid });
        }
        read(key)?;
    }
    Ok(())
}

/// A key in the form of `jsonwebtoken`: its algorithm, what signs, what verifies.
pub(crate) type Read = (Algorithm, Option<EncodingKey>, DecodingKey);

pub(crate) fn read(key: &JwtKey) -> Result<Read, ConfigError> {
    match &key.material {
        KeyMaterial::Secret(secret) => {
            let (min, max) = (JwtKey::SECRET_MIN, JwtKey::SECRET_MAX);
            if !(min..=max).contains(&secret.len()) {
                return Err(ConfigError::SecretLength {
                    kid: key.kid.clone(),
                    len: secret.len(),
                    min,
                    max,
                });
            }
            let signing = EncodingKey::from_secret(secret);
            let verifying = DecodingKey::from_secret(secret);
            Ok((Algorithm::HS256, Some(signing), verifying))
        }
        #[cfg(feature = "eddsa")]
        KeyMaterial::Ed25519PrivatePem(pem) => {
            use ed25519_dalek::SigningKey;
            use ed25519_dalek::pkcs8::{DecodePrivateKey, EncodePrivateKey};

            let private = SigningKey::from_pkcs8_pem(pem).map_err(|e| unusable(key, e))?;
            let der = private.to_pkcs8_der().map_err(|e| unusable(key, e))?;
            let signing = EncodingKey::from_ed_der(der.as_bytes());
            let verifying = DecodingKey::from_ed_der(private.verifying_key().as_bytes());
            Ok((Algorithm::EdDSA, Some(signing), verifying))
        }
        #[cfg(feature = "eddsa")]
        KeyMaterial::Ed25519PublicPem(pem) => {
            use ed25519_dalek::VerifyingKey;
            use ed25519_dalek::pkcs8::DecodePublicKey;

            let public = VerifyingKey::from_public_key_pem(pem).map_err(|e| unusable(key, e))?;
            if public.is_weak() {
                return Err(unusable(
                    key,
                    "anybody can sign for this point of the curve",
                ));
            }
            let verifying = DecodingKey::from_ed_der(public.as_bytes());
            Ok((Algorithm::EdDSA, None, verifying))
        }
        #[cfg(feature = "rs256")]
        KeyMaterial::RsaPublicPem(pem) => {
            use jsonwebtoken::crypto::aws_lc::DEFAULT_PROVIDER;

            const MODULUS_MIN: usize = 256;
            let verifying =
                DecodingKey::from_rsa_pem(pem.as_bytes()).map_err(|e| unusable(key, e))?;
            let der = verifying.try_get_as_bytes().map_err(|e| unusable(key, e))?;
            let components = DEFAULT_PROVIDER
                .key_utils
                .rsa_pub_components_from_public_key;
            let (modulus, _) = components(der).map_err(|e| unusable(key, e))?;
            if modulus.len() < MODULUS_MIN {
                return Err(unusable(key, "an RSA key must have at least 2048 bits"));
            }
            Ok((Algorithm::RS256, None, verifying))
        }
    }
}

pub(crate) fn unusable(key: &JwtKey, problem: impl ToString) -> ConfigError {
    ConfigError::KeyUnusable {
        kid: key.kid.clone(),
        problem: problem.to_string(),
    }
}
