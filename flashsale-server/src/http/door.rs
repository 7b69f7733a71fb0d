use std::collections::VecDeque;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::oneshot;
use tokio::time::timeout;

use super::api_error::{ApiError, Code};
use crate::http_config::HttpConfig;

/// Where logins and registrations wait for their turn at the passwords.
///
/// Turns go round the addresses, and for each address round the user names, so that nobody waits
/// for more than one turn of everybody else who waits. One pair of address and name, one name, and
/// all together have a limit each. Who is beyond the first two is a flood and told so; when all
/// places are taken, the last who came of the address that has the most of them leaves.
#[derive(Clone, Debug)]
pub(super) struct Door {
    queue: Arc<Mutex<Queue>>,
    wait_max: Duration,
}

#[derive(Debug)]
struct Queue {
    /// How many may be inside.
    turns: usize,
    inside: usize,
    waiting: VecDeque<Waiter>,
    /// Numbers waiters, and turns.
    clock: u64,
    /// How long a turn takes; a moving average.
    turn_ms: u64,
}

#[derive(Debug)]
struct Waiter {
    number: u64,
    address: IpAddr,
    name: String,
    /// When the address, and this name of it, last had a turn or began to wait.
    address_since: u64,
    name_since: u64,
    call: oneshot::Sender<Result<Turn, ApiError>>,
}

/// The right to work on a password, until it is dropped.
#[derive(Debug)]
pub(super) struct Turn {
    queue: Arc<Mutex<Queue>>,
    since: Instant,
}

/// Takes a waiter out of the queue if it is no longer interested.
struct Place<'a> {
    queue: &'a Mutex<Queue>,
    number: u64,
}

impl Door {
    /// The most that wait for one name from one address.
    const PAIR_MAX: usize = 32;
    /// The most that wait for one name from everywhere.
    const NAME_MAX: usize = 64;
    /// The most that wait for each turn that can be had at a time.
    const WAITING_MAX_PER_TURN: usize = 128;

    pub(super) fn new(config: &HttpConfig) -> Self {
        let queue = Queue {
            // One looks up its user while another has the core.
            turns: config.login_concurrency.saturating_mul(2),
            inside: 0,
            waiting: VecDeque::new(),
            clock: 0,
            turn_ms: 60,
        };
        Self {
            queue: Arc::new(Mutex::new(queue)),
            // The connection is cut when the request has taken its time.
            wait_max: config.request_timeout / 3,
        }
    }

    /// Waits for a turn.
    ///
    /// # Errors
    /// `RATE_LIMITED` for a flood, `BUSY` if there are too many others.
    pub(super) async fn turn(&self, address: IpAddr, name: &str) -> Result<Turn, ApiError> {
        let address = network_of(address);
        let (call, answer) = oneshot::channel();
        let place = {
            let mut queue = lock(&self.queue);
            if queue.inside < queue.turns {
                queue.inside += 1;
                drop(queue);
                return Ok(Turn::begin(&self.queue));
            }
            let number = queue.join(address, name, call)?;
            Place {
                queue: &self.queue,
                number,
            }
        };
        let called = timeout(self.wait_max, answer).await;
        drop(place);
        match called {
            Ok(Ok(called)) => called,
            Ok(Err(_)) | Err(_) => Err(lock(&self.queue).refusal(Code::Busy)),
        }
    }
}

impl Queue {
    fn join(
        &mut self,
        address: IpAddr,
        name: &str,
        call: oneshot::Sender<Result<Turn, ApiError>>,
    ) -> Result<u64, ApiError> {
        self.clock += 1;
        let number = self.clock;
        let (mut of_name, mut of_pair) = (0, 0);
        let (mut address_since, mut name_since) = (number, number);
        for waiter in &self.waiting {
            let (same_name, same_address) = (waiter.name == name, waiter.address == address);
            if same_name {
                of_name += 1;
            }
            if same_address {
                address_since = waiter.address_since;
            }
            if same_name && same_address {
                of_pair += 1;
                name_since = waiter.name_since;
            }
        }
        if of_pair >= Door::PAIR_MAX || of_name >= Door::NAME_MAX {
            return Err(self.refusal(Code::RateLimited));
        }
        self.waiting.push_back(Waiter {
            number,
            address,
            name: name.to_owned(),
            address_since,
            name_since,
            call,
        });
        if self.waiting.len() > self.turns.saturating_mul(Door::WAITING_MAX_PER_TURN) {
            self.send_one_away();
        }
        Ok(number)
    }

    /// Makes room: the last who came of the address that has the most places.
    fn send_one_away(&mut self) {
        let mut addresses: Vec<IpAddr> = self.waiting.iter().map(|one| one.address).collect();
        addresses.sort_unstable();
        let most = addresses
            .chunk_by(PartialEq::eq)
            .max_by_key(|same| same.len());
        let Some((address, places)) = most.map(|same| (same[0], same.len())) else {
            return;
        };
        let last = self.waiting.iter().rposition(|one| one.address == address);
        // With a single address there is nobody to compare it with: it may be that of a balancer.
        let flood = places > 1 && places < self.waiting.len();
        let code = if flood { Code::RateLimited } else { Code::Busy };
        let refusal = self.refusal(code);
        if let Some(waiter) = last.and_then(|last| self.waiting.remove(last)) {
            let _ = waiter.call.send(Err(refusal));
        }
    }

    /// Whose turn is next: the address that has waited longest for one, of its names the one that
    /// has, and of those the first.
    fn next(&mut self) -> Option<Waiter> {
        let rank = |one: &Waiter| (one.address_since, one.name_since, one.number);
        let (at, _) = (self.waiting.iter().enumerate()).min_by_key(|(_, one)| rank(one))?;
        let next = self.waiting.remove(at)?;
        self.clock += 1;
        for waiter in &mut self.waiting {
            if waiter.address == next.address {
                waiter.address_since = self.clock;
                if waiter.name == next.name {
                    waiter.name_since = self.clock;
                }
            }
        }
        Some(next)
    }

    /// With the time after which everybody who waits now has had a turn, and up to half of it more,
    /// so that those who are sent away together do not come back together.
    fn refusal(&self, code: Code) -> ApiError {
        /// No queue takes longer, and a client would give up.
        const MAX_S: u64 = 60;
        let ahead = self.waiting.len() as u64 + 1;
        let wait_ms = ahead * self.turn_ms / self.turns.max(1) as u64;
        let jitter_ms = u64::from(getrandom::u32().unwrap_or_default()) % (wait_ms / 2 + 1_000);
        let seconds = (wait_ms + jitter_ms).div_ceil(1_000).clamp(1, MAX_S);
        ApiError::from(code).after(seconds)
    }
}

impl Turn {
    fn begin(queue: &Arc<Mutex<Queue>>) -> Self {
        Self {
            queue: Arc::clone(queue),
            since: Instant::now(),
        }
    }
}

impl Drop for Turn {
    /// Hands the turn on.
    fn drop(&mut self) {
        let next = {
            let mut queue = lock(&self.queue);
            let took_ms = self.since.elapsed().as_millis() as u64;
            queue.turn_ms = (queue.turn_ms * 7 + took_ms) / 8;
            let next = queue.next();
            if next.is_none() {
                queue.inside -= 1;
            }
            next
        };
        // Who has left meanwhile drops the turn, and that hands it on once more.
        if let Some(next) = next {
            let _ = next.call.send(Ok(Turn::begin(&self.queue)));
        }
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        let mut queue = lock(self.queue);
        queue.waiting.retain(|one| one.number != self.number);
    }
}

/// No code that can panic runs under the lock; what is there is right.
fn lock(queue: &Mutex<Queue>) -> MutexGuard<'_, Queue> {
    queue.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Whoever has one IPv6 address has at least the 64 bits behind the network.
fn network_of(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(v6) => IpAddr::V6((v6.to_bits() >> 64 << 64).into()),
        v4 @ IpAddr::V4(_) => v4,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn queue() -> Queue {
        Queue {
            turns: 1,
            inside: 1,
            waiting: VecDeque::new(),
            clock: 0,
            turn_ms: 60,
        }
    }

    fn address(number: u8) -> IpAddr {
        IpAddr::from([10, 0, 0, number])
    }

    type Answer = oneshot::Receiver<Result<Turn, ApiError>>;

    fn join(queue: &mut Queue, from: u8, name: &str) -> Option<Answer> {
        let (call, answer) = oneshot::channel();
        queue.join(address(from), name, call).ok().map(|_| answer)
    }

    #[test]
    fn turns_go_round_the_addresses_and_then_round_their_names() {
        let mut queue = queue();
        let all = [(1, "a"), (1, "a"), (1, "b"), (1, "a"), (2, "c"), (2, "c")];
        let _answers: Vec<_> = all.map(|(from, name)| join(&mut queue, from, name)).into();
        let next = std::iter::from_fn(|| queue.next().map(|one| (one.address, one.name)));
        let expected = [(1, "a"), (2, "c"), (1, "b"), (2, "c"), (1, "a"), (1, "a")];
        let expected = expected.map(|(from, name)| (address(from), name.to_owned()));
        assert_eq!(next.collect::<Vec<_>>(), expected);
    }

    #[test]
    fn one_name_has_so_many_places_per_address_and_in_all() {
        let mut queue = queue();
        for (from, taken) in [(1, Door::PAIR_MAX), (2, Door::PAIR_MAX), (3, 0)] {
            let joined = (0..100).filter_map(|_| join(&mut queue, from, "a"));
            assert_eq!(joined.count(), taken);
        }
        assert!(join(&mut queue, 1, "b").is_some());
    }

    #[test]
    fn who_has_the_most_places_makes_room() {
        let mut queue = queue();
        let flood: Vec<_> = (0..Door::WAITING_MAX_PER_TURN)
            .map(|number| join(&mut queue, 1, &number.to_string()).unwrap())
            .collect();
        let mut honest = join(&mut queue, 2, "ann").unwrap();
        assert!(honest.try_recv().is_err(), "it waits");
        let refused = flood.into_iter().filter_map(|mut one| one.try_recv().ok());
        let refused: Vec<_> = refused
            .map(|one| one.unwrap_err().into_response())
            .collect();
        assert_eq!(refused.len(), 1);
        assert_eq!(refused[0].status().as_u16(), 429);
        assert_eq!(queue.waiting.len(), Door::WAITING_MAX_PER_TURN);
    }
}
