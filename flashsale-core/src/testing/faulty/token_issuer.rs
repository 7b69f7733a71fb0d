use crate::domain::{Role, Timestamp, UserId};
use crate::error::PortError;
use crate::ports::{Claims, InvalidToken, IssuedToken, TokenIssuer};
use crate::testing::Faulty;

/// Issuing goes wrong; it cannot be delayed. Verifying has no fault to tell of and stays as it is.
impl TokenIssuer for Faulty<dyn TokenIssuer> {
    fn issue(
        &self,
        user: &UserId,
        username: &str,
        role: Role,
        now: Timestamp,
    ) -> Result<IssuedToken, PortError> {
        let call = || self.inner.issue(user, username, role, now);
        self.faults.around_at_once("issue", call)
    }

    fn verify(&self, token: &str, now: Timestamp) -> Result<Claims, InvalidToken> {
        self.inner.verify(token, now)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use crate::Effect;
    use crate::domain::{Role, Timestamp, UserId};
    use crate::ports::TokenIssuer;
    use crate::testing::{FaultRates, Faults, Faulty, MemoryTokenIssuer};

    #[test]
    fn issuing_fails_as_the_rates_say_and_no_more_once_healed() {
        let issue = |rates, heal: bool| {
            let inner: Arc<dyn TokenIssuer> = Arc::new(MemoryTokenIssuer::default());
            let faults = Arc::new(Faults::new(7, rates));
            if heal {
                faults.heal();
            }
            let ann = UserId::new("ann").unwrap();
            let issued = Faulty::new(inner, faults).issue(
                &ann,
                "ann",
                Role::Buyer,
                Timestamp::from_millis(1),
            );
            issued.map(|_| ()).map_err(|fault| fault.effect())
        };
        let before = FaultRates {
            fail_before: 100,
            ..FaultRates::NOTHING
        };
        let after = FaultRates {
            fail_after: 100,
            ..FaultRates::NOTHING
        };
        assert_eq!(issue(FaultRates::NOTHING, false), Ok(()));
        assert_eq!(issue(before, false), Err(Effect::None));
        assert_eq!(issue(after, false), Err(Effect::Unknown));
        assert_eq!(issue(after, true), Ok(()));
    }
}
