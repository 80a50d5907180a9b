//! Two futures of one task, run side by side.

use std::future::Future;
use std::pin::{Pin, pin};
use std::task::{Context, Poll};

/// Runs two futures to their ends, or to the first that fails: the other is dropped then.
pub(crate) async fn try_both<E>(
    a: impl Future<Output = Result<(), E>>,
    b: impl Future<Output = Result<(), E>>,
) -> Result<(), E> {
    let (mut a, mut b) = (pin!(a), pin!(b));
    let (mut left, mut right) = (None, None);
    std::future::poll_fn(move |cx| {
        poll_into(a.as_mut(), &mut left, cx);
        poll_into(b.as_mut(), &mut right, cx);
        match (left.take(), right.take()) {
            (Some(Err(error)), _) | (_, Some(Err(error))) => Poll::Ready(Err(error)),
            (Some(Ok(())), Some(Ok(()))) => Poll::Ready(Ok(())),
            (a, b) => {
                (left, right) = (a, b);
                Poll::Pending
            }
        }
    })
    .await
}

fn poll_into<F: Future>(future: Pin<&mut F>, into: &mut Option<F::Output>, cx: &mut Context<'_>) {
    if into.is_none()
        && let Poll::Ready(value) = future.poll(cx)
    {
        *into = Some(value);
    }
}
