//! The Lua scripts, each loaded here and nowhere else.

use std::sync::LazyLock;

/// A script with the name that Redis knows it by.
#[derive(Debug)]
pub(crate) struct Script {
    pub(crate) code: &'static str,
    pub(crate) sha: String,
}

macro_rules! scripts {
    ($($(#[$doc:meta])* $name:ident = $file:literal;)*) => {
        $($(#[$doc])* pub(crate) static $name: LazyLock<Script> = LazyLock::new(|| {
            let code = include_str!(concat!("../lua/", $file));
            Script { code, sha: redis::Script::new(code).get_hash().to_owned() }
        });)*
    };
}

scripts! {
    RESERVE = "reserve.lua";
    ACKNOWLEDGE = "acknowledge.lua";
    SETTLE = "settle.lua";
    LOAD = "load.lua";
    OPEN = "open.lua";
    ALLOCATIONS = "allocations.lua";
    UNDECIDED = "undecided.lua";
    APPLY = "apply.lua";
    FENCE = "fence.lua";
    LEVELS = "levels.lua";
    PUT_RESULTS = "put_results.lua";
}
