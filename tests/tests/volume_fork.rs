//! A process that was forked from the one that has a volume open. In a binary of its own: the child holds the locks of all volumes
//! that are open here until it ends.

#[path = "volume/world.rs"]
mod world;

use std::sync::Arc;

use cofferdam_cipher::PageSize;
use cofferdam_keys::Suite;
use cofferdam_sealed_file::{Error, Volume};
use cofferdam_tests::crash_directory::CrashDirectory;
use world::World;

/// Goal: a child never writes its own next group where the parent has one that was acknowledged.
#[test]
fn a_child_is_refused_and_the_parent_goes_on() {
    let world = World::new(Suite::One);
    let directory = CrashDirectory::new();
    let setup = world.setup(Arc::new(directory.clone()));
    Volume::init(&setup, PageSize::try_from(4096).unwrap()).unwrap();
    let volume = Volume::open(&setup).unwrap();
    let file = volume.create_file(b"a").unwrap();
    file.write_at(b"published", 0).unwrap();
    let refused = |result: Result<(), Error>| matches!(result, Err(Error::Misuse { .. }));
    assert!(child(|| {
        refused(volume.sync())
            && refused(file.sync())
            && refused(file.write_at(b"child", 0))
            && refused(file.set_len(0))
            && refused(volume.create_file(b"b").map(|_| ()))
            && refused(volume.remove_file(b"a"))
            && refused(volume.bring_home())
            && refused(volume.open_file(b"a").map(|_| ()))
            && refused(file.read_at(&mut [0; 9], 0).map(|_| ()))
            && refused(file.len().map(|_| ()))
            && refused(volume.file_names().map(|_| ()))
    }));
    file.sync().unwrap();
    drop((file, volume));
    let volume = Volume::open(&setup).unwrap();
    let mut bytes = [0; 9];
    let file = volume.open_file(b"a").unwrap();
    file.read_at(&mut bytes, 0).unwrap();
    assert_eq!(&bytes, b"published");
}

/// Whether `work` is true in a forked child.
fn child(work: impl FnOnce() -> bool) -> bool {
    // SAFETY: the child runs `work`, which takes no lock that another thread of the parent may hold for ever, and leaves with `_exit`.
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
