//! A forked child seals and opens nothing with what it inherited.

use std::sync::Arc;

use cofferdam_cipher::{
    OpenError, PageCipher, PageNumber, PageSize, SealError, SlotCount, ValueCipher,
};
use cofferdam_keys::{DataKeys, FileId, Suite, UnixTime};

#[test]
fn a_forked_child_seals_nothing_and_its_parent_goes_on() {
    let keys = Arc::new(DataKeys::ephemeral(Suite::Two).unwrap());
    let file = FileId::random().unwrap();
    let size = PageSize::from_log2(9).unwrap();
    let pages = PageCipher::new(keys.clone(), file, size, SlotCount::Two, clock).unwrap();
    let values = ValueCipher::new(keys, [1; 16], clock);
    let mut frame = vec![0; pages.stride()];
    pages.seal(PageNumber::ZERO, &[5; 512], &mut frame).unwrap();
    let sealed = values.seal(b"row", b"value").unwrap();

    in_child(|| {
        let mut plaintext = [1; 512];
        let mut other = frame.clone();
        pages.seal(PageNumber::ZERO, &[5; 512], &mut other) == Err(SealError::Forked)
            && other == frame
            && values.seal(b"row", b"value") == Err(SealError::Forked)
            && pages.open(PageNumber::ZERO, &frame, &mut plaintext) == Err(OpenError::Forked)
            && plaintext == [0; 512]
            && values.open(b"row", &sealed).err() == Some(OpenError::Forked)
    });
    pages.seal(PageNumber::ZERO, &[5; 512], &mut frame).unwrap();
    pages.open(PageNumber::ZERO, &frame, &mut [0; 512]).unwrap();
}

#[test]
fn a_cipher_made_in_the_child_works_and_the_inherited_one_stays_refused() {
    let old = cipher();
    let mut frame = vec![0; old.stride()];
    old.seal(PageNumber::ZERO, &[5; 512], &mut frame).unwrap();
    in_child(|| {
        let new = cipher();
        let mut frame = vec![0; new.stride()];
        let works = new.seal(PageNumber::ZERO, &[6; 512], &mut frame) == Ok(())
            && new.open(PageNumber::ZERO, &frame, &mut [0; 512]) == Ok(());
        let grandchild = child(|| {
            // Neither the grandparent's nor the parent's cipher seals here.
            let refused = |cipher: &PageCipher| {
                cipher.seal(PageNumber::ZERO, &[6; 512], &mut vec![0; cipher.stride()])
                    == Err(SealError::Forked)
            };
            refused(&old) && refused(&new) && {
                let own = cipher();
                let mut frame = vec![0; own.stride()];
                own.seal(PageNumber::ZERO, &[7; 512], &mut frame) == Ok(())
                    && refused(&old)
                    && refused(&new)
            }
        });
        works
            && grandchild
            && old.seal(PageNumber::ZERO, &[5; 512], &mut vec![0; old.stride()])
                == Err(SealError::Forked)
    });
}

fn cipher() -> PageCipher {
    let keys = Arc::new(DataKeys::ephemeral(Suite::One).unwrap());
    let file = FileId::random().unwrap();
    let size = PageSize::from_log2(9).unwrap();
    PageCipher::new(keys, file, size, SlotCount::One, clock).unwrap()
}

fn in_child(work: impl FnOnce() -> bool) {
    assert!(child(work), "the child did not do what it should");
}

/// Whether `work` is true in a forked child.
fn child(work: impl FnOnce() -> bool) -> bool {
    // SAFETY: the child runs `work`, which takes no lock that another thread of the parent may hold
    // for ever, and leaves with `_exit`, so that it runs neither the test harness nor exit handlers.
    let pid = unsafe { libc::fork() };
    assert!(pid >= 0, "fork failed");
    if pid == 0 {
        let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(work));
        // SAFETY: it ends the child at once.
        unsafe { libc::_exit(i32::from(!matches!(result, Ok(true)))) };
    }
    let mut status = 0;
    // SAFETY: `status` is valid for writing, and `pid` is a child that nobody else waits for.
    let waited = unsafe { libc::waitpid(pid, &mut status, 0) };
    assert_eq!(waited, pid);
    libc::WIFEXITED(status) && libc::WEXITSTATUS(status) == 0
}

fn clock() -> UnixTime {
    UnixTime {
        seconds: 1_800_000_000,
        nanos: 0,
    }
}
