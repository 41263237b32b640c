//! What every [`Disk`] must do. A new implementation is finished when this suite is green.

use std::thread;

use cofferdam_sealed_file::Disk;

use crate::random::Random;

/// Runs the suite on disks made by `empty`, each of which must be empty.
///
/// # Panics
/// When the disk does not keep its contract.
pub fn run(empty: &dyn Fn() -> Box<dyn Disk>, seed: u64) {
    an_empty_disk_has_nothing(&*empty());
    bytes_come_back(&*empty());
    reads_stop_at_the_end(&*empty());
    gaps_are_zero(&*empty());
    cut_bytes_do_not_come_back(&*empty());
    nothing_written_changes_nothing(&*empty());
    threads_do_not_disturb_each_other(&*empty());
    it_behaves_like_a_vector(&*empty(), seed);
}

fn an_empty_disk_has_nothing(disk: &dyn Disk) {
    assert_eq!(disk.len().expect("len"), 0);
    assert!(disk.is_empty().expect("is_empty"));
    assert_eq!(read(disk, 10, 0), NONE);
    assert_eq!(read(disk, 10, 1 << 40), NONE);
    disk.sync().expect("sync of an empty disk");
}

fn bytes_come_back(disk: &dyn Disk) {
    disk.write_at(b"cofferdam", 0).expect("write");
    assert_eq!(read(disk, 9, 0), b"cofferdam");
    disk.write_at(b"FER", 3).expect("overwrite");
    disk.sync().expect("sync");
    assert_eq!(read(disk, 9, 0), b"cofFERdam");
    assert_eq!(read(disk, 3, 6), b"dam");
    assert!(!disk.is_empty().expect("is_empty"));
}

fn reads_stop_at_the_end(disk: &dyn Disk) {
    disk.write_at(&[7; 100], 0).expect("write");
    assert_eq!(read(disk, 200, 0), [7; 100]);
    assert_eq!(read(disk, 200, 99), [7]);
    assert_eq!(read(disk, 200, 100), NONE);
    assert_eq!(read(disk, 0, 50), NONE);
}

fn gaps_are_zero(disk: &dyn Disk) {
    disk.write_at(b"first", 0).expect("write");
    disk.write_at(b"last", 70_000).expect("write past the end");
    assert_eq!(disk.len().expect("len"), 70_004);
    assert_eq!(read(disk, 69_995, 5), vec![0; 69_995]);
    assert_eq!(read(disk, 4, 70_000), b"last");
    disk.set_len(70_010).expect("extend");
    assert_eq!(read(disk, 100, 70_000), b"last\0\0\0\0\0\0");
}

fn cut_bytes_do_not_come_back(disk: &dyn Disk) {
    disk.write_at(&[7; 5000], 0).expect("write");
    disk.set_len(1000).expect("cut");
    assert_eq!(disk.len().expect("len"), 1000);
    disk.set_len(3000).expect("extend");
    disk.write_at(&[9; 10], 4000).expect("write past the end");
    let mut expected = vec![7; 1000];
    expected.resize(4000, 0);
    expected.resize(4010, 9);
    assert_eq!(read(disk, 9999, 0), expected);
    disk.set_len(0).expect("empty");
    assert!(disk.is_empty().expect("is_empty"));
}

fn nothing_written_changes_nothing(disk: &dyn Disk) {
    disk.write_at(&[], 1000).expect("write of nothing");
    assert_eq!(disk.len().expect("len"), 0);
}

fn threads_do_not_disturb_each_other(disk: &dyn Disk) {
    const LEN: usize = 1000;
    thread::scope(|scope| {
        for thread in 0..4u8 {
            scope.spawn(move || {
                for round in 0..50u64 {
                    let offset = (round * 4 + u64::from(thread)) * LEN as u64;
                    let bytes = [thread + 1; LEN];
                    disk.write_at(&bytes, offset).expect("write");
                    assert_eq!(read(disk, LEN, offset), bytes);
                }
            });
        }
    });
    let all = read(disk, 200 * LEN, 0);
    assert_eq!(all.len(), 200 * LEN);
    for (index, bytes) in all.chunks(LEN).enumerate() {
        assert!(bytes.iter().all(|byte| usize::from(*byte) == index % 4 + 1));
    }
}

fn it_behaves_like_a_vector(disk: &dyn Disk, seed: u64) {
    let mut random = Random::new(seed);
    let mut model: Vec<u8> = Vec::new();
    for _ in 0..500 {
        let offset = random.index(20_000);
        let len = random.index(3000);
        match random.below(10) {
            0..5 => {
                let bytes = random.bytes(len);
                disk.write_at(&bytes, offset as u64).expect("write");
                if len > 0 {
                    model.resize(model.len().max(offset + len), 0);
                    model[offset..offset + len].copy_from_slice(&bytes);
                }
            }
            5..8 => {
                let start = offset.min(model.len());
                let end = (offset + len).min(model.len()).max(start);
                assert_eq!(read(disk, len, offset as u64), model[start..end]);
            }
            8 => {
                disk.set_len(offset as u64).expect("set_len");
                model.resize(offset, 0);
            }
            _ => disk.sync().expect("sync"),
        }
        assert_eq!(disk.len().expect("len"), model.len() as u64);
    }
    assert_eq!(read(disk, 30_000, 0), model);
}

fn read(disk: &dyn Disk, len: usize, offset: u64) -> Vec<u8> {
    // What is not read must not be touched either, so the buffer is full of something else.
    let mut bytes = vec![0xa5; len];
    let read = disk.read_at(&mut bytes, offset).expect("read");
    assert!(bytes[read..].iter().all(|byte| *byte == 0xa5));
    bytes.truncate(read);
    bytes
}

const NONE: [u8; 0] = [];
