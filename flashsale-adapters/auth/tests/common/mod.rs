//! Makes tokens by hand, good and bad, without the library that is under test.
#![allow(dead_code, reason = "each test file uses some of it")]
#![allow(
    clippy::unwrap_used,
    reason = "the functions beside the tests are tests too"
)]

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use flashsale_auth::{JwtConfig, JwtKey, JwtTokenIssuer};
use flashsale_core::domain::Timestamp;
use hmac::{Hmac, KeyInit, Mac};
use serde_json::{Value, json};
use sha2::Sha256;

pub(crate) const SECRET: [u8; 32] = [7; 32];
pub(crate) const OTHER_SECRET: [u8; 32] = [8; 32];

/// The present of these tests, in seconds and otherwise.
pub(crate) const NOW_S: i64 = 1_900_000_000;
pub(crate) const NOW: Timestamp = Timestamp::from_millis(NOW_S * 1_000);

pub(crate) fn issuer() -> JwtTokenIssuer {
    JwtTokenIssuer::new(JwtConfig::new([JwtKey::hs256("a", SECRET)])).unwrap()
}

pub(crate) fn header() -> Value {
    json!({"typ": "JWT", "alg": "HS256", "kid": "a"})
}

pub(crate) fn claims() -> Value {
    json!({"sub": "42", "iat": NOW_S, "exp": NOW_S + 60})
}

/// The usual claims, with one of them changed or, for null, taken away.
pub(crate) fn claims_with(name: &str, value: Value) -> Value {
    let mut claims = claims();
    let members = claims.as_object_mut().unwrap();
    match value {
        Value::Null => members.remove(name),
        value => members.insert(name.to_owned(), value),
    };
    claims
}

pub(crate) fn base64(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

pub(crate) fn hs256(message: &str, secret: &[u8]) -> Vec<u8> {
    let mac = Hmac::<Sha256>::new_from_slice(secret).unwrap();
    mac.chain_update(message).finalize().into_bytes().to_vec()
}

/// A token with these parts, signed with the usual secret.
pub(crate) fn token(header: &Value, claims: &Value) -> String {
    token_of(header.to_string(), claims.to_string(), &SECRET)
}

pub(crate) fn token_of(
    header: impl AsRef<[u8]>,
    claims: impl AsRef<[u8]>,
    secret: &[u8],
) -> String {
    let message = format!("{}.{}", base64(header), base64(claims));
    let signature = base64(hs256(&message, secret));
    format!("{message}.{signature}")
}

/// The header or the claims of a token, as JSON.
pub(crate) fn part(token: &str, index: usize) -> Value {
    let part = token.split('.').nth(index).unwrap();
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(part).unwrap()).unwrap()
}
