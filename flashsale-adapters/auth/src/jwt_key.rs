use std::fmt;

use zeroize::Zeroizing;

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
