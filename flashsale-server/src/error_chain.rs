use std::error::Error;

/// An error and what caused it, in one line.
pub(crate) fn error_chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text.replace('\n', " ")
}

#[cfg(test)]
mod tests {
    use flashsale_core::{ErrorKind, PortError};

    use super::error_chain;

    #[test]
    fn every_cause_is_told_in_one_line() {
        let cause = "connection refused\n(os error 111)";
        let fault = PortError::new(ErrorKind::Busy, "redis", "reserve").with_source(cause);
        assert_eq!(
            error_chain(&fault),
            "redis reserve: too much is waiting: connection refused (os error 111)"
        );
    }
}
