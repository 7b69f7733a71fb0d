//! The cryptography that `jsonwebtoken` calls.
//!
//! Its own backends are no choice for the default build: one links C code (aws-lc), the other pulls
//! in the `rsa` crate, which leaks private keys through timing and has no fixed version
//! (RUSTSEC-2023-0071). The crate takes a backend from outside, once per process, so this module
//! brings the two algorithms that tokens of ours have, in pure Rust. What we gave up: a program
//! that embeds us, uses `jsonwebtoken` for other things too and relies on the backend it has by
//! feature must install that backend itself before it makes a token issuer.

#[cfg(feature = "eddsa")]
mod eddsa;
mod hs256;

use jsonwebtoken::crypto::{CryptoProvider, JwtSigner, JwtVerifier, KeyUtils};
use jsonwebtoken::errors::Result;
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey};

static PROVIDER: CryptoProvider = CryptoProvider {
    signer_factory: signer,
    verifier_factory: verifier,
    key_utils: KEY_UTILS,
};

/// Makes this module the cryptography of `jsonwebtoken` in this process, unless it has one.
pub(crate) fn install() {
    // An error says that one is installed already, by us or by the program around us.
    let _ = PROVIDER.install_default();
}

fn signer(algorithm: &Algorithm, key: &EncodingKey) -> Result<Box<dyn JwtSigner>> {
    match algorithm {
        Algorithm::HS256 => Ok(Box::new(hs256::Hs256::for_signing(key)?)),
        #[cfg(feature = "eddsa")]
        Algorithm::EdDSA => Ok(Box::new(eddsa::EdDsaSigner::new(key)?)),
        other => other_signer(other, key),
    }
}

fn verifier(algorithm: &Algorithm, key: &DecodingKey) -> Result<Box<dyn JwtVerifier>> {
    match algorithm {
        Algorithm::HS256 => Ok(Box::new(hs256::Hs256::for_verifying(key)?)),
        #[cfg(feature = "eddsa")]
        Algorithm::EdDSA => Ok(Box::new(eddsa::EdDsaVerifier::new(key)?)),
        other => other_verifier(other, key),
    }
}

#[cfg(feature = "rs256")]
use with_aws_lc::{KEY_UTILS, other_signer, other_verifier};
#[cfg(not(feature = "rs256"))]
use without_aws_lc::{KEY_UTILS, other_signer, other_verifier};

#[cfg(feature = "rs256")]
mod with_aws_lc {
    use jsonwebtoken::crypto::aws_lc::DEFAULT_PROVIDER;

    use super::{Algorithm, DecodingKey, EncodingKey, JwtSigner, JwtVerifier, KeyUtils, Result};

    pub(super) const KEY_UTILS: KeyUtils = KeyUtils {
        rsa_pub_components_from_private_key: |key| {
            (DEFAULT_PROVIDER
                .key_utils
                .rsa_pub_components_from_private_key)(key)
        },
        rsa_pub_components_from_public_key: |key| {
            (DEFAULT_PROVIDER
                .key_utils
                .rsa_pub_components_from_public_key)(key)
        },
        ec_pub_components_from_private_key: |key, algorithm| {
            (DEFAULT_PROVIDER
                .key_utils
                .ec_pub_components_from_private_key)(key, algorithm)
        },
        ed_pub_components_from_private_key: |key, curve| {
            (DEFAULT_PROVIDER
                .key_utils
                .ed_pub_components_from_private_key)(key, curve)
        },
        compute_digest: |data, hash| (DEFAULT_PROVIDER.key_utils.compute_digest)(data, hash),
    };

    pub(super) fn other_signer(
        algorithm: &Algorithm,
        key: &EncodingKey,
    ) -> Result<Box<dyn JwtSigner>> {
        (DEFAULT_PROVIDER.signer_factory)(algorithm, key)
    }

    pub(super) fn other_verifier(
        algorithm: &Algorithm,
        key: &DecodingKey,
    ) -> Result<Box<dyn JwtVerifier>> {
        (DEFAULT_PROVIDER.verifier_factory)(algorithm, key)
    }
}

#[cfg(not(feature = "rs256"))]
mod without_aws_lc {
    use jsonwebtoken::errors::{Error, ErrorKind, new_error};

    use super::{Algorithm, DecodingKey, EncodingKey, JwtSigner, JwtVerifier, KeyUtils, Result};

    /// Reading JSON Web Keys is not ours; the crate's own stand-in would panic.
    pub(super) const KEY_UTILS: KeyUtils = KeyUtils {
        rsa_pub_components_from_private_key: |_| Err(unsupported()),
        rsa_pub_components_from_public_key: |_| Err(unsupported()),
        ec_pub_components_from_private_key: |_, _| Err(unsupported()),
        ed_pub_components_from_private_key: |_, _| Err(unsupported()),
        compute_digest: |_, _| Err(unsupported()),
    };

    pub(super) fn other_signer(_: &Algorithm, _: &EncodingKey) -> Result<Box<dyn JwtSigner>> {
        Err(unsupported())
    }

    pub(super) fn other_verifier(_: &Algorithm, _: &DecodingKey) -> Result<Box<dyn JwtVerifier>> {
        Err(unsupported())
    }

    fn unsupported() -> Error {
        new_error(ErrorKind::UnsupportedAlgorithm)
    }
}
