use std::sync::Arc;
use std::time::Duration;

use crate::dice::Dice;
use crate::history::{Ask, Event, Moment, Told};

/// Somebody who wants to buy: everything asked and told, and what comes next.
#[derive(Debug)]
pub(crate) struct User {
    pub(crate) name: String,
    pub(crate) token: Arc<str>,
    pub(crate) events: Vec<Event>,
    pub(crate) comes: Moment,
    state: State,
    /// How often this user still asks after being told that everything is sold.
    patience: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Wants to buy.
    Trying,
    /// Is accepted, and waits for the result.
    Waiting,
    /// Has bought, and looks again now and then.
    Bought,
    /// Has a final answer and asks no more.
    Content,
}

/// How users behave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mood {
    /// New users come, and those who are refused try again.
    Rush,
    /// Everybody asks until the answer is final, and then looks once more.
    Settle,
    /// There are units for everybody who asks.
    LastCall,
}

impl User {
    pub(crate) fn new(name: String, token: Arc<str>, comes: Moment, dice: &mut Dice) -> Self {
        let stubborn = dice.percent(15);
        Self {
            name,
            token,
            events: Vec::new(),
            comes,
            state: State::Trying,
            patience: if stubborn { 1_000 } else { 1 + dice.below(3) },
        }
    }

    /// The same user, who comes that long after this moment.
    pub(crate) fn coming_after(mut self, moment: Moment) -> Self {
        self.comes += moment;
        self
    }

    /// Whether the last answer was that everything is sold.
    pub(crate) fn was_refused(&self) -> bool {
        let last = self.events.last();
        last.is_some_and(|event| event.told == Told::SoldOut)
    }

    /// Whether this user was accepted once, and heard something else since than of a purchase.
    pub(crate) fn is_unsure(&self) -> bool {
        let accepted = |event: &Event| matches!(event.told, Told::Accepted { .. });
        let last = self.events.last();
        self.events.iter().any(accepted) && last.is_some_and(|event| !event.told.bought())
    }

    pub(crate) fn was_told_bought(&self) -> bool {
        self.events.iter().any(|event| event.told.bought())
    }

    /// Tries again, whatever the last answer was.
    pub(crate) fn wake(&mut self) {
        self.state = if self.was_told_bought() {
            State::Bought
        } else if self.state == State::Waiting {
            State::Waiting
        } else {
            State::Trying
        };
    }

    /// What to ask for now.
    pub(crate) fn ask(&self, dice: &mut Dice) -> Ask {
        let buys = match self.state {
            State::Trying => true,
            State::Waiting => dice.percent(20),
            State::Bought | State::Content => dice.percent(50),
        };
        if buys { Ask::Attempt } else { Ask::Status }
    }

    /// Takes in what came of a request; says when to ask again.
    pub(crate) fn hear(&mut self, event: Event, mood: Mood, dice: &mut Dice) -> Option<Duration> {
        let told = event.told.clone();
        self.events.push(event);
        let (state, pause) = self.react(&told, mood, dice);
        self.state = state;
        pause
    }

    fn react(&mut self, told: &Told, mood: Mood, dice: &mut Dice) -> (State, Option<Duration>) {
        let soon = Some(dice.ms(100, 400));
        match told {
            Told::Accepted { bought: false, .. } | Told::Pending => (State::Waiting, soon),
            Told::Accepted { bought: true, .. } | Told::Success => {
                if mood == Mood::Rush {
                    (State::Bought, Some(dice.ms(400, 2_500)))
                } else {
                    (State::Content, None)
                }
            }
            Told::SoldOut => {
                self.patience = self.patience.saturating_sub(1);
                let stays = mood == Mood::LastCall || mood == Mood::Rush && self.patience > 0;
                if stays {
                    (State::Trying, Some(dice.ms(400, 2_000)))
                } else {
                    (State::Content, None)
                }
            }
            // The user may try again.
            Told::Failed | Told::Nothing => (State::Trying, soon),
            Told::Paused | Told::Unavailable | Told::Unknown | Told::Lost(_) | Told::Hung => {
                (self.state, Some(dice.ms(100, 600)))
            }
            Told::Ended | Told::Odd(_) => (State::Content, None),
        }
    }
}
