//! Samples that were counted elsewhere, through the encoder of `prometheus-client`.

use std::fmt;

use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, MetricEncoder, text},
    metrics::MetricType,
    registry::Registry,
};

/// Names and values.
pub(super) type Labels = Vec<(&'static str, String)>;

/// What a family is; decides the suffix of its samples.
#[derive(Clone, Copy, Debug)]
pub(super) enum Kind {
    Counter,
    Gauge,
    /// Says something by its labels; its value is always 1.
    Info,
    Histogram,
}

/// Samples of one name.
#[derive(Debug)]
pub(super) struct Family {
    /// Name without suffix.
    pub(super) name: &'static str,
    pub(super) help: &'static str,
    pub(super) kind: Kind,
    pub(super) samples: Vec<(Labels, Value)>,
}

/// What a sample says.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Value {
    Number(u64),
    Real(f64),
    /// The sum of all values, and how many lie below each bound and above the one before.
    Histogram {
        sum: f64,
        buckets: Vec<(f64, u64)>,
    },
}

/// The whole text, families and samples in the order given.
pub(super) fn encode(families: Vec<Family>) -> String {
    let mut registry = Registry::default();
    registry.register_collector(Box::new(Families(families)));
    let mut text = String::new();
    // Writing to a string cannot fail, and nothing else in there does.
    text::encode(&mut text, &registry).unwrap_or_default();
    text
}

/// The registry's own families are hash maps, whose order changes with every scrape.
#[derive(Debug)]
struct Families(Vec<Family>);

impl Collector for Families {
    fn encode(&self, mut encoder: DescriptorEncoder) -> fmt::Result {
        self.0.iter().try_for_each(|family| encode_family(family, &mut encoder))
    }
}

fn encode_family(family: &Family, encoder: &mut DescriptorEncoder) -> fmt::Result {
    let kind = match family.kind {
        Kind::Counter => MetricType::Counter,
        Kind::Gauge => MetricType::Gauge,
        Kind::Info => MetricType::Info,
        Kind::Histogram => MetricType::Histogram,
    };
    let mut encoder = encoder.encode_descriptor(family.name, family.help, None, kind)?;
    for (labels, value) in &family.samples {
        match (family.kind, labels.is_empty()) {
            (Kind::Info, _) => encoder.encode_info(labels)?,
            // The encoder would write an empty pair of braces.
            (kind, true) => encode_value(&mut encoder, kind, value)?,
            (kind, false) => encode_value(&mut encoder.encode_family(labels)?, kind, value)?,
        }
    }
    Ok(())
}

fn encode_value(encoder: &mut MetricEncoder, kind: Kind, value: &Value) -> fmt::Result {
    match (kind, value) {
        (Kind::Counter, Value::Number(number)) => {
            encoder.encode_counter::<Labels, _, u64>(number, None)
        }
        (_, Value::Number(number)) => encoder.encode_gauge(number),
        (_, Value::Real(number)) => encoder.encode_gauge(number),
        (_, Value::Histogram { sum, buckets }) => {
            let count = buckets.iter().map(|(_, count)| count).sum();
            encoder.encode_histogram::<Labels>(*sum, count, buckets, None)
        }
    }
}
