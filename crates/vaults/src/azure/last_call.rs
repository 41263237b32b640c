//! The last call that each thread has made.
//!
//! Threads share a vault. What goes on record about a call is asked for by the thread that made it, right after, and must
//! not be the call of another one.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};

use cofferdam_keys::VaultRequest;

/// The last calls of one session, each remembered by its own thread.
pub(super) struct LastCall {
    session: u64,
}

thread_local! {
    /// The last call of this thread by session, oldest first.
    static LAST: RefCell<VecDeque<(u64, VaultRequest)>> = const { RefCell::new(VecDeque::new()) };
}

impl LastCall {
    pub(super) fn new() -> LastCall {
        static SESSIONS: AtomicU64 = AtomicU64::new(0);
        LastCall {
            session: SESSIONS.fetch_add(1, Ordering::Relaxed),
        }
    }

    pub(super) fn set(&self, request: VaultRequest) {
        LAST.with_borrow_mut(|last| {
            last.retain(|(session, _)| *session != self.session);
            if last.len() == SESSIONS_MAX {
                last.pop_front();
            }
            last.push_back((self.session, request));
        });
    }

    pub(super) fn get(&self) -> Option<VaultRequest> {
        LAST.with_borrow(|last| {
            let found = last.iter().find(|(session, _)| *session == self.session);
            found.map(|(_, request)| request.clone())
        })
    }
}

/// A thread that asks more vaults than this before it looks has no id of the first.
const SESSIONS_MAX: usize = 32;

#[cfg(test)]
mod tests {
    use super::*;

    fn request(id: &str) -> VaultRequest {
        VaultRequest {
            correlation_id: id.to_owned(),
            request_id: None,
        }
    }

    #[test]
    fn a_thread_sees_its_own_calls_alone() {
        let (one, other) = (LastCall::new(), LastCall::new());
        one.set(request("a"));
        one.set(request("b"));
        std::thread::scope(|scope| {
            let elsewhere = scope.spawn(|| {
                let before = one.get();
                one.set(request("c"));
                (before, one.get())
            });
            let (before, after) = elsewhere.join().unwrap();
            assert_eq!((before, after), (None, Some(request("c"))));
        });
        assert_eq!(one.get(), Some(request("b")));
        assert_eq!(other.get(), None);
    }

    #[test]
    fn a_thread_does_not_remember_sessions_without_end() {
        let sessions: Vec<LastCall> = (0..=SESSIONS_MAX).map(|_| LastCall::new()).collect();
        for session in &sessions {
            session.set(request("a"));
        }
        assert_eq!(sessions[0].get(), None);
        assert!(sessions[1..].iter().all(|session| session.get().is_some()));
    }
}
