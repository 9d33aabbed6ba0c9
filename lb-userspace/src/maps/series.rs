//! Changes of one kind that follow each other, as keys and values.

use lb_common::abi::{
    backend::Backend,
    service::{ListenKey, Page, Service},
};

use super::Write;

/// Backends as far as they go.
pub(super) fn backends(writes: &[&Write]) -> (Vec<u32>, Vec<Backend>) {
    take(writes, |write| {
        let Write::Backend { id, value } = write else { return None };
        Some((*id, *value))
    })
}

/// Pages as far as they go.
pub(super) fn pages(writes: &[&Write]) -> (Vec<u32>, Vec<Page>) {
    take(writes, |write| {
        let Write::Page { index, page } = write else { return None };
        Some((*index, **page))
    })
}

/// Publications under exact listen addresses as far as they go.
pub(super) fn listens(writes: &[&Write]) -> (Vec<ListenKey>, Vec<Service>) {
    take(writes, |write| {
        let Write::Listen(key, service) = write else { return None };
        Some((*key, *service))
    })
}

fn take<K, V>(writes: &[&Write], part: impl Fn(&Write) -> Option<(K, V)>) -> (Vec<K>, Vec<V>) {
    writes.iter().map_while(|write| part(write)).unzip()
}
