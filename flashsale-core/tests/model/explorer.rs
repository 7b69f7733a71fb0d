//! Visits every state that a protocol can come to, the nearest first.

use std::collections::hash_map::{DefaultHasher, Entry};
use std::collections::{HashMap, VecDeque};
use std::fmt::Debug;
use std::hash::{Hash, Hasher};
use std::time::Instant;

/// What can be explored.
pub(crate) trait Protocol {
    type State: Clone + Hash;
    type Action: Copy + Debug;

    fn start(&self) -> Self::State;

    /// All that can happen in this state.
    fn actions(&self, state: &Self::State) -> Vec<Self::Action>;

    /// The state after it.
    fn after(&self, state: &Self::State, action: Self::Action) -> Self::State;

    /// The rule that this state breaks, if it does.
    fn broken(&self, state: &Self::State, actions: &[Self::Action]) -> Option<&'static str>;

    /// What this state shows to be possible, as bits.
    fn reached(&self, state: &Self::State) -> u32;
}

/// What an exploration has found.
pub(crate) struct Explored<A> {
    pub(crate) states: usize,
    pub(crate) seconds: f64,
    pub(crate) reached: u32,
    /// A rule that can be broken, and the shortest way there.
    pub(crate) broken: Option<(&'static str, Vec<A>)>,
    /// Whether every state was visited.
    pub(crate) complete: bool,
}

fn fingerprint(state: &impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    state.hash(&mut hasher);
    hasher.finish()
}

/// Visits states until a rule is broken, none is left, or there are `states_max`.
pub(crate) fn explore<P: Protocol>(protocol: &P, states_max: usize) -> Explored<P::Action> {
    let begin = Instant::now();
    let start = protocol.start();
    let first = fingerprint(&start);
    // How each state was come to: two that have the same fingerprint would be taken for one.
    let mut from: HashMap<u64, Option<(u64, P::Action)>> = HashMap::from([(first, None)]);
    let mut next = VecDeque::from([(first, start)]);
    let mut reached = 0;
    let mut broken = None;
    while let Some((print, state)) = next.pop_front() {
        let actions = protocol.actions(&state);
        reached |= protocol.reached(&state);
        if let Some(rule) = protocol.broken(&state, &actions) {
            broken = Some((rule, way_to(&from, print)));
            break;
        }
        if from.len() >= states_max {
            continue;
        }
        for action in actions {
            let after = protocol.after(&state, action);
            let after_print = fingerprint(&after);
            if let Entry::Vacant(place) = from.entry(after_print) {
                place.insert(Some((print, action)));
                next.push_back((after_print, after));
            }
        }
    }
    Explored {
        states: from.len(),
        seconds: begin.elapsed().as_secs_f64(),
        reached,
        complete: broken.is_none() && from.len() < states_max,
        broken,
    }
}

fn way_to<A: Copy>(from: &HashMap<u64, Option<(u64, A)>>, to: u64) -> Vec<A> {
    let mut way = Vec::new();
    let mut at = to;
    while let Some((before, action)) = from[&at] {
        way.push(action);
        at = before;
    }
    way.reverse();
    way
}
