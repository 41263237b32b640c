//! That the tests beside this one really run on a volume.

use std::fs;
use std::path::Path;

use on_volume::prelude::*;
use redb::{Database, TableDefinition};

const TABLE: TableDefinition<u64, &str> = TableDefinition::new("HIPPOPOTAMUS-TABLE");

#[test]
fn a_database_is_in_the_volume_and_nowhere_else() {
    let file = on_volume::NamedTempFile::new().unwrap();
    let database = Database::volume_create(file.path()).unwrap();
    let transaction = database.begin_write().unwrap();
    let row = "HIPPOPOTAMUS-ROW";
    transaction
        .open_table(TABLE)
        .unwrap()
        .insert(1, row)
        .unwrap();
    transaction.commit().unwrap();
    assert!(!file.path().exists());
    assert!(
        on_volume::fs::read(file.path())
            .unwrap()
            .starts_with(b"redb")
    );

    let (mut files, mut bytes) = (0, 0);
    every_file(&on_volume::directory(), &mut |content| {
        files += 1;
        bytes += content.len();
        let plain = content.windows(12).any(|it| it == b"HIPPOPOTAMUS");
        assert!(!plain && !content.starts_with(b"redb"));
    });
    assert!(files >= 3 && bytes > 8192, "{files} files, {bytes} bytes");
}

fn every_file(directory: &Path, look: &mut impl FnMut(&[u8])) {
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        match path.is_dir() {
            true => every_file(&path, look),
            false => look(&fs::read(&path).unwrap()),
        }
    }
}
