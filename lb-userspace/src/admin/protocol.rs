//! What is said over the admin socket: one line of JSON asks, one line of JSON answers,
//! `{"ok":true,"data":…}` or `{"ok":false,"error":"…"}`.

use std::net::SocketAddr;

use serde::{Deserialize, Serialize};
use tokio::sync::oneshot;

use super::{
    names::{BackendName, deserialize_protocol},
    report::{
        BackendReport, DockerReport, Done, Explanation, FlowsReport, HealthReport, ServiceReport,
        StatusReport,
    },
};
use crate::model::Protocol;

/// Longest request in bytes, its line end included.
pub const REQUEST_BYTES_MAX: usize = 64 * 1024;

/// A request on its way to the daemon's loop, and where its answer goes.
pub type Question = (Request, oneshot::Sender<Response>);

/// What can be asked of the daemon.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "request", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Request {
    /// How the daemon is: [`StatusReport`].
    Status,
    /// The services: [`ServiceReport`]s.
    Services,
    /// The backends: [`BackendReport`]s.
    Backends,
    /// The flow table, or a part of it: [`FlowsReport`].
    Flows {
        /// At most so many flows.
        limit: usize,
        /// Only flows of this service.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        service: Option<String>,
    },
    /// Give a backend no new flows: [`Done`].
    Drain {
        /// The backend; without a protocol, both.
        backend: BackendName,
    },
    /// Give a drained backend new flows again: [`Done`].
    Undrain {
        /// The backend; without a protocol, both.
        backend: BackendName,
    },
    /// Change a weight until the daemon ends or `None` gives it back: [`Done`].
    Weight {
        /// The service.
        service: String,
        /// Its backend.
        backend: BackendName,
        /// The weight; `None`: as configured.
        weight: Option<u16>,
    },
    /// Which backend a flow has or would get: [`Explanation`].
    Explain {
        /// Protocol.
        #[serde(deserialize_with = "deserialize_protocol")]
        protocol: Protocol,
        /// The client.
        source: SocketAddr,
        /// The VIP.
        destination: SocketAddr,
    },
    /// The containers of the host and what became of them: [`DockerReport`].
    Docker,
    /// Read the configuration again: [`Done`].
    Reload,
    /// The metrics as text: [`Data::Metrics`]. Asked by the HTTP listener only.
    #[serde(skip)]
    Metrics,
    /// Whether the daemon does its work: [`HealthReport`]. Asked by the HTTP listener only.
    #[serde(skip)]
    Health,
}

/// The daemon's answer to a [`Request`].
#[derive(Clone, Debug, PartialEq)]
pub enum Response {
    /// It was done, or this is known.
    Ok(Data),
    /// Why not.
    Err(String),
}

/// What an answer holds.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(untagged)]
pub enum Data {
    /// To [`Request::Status`].
    Status(Box<StatusReport>),
    /// To [`Request::Services`].
    Services(Vec<ServiceReport>),
    /// To [`Request::Backends`].
    Backends(Vec<BackendReport>),
    /// To [`Request::Flows`].
    Flows(FlowsReport),
    /// To [`Request::Explain`].
    Explanation(Box<Explanation>),
    /// To [`Request::Docker`].
    Docker(Box<DockerReport>),
    /// To whatever changes something.
    Done(Done),
    /// To [`Request::Metrics`]: the `OpenMetrics` text.
    Metrics(String),
    /// To [`Request::Health`].
    Health(HealthReport),
}

impl Response {
    /// What happened, to a request that changes something.
    #[must_use]
    pub fn done(text: impl Into<String>) -> Self {
        Self::Ok(Data::Done(Done { text: text.into() }))
    }

    /// The answer as it is sent, line end included.
    #[must_use]
    pub fn to_line(&self) -> String {
        let reply = match self {
            Self::Ok(data) => Reply { ok: true, data: Some(data), error: None },
            Self::Err(error) => Reply { ok: false, data: None, error: Some(error.clone()) },
        };
        let mut line = serde_json::to_string(&reply).unwrap_or_else(|error| {
            format!("{{\"ok\":false,\"error\":\"the answer cannot be written: {error}\"}}")
        });
        line.push('\n');
        line
    }
}

/// An answer as it stands on its line.
#[derive(Serialize, Deserialize)]
struct Reply<T> {
    ok: bool,
    #[serde(skip_serializing_if = "Option::is_none", default = "none")]
    data: Option<T>,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    error: Option<String>,
}

/// `#[serde(default)]` alone would ask `T` for a default.
const fn none<T>() -> Option<T> {
    None
}

/// Reads a request line.
pub fn parse_request(line: &[u8]) -> Result<Request, String> {
    serde_json::from_slice(line).map_err(|error| format!("not a request: {}", harmless(&error)))
}

/// A message that may repeat what was sent, without what a terminal would act on.
fn harmless(error: &serde_json::Error) -> String {
    let shown = |c: char| if c.is_control() { c.escape_debug().to_string() } else { c.to_string() };
    error.to_string().chars().map(shown).collect()
}

/// Reads an answer line: the data, or the daemon's error, or (outside) what is wrong with the line.
pub fn parse_response<T>(line: &[u8]) -> Result<Result<T, String>, String>
where
    T: for<'de> Deserialize<'de>,
{
    let reply: Reply<T> = serde_json::from_slice(line).map_err(|error| harmless(&error))?;
    match (reply.ok, reply.data, reply.error) {
        (true, Some(data), None) => Ok(Ok(data)),
        (false, None, Some(error)) => Ok(Err(error)),
        (true | false, _, _) => Err("neither data nor an error".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_look_like_this_and_come_back_the_same() {
        let backend: BackendName = "198.18.10.2:53/udp".parse().unwrap();
        let rows = [
            (Request::Status, r#"{"request":"status"}"#),
            (Request::Services, r#"{"request":"services"}"#),
            (Request::Backends, r#"{"request":"backends"}"#),
            (Request::Flows { limit: 7, service: None }, r#"{"request":"flows","limit":7}"#),
            (
                Request::Flows { limit: 7, service: Some("web".into()) },
                r#"{"request":"flows","limit":7,"service":"web"}"#,
            ),
            (Request::Drain { backend }, r#"{"request":"drain","backend":"198.18.10.2:53/udp"}"#),
            (
                Request::Undrain { backend },
                r#"{"request":"undrain","backend":"198.18.10.2:53/udp"}"#,
            ),
            (
                Request::Weight { service: "dns".into(), backend, weight: Some(3) },
                r#"{"request":"weight","service":"dns","backend":"198.18.10.2:53/udp","weight":3}"#,
            ),
            (
                Request::Weight { service: "dns".into(), backend, weight: None },
                r#"{"request":"weight","service":"dns","backend":"198.18.10.2:53/udp","weight":null}"#,
            ),
            (
                Request::Explain {
                    protocol: Protocol::Tcp,
                    source: "[fd00::1]:4000".parse().unwrap(),
                    destination: "[fd00:18::1]:80".parse().unwrap(),
                },
                r#"{"request":"explain","protocol":"tcp","source":"[fd00::1]:4000","destination":"[fd00:18::1]:80"}"#,
            ),
            (Request::Docker, r#"{"request":"docker"}"#),
            (Request::Reload, r#"{"request":"reload"}"#),
        ];
        for (request, line) in rows {
            assert_eq!(serde_json::to_string(&request).unwrap(), line);
            assert_eq!(parse_request(line.as_bytes()).unwrap(), request);
        }
    }

    #[test]
    fn what_is_no_request_is_refused_with_the_reason() {
        for (line, part) in [
            ("", "EOF"),
            ("\n", "EOF"),
            ("status", "expected value"),
            ("\"status\"", "invalid type"),
            ("{}", "missing field `request`"),
            (r#"{"request":"shutdown"}"#, "unknown variant"),
            (r#"{"request":"metrics"}"#, "unknown variant"),
            (r#"{"request":"health"}"#, "unknown variant"),
            (r#"{"request":"status"} {"request":"status"}"#, "trailing"),
            (r#"{"request":"flows"}"#, "missing field `limit`"),
            (r#"{"request":"flows","limit":-1}"#, "invalid value"),
            (r#"{"request":"flows","limit":1,"servise":"web"}"#, "unknown field"),
            (r#"{"request":"drain","backend":"198.18.10.2"}"#, "not address:port"),
            (r#"{"request":"drain","backend":"198.18.10.2:1/icmp"}"#, "neither tcp nor udp"),
            (
                r#"{"request":"weight","service":"w","backend":"198.18.10.2:1","weight":70000}"#,
                "70000",
            ),
            (
                r#"{"request":"explain","protocol":"icmp","source":"198.18.0.2:1","destination":"198.18.0.1:1"}"#,
                "neither tcp nor udp",
            ),
        ] {
            let error = parse_request(line.as_bytes()).unwrap_err();
            assert!(error.starts_with("not a request: "), "{line}: {error}");
            assert!(error.contains(part), "{line}: {error}");
        }
    }

    #[test]
    fn answers_come_back_the_same() {
        let line = Response::done("drained").to_line();
        assert_eq!(line, "{\"ok\":true,\"data\":{\"text\":\"drained\"}}\n");
        let done = Done { text: "drained".into() };
        assert_eq!(parse_response(line.as_bytes()), Ok(Ok(done)));

        let line = Response::Err("no \"x\"".into()).to_line();
        assert_eq!(line, "{\"ok\":false,\"error\":\"no \\\"x\\\"\"}\n");
        assert_eq!(parse_response::<Done>(line.as_bytes()), Ok(Err("no \"x\"".into())));
    }

    #[test]
    fn what_is_no_answer_is_refused() {
        for line in [
            "",
            "{",
            "[]",
            "{}",
            r#"{"ok":true}"#,
            r#"{"ok":false}"#,
            r#"{"ok":true,"error":"x"}"#,
            r#"{"ok":false,"data":{"text":"x"}}"#,
            r#"{"ok":true,"data":{"text":"x"},"error":"x"}"#,
            r#"{"ok":true,"data":{"other":"x"}}"#,
            r#"{"ok":"yes","data":{"text":"x"}}"#,
        ] {
            assert!(parse_response::<Done>(line.as_bytes()).is_err(), "{line}");
        }
    }
}
