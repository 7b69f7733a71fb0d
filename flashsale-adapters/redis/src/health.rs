use redis::Value;
use tokio::time::Instant;

use crate::connection::{Connection, IfDown};
use crate::error::Fault;
use crate::request::Request;
use crate::topology::Topology;

/// The first version that has what the scripts need (`#!lua` with flags).
const VERSION_MIN: u32 = 7;

/// Checks that every primary answers and is set up so that no stock can get lost.
pub(crate) async fn check(topology: &Topology, deadline: Instant) -> Result<(), Fault> {
    match topology {
        Topology::Single(connection) => check_server(connection, false, deadline).await,
        Topology::Cluster(cluster) => {
            for primary in cluster.primaries(deadline).await? {
                check_server(&primary, true, deadline).await?;
            }
            Ok(())
        }
    }
}

async fn check_server(
    connection: &Connection,
    cluster: bool,
    deadline: Instant,
) -> Result<(), Fault> {
    let info = ask(connection, &["INFO"], deadline).await?;
    let field = |name: &str| {
        let lines = info.lines();
        let mut values = lines.filter_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
        values.next().map(str::trim).unwrap_or_default()
    };
    let major = field("redis_version").split('.').next();
    let major: u32 = major.and_then(|major| major.parse().ok()).unwrap_or(0);
    if major < VERSION_MIN {
        return Err(Fault::too_old());
    }
    let policy = field("maxmemory_policy");
    if policy != "noeviction" {
        let line = format!(
            "maxmemory-policy is {policy}, which may throw stock away: set maxmemory-policy noeviction"
        );
        return Err(Fault::setting(line));
    }
    if field("role") != "master" {
        let line = "this Redis is a read-only replica: name the primary".to_owned();
        return Err(Fault::setting(line));
    }
    if cluster {
        let state = ask(connection, &["CLUSTER", "INFO"], deadline).await?;
        if !state.contains("cluster_state:ok") {
            return Err(Fault::cluster_down());
        }
    } else if field("cluster_enabled") == "1" {
        return Err(Fault::is_cluster());
    }
    Ok(())
}

/// The text that a server answers with.
async fn ask(connection: &Connection, words: &[&str], deadline: Instant) -> Result<String, Fault> {
    let mut command = redis::Cmd::new();
    command.arg(words);
    let request = Request::command(0, command);
    let answer = connection
        .call(&request, false, IfDown::Fail, deadline)
        .await;
    match answer.map_err(Fault::harmless)? {
        Value::BulkString(bytes) => Ok(String::from_utf8_lossy(&bytes).into_owned()),
        Value::VerbatimString { text, .. } => Ok(text),
        Value::SimpleString(text) => Ok(text),
        _ => Err(Fault::no_info()),
    }
}
