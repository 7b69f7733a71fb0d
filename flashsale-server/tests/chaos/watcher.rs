use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::sleep;

use crate::dice::Dice;
use crate::history::{Ask, Moment, Told, now};
use crate::load::Load;
use crate::sighting::SEEN_MAX;
use crate::stack::Stack;
use crate::support::{Client, Shop};
use crate::user::User;

/// Looks at one process until it shows a change by the shop. Its users are judged as all others
/// are; the next one takes over when one has bought.
#[derive(Debug)]
pub(crate) struct Watcher {
    stack: Arc<Stack>,
    load: Arc<Load>,
    /// The process, by its place among those that take attempts.
    place: usize,
    looking: User,
    /// Those who came to buy something.
    former: Vec<User>,
    connection: Option<Client>,
    dice: Dice,
}

/// By what a change is recognised.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Sign {
    /// Attempts are answered as paused.
    Paused,
    /// They no longer are.
    Selling,
    /// Somebody who has nothing yet gets a unit.
    InStock,
    /// Everything is sold.
    SoldOut,
    /// The status shows this end.
    EndsAt(String),
    /// Attempts are answered as too late, and the status shows it.
    Ended,
}

/// How often it looks.
const PERIOD: Duration = Duration::from_millis(5);
/// How long it looks for what need not be shown.
const PATIENCE: Duration = Duration::from_secs(1);

/// When a change was confirmed; closed without that if it was not.
pub(crate) type News = watch::Receiver<Option<Moment>>;

impl Watcher {
    pub(crate) fn new(stack: &Arc<Stack>, load: &Arc<Load>, place: usize, mut dice: Dice) -> Self {
        Self {
            stack: Arc::clone(stack),
            load: Arc::clone(load),
            place,
            looking: user(place, 0, &mut dice),
            former: Vec::new(),
            connection: None,
            dice,
        }
    }

    /// Looks for a sign until it is there; says when, if it does not take too long.
    pub(crate) async fn look(
        mut self,
        sign: Sign,
        certain: bool,
        news: News,
    ) -> (Self, Option<Moment>) {
        loop {
            if self.sees(&sign).await {
                return (self, Some(now()));
            }
            let confirmed = *news.borrow();
            let patience = if certain && !self.stack.is_harmed() {
                SEEN_MAX
            } else {
                PATIENCE
            };
            let over = match confirmed {
                Some(confirmed) => now() > confirmed + patience,
                None => news.has_changed().is_err(),
            };
            if over {
                return (self, None);
            }
            sleep(PERIOD).await;
        }
    }

    /// Whether the sign is there now.
    pub(crate) async fn sees(&mut self, sign: &Sign) -> bool {
        match sign {
            Sign::Paused => self.attempt().await == Told::Paused,
            Sign::Selling => matches!(self.attempt().await, Told::Accepted { .. } | Told::SoldOut),
            Sign::InStock => matches!(self.attempt().await, Told::Accepted { .. }),
            Sign::SoldOut => self.attempt().await == Told::SoldOut,
            Sign::EndsAt(end) => {
                let status = self.status().await;
                status.is_some_and(|(_, ends)| ends == *end)
            }
            Sign::Ended => {
                // Another sale may be the one to show by then.
                let status = self.status().await;
                let shown = status.is_some_and(|(status, _)| status != "ACTIVE");
                shown && self.attempt().await == Told::Ended
            }
        }
    }

    async fn attempt(&mut self) -> Told {
        let token = Arc::clone(&self.looking.token);
        let event = self.load.ask_at(self.place, Ask::Attempt, &token).await;
        let told = event.told.clone();
        self.looking.events.push(event);
        if matches!(told, Told::Accepted { .. }) {
            let next = user(self.place, self.former.len() + 1, &mut self.dice);
            self.former.push(std::mem::replace(&mut self.looking, next));
        }
        told
    }

    /// The status that the process shows of the sale, and its end; nothing of another sale.
    async fn status(&mut self) -> Option<(String, String)> {
        let address = self.load.apis[self.place].1;
        let mut client = match self.connection.take() {
            Some(client) => client,
            None => Client::connect(address).await.ok()?,
        };
        let status = client.get("/api/flash-sale/status", &self.looking.token);
        let answer = tokio::time::timeout(PATIENCE, status).await.ok()?.ok()?;
        self.connection = Some(client);
        let data = &answer.body["data"];
        let text = |field: &str| data[field].as_str().unwrap_or_default().to_owned();
        let ours = data["id"] == self.load.sale;
        if answer.status != 200 {
            return None;
        }
        Some(if ours {
            (text("status"), text("endTime"))
        } else {
            ("ANOTHER".to_owned(), String::new())
        })
    }

    /// Its users with everything they were told.
    pub(crate) fn users(self) -> impl Iterator<Item = User> {
        self.former.into_iter().chain([self.looking])
    }
}

fn user(place: usize, number: usize, dice: &mut Dice) -> User {
    let name = format!("watcher-{place}-{number}");
    let token = Shop::token(&name).into();
    User::new(name, token, Duration::ZERO, dice)
}
