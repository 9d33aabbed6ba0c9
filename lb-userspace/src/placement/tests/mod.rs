//! What every method must keep, beside an enumeration of all placements where there are few.

mod exhaustive;
mod methods;
mod mistakes;
mod objective;
mod reasons;
mod rules;
mod world;
