use async_trait::async_trait;

use super::ADAPTER;
use crate::error::{ErrorKind, PortError};
use crate::ports::PasswordHasher;

/// Keeps passwords as they are, behind a mark and a salt that counts nothing. For tests only.
#[derive(Clone, Copy, Debug, Default)]
pub struct PlainPasswordHasher;

const MARK: &str = "plain$";
const MAX: usize = 72;

#[async_trait]
impl PasswordHasher for PlainPasswordHasher {
    fn password_max(&self) -> usize {
        MAX
    }

    async fn hash(&self, password: &str) -> Result<String, PortError> {
        if password.len() > MAX {
            return Err(PortError::new(ErrorKind::Invalid, ADAPTER, "hash"));
        }
        let salt = crate::testing::samples::fresh_number();
        Ok(format!("{MARK}{salt}${password}"))
    }

    async fn verify(&self, password: &str, hash: Option<&str>) -> Result<bool, PortError> {
        let Some(hash) = hash else {
            return Ok(false);
        };
        match hash
            .strip_prefix(MARK)
            .and_then(|rest| rest.split_once('$'))
        {
            Some((_, kept)) => Ok(kept == password),
            None => Err(PortError::new(ErrorKind::Corrupt, ADAPTER, "verify")),
        }
    }
}
