//! A program that brings its own cryptography for `jsonwebtoken`. That is settled once per process,
//! so this file has one test.

use flashsale_auth::{ConfigError, JwtConfig, JwtKey, JwtTokenIssuer};
use jsonwebtoken::crypto::{CryptoProvider, KeyUtils};
use jsonwebtoken::errors::{ErrorKind, new_error};

static WITHOUT_ALGORITHMS: CryptoProvider = CryptoProvider {
    signer_factory: |_, _| Err(new_error(ErrorKind::UnsupportedAlgorithm)),
    verifier_factory: |_, _| Err(new_error(ErrorKind::UnsupportedAlgorithm)),
    key_utils: KeyUtils::new_unimplemented(),
};

#[test]
fn it_is_used_and_a_key_it_cannot_use_is_refused_at_construction() {
    WITHOUT_ALGORITHMS.install_default().unwrap();
    let error = JwtTokenIssuer::new(JwtConfig::new([JwtKey::hs256("a", [7; 32])])).unwrap_err();
    let kid = "a".to_owned();
    let problem = "UnsupportedAlgorithm".to_owned();
    assert_eq!(error, ConfigError::KeyUnusable { kid, problem });
}
