//! Word of changes.

use std::{io, time::Duration};

use futures_util::StreamExt as _;
use rtnetlink::{MulticastGroup, new_multicast_connection};
use tokio::{sync::mpsc, time::sleep};

const GROUPS: [MulticastGroup; 4] = [
    MulticastGroup::Link,
    // Also what bridges learn.
    MulticastGroup::Neigh,
    MulticastGroup::Ipv4Route,
    MulticastGroup::Ipv6Route,
];

/// Changes come in bursts: one container is a dozen of them.
const BURST: Duration = Duration::from_millis(10);

/// Tells that links, neighbours, bridge ports or routes of the calling thread's namespace changed,
/// once per burst. It does not tell what: the tables are to be read again, which is also right when
/// the kernel had to drop messages. It must be called within a tokio runtime; it ends when the
/// receiver is dropped, and the receiver ends if the socket fails.
pub fn watch() -> io::Result<mpsc::Receiver<()>> {
    let (connection, handle, mut messages) = new_multicast_connection(&GROUPS)?;
    let (tell, told) = mpsc::channel(1);
    let connection = tokio::spawn(connection);
    tokio::spawn(async move {
        // Without its handle the connection would take itself for finished.
        let _handle = handle;
        loop {
            tokio::select! {
                () = tell.closed() => break,
                message = messages.next() => if message.is_none() { break },
            }
            sleep(BURST).await;
            while messages.try_recv().is_ok() {}
            // A word that nobody has heard yet stands for this burst too.
            match tell.try_send(()) {
                Ok(()) | Err(mpsc::error::TrySendError::Full(())) => {}
                Err(mpsc::error::TrySendError::Closed(())) => break,
            }
        }
        connection.abort();
    });
    Ok(told)
}
