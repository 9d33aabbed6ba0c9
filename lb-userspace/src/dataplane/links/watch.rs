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

/// Changes come in bursts: one container is a dozen of them. The pause after each word doubles while
/// they last.
const PAUSE_MIN: Duration = Duration::from_millis(1);
const PAUSE_MAX: Duration = Duration::from_millis(16);

/// Tells that links, neighbours, bridge ports or routes of the calling thread's namespace changed:
/// at once, as a backend may wait for just this neighbour, and less and less often while more of them
/// come. It does not tell what: the tables are to be read again, which is also right when
/// the kernel had to drop messages. It must be called within a tokio runtime; it ends when the
/// receiver is dropped, and the receiver ends if the socket fails.
pub fn watch() -> io::Result<mpsc::Receiver<()>> {
    let (connection, handle, mut messages) = new_multicast_connection(&GROUPS)?;
    let (tell, told) = mpsc::channel(1);
    let connection = tokio::spawn(connection);
    tokio::spawn(async move {
        // Without its handle the connection would take itself for finished.
        let _handle = handle;
        let (mut pause, mut more) = (PAUSE_MIN, false);
        loop {
            if !more {
                tokio::select! {
                    () = tell.closed() => break,
                    message = messages.next() => if message.is_none() { break },
                }
                pause = PAUSE_MIN;
            }
            // A word that nobody has heard yet stands for this one, too.
            if let Err(mpsc::error::TrySendError::Closed(())) = tell.try_send(()) {
                break;
            }
            sleep(pause).await;
            pause = PAUSE_MAX.min(pause * 2);
            more = messages.try_recv().is_ok();
            while messages.try_recv().is_ok() {}
        }
        connection.abort();
    });
    Ok(told)
}
