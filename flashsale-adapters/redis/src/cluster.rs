use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use flashsale_core::ErrorKind;
use futures_util::future::{FutureExt, select_ok};
use redis::{ConnectionInfo, Value};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, timeout_at};

use crate::config;
use crate::connection::{Connection, IfDown, Timeouts};
use crate::error::Fault;
use crate::keys::SLOTS;
use crate::request::Request;

/// The primaries of a Redis Cluster, one [`Connection`] each, and which slots they have.
///
/// The driver's own cluster client (redis 1.8.1, `cluster-async`) was tried in its place. It passes
/// the conformance suite, and is not used because
/// - it takes its lock on all connections while it asks for the slots and connects, and carries no
///   answer meanwhile: a node that takes connections and does not answer stops the sales of all
///   others (`a_node_that_hangs_while_a_process_starts_holds_up_its_own_sales_only`);
/// - either it follows redirections and makes a call again after a lost answer, by itself, so that
///   nobody can tell a first try from a second, or it does neither, and the loop below stays;
/// - a call cost 224 µs of processor time instead of 69 with one caller, 52 instead of 42 with 32
///   (unoptimised builds, one run).
///
/// What is given up: cluster commands over several nodes, which nobody needs here. All keys of a
/// call are in one slot, which makes the routing short.
#[derive(Debug)]
pub(crate) struct Cluster {
    shared: Arc<Shared>,
    refresh_task: RefreshTask,
}

#[derive(Debug)]
struct Shared {
    seeds: Vec<Arc<Connection>>,
    timeouts: Timeouts,
    slot_map: RwLock<SlotMap>,
    /// How often the slots were asked for, and whether somebody wants it again.
    round: watch::Sender<Round>,
}

#[derive(Debug, Default)]
struct SlotMap {
    connections: HashMap<(String, u16), Arc<Connection>>,
    /// The owner of each slot; empty until it is known.
    owners: Vec<Option<Arc<Connection>>>,
    /// Why the last question for the slots was not answered.
    why: Option<Fault>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Round {
    wanted: u64,
    done: u64,
}

/// The task that asks for the slots; it ends with its cluster.
#[derive(Debug, Default)]
struct RefreshTask(std::sync::Mutex<Option<JoinHandle<()>>>);

/// How often a call follows a redirection.
const REDIRECTS_MAX: usize = 4;
/// The shortest pause between two questions for the slots.
const PAUSE: Duration = Duration::from_millis(50);

impl Cluster {
    pub(crate) fn new(seeds: Vec<ConnectionInfo>, timeouts: Timeouts) -> Self {
        let seeds = seeds.into_iter();
        let seeds = seeds.map(|info| Arc::new(Connection::new(info, timeouts)));
        let (round, _) = watch::channel(Round::default());
        Self {
            shared: Arc::new(Shared {
                seeds: seeds.collect(),
                timeouts,
                slot_map: RwLock::default(),
                round,
            }),
            refresh_task: RefreshTask::default(),
        }
    }

    /// Sends a request to the owner of its slot, wherever that moves.
    pub(crate) async fn call(
        &self,
        request: &Request,
        if_down: IfDown,
        deadline: Instant,
    ) -> Result<Value, Fault> {
        let mut connection = self.owner(request.slot, deadline).await?;
        let mut asking = false;
        for _ in 0..REDIRECTS_MAX {
            let answer = connection.call(request, asking, if_down, deadline).await;
            let Err(fault) = answer else { return answer };
            let Some(redirection) = fault.redirection() else {
                // Its slots may have gone to another node.
                if fault.kind == ErrorKind::Unavailable {
                    self.request_refresh();
                }
                return Err(fault);
            };
            let host = match &redirection.host[..] {
                "" | "?" => host_of(connection.info()),
                host => host.to_owned(),
            };
            connection = self.shared.connection(host, redirection.port);
            asking = redirection.once;
            if !redirection.once {
                self.shared.set_owner(redirection.slot, &connection);
                self.request_refresh();
            }
        }
        Err(Fault::moving())
    }

    /// The primaries that are known, for a check of each.
    pub(crate) async fn primaries(&self, deadline: Instant) -> Result<Vec<Arc<Connection>>, Fault> {
        self.owner(0, deadline).await?;
        let map = self.shared.slot_map.read();
        let map = map.unwrap_or_else(PoisonError::into_inner);
        let mut primaries: Vec<Arc<Connection>> = Vec::new();
        for owner in map.owners.iter().flatten() {
            if !primaries.iter().any(|known| Arc::ptr_eq(known, owner)) {
                primaries.push(Arc::clone(owner));
            }
        }
        Ok(primaries)
    }

    /// Who has a slot. Asks for the slots if that is not known.
    async fn owner(&self, slot: u16, deadline: Instant) -> Result<Arc<Connection>, Fault> {
        if let Some(owner) = self.shared.owner(slot) {
            return Ok(owner);
        }
        let wanted = self.request_refresh();
        let mut round = self.shared.round.subscribe();
        let found = timeout_at(deadline, round.wait_for(|round| round.done >= wanted)).await;
        drop(found);
        self.shared
            .owner(slot)
            .ok_or_else(|| self.shared.why_no_owner(slot))
    }

    /// Has the slots asked for, soon. Returns the number of the round that will know.
    fn request_refresh(&self) -> u64 {
        let mut wanted = 0;
        self.shared.round.send_if_modified(|round| {
            let idle = round.wanted == round.done;
            // A round that is under way may have asked already.
            round.wanted += u64::from(idle);
            wanted = round.wanted;
            idle
        });
        let refresh_task = self.refresh_task.0.lock();
        let mut refresh_task = refresh_task.unwrap_or_else(PoisonError::into_inner);
        if refresh_task.as_ref().is_none_or(JoinHandle::is_finished) {
            *refresh_task = Some(tokio::spawn(refresh_loop(Arc::clone(&self.shared))));
        }
        wanted
    }
}

impl Drop for RefreshTask {
    fn drop(&mut self) {
        let task = self.0.get_mut().unwrap_or_else(PoisonError::into_inner);
        if let Some(task) = task.take() {
            task.abort();
        }
    }
}

impl Shared {
    fn owner(&self, slot: u16) -> Option<Arc<Connection>> {
        let map = self.slot_map.read().unwrap_or_else(PoisonError::into_inner);
        map.owners.get(usize::from(slot))?.clone()
    }

    fn set_owner(&self, slot: u16, connection: &Arc<Connection>) {
        let mut map = self
            .slot_map
            .write()
            .unwrap_or_else(PoisonError::into_inner);
        if let Some(owner) = map.owners.get_mut(usize::from(slot)) {
            *owner = Some(Arc::clone(connection));
        }
    }

    /// The connection to a node, made if it is new.
    fn connection(&self, host: String, port: u16) -> Arc<Connection> {
        let is_there = |seed: &&Arc<Connection>| config::place(seed.info()) == (&host, port);
        if let Some(seed) = self.seeds.iter().find(is_there) {
            return Arc::clone(seed);
        }
        let mut map = self
            .slot_map
            .write()
            .unwrap_or_else(PoisonError::into_inner);
        let connection = map
            .connections
            .entry((host, port))
            .or_insert_with_key(|(host, port)| {
                let like = self.seeds[0].info();
                Arc::new(Connection::new(
                    config::at(like, host, *port),
                    self.timeouts,
                ))
            });
        Arc::clone(connection)
    }

    /// Asks all nodes for the slots; whoever answers first is believed. If that was wrong, the
    /// redirections put it right.
    async fn refresh(&self) -> Result<(), Fault> {
        let connections: Vec<_> = {
            let map = self.slot_map.read().unwrap_or_else(PoisonError::into_inner);
            map.connections
                .values()
                .chain(&self.seeds)
                .cloned()
                .collect()
        };
        let deadline = Instant::now() + self.timeouts.connect + self.timeouts.response;
        let asked = connections
            .iter()
            .map(|connection| slots(connection, deadline).boxed());
        let (ranges, _) = select_ok(asked).await?;
        self.adopt(ranges);
        Ok(())
    }

    /// Takes the slots over, and lets go of nodes that have none.
    fn adopt(&self, ranges: Vec<SlotRange>) {
        let mut owners: Vec<Option<Arc<Connection>>> = vec![None; usize::from(SLOTS)];
        for range in ranges {
            let connection = self.connection(range.host, range.port);
            let slots = usize::from(range.first)..=usize::from(range.last.min(SLOTS - 1));
            for owner in owners.get_mut(slots).into_iter().flatten() {
                *owner = Some(Arc::clone(&connection));
            }
        }
        let mut map = self
            .slot_map
            .write()
            .unwrap_or_else(PoisonError::into_inner);
        map.connections.retain(|_, connection| {
            owners
                .iter()
                .flatten()
                .any(|owner| Arc::ptr_eq(owner, connection))
        });
        (map.owners, map.why) = (owners, None);
    }

    /// Why nobody has a slot, as far as that is known.
    fn why_no_owner(&self, slot: u16) -> Fault {
        let map = self.slot_map.read().unwrap_or_else(PoisonError::into_inner);
        map.why.clone().unwrap_or_else(|| Fault::no_owner(slot))
    }

    fn not_found(&self, why: Fault) {
        let mut map = self
            .slot_map
            .write()
            .unwrap_or_else(PoisonError::into_inner);
        map.why = Some(why.harmless());
    }
}

/// Asks for the slots each time somebody wants to know.
async fn refresh_loop(shared: Arc<Shared>) {
    let mut round = shared.round.subscribe();
    while round
        .wait_for(|round| round.wanted > round.done)
        .await
        .is_ok()
    {
        if let Err(fault) = shared.refresh().await {
            tracing::debug!(?fault, "the slots of the cluster are not known");
            shared.not_found(fault);
        }
        shared.round.send_modify(|round| round.done = round.wanted);
        sleep(PAUSE).await;
    }
}

/// Consecutive slots and their primary.
#[derive(Debug, PartialEq, Eq)]
struct SlotRange {
    first: u16,
    last: u16,
    host: String,
    port: u16,
}

/// What a node says about the slots.
async fn slots(connection: &Connection, deadline: Instant) -> Result<Vec<SlotRange>, Fault> {
    let mut command = redis::cmd("CLUSTER");
    command.arg("SLOTS");
    let request = Request::command(0, command);
    let answer = connection
        .call(&request, false, IfDown::Fail, deadline)
        .await?;
    match ranges(answer, &host_of(connection.info())) {
        Some(ranges) if !ranges.is_empty() => Ok(ranges),
        Some(_) | None => Err(Fault::no_owner(0)),
    }
}

/// Reads the answer of `CLUSTER SLOTS`. A node that names no host means the one that was asked.
fn ranges(answer: Value, asked: &str) -> Option<Vec<SlotRange>> {
    let Value::Array(ranges) = answer else {
        return None;
    };
    let range = |range: Value| {
        let Value::Array(fields) = range else {
            return None;
        };
        let [
            Value::Int(first),
            Value::Int(last),
            Value::Array(primary),
            ..,
        ] = &fields[..]
        else {
            return None;
        };
        let [host, Value::Int(port), ..] = &primary[..] else {
            return None;
        };
        let host = match host {
            Value::BulkString(host) if !host.is_empty() && host != b"?" => {
                String::from_utf8(host.clone()).ok()?
            }
            _ => asked.to_owned(),
        };
        Some(SlotRange {
            first: u16::try_from(*first).ok()?,
            last: u16::try_from(*last).ok()?,
            host,
            port: u16::try_from(*port).ok()?,
        })
    };
    ranges.into_iter().map(range).collect()
}

fn host_of(info: &ConnectionInfo) -> String {
    config::place(info).0.to_owned()
}
