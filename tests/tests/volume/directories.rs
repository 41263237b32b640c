//! Directories, links and attributes, against what they should come to, also after the volume was opened again.

use std::collections::BTreeMap;

use cofferdam_keys::Suite;
use cofferdam_sealed_file::{
    Attributes, Error, Existing, NAME_LEN_MAX, NodeKind, TARGET_LEN_MAX, TOP_DIRECTORY, Time,
    Volume,
};
use cofferdam_tests::random::{Random, seed};

use crate::{Place, all};

const TOP: u64 = TOP_DIRECTORY;

fn owned_by(uid: u32) -> Attributes {
    Attributes {
        uid,
        ..Attributes::default()
    }
}

/// Everything in a volume: path, kind, attributes, and bytes or target; the names of one file in a group.
fn everything(volume: &Volume) -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    let mut open = vec![(TOP, String::new())];
    while let Some((directory, path)) = open.pop() {
        let mut below = 0;
        for (name, number, kind) in volume.entries(directory).unwrap() {
            let path = format!("{path}/{}", name.escape_ascii());
            let node = volume.node(number).unwrap();
            assert_eq!((node.number, node.kind), (number, kind));
            assert_eq!(volume.find(directory, &name).unwrap(), node);
            let what = match kind {
                NodeKind::File => format!("{:?}", all(&volume.file(number).unwrap())),
                NodeKind::Link => format!("-> {:?}", volume.target(number).unwrap()),
                NodeKind::Directory => {
                    below += 1;
                    assert_eq!(volume.parent(number).unwrap(), directory);
                    open.push((number, path.clone()));
                    String::new()
                }
            };
            let (names, uid) = (node.names, node.attributes.uid);
            found.insert(path, format!("{number} {names} {uid} {what}"));
        }
        assert_eq!(volume.node(directory).unwrap().directories, below);
    }
    found
}

#[test]
fn what_is_made_is_found_again() {
    let place = Place::new(Suite::One, 4096);
    let volume = place.open();
    let base = volume.make_directory(TOP, b"base", owned_by(1)).unwrap();
    let one = volume.make_directory(base, b"1", owned_by(2)).unwrap();
    let (number, file) = volume.make_file(one, b"1259", owned_by(3)).unwrap();
    file.write_at(b"a page", 0).unwrap();
    let link = volume
        .make_link(TOP, b"link", b"base/1", owned_by(4))
        .unwrap();
    volume.add_name(number, TOP, b"another name").unwrap();
    let top = Attributes {
        mode: 0o1777,
        written: Time {
            seconds: -5,
            nanos: 999_999_999,
        },
        ..owned_by(9)
    };
    volume
        .set_attributes(&BTreeMap::from([(TOP, top)]))
        .unwrap();
    volume.sync().unwrap();
    let made = everything(&volume);
    assert_eq!(made.len(), 5);
    // By the path as well, and the other way round.
    assert_eq!(all(&volume.open_file(b"base/1/1259").unwrap()), b"a page");
    volume.create_file(b"base/1/2").unwrap();
    assert_eq!(
        volume.file_names().unwrap(),
        [&b"another name"[..], b"base/1/1259", b"base/1/2"]
    );
    volume.remove_file(b"base/1/2").unwrap();
    volume.sync().unwrap();
    drop((file, volume));
    let volume = place.open();
    assert_eq!(everything(&volume), made);
    assert_eq!(volume.node(TOP).unwrap().attributes, top);
    assert_eq!(volume.target(link).unwrap(), b"base/1");
}

#[test]
fn a_file_goes_with_its_last_name() {
    let place = Place::new(Suite::One, 4096);
    let volume = place.open();
    let (number, file) = volume.make_file(TOP, b"a", owned_by(1)).unwrap();
    file.write_at(b"bytes", 0).unwrap();
    drop(file);
    volume.add_name(number, TOP, b"b").unwrap();
    volume.remove_name(TOP, b"a").unwrap();
    assert_eq!(all(&volume.file(number).unwrap()), b"bytes");
    // Two names of one file: moving one over the other changes nothing.
    volume.add_name(number, TOP, b"c").unwrap();
    volume
        .move_name((TOP, b"b"), (TOP, b"c"), Existing::Replaced)
        .unwrap();
    assert_eq!(volume.node(number).unwrap().names, 2);
    volume.remove_name(TOP, b"b").unwrap();
    let open = volume.file(number).unwrap();
    volume.remove_name(TOP, b"c").unwrap();
    assert!(matches!(volume.node(number), Err(Error::NoSuchFile)));
    assert_eq!(all(&open), b"bytes");
    drop(open);
    volume.close().unwrap();
    assert_eq!(crate::files(&place), 0);
}

#[test]
fn what_cannot_be_is_refused_and_changes_nothing() {
    let place = Place::new(Suite::One, 4096);
    let volume = place.open();
    let directory = volume.make_directory(TOP, b"d", owned_by(1)).unwrap();
    let inner = volume.make_directory(directory, b"e", owned_by(1)).unwrap();
    let (file, _) = volume.make_file(TOP, b"f", owned_by(1)).unwrap();
    let before = everything(&volume);
    let moved =
        |from: (u64, &[u8]), to: (u64, &[u8]), existing| volume.move_name(from, to, existing);
    let made = |name: &[u8]| volume.make_directory(TOP, name, owned_by(1)).map(|_| ());
    let linked = |target: &[u8]| volume.make_link(TOP, b"l", target, owned_by(1)).map(|_| ());
    let long = vec![b'x'; NAME_LEN_MAX + 1];
    use Existing::{Exchanged, Kept, Replaced};
    for (what, result, expected) in [
        ("a name twice", made(b"f"), "NameTaken"),
        ("no name", made(b""), "NotAName"),
        ("a long name", made(&long), "NotAName"),
        ("a zero in a name", made(b"a\0b"), "NotAName"),
        ("no target", linked(b""), "NotAName"),
        (
            "a long target",
            linked(&long[..=TARGET_LEN_MAX]),
            "NotAName",
        ),
        (
            "in a file",
            volume.make_file(file, b"x", owned_by(1)).map(|_| ()),
            "NotDirectory",
        ),
        (
            "nowhere",
            volume.make_file(99, b"x", owned_by(1)).map(|_| ()),
            "NotDirectory",
        ),
        (
            "a directory's name more",
            volume.add_name(inner, TOP, b"x"),
            "IsDirectory",
        ),
        (
            "a directory as a file",
            volume.remove_name(TOP, b"d"),
            "IsDirectory",
        ),
        (
            "a file as a directory",
            volume.remove_directory(TOP, b"f"),
            "NotDirectory",
        ),
        (
            "a full directory",
            volume.remove_directory(TOP, b"d"),
            "NotEmpty",
        ),
        ("nothing", volume.remove_name(TOP, b"nothing"), "NoSuchFile"),
        (
            "into itself",
            moved((TOP, b"d"), (inner, b"x"), Replaced),
            "IntoItself",
        ),
        (
            "over its parent",
            moved((directory, b"e"), (TOP, b"d"), Replaced),
            "NotEmpty",
        ),
        (
            "exchanged with its parent",
            moved((directory, b"e"), (TOP, b"d"), Exchanged),
            "IntoItself",
        ),
        (
            "a file over a directory",
            moved((TOP, b"f"), (directory, b"e"), Replaced),
            "IsDirectory",
        ),
        (
            "a directory over a file",
            moved((directory, b"e"), (TOP, b"f"), Replaced),
            "NotDirectory",
        ),
        (
            "kept",
            moved((TOP, b"f"), (directory, b"e"), Kept),
            "NameTaken",
        ),
        (
            "exchanged with nothing",
            moved((TOP, b"f"), (TOP, b"x"), Exchanged),
            "NoSuchFile",
        ),
    ] {
        let error = format!("{:?}", result.expect_err(what));
        assert!(error.starts_with(expected), "{what}: {error}");
        assert_eq!(everything(&volume), before, "{what}");
    }
}

/// Goal: any order of operations comes to what a plain model says, and is the same when the volume is opened again, however often the
/// catalogue was written anew.
#[test]
fn many_operations_come_to_what_a_model_says() {
    let place = Place::new(Suite::One, 4096);
    let random = &mut Random::new(seed());
    let mut volume = place.open();
    // Paths to numbers; directories are those that something was made in, or may be.
    let mut model: BTreeMap<Vec<u8>, (u64, NodeKind)> = BTreeMap::new();
    let mut done = 0;
    for round in 0..6_000 {
        let directories: Vec<(Vec<u8>, u64)> = std::iter::once((Vec::new(), TOP))
            .chain(
                model
                    .iter()
                    .filter(|(_, (_, kind))| *kind == NodeKind::Directory)
                    .map(|(path, (number, _))| (path.clone(), *number)),
            )
            .collect();
        let any = |random: &mut Random| {
            let (path, number) = random.pick(&directories).clone();
            let name = vec![b'a' + random.below(5) as u8];
            ([&path[..], b"/", &name].concat(), number, name)
        };
        let (path, directory, name) = any(random);
        let (other_path, other_directory, other_name) = any(random);
        let result = match random.below(7) {
            0 => volume
                .make_file(directory, &name, owned_by(1))
                .map(|(number, _)| {
                    model.insert(path, (number, NodeKind::File));
                }),
            1 => volume
                .make_directory(directory, &name, owned_by(1))
                .map(|number| {
                    model.insert(path, (number, NodeKind::Directory));
                }),
            2 => volume.remove_name(directory, &name).map(|()| {
                model.remove(&path);
            }),
            3 => volume.remove_directory(directory, &name).map(|()| {
                model.remove(&path);
            }),
            4 => {
                match model.get(&path).copied() {
                    Some((number, kind)) => volume
                        .add_name(number, other_directory, &other_name)
                        .map(|()| {
                            model.insert(other_path, (number, kind));
                        }),
                    None => continue,
                }
            }
            5 => volume
                .move_name(
                    (directory, &name),
                    (other_directory, &other_name),
                    Existing::Replaced,
                )
                .map(|()| {
                    if model.get(&path) != model.get(&other_path) {
                        let moved = take(&mut model, &path);
                        take(&mut model, &other_path);
                        put(&mut model, &other_path, moved);
                    }
                }),
            _ => volume
                .move_name(
                    (directory, &name),
                    (other_directory, &other_name),
                    Existing::Exchanged,
                )
                .map(|()| {
                    if path != other_path {
                        let (one, other) = (take(&mut model, &path), take(&mut model, &other_path));
                        put(&mut model, &other_path, one);
                        put(&mut model, &path, other);
                    }
                }),
        };
        done += u32::from(result.is_ok());
        if round % 1500 == 1499 {
            volume.sync().unwrap();
            drop(volume);
            volume = place.open();
        }
        if round % 100 == 0 || round % 1500 == 1499 {
            let found: BTreeMap<String, u64> = everything(&volume)
                .into_iter()
                .map(|(path, what)| (path, what.split(' ').next().unwrap().parse().unwrap()))
                .collect();
            let expected: BTreeMap<String, u64> = model
                .iter()
                .map(|(path, (number, _))| (path.escape_ascii().to_string(), *number))
                .collect();
            assert_eq!(found, expected, "round {round}");
        }
    }
    assert!(done > 1500, "{done} of the operations were possible");
}

type Below = Vec<(Vec<u8>, (u64, NodeKind))>;

/// Takes what has a path, and what is below it, out of the model, by what comes behind the path.
fn take(model: &mut BTreeMap<Vec<u8>, (u64, NodeKind)>, path: &[u8]) -> Below {
    let below = [path, b"/"].concat();
    let paths: Vec<Vec<u8>> = model
        .keys()
        .filter(|it| *it == path || it.starts_with(&below))
        .cloned()
        .collect();
    let rest = |it: Vec<u8>| {
        let node = model.remove(&it).expect("it was just there");
        (it[path.len()..].to_vec(), node)
    };
    paths.into_iter().map(rest).collect()
}

fn put(model: &mut BTreeMap<Vec<u8>, (u64, NodeKind)>, path: &[u8], nodes: Below) {
    model.extend(
        nodes
            .into_iter()
            .map(|(rest, node)| ([path, &rest].concat(), node)),
    );
}
