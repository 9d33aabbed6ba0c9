//! How many replicas there should be: from the load as the balancer sees it, what one replica can
//! take, and a forecast as far ahead as a replica needs to start.
//!
//! The offered load comes in buckets of 15 seconds (`buckets`). `decide` makes a number of replicas
//! and a reason of it; it never asks for less than what the load of this moment needs, whatever
//! the forecast, and never takes a replica away on what it does not know. `hpa` is the algorithm of
//! Kubernetes' `HorizontalPodAutoscaler`: the comparator, and the guard for what the load does not
//! tell. Both are held back by the same windows and rates (`behaviour`). `fleet` says which replicas
//! have to be made and which have to go for the number to be true.

pub mod autoscaler;
pub mod behaviour;
pub mod buckets;
pub mod decide;
pub mod fleet;
pub mod hpa;
pub mod offered;
mod reason;
pub mod settings;
mod starts;

pub use self::{
    autoscaler::Autoscaler,
    behaviour::{Behaviour, Direction, History, Rate, Step},
    buckets::Buckets,
    decide::{Decision, Observation, Scaler},
    fleet::{Fleet, Replica, Rules, Standing},
    hpa::{Hpa, Pod, Sample},
    offered::Offered,
    reason::Reason,
    settings::{Settings, SettingsError},
};

/// A number of replicas that is at least this quotient; all of them if it is no number.
fn replicas_for(load: f64, per_replica: f64) -> u32 {
    let wanted = (load / per_replica).ceil();
    if wanted.is_nan() {
        return u32::MAX;
    }
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "within the range of u32"
    )]
    let whole = wanted.clamp(0.0, f64::from(u32::MAX)) as u32;
    whole
}
