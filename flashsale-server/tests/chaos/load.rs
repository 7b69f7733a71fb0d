use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashSet};
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::time::{sleep, timeout};

use crate::dice::Dice;
use crate::history::{Ask, Event, Moment, Told, now};
use crate::support::{Answer, Client};
use crate::user::{Mood, User};

/// How long a client waits for an answer.
const PATIENCE: Duration = Duration::from_secs(12);
/// How many requests are on their way at most.
const FLYING_MAX: usize = 400;
/// How often it looks who is due.
const TICK: Duration = Duration::from_millis(5);

/// A crowd in one sale, which asks at a bounded rate and remembers everything.
#[derive(Debug)]
pub(crate) struct Load {
    /// The processes that take attempts: their place in the stack, and where they are.
    pub(crate) apis: Vec<(usize, SocketAddr)>,
    pub(crate) sale: i64,
    pub(crate) product: i64,
    /// Requests a second at most.
    pub(crate) rate: u32,
    connections: Vec<Mutex<Vec<Client>>>,
    crowd: Mutex<Crowd>,
}

#[derive(Debug)]
struct Crowd {
    users: Vec<User>,
    due: BinaryHeap<Reverse<(Moment, usize)>>,
    flying: usize,
    mood: Mood,
    /// Whether nobody asks any more.
    over: bool,
    dice: Dice,
}

impl Load {
    pub(crate) fn new(
        apis: Vec<(usize, SocketAddr)>,
        (sale, product): (i64, i64),
        rate: u32,
        users: Vec<User>,
        dice: Dice,
    ) -> Arc<Self> {
        let due = users.iter().enumerate();
        let due = due.map(|(index, user)| Reverse((user.comes, index)));
        Arc::new(Self {
            connections: apis.iter().map(|_| Mutex::default()).collect(),
            apis,
            sale,
            product,
            rate,
            crowd: Mutex::new(Crowd {
                due: due.collect(),
                users,
                flying: 0,
                mood: Mood::Rush,
                over: false,
                dice,
            }),
        })
    }

    /// Lets the users ask until [`finish`](Self::finish).
    pub(crate) async fn run(self: Arc<Self>) {
        let mut tickets = 0.0_f64;
        let mut last = now();
        loop {
            let moment = now();
            let gained = (moment - last).as_secs_f64() * f64::from(self.rate);
            // What a stall of this program has kept back is not made up for.
            tickets = (tickets + gained).min(f64::from(self.rate) / 10.0).max(1.0);
            last = moment;
            while tickets >= 1.0 {
                let Some((index, ask, token)) = self.next(moment) else {
                    break;
                };
                tickets -= 1.0;
                let load = Arc::clone(&self);
                tokio::spawn(async move {
                    let event = load.ask(ask, &token).await;
                    load.heard(index, event);
                });
            }
            {
                let crowd = self.crowd.lock().unwrap();
                if crowd.over && crowd.flying == 0 {
                    return;
                }
            }
            sleep(TICK).await;
        }
    }

    fn next(&self, moment: Moment) -> Option<(usize, Ask, Arc<str>)> {
        let mut crowd = self.crowd.lock().unwrap();
        let crowd = &mut *crowd;
        let Reverse((due, index)) = *crowd.due.peek()?;
        if crowd.over || due > moment || crowd.flying >= FLYING_MAX {
            return None;
        }
        crowd.due.pop();
        crowd.flying += 1;
        let user = &crowd.users[index];
        Some((index, user.ask(&mut crowd.dice), Arc::clone(&user.token)))
    }

    fn heard(&self, index: usize, event: Event) {
        let mut crowd = self.crowd.lock().unwrap();
        let crowd = &mut *crowd;
        crowd.flying -= 1;
        let pause = crowd.users[index].hear(event, crowd.mood, &mut crowd.dice);
        if let Some(pause) = pause {
            crowd.due.push(Reverse((now() + pause, index)));
        }
    }

    async fn ask(&self, ask: Ask, token: &str) -> Event {
        self.ask_at(self.choose(), ask, token).await
    }

    /// Asks the process at this place.
    pub(crate) async fn ask_at(&self, choice: usize, ask: Ask, token: &str) -> Event {
        let (api, address) = self.apis[choice];
        let kept = self.connections[choice].lock().unwrap().pop();
        let sent = now();
        let request = async {
            let mut client = match kept {
                Some(client) => client,
                None => Client::connect(address).await?,
            };
            let answer = match ask {
                Ask::Attempt => client.attempt(self.sale, token).await?,
                Ask::Status => {
                    let path = format!("/api/orders/status/{}", self.product);
                    client.get(&path, token).await?
                }
            };
            io::Result::Ok((answer, client))
        };
        let told = match timeout(PATIENCE, request).await {
            Ok(Ok((answer, client))) => {
                self.connections[choice].lock().unwrap().push(client);
                told(ask, &answer)
            }
            Ok(Err(error)) => Told::Lost(error.kind().to_string()),
            Err(_) => Told::Hung,
        };
        Event {
            ask,
            api,
            sent,
            answered: now(),
            told,
        }
    }

    fn choose(&self) -> usize {
        let count = self.apis.len() as u64;
        let choice = self.crowd.lock().unwrap().dice.below(count);
        usize::try_from(choice).unwrap()
    }

    /// Nobody new comes; those who are here ask until their answer is final.
    pub(crate) fn settle(&self) {
        let mut crowd = self.crowd.lock().unwrap();
        let crowd = &mut *crowd;
        crowd.mood = Mood::Settle;
        // Those who are being answered just now go on by themselves.
        let waiting: HashSet<_> = crowd.due.drain().map(|Reverse((_, index))| index).collect();
        let here: Vec<_> = (0..crowd.users.len())
            .filter(|&index| !crowd.users[index].events.is_empty())
            .filter(|&index| waiting.contains(&index) || crowd.users[index].was_told_bought())
            .collect();
        self.wake(crowd, &here);
    }

    /// Lets those ask once more who were accepted and heard something else since.
    pub(crate) fn look_again(&self) {
        let mut crowd = self.crowd.lock().unwrap();
        let unsure = |index: &usize| crowd.users[*index].is_unsure();
        let unsure: Vec<_> = (0..crowd.users.len()).filter(unsure).collect();
        self.wake(&mut crowd, &unsure);
    }

    /// Lets some users who were refused ask again; there are units for all of them now.
    pub(crate) fn last_call(&self, users: &[usize]) {
        let mut crowd = self.crowd.lock().unwrap();
        crowd.mood = Mood::LastCall;
        self.wake(&mut crowd, users);
    }

    fn wake(&self, crowd: &mut Crowd, users: &[usize]) {
        let moment = now();
        for &index in users {
            crowd.users[index].wake();
            let pause = crowd.dice.ms(0, 300);
            crowd.due.push(Reverse((moment + pause, index)));
        }
    }

    /// Whether everybody has a final answer.
    pub(crate) fn is_quiet(&self) -> bool {
        let crowd = self.crowd.lock().unwrap();
        crowd.due.is_empty() && crowd.flying == 0
    }

    /// Whether somebody has not come yet.
    pub(crate) fn has_absent(&self) -> bool {
        let crowd = self.crowd.lock().unwrap();
        crowd.users.iter().any(|user| user.events.is_empty())
    }

    /// Those who have no final answer yet.
    pub(crate) fn waiting(&self) -> Vec<String> {
        let crowd = self.crowd.lock().unwrap();
        let due = crowd.due.iter();
        let names = due.map(|Reverse((_, index))| crowd.users[*index].name.clone());
        names.collect()
    }

    /// Some users to whom everything was sold when they asked last.
    pub(crate) fn refused(&self, most: usize) -> Vec<usize> {
        let crowd = self.crowd.lock().unwrap();
        let refused = crowd.users.iter().enumerate();
        let refused = refused.filter(|(_, user)| user.was_refused());
        refused.map(|(index, _)| index).take(most).collect()
    }

    /// Nobody asks any more.
    pub(crate) fn finish(&self) {
        self.crowd.lock().unwrap().over = true;
    }

    /// The users with everything they were told.
    pub(crate) fn users(&self) -> Vec<User> {
        let mut crowd = self.crowd.lock().unwrap();
        std::mem::take(&mut crowd.users)
    }
}

fn told(ask: Ask, answer: &Answer) -> Told {
    let data = &answer.body["data"];
    let status = data["status"].as_str().unwrap_or_default();
    match (ask, answer.status, answer.code()) {
        (Ask::Attempt, 200, _) if status == "PENDING" || status == "SUCCESS" => Told::Accepted {
            attempt: answer.data("attemptId").to_owned(),
            bought: status == "SUCCESS",
            logged: data["durability"] != "RESERVED",
        },
        (Ask::Status, 200, _) => match (status, data["attempted"].as_bool()) {
            ("PENDING", Some(true)) => Told::Pending,
            ("PENDING", Some(false)) => Told::Nothing,
            ("SUCCESS", Some(true)) => Told::Success,
            ("FAILED", Some(true)) => Told::Failed,
            _ => Told::Odd(format!("{answer:?}")),
        },
        (Ask::Attempt, 409, "SOLD_OUT") => Told::SoldOut,
        (Ask::Attempt, 409, "SALE_PAUSED") => Told::Paused,
        (Ask::Attempt, 409, "SALE_ENDED") => Told::Ended,
        (Ask::Attempt, 404, "SALE_NOT_FOUND") => Told::Unknown,
        (_, 503, "UNAVAILABLE") => Told::Unavailable,
        _ => Told::Odd(format!("{answer:?}")),
    }
}
