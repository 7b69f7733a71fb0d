use redis::Cmd;

use crate::scripts::Script;

/// What a [`Connection`](crate::connection::Connection) is asked to send.
#[derive(Debug)]
pub(crate) struct Request {
    pub(crate) command: Cmd,
    /// The script that the command runs, if it runs one.
    pub(crate) script: Option<&'static Script>,
    /// Where its keys are.
    pub(crate) slot: u16,
}

impl Request {
    /// A command that is no script.
    pub(crate) fn command(slot: u16, command: Cmd) -> Self {
        Self {
            command,
            script: None,
            slot,
        }
    }

    /// A call of a script; arguments are added to [`command`](Self::command). `size` is about how
    /// many arguments there will be.
    pub(crate) fn script(slot: u16, script: &'static Script, keys: &[&str], size: usize) -> Self {
        let bytes = 64 + keys.len() * 32 + size * 24;
        let mut command = Cmd::with_capacity(3 + keys.len() + size, bytes);
        command.arg("EVALSHA").arg(script.sha.as_str());
        command.arg(keys.len()).arg(keys);
        Self {
            command,
            script: Some(script),
            slot,
        }
    }
}
