use std::sync::Arc;

use async_trait::async_trait;
use bcrypt::{BcryptError, HashParts};
use flashsale_core::ports::PasswordHasher;
use flashsale_core::{ErrorKind, PortError};
use tokio::runtime::Handle;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinSet;
use zeroize::Zeroizing;

use crate::config::BcryptConfig;
use crate::error::{ConfigError, fault};

/// Hashes and checks passwords with bcrypt, on the blocking threads of a tokio runtime.
///
/// [`BcryptConfig::concurrency`] calls work, [`BcryptConfig::waiting_max`] more wait in the order
/// they came, and one more fails at once with [`ErrorKind::Busy`]. A call that is dropped while it
/// waits frees its place. A hash in the making cannot be stopped: if its call is dropped, it
/// ends unseen and keeps its place until then.
///
/// Checking without a hash does the same work, against a hash that was made with the same cost at
/// construction. Users whose hashes have another cost, because the setting was changed, take
/// another time.
///
/// ```
/// use flashsale_auth::{BcryptConfig, BcryptPasswordHasher};
/// use flashsale_core::ports::PasswordHasher;
///
/// # tokio::runtime::Builder::new_current_thread().build()?.block_on(async {
/// let hasher = BcryptPasswordHasher::new(BcryptConfig { cost: 4, ..BcryptConfig::default() })?;
/// let hash = hasher.hash("correct horse").await?;
/// assert!(hasher.verify("correct horse", Some(&hash)).await?);
/// assert!(!hasher.verify("battery staple", Some(&hash)).await?);
/// assert!(!hasher.verify("correct horse", None).await?);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// # })?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct BcryptPasswordHasher {
    config: BcryptConfig,
    /// What the passwords of unknown users are checked against.
    decoy: Hash,
    working: Arc<Semaphore>,
    waiting: Semaphore,
}

impl BcryptPasswordHasher {
    /// The longest password, in bytes. bcrypt reads 72, and one of them is the end mark.
    pub const PASSWORD_MAX: usize = 71;

    /// Checks the configuration, and makes a hash for unknown users to be checked against, which
    /// takes as long as any other (about 60 ms at the default cost).
    ///
    /// # Errors
    /// [`ConfigError`] for the first setting that is out of range.
    pub fn new(config: BcryptConfig) -> Result<Self, ConfigError> {
        config.validate()?;
        let decoy = bcrypt::non_truncating_hash("", config.cost).map_err(|error| {
            let problem = error.to_string();
            ConfigError::NoRandomness { problem }
        })?;
        Ok(Self {
            config,
            decoy: Hash(decoy),
            working: Arc::new(Semaphore::new(config.concurrency)),
            waiting: Semaphore::new(config.waiting_max),
        })
    }

    /// Waits for a turn; fails if too many wait already.
    async fn turn(&self, operation: &'static str) -> Result<OwnedSemaphorePermit, PortError> {
        // Nobody is overtaken: a turn that comes free goes to those who wait, if there are any.
        if let Ok(turn) = Arc::clone(&self.working).try_acquire_owned() {
            return Ok(turn);
        }
        let _place = self.waiting.try_acquire().map_err(|_| {
            let waiting_max = self.config.waiting_max;
            fault(ErrorKind::Busy, operation, TooManyWait { waiting_max })
        })?;
        let turn = Arc::clone(&self.working).acquire_owned().await;
        Ok(turn.expect("the semaphore is never closed"))
    }

    /// Does the work on a blocking thread when its turn has come.
    async fn work<T: Send + 'static>(
        &self,
        operation: &'static str,
        work: impl FnOnce() -> Result<T, BcryptError> + Send + 'static,
    ) -> Result<T, PortError> {
        let runtime = Handle::try_current()
            .map_err(|error| fault(ErrorKind::Misconfigured, operation, error))?;
        let turn = self.turn(operation).await?;
        // If the call is dropped, the set is too, and work that has not begun will not begin.
        let mut job = JoinSet::new();
        let run = move || {
            let result = work();
            drop(turn);
            result
        };
        job.spawn_blocking_on(run, &runtime);
        let joined = job.join_next().await.expect("one job was spawned");
        joined
            .map_err(|error| fault(ErrorKind::Unavailable, operation, error))?
            .map_err(|error| bcrypt_fault(operation, error))
    }
}

#[async_trait]
impl PasswordHasher for BcryptPasswordHasher {
    fn password_max(&self) -> usize {
        Self::PASSWORD_MAX
    }

    /// A password with a NUL character is [`ErrorKind::Invalid`] too: others' bcrypt stops there.
    async fn hash(&self, password: &str) -> Result<String, PortError> {
        let password = hashable(password).map_err(|e| fault(ErrorKind::Invalid, "hash", e))?;
        let cost = self.config.cost;
        let hash = move || bcrypt::non_truncating_hash(password.as_bytes(), cost);
        self.work("hash", hash).await
    }

    /// A password that [`hash`](PasswordHasher::hash) refuses belongs to no hash: the answer is no,
    /// at once, whether there is a hash or not.
    async fn verify(&self, password: &str, hash: Option<&str>) -> Result<bool, PortError> {
        let check = Check::new(hash, &self.decoy).map_err(|e| bcrypt_fault("verify", e))?;
        let Ok(password) = hashable(password) else {
            return Ok(false);
        };
        self.work("verify", move || check.run(&password)).await
    }
}

/// A hash to check a password against, and whether a match counts.
struct Check {
    hash: Hash,
    known: bool,
}

impl Check {
    /// Against the user's hash, or without one against the decoy.
    fn new(hash: Option<&str>, decoy: &Hash) -> Result<Self, BcryptError> {
        let (hash, known) = match hash {
            Some(hash) => (Hash::read(hash)?, true),
            None => (decoy.clone(), false),
        };
        Ok(Self { hash, known })
    }

    fn run(&self, password: &str) -> Result<bool, BcryptError> {
        let right = bcrypt::non_truncating_verify(password.as_bytes(), &self.hash.0)?;
        Ok(right && self.known)
    }
}

/// A readable bcrypt hash; it does not show in `Debug` output.
#[derive(Clone)]
struct Hash(String);

impl Hash {
    fn read(text: &str) -> Result<Self, BcryptError> {
        text.parse::<HashParts>()?;
        Ok(Self(text.to_owned()))
    }
}

impl std::fmt::Debug for Hash {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Hash(..)")
    }
}

/// A copy of the password that is wiped on drop, if bcrypt can take all of it.
fn hashable(password: &str) -> Result<Zeroizing<String>, PasswordRefused> {
    if password.len() > BcryptPasswordHasher::PASSWORD_MAX {
        return Err(PasswordRefused::TooLong(password.len()));
    }
    if password.contains('\0') {
        return Err(PasswordRefused::Nul);
    }
    Ok(Zeroizing::new(password.to_owned()))
}

fn bcrypt_fault(operation: &'static str, error: BcryptError) -> PortError {
    let kind = match &error {
        BcryptError::InvalidHash(_) | BcryptError::CostNotAllowed(_) => ErrorKind::Corrupt,
        BcryptError::Truncation(_) => ErrorKind::Invalid,
        BcryptError::Rand(_) => ErrorKind::Unavailable,
    };
    fault(kind, operation, error)
}

/// Why a password cannot be hashed.
#[derive(Debug, thiserror::Error)]
enum PasswordRefused {
    #[error("the password has {0} bytes, more than {max}", max = BcryptPasswordHasher::PASSWORD_MAX)]
    TooLong(usize),
    #[error("the password has a NUL character")]
    Nul,
}

/// Why a call did not get a place.
#[derive(Debug, thiserror::Error)]
#[error("{waiting_max} passwords wait already")]
struct TooManyWait {
    waiting_max: usize,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_a_hash_the_check_is_the_same_work_at_the_same_cost() {
        let config = BcryptConfig {
            cost: 5,
            ..BcryptConfig::default()
        };
        let hasher = BcryptPasswordHasher::new(config).unwrap();
        let hash = bcrypt::non_truncating_hash("correct horse", 5).unwrap();
        let cost = |hash: Option<&str>| {
            let check = Check::new(hash, &hasher.decoy).unwrap();
            check.hash.0.parse::<HashParts>().unwrap().get_cost()
        };
        assert_eq!(cost(None), cost(Some(&hash)));
    }

    #[test]
    fn the_password_of_the_decoy_lets_nobody_in() {
        let decoy = Hash(bcrypt::non_truncating_hash("", 4).unwrap());
        let unknown = Check::new(None, &decoy).unwrap();
        let known = Check::new(Some(&decoy.0), &decoy).unwrap();
        assert!(!unknown.run("").unwrap());
        assert!(known.run("").unwrap());
    }
}
