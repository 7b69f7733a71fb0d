#![doc = include_str!("../README.md")]

mod claims;
mod config;
mod crypto;
mod error;
mod jwt_key;
mod key_table;
mod password_hasher;
mod token_issuer;

pub use config::{BcryptConfig, JwtConfig};
pub use error::ConfigError;
pub use jwt_key::{JwtAlgorithm, JwtKey};
pub use password_hasher::BcryptPasswordHasher;
pub use token_issuer::JwtTokenIssuer;
