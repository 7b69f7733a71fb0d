use serde_json::Value;

/// A status and a JSON body.
#[derive(Clone, Debug)]
pub struct Answer {
    /// The status.
    pub status: u16,
    /// The body; null if there is none.
    pub body: Value,
}

impl Answer {
    /// A text in `data`.
    ///
    /// # Panics
    /// If there is none.
    pub fn data(&self, field: &str) -> &str {
        let text = self.body["data"][field].as_str();
        text.unwrap_or_else(|| panic!("no {field} in {self:?}"))
    }

    /// The code of a failure.
    pub fn code(&self) -> &str {
        self.body["code"].as_str().unwrap_or_default()
    }
}
