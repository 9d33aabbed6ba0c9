//! Load reports in the manner of ORCA (Open Request Cost Aggregation, gRFC A51; the fields are those
//! of xDS's `OrcaLoadReport`): as JSON, or as text such as `cpu_utilization=0.3, eps=1`.
//!
//! In a header (`endpoint-load-metrics`, `endpoint-load-metrics-json`) the form may be announced by
//! `JSON ` or `TEXT `. The binary form (`BIN `) is for gRPC and not read.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::shown;

/// The longest report that is looked at.
pub(super) const REPORT_MAX: usize = 16 * 1024;
/// Metrics with names of their own.
const NAMED_MAX: usize = 64;
const NAME_MAX: usize = 128;
const NAMED: &str = "named_metrics.";

/// Why a report cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OrcaError {
    /// Too much was said.
    #[error("the load report is longer than {REPORT_MAX} bytes")]
    TooLong,
    /// It is neither of the two forms.
    #[error("the load report is not understood: {0}")]
    NotUnderstood(String),
    /// The form for gRPC.
    #[error("the load report is in binary form, which is not read")]
    Binary,
    /// A field has a value that it cannot have.
    #[error("{field} is {value} in the load report, and not a number from 0 upwards")]
    Value {
        /// The field.
        field: String,
        /// What it has.
        value: String,
    },
    /// A field is there twice.
    #[error("{0} is in the load report twice")]
    Twice(String),
    /// Names without end.
    #[error(
        "the load report has more than {NAMED_MAX} named metrics, or longer names than {NAME_MAX} bytes"
    )]
    TooMany,
    /// None of the fields is there.
    #[error("the load report says nothing")]
    Empty,
}

/// What a backend says of its load. Numbers are finite; those of the fields not negative.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
pub struct OrcaReport {
    /// Share of what the application can do, by its own measure. May be above 1.
    #[serde(alias = "applicationUtilization")]
    pub application_utilization: Option<f64>,
    /// Share of the CPU that it may use. May be above 1.
    #[serde(alias = "cpuUtilization")]
    pub cpu_utilization: Option<f64>,
    /// Share of the memory that it may use.
    #[serde(alias = "memUtilization")]
    pub mem_utilization: Option<f64>,
    /// Requests a second.
    #[serde(alias = "rpsFractional")]
    pub rps_fractional: Option<f64>,
    /// Errors a second.
    pub eps: Option<f64>,
    /// Metrics of the application's own.
    #[serde(alias = "namedMetrics")]
    pub named_metrics: BTreeMap<String, f64>,
}

impl OrcaReport {
    /// Reads a header's value.
    pub fn parse_header(value: &[u8]) -> Result<Self, OrcaError> {
        let value = value.trim_ascii();
        let form = |prefix: &[u8]| {
            let (form, rest) = value.split_at_checked(prefix.len())?;
            form.eq_ignore_ascii_case(prefix).then_some(rest)
        };
        match () {
            () if form(b"BIN ").is_some() => Err(OrcaError::Binary),
            () => match (form(b"JSON "), form(b"TEXT ")) {
                (Some(json), _) => Self::parse_json(json),
                (None, Some(text)) => Self::parse_text(text),
                (None, None) if value.starts_with(b"{") => Self::parse_json(value),
                (None, None) => Self::parse_text(value),
            },
        }
    }

    /// Reads the JSON form. Fields that are not known are passed over.
    pub fn parse_json(json: &[u8]) -> Result<Self, OrcaError> {
        if json.len() > REPORT_MAX {
            return Err(OrcaError::TooLong);
        }
        let report: Self = serde_json::from_slice(json)
            .map_err(|error| OrcaError::NotUnderstood(format!("{}: {error}", shown(json))))?;
        report.checked()
    }

    /// Reads the text form: `field=number`, between commas.
    pub fn parse_text(text: &[u8]) -> Result<Self, OrcaError> {
        if text.len() > REPORT_MAX {
            return Err(OrcaError::TooLong);
        }
        let not_understood = || OrcaError::NotUnderstood(shown(text));
        let text = std::str::from_utf8(text).map_err(|_| not_understood())?;
        let mut report = Self::default();
        for pair in text.split(',').map(str::trim).filter(|pair| !pair.is_empty()) {
            let (field, value) = pair.split_once('=').ok_or_else(not_understood)?;
            report.add(field.trim(), value.trim())?;
        }
        report.checked()
    }

    fn add(&mut self, field: &str, value: &str) -> Result<(), OrcaError> {
        let number = || {
            value.parse().map_err(|_| OrcaError::Value {
                field: shown(field.as_bytes()),
                value: shown(value.as_bytes()),
            })
        };
        let twice = || OrcaError::Twice(shown(field.as_bytes()));
        if let Some(name) = field.strip_prefix(NAMED) {
            let before = self.named_metrics.insert(name.to_owned(), number()?);
            return if before.is_none() { Ok(()) } else { Err(twice()) };
        }
        let Some((_, slot)) = self.fields_mut().into_iter().find(|(name, _)| *name == field) else {
            return Ok(());
        };
        if slot.replace(number()?).is_some() { Err(twice()) } else { Ok(()) }
    }

    fn fields_mut(&mut self) -> [(&'static str, &mut Option<f64>); 5] {
        [
            ("application_utilization", &mut self.application_utilization),
            ("cpu_utilization", &mut self.cpu_utilization),
            ("mem_utilization", &mut self.mem_utilization),
            ("rps_fractional", &mut self.rps_fractional),
            ("eps", &mut self.eps),
        ]
    }

    fn checked(mut self) -> Result<Self, OrcaError> {
        let mut empty = self.named_metrics.is_empty();
        for (field, value) in self.fields_mut() {
            let Some(value) = *value else { continue };
            if !value.is_finite() || value < 0.0 {
                let (field, value) = (field.to_owned(), value.to_string());
                return Err(OrcaError::Value { field, value });
            }
            empty = false;
        }
        for (name, value) in &self.named_metrics {
            if name.len() > NAME_MAX {
                return Err(OrcaError::TooMany);
            }
            if !value.is_finite() {
                let (field, value) = (shown(name.as_bytes()), value.to_string());
                return Err(OrcaError::Value { field, value });
            }
        }
        match self.named_metrics.len() {
            many if many > NAMED_MAX => Err(OrcaError::TooMany),
            _ if empty => Err(OrcaError::Empty),
            _ => Ok(self),
        }
    }

    /// How much of itself the backend says it uses, from 0 to 1: by its own measure, or else by its
    /// CPU (gRFC A58).
    #[must_use]
    pub fn utilisation(&self) -> Option<f64> {
        let own = self.application_utilization.filter(|&share| share > 0.0);
        own.or(self.cpu_utilization).or(self.application_utilization).map(|share| share.min(1.0))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn full() -> OrcaReport {
        OrcaReport {
            application_utilization: Some(0.8),
            cpu_utilization: Some(1.5),
            mem_utilization: Some(0.25),
            rps_fractional: Some(12.5),
            eps: Some(1.0),
            named_metrics: BTreeMap::from([("queue".to_owned(), -3.0)]),
        }
    }

    const JSON: &str = r#"{"application_utilization":0.8,"cpu_utilization":1.5,"mem_utilization":0.25,
        "rps_fractional":12.5,"eps":1,"named_metrics":{"queue":-3}}"#;
    const TEXT: &str = "application_utilization=0.8, cpu_utilization=1.5,mem_utilization=0.25,\
        rps_fractional=12.5 , eps=1, named_metrics.queue=-3";

    #[test]
    fn all_forms_say_the_same() {
        let camel = JSON
            .replace("application_u", "applicationU")
            .replace("cpu_u", "cpuU")
            .replace("mem_u", "memU")
            .replace("rps_f", "rpsF")
            .replace("named_m", "namedM");
        for value in [
            JSON.to_owned(),
            format!("JSON {JSON}"),
            format!("json {camel}"),
            TEXT.to_owned(),
            format!("TEXT {TEXT}"),
            format!(" TEXT  {TEXT}, "),
            format!("{TEXT},request_cost.x=1,later=much"),
            JSON.replacen('{', r#"{"later":[1,{}],"request_cost":{"x":1},"#, 1),
        ] {
            assert_eq!(OrcaReport::parse_header(value.as_bytes()), Ok(full()), "{value}");
        }
    }

    #[test]
    fn what_is_wrong_is_said() {
        #[rustfmt::skip]
        let table = [
            ("",                             "says nothing"),
            (",,",                           "says nothing"),
            ("{}",                           "says nothing"),
            ("later=1",                      "says nothing"),
            (r#"{"cpu_utilization":null}"#,  "says nothing"),
            ("BIN CZqZmZmZmbk/",             "binary"),
            ("cpu_utilization",              "not understood: \"cpu_utilization\""),
            ("cpu_utilization:0.5",          "not understood"),
            ("cpu_utilization=",             "cpu_utilization\" is \"\""),
            ("cpu_utilization=half",         "is \"half\""),
            ("cpu_utilization=0,5",          "not understood"),
            ("cpu_utilization=NaN",          "is NaN"),
            ("cpu_utilization=inf",          "is inf"),
            ("cpu_utilization=1e999",        "is inf"),
            ("cpu_utilization=-0.1",         "is -0.1"),
            ("named_metrics.a=nan",          "is NaN"),
            ("eps=1,eps=1",                  "twice"),
            ("named_metrics.a=1,named_metrics.a=2", "twice"),
            ("{",                            "not understood"),
            ("[]",                           "not understood"),
            ("JSON eps=1",                   "not understood"),
            ("TEXT {}",                      "not understood"),
            (r#"{"eps":"1"}"#,               "not understood"),
            (r#"{"eps":NaN}"#,               "not understood"),
            (r#"{"eps":1e999}"#,             "not understood"),
            (r#"{"eps":-1}"#,                "eps is -1"),
            (r#"{"eps":1,"eps":2}"#,         "duplicate"),
            (r#"{"eps":1} x"#,               "trailing"),
            (r#"{"named_metrics":{"a":"b"}}"#, "not understood"),
            (r#"{"named_metrics":[1]}"#,     "not understood"),
        ];
        for (value, expected) in table {
            let error = OrcaReport::parse_header(value.as_bytes()).unwrap_err().to_string();
            assert!(error.contains(expected), "{value}: {error}");
        }
    }

    #[test]
    fn reports_are_not_endless() {
        let named = |count: usize, length: usize| {
            let pair = |index| format!("named_metrics.{index:0length$}=1");
            (0..count).map(pair).collect::<Vec<_>>().join(",")
        };
        let parse = |text: String| OrcaReport::parse_text(text.as_bytes()).map(drop);
        assert_eq!(parse(named(64, 4)), Ok(()));
        assert_eq!(parse(named(65, 4)), Err(OrcaError::TooMany));
        assert_eq!(parse(named(1, 128)), Ok(()));
        assert_eq!(parse(named(1, 129)), Err(OrcaError::TooMany));
        assert_eq!(parse(format!("eps=1{}", " ".repeat(16 * 1024))), Err(OrcaError::TooLong));
        let deep = "[".repeat(10_000);
        assert!(OrcaReport::parse_json(format!("{{\"later\":{deep}").as_bytes()).is_err());
        let long = " ".repeat(16 * 1024 + 1);
        assert_eq!(OrcaReport::parse_json(long.as_bytes()), Err(OrcaError::TooLong));
    }

    #[test]
    fn the_application_knows_best() {
        #[rustfmt::skip]
        let table = [
            (Some(0.8), Some(0.3), Some(0.8)),
            (None,      Some(0.3), Some(0.3)),
            (Some(0.0), Some(0.3), Some(0.3)),
            (Some(0.0), None,      Some(0.0)),
            (Some(1.7), Some(0.3), Some(1.0)),
            (None,      None,      None),
        ];
        for (application_utilization, cpu_utilization, expected) in table {
            let report =
                OrcaReport { application_utilization, cpu_utilization, ..OrcaReport::default() };
            assert_eq!(report.utilisation(), expected, "{report:?}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_read(text in bytes()) {
            for report in [OrcaReport::parse_header(&text), OrcaReport::parse_json(&text)] {
                let Ok(report) = report else { continue };
                prop_assert!(report.utilisation().is_none_or(|share| (0.0..=1.0).contains(&share)));
                prop_assert!(report.named_metrics.values().all(|value| value.is_finite()));
            }
        }

        #[test]
        fn what_is_written_is_read(cpu in 0.0..1e6_f64, eps in 0.0..1e6_f64) {
            let text = format!("cpu_utilization={cpu},eps={eps}");
            let json = format!("{{\"cpu_utilization\":{cpu:?},\"eps\":{eps:?}}}");
            for value in [text, json] {
                let report = OrcaReport::parse_header(value.as_bytes()).unwrap();
                // The JSON reader may be off by the last bit.
                let near = |found: Option<f64>, it: f64| (found.unwrap() - it).abs() <= it * 1e-15;
                prop_assert!(near(report.cpu_utilization, cpu) && near(report.eps, eps), "{}", value);
            }
        }
    }

    /// Bytes, most of them of pieces that reports are made of.
    fn bytes() -> impl Strategy<Value = Vec<u8>> {
        let pieces = vec![
            "{",
            "}",
            "\"",
            ":",
            ",",
            "=",
            "eps",
            "\"eps\"",
            "cpu_utilization",
            "1e",
            "-",
            "0.5",
            "JSON ",
            "TEXT ",
            "named_metrics.",
            "\"named_metrics\":{",
            "inf",
            "nan",
            "[",
            " ",
        ];
        let likely = prop::sample::select(pieces).prop_map(|piece| piece.as_bytes().to_vec());
        let any = prop::collection::vec(any::<u8>(), 1..4);
        prop::collection::vec(prop_oneof![4 => likely, 1 => any], 0..30)
            .prop_map(|pieces| pieces.concat())
    }
}
