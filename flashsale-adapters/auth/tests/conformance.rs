//! The contracts of the ports, on bcrypt and JWT.
#![allow(clippy::unwrap_used)]

use std::sync::Arc;

use flashsale_auth::{BcryptConfig, BcryptPasswordHasher, JwtConfig, JwtKey, JwtTokenIssuer};
use flashsale_core::testing::{self, TokenIssuers};

#[tokio::test]
async fn the_password_hasher() {
    let config = BcryptConfig {
        cost: 4,
        ..BcryptConfig::default()
    };
    let hasher = BcryptPasswordHasher::new(config).unwrap();
    let report = testing::password_hasher(&hasher).await;
    report.assert_passed();
    assert!(report.skipped().is_empty());
}

#[tokio::test]
async fn the_token_issuer() {
    let issuer = |secret: &str| {
        let key = JwtKey::hs256("main", secret);
        Arc::new(JwtTokenIssuer::new(JwtConfig::new([key])).unwrap())
    };
    let issuers = TokenIssuers {
        issuer: issuer("the-secret-of-this-shop-0123456789"),
        stranger: issuer("the-secret-of-another-shop-0123456"),
    };
    let report = testing::token_issuer(&issuers).await;
    report.assert_passed();
    assert!(report.skipped().is_empty());
}
