//! What the daemon tells of replicas.

use serde::{Deserialize, Serialize};

/// How many replicas a service shall have, in short.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ScaleSummary {
    /// The service.
    pub service: String,
    /// How many it shall have; `None`: nobody knows yet how many there are.
    pub desired: Option<u32>,
    /// How many there are.
    pub replicas: u32,
    /// How many of them take new flows.
    pub healthy: u32,
    /// Why.
    pub text: String,
}

/// How many replicas a service shall have, and why.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ScaleReport {
    /// How many it shall have; `None`: nobody knows yet how many there are.
    pub desired: Option<u32>,
    /// How many there are, without those on their way out.
    pub replicas: u32,
    /// How many of them take new flows.
    pub healthy: u32,
    /// Never fewer.
    pub min: u32,
    /// Never more.
    pub max: u32,
    /// What decides: `weir` or `hpa`.
    pub algorithm: String,
    /// Who starts and stops them: `advise`, `command` or `docker`.
    pub executor: String,
    /// Whether it is only said what would be done.
    pub dry_run: bool,
    /// Requests a second that came in the last bucket, answered or not; `None`: not known.
    pub offered: Option<f64>,
    /// Requests a second to be ready for; `None`: not known.
    pub predicted: Option<f64>,
    /// Requests a second that a replica can take; `None`: not known.
    pub capacity: Option<f64>,
    /// What the forecast was made with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    /// What decided, in a word.
    pub reason: String,
    /// The decision and what decided, in a sentence.
    pub text: String,
    /// Seconds since the decision.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub age_s: Option<u64>,
    /// Replicas on their way out, by name.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub draining: Vec<String>,
    /// Replicas made so far.
    pub created: u64,
    /// Replicas taken away so far.
    pub removed: u64,
    /// What went wrong so far: replicas that could not be made or taken away, ended or never
    /// answered; runs of the command that failed.
    pub failed: u64,
    /// Seconds until nine of ten replicas answer, as configured or seen; `None`: nobody knows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub start_s: Option<f64>,
    /// What does not work at the moment.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trouble: Option<String>,
}
