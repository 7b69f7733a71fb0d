use std::hash::{DefaultHasher, Hash, Hasher};

use crate::domain::{Role, Timestamp, UserId};
use crate::error::PortError;
use crate::ports::{Claims, InvalidToken, IssuedToken, TokenIssuer};

/// Tokens with a checksum over a key. Whoever reads this can forge them: for tests only.
#[derive(Clone, Debug)]
pub struct MemoryTokenIssuer {
    /// Tokens of another key are not ours.
    pub key: u64,
    /// How long a token is valid, in milliseconds.
    pub valid_ms: u32,
}

impl Default for MemoryTokenIssuer {
    fn default() -> Self {
        Self {
            key: 1,
            valid_ms: 3_600_000,
        }
    }
}

impl MemoryTokenIssuer {
    fn sum(&self, body: &str) -> String {
        let mut hasher = DefaultHasher::new();
        (self.key, body).hash(&mut hasher);
        format!("{:016x}", hasher.finish())
    }
}

impl TokenIssuer for MemoryTokenIssuer {
    fn issue(
        &self,
        user: &UserId,
        _username: &str,
        role: Role,
        now: Timestamp,
    ) -> Result<IssuedToken, PortError> {
        let expires_at = now.plus_ms(i64::from(self.valid_ms));
        let role = match role {
            Role::Buyer => "buyer",
            Role::Admin => "admin",
        };
        let (from, to) = (now.as_millis(), expires_at.as_millis());
        let body = format!("{role} {from} {to} {user}");
        let token = format!("{} {body}", self.sum(&body));
        Ok(IssuedToken { token, expires_at })
    }

    fn verify(&self, token: &str, now: Timestamp) -> Result<Claims, InvalidToken> {
        let (sum, body) = token.split_once(' ').ok_or(InvalidToken)?;
        if sum != self.sum(body) {
            return Err(InvalidToken);
        }
        let parts: Vec<_> = body.splitn(4, ' ').collect();
        let &[role, from, to, user] = parts.as_slice() else {
            return Err(InvalidToken);
        };
        let time = |text: &str| text.parse().map(Timestamp::from_millis);
        let (from, to) = (time(from), time(to));
        if from.map_err(|_| InvalidToken)? > now || now >= to.map_err(|_| InvalidToken)? {
            return Err(InvalidToken);
        }
        Ok(Claims {
            user: UserId::new(user).map_err(|_| InvalidToken)?,
            role: match role {
                "admin" => Role::Admin,
                "buyer" => Role::Buyer,
                _ => return Err(InvalidToken),
            },
        })
    }
}
