use std::sync::Arc;
use std::time::Duration;

use crate::dice::Dice;
use crate::support::Shop;
use crate::user::User;

/// People with their tokens, who come to one sale after the other.
#[derive(Debug, Default)]
pub(crate) struct Crowds {
    tokens: Vec<Arc<str>>,
}

impl Crowds {
    /// Requests of one user on average, with which the number of users is estimated.
    const REQUESTS: u32 = 8;

    /// A crowd for a sale of this length: a fifth of it stands at the door when it opens.
    pub(crate) fn come(&mut self, time: Duration, rate: u32, dice: &mut Dice) -> Vec<User> {
        let seconds = u32::try_from(time.as_secs()).unwrap().max(1);
        let count = (rate * seconds / Self::REQUESTS).max(20) as usize;
        self.of(
            count,
            |number, dice| {
                if number < count / 5 {
                    dice.ms(0, 100)
                } else {
                    dice.ms(100, u64::from(seconds) * 1_000)
                }
            },
            dice,
        )
    }

    /// This many, who come when they are told.
    pub(crate) fn of(
        &mut self,
        count: usize,
        comes: impl Fn(usize, &mut Dice) -> Duration,
        dice: &mut Dice,
    ) -> Vec<User> {
        for number in self.tokens.len()..count {
            self.tokens.push(Shop::token(&name(number)).into());
        }
        let user = |number: usize| {
            let moment = comes(number, dice);
            let token = Arc::clone(&self.tokens[number]);
            User::new(name(number), token, moment, dice)
        };
        (0..count).map(user).collect()
    }
}

fn name(number: usize) -> String {
    format!("user-{number}")
}
